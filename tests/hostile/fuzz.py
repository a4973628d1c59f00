"""Mutated files, with checksums sealed again so that the parsers behind them are reached.

`python -m tests.hostile.fuzz 1000000 [seed]` runs as many cases; see also test_fuzz.py.
"""

import random
import struct
import sys
import time

from cnnzip import CnnzipError
from cnnzip.container.limits import Limits
from tests import forge
from tests.hostile.goldens import GOOD, open_memory

LIMITS = Limits(max_decoded_bytes=1 << 22)
SLOW = 2.0  # seconds
EXTREMES = [0, 1, 2, 127, 128, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 48]
FILES = [data for data in GOOD.values() if len(data) <= 7000]


def change(data, rng):
    """A few bytes changed, inserted, left out or copied."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(6)
        if what == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1 and at < len(data):
            data[at] = rng.choice((0, 1, 2, 127, 128, 255, rng.randrange(256)))
        elif what == 2:
            data[at:at] = rng.randbytes(rng.choice((1, 1, 2, 8)))
        elif what == 3:
            del data[at : at + rng.choice((1, 1, 2, 8))]
        elif what == 4:
            data[at:at] = data[at : at + rng.randrange(1, 9)]
        else:
            data[at : at + rng.randrange(3)] = forge.varint(
                max(0, rng.choice(EXTREMES) + rng.randrange(-1, 2))
            )
    return bytes(data)


def changed_frame(data, rng):
    """A frame with changed parts and right checksums."""
    start, body, sections = forge.take_frame(data)
    what = rng.randrange(8)
    if what < 5 and sections:
        i = rng.randrange(len(sections))
        sections[i] = change(sections[i], rng)
    elif what == 5:
        body = change(body, rng)
    elif what == 6:
        other = forge.take_frame(rng.choice(forge.frames_of(rng.choice(FILES)) or [data]))
        sections = other[2]
    else:
        rng.shuffle(sections)
    return forge.put_frame(start, body, sections)


def resealed(data, rng):
    """A sound file with one thing changed, and every checksum right."""
    prefix, _, stored = forge.take_file(data)
    items, pack_bytes, metadata = forge.take_directory(stored)
    frames = forge.frames_of(data)
    what = rng.randrange(10)
    if what < 6 and frames:
        i = rng.randrange(len(frames))
        frames[i] = changed_frame(frames[i], rng)
        sizes = [len(frame) for frame in frames]
        for item in items:
            if item[0] == 0:
                item[2] = sizes.pop(0)
        pack_bytes = sizes.pop() if sizes else 0
    elif what == 6 and items:
        item = rng.choice(items)
        part = rng.randrange(3)
        item[part] = (
            rng.randrange(4),
            change(item[1], rng),
            max(0, rng.choice((item[2], *EXTREMES)) + rng.randrange(-8, 9)),
        )[part]
        if rng.random() < 0.3:
            items.append(list(rng.choice(items)))
    elif what == 7:
        metadata = change(metadata, rng)
    elif what == 8:
        pack_bytes = max(0, pack_bytes + rng.choice((-8, 8, *EXTREMES)))
    stored = forge.directory(
        forge.put_items(items), pack_bytes, metadata, compressed=rng.random() < 0.2
    )
    if what == 9:
        stored = change(stored, rng)
    if data[:1] != b"\x89":
        sizes = [(name.decode("utf-8", "replace"), n) for kind, name, n in items if kind == 0]
        sizes.append(("__cnnzip__", pack_bytes + len(stored) + 20))
        text = forge.safetensors_header(sizes)
        text += b" " * (-len(text) % 8)
        text = change(text, rng) if rng.random() < 0.1 else text
        prefix = struct.pack("<Q", len(text)) + text
    elif rng.random() < 0.02:
        prefix = change(prefix, rng)
    return forge.seal(prefix, b"".join(frames), stored)


def case(rng):
    """One damaged file."""
    data = rng.choice(FILES)
    return resealed(data, rng) if rng.random() < 0.8 else change(data, rng)


def use(data):
    """Open, decode and multiply; whether anything was refused."""
    try:
        with open_memory(data, LIMITS) as file:
            file.check_limits()
            for name in file:
                tensor = file[name]
                plain = tensor.decode()
                if tensor.coded.multiplies and tensor.coded.shape.dtype.arithmetic:
                    multiply(tensor, plain)
    except CnnzipError:
        return True
    return False


def multiply(tensor, plain):
    """A product; of a tensor that has been decoded, it cannot be refused."""
    import numpy as np

    rows = tensor.shape[0] if tensor.shape else 1
    columns = plain.size // rows if rows else 0
    with np.errstate(all="ignore"):
        tensor.coded.multiply(np.ones(tensor.coded.shape.n_columns, np.float32))
    assert tensor.coded.shape.n_columns in (columns, 0)


def run(n_cases, seed):
    """Run cases; returns (refused, slowest in seconds), and raises on the first failure."""
    for data in FILES:  # load the kernels before any case is timed
        assert not use(data)
    rng = random.Random(seed)
    n_refused, slowest = 0, 0.0
    for k in range(n_cases):
        data = case(rng)
        start = time.perf_counter()
        try:
            n_refused += use(data)
        except BaseException as error:
            raise AssertionError(f"case {k} of seed {seed}: {data.hex()}") from error
        slowest = max(slowest, time.perf_counter() - start)
        if slowest > SLOW:
            raise AssertionError(f"case {k} of seed {seed} took {slowest:.1f} s: {data.hex()}")
    return n_refused, slowest


if __name__ == "__main__":
    n_cases = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    begin = time.perf_counter()
    n_refused, slowest = run(n_cases, seed)
    seconds = time.perf_counter() - begin
    print(f"{n_cases:,} cases, {n_refused:,} refused, slowest {slowest:.3f} s, {seconds:.0f} s")

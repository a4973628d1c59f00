"""Files that announce much: targets T9, T10, T11 and T31."""

import json
import math
import os
import pathlib
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest

import cnnzip
from cnnzip.container.limits import Limits
from tests import forge, forge_mixed
from tests.hostile.goldens import open_memory

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="costs are measured in forked children")
def test_opening_a_small_file_takes_little_time_and_memory(tmp_path):
    command = [sys.executable, "-m", "tests.hostile.crafted", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) > 80
    raised = {name: c for name, c in found.items() if c[0].startswith(("raised", "died"))}
    assert not raised
    slow = {name: c for name, c in found.items() if c[1] > 1.0}
    assert not slow, f"more than a second: {slow}"
    large = {name: c for name, c in found.items() if c[2] > 64 << 10}
    assert not large, f"more than 64 MiB: {large}"


def map_of(n, name="w"):
    return forge.index_map("uint8", [n], 0, [7], [], name=name)


def ham_of_no_bits(n):
    return forge.ham("uint8", [1, n], [7], [], [""])


def empty_sham(n):
    sections = [forge.varint(0, 1, 0, 0, 0, 0), bytes(4), b"", b""]
    return forge.frame(forge.SHAM, "uint8", [1, n], sections)


def empty_fast(n):
    return forge.fast("uint8", [1, n], [], [[]])


def empty_mixed(n):
    return forge.frame(forge_mixed.MIXED, "uint8", [1, n], [forge.varint(0), b""])


def full_mixed(dims, layout, n_lines, book=(7,), start=(16, 15, 60_000), lines=b"\0", name=""):
    """Nothing but entries, of the last value: a stream of no bytes."""
    numbers = forge.varint(0, layout, n_lines, 3, *start)
    description = forge.codebook("uint8", book) + numbers + lines + forge.varint(0, 0)
    return forge.frame(forge_mixed.MIXED, "uint8", dims, [description, b""], name=name)


def zstd_raw(n):
    return forge.frame(forge.RAW, "uint8", [1, n], [forge.zstd_plane(bytes(n))])


BOMBS = {
    "index-map": map_of(257 << 20),
    "ham": ham_of_no_bits(257 << 20),
    "sham": empty_sham(257 << 20),
    "fast": empty_fast(257 << 20),
    "mixed": empty_mixed(257 << 20),
    "mixed-of-entries": full_mixed([257, 1 << 20], 0, 257, name="w"),
    "raw": zstd_raw(257 << 20),
    "index-map-of-2^47": map_of((1 << 48) - 1),
    "ham-of-2^30": ham_of_no_bits(1 << 30),
    "sham-of-2^30": empty_sham(1 << 30),
    "fast-of-2^30": empty_fast(1 << 30),
}


@pytest.mark.parametrize("frame", BOMBS.values(), ids=BOMBS)
def test_frames_that_expand_too_far_are_refused(frame, tmp_path):
    path = tmp_path / "bomb.cnnz"
    path.write_bytes(forge.cnnz({"w": frame}))
    start = time.perf_counter()
    with cnnzip.open(path) as file, pytest.raises(cnnzip.LimitError, match="FRM-8"):
        file["w"]
    with cnnzip.open(path) as file, pytest.raises(cnnzip.LimitError, match="FRM-8"):
        file.verify()
    with pytest.raises(cnnzip.LimitError, match="FRM-8"):
        cnnzip.CodedTensor.from_frame(frame)
    assert time.perf_counter() - start < 2


def test_tensors_that_expand_too_far_together_are_refused_by_what_reads_all(tmp_path):
    path = tmp_path / "bombs.cnnz"
    path.write_bytes(forge.cnnz({c: map_of(90 << 20, c) for c in "abc"}))
    with cnnzip.open(path) as file:
        assert file["a"].shape == (90 << 20,)
        with pytest.raises(cnnzip.LimitError, match="allow_ratio="):
            file.check_limits()
    with cnnzip.open(path, allow_ratio=1e9) as file:
        file.check_limits()
    pytest.importorskip("torch")
    with pytest.raises(cnnzip.LimitError, match="FRM-8"):
        cnnzip.load(path)


def test_limits_are_the_callers(tmp_path):
    path = tmp_path / "file.cnnz"
    path.write_bytes(forge.cnnz({"w": map_of(5000)}))
    with cnnzip.open(path, max_decoded_bytes=5000) as file:
        assert file["w"].decode().tobytes() == b"\7" * 5000
    with (
        cnnzip.open(path, max_decoded_bytes=4999) as file,
        pytest.raises(cnnzip.LimitError, match="max_decoded_bytes="),
    ):
        file["w"]


def test_a_pack_obeys_the_limit():
    pack = forge.pack([("a", "uint8", [1000], bytes(1000)), ("b", "uint8", [9], bytes(9))])
    data = forge.cnnz({"w": map_of(9)}, pack, [forge.owned("w", len(map_of(9))), *[b"\1"] * 2])
    with open_memory(data, Limits(max_decoded_bytes=1008)) as file:
        assert file["w"].decode().size == 9
        with pytest.raises(cnnzip.LimitError):
            file["b"]
    with open_memory(data, Limits(max_decoded_bytes=1009)) as file:
        assert file["b"].decode().size == 9


def test_weights_cannot_be_more_than_bits():
    code = {"patterns": [0, 7], "counts": [2]}
    frame = forge.ham("uint8", [1, 1 << 27], streams=["0" * 64], **code)
    with pytest.raises(cnnzip.CorruptError, match="LIN-5"):
        cnnzip.CodedTensor.from_frame(frame)
    frame = forge.sham("uint8", [1, 200], [5, 7], [2], [64], range(64), ["0" * 56], n_entries=64)
    with pytest.raises(cnnzip.CorruptError, match="SHM-6"):
        cnnzip.CodedTensor.from_frame(frame)


def of(name=b"w", metadata=b"", **how):
    frame = forge.index_map("uint8", [2, 3], 0, [7], [], name_crc=forge.crc32(name), **how)
    return forge.cnnz({"w": frame}, b"", [forge.owned(name, len(frame))], metadata)


def ham_codebook(n):
    """A codebook of n values, whose code is complete only for 2^16 + 1 and 2^16."""
    counts = [0] * 15 + [n] if n == 1 << 16 else [0] * 15 + [(1 << 16) - 1, 2]
    weights = forge.ham("uint32", [1, 1], range(n), counts, ["0" * 16])
    return forge.cnnz({"w": weights})


AT_THE_LIMIT = {
    "name": (of(b"n" * 1024), of(b"n" * 1025), "ENV-4"),
    "dims": (of(), forge.cnnz({"w": forge.raw("uint8", [1] * 17, b"\7")}), "FRM-3"),
    "weights": (
        forge.cnnz({"w": forge.raw("uint8", [0, (1 << 48) - 1], b"")}),
        forge.cnnz({"w": forge.raw("uint8", [0, 1 << 48], b"")}),
        "FRM-3",
    ),
    "sections": (
        forge.cnnz({"w": forge.frame(1, "uint8", [0], [b"\0"] + [b""] * 15, optional=1)}),
        forge.cnnz({"w": forge.frame(1, "uint8", [0], [b"\0"] + [b""] * 16, optional=1)}),
        "FRM-4",
    ),
    "metadata": (
        of(metadata=b"{}".rjust(1 << 20)),
        of(metadata=b"{}".rjust((1 << 20) + 1)),
        "ENV-7",
    ),
    "codebook": (ham_codebook(1 << 16), ham_codebook((1 << 16) + 1), "BOK-1"),
    "code": (
        forge.cnnz({"w": forge.ham("uint8", [1, 1], range(25), [1] * 23 + [2], ["0"])}),
        forge.cnnz({"w": forge.ham("uint8", [1, 1], range(26), [1] * 24 + [2], ["0"])}),
        "HUF-1",
    ),
    "header": (of(), of(body_end=bytes(1 << 16)), "FRM-2"),
}


@pytest.mark.parametrize(("fits", "exceeds", "clause"), AT_THE_LIMIT.values(), ids=AT_THE_LIMIT)
def test_limits_of_the_format(fits, exceeds, clause):
    with open_memory(fits) as file:
        for name in file:
            file[name].decode()

    def read():
        with open_memory(exceeds) as file:
            for name in file:
                file[name].decode()

    with pytest.raises(cnnzip.FormatError, match=clause):
        read()


def test_the_directory_has_at_most_16_mib():
    blob = forge.varint((16 << 20) + 1) + bytes((16 << 20) + 1)
    with pytest.raises(cnnzip.CorruptError, match="PLN-5"):
        open_memory(forge.seal(b"\x89CNNZ\n\1\0", b"", blob))


def test_writers_refuse_what_readers_would(tmp_path):
    weights = np.zeros(3, np.float32)
    path = tmp_path / "w.cnnz"
    for name in ("", "n" * 1025, "a\nb", "a\x7f", "__cnnzip__", "__metadata__", "\ud800"):
        with pytest.raises(cnnzip.ArgumentError, match="ENV-4"):
            cnnzip.save({name: weights}, path)
    for metadata in ({"a": "x" * (1 << 20)}, {"a": 1}, {1: "a"}):
        with pytest.raises(cnnzip.ArgumentError, match="ENV-7"):
            cnnzip.save({"w": weights}, path, metadata=metadata)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [map_of, ham_of_no_bits, empty_sham, empty_mixed, zstd_raw])
def test_decoding_takes_little_more_memory_than_the_tensor(make):
    n_bytes = 64 << 20
    frame = make(n_bytes)
    tracemalloc.start()
    try:
        tensor = cnnzip.CodedTensor.from_frame(frame)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        assert tensor.decode().size == n_bytes
        assert tracemalloc.get_traced_memory()[1] < 2.1 * n_bytes
    finally:
        tracemalloc.stop()


#: Bytes that a stream of mixed keeps of each place.
PER_PLACE = 80


@pytest.mark.parametrize(
    ("dims", "layout"), [([1 << 22], 0), ([1, 1 << 22], 4), ([8, 1 << 19], 0)], ids=str
)
def test_decoding_mixed_takes_time_and_memory_by_the_tensor(dims, layout):
    """Many lines of one place, as few of many."""
    seconds, axis = [], layout // 4
    for shrink in (4, 1):
        shape = list(dims)
        shape[axis] //= shrink
        tensor = cnnzip.CodedTensor.from_frame(full_mixed(shape, layout, shape[axis]))
        tracemalloc.start()
        start = time.process_time()
        assert (tensor.decode() == 7).all()
        seconds.append(time.process_time() - start)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    n_weights, width = math.prod(dims), math.prod(dims) // dims[axis]
    assert most < 2.1 * n_weights + PER_PLACE * width + (16 << 20)
    assert seconds[1] < 8 * seconds[0] + 0.5


def test_many_names_in_an_order_take_little_time():
    n = 1 << 14
    widths = [(left - 1).bit_length() - (left & (left - 1) != 0) for left in range(1, n + 1)]
    named = forge.varint(n) + bytes(-(-sum(widths) // 8))
    frame = full_mixed([n, 1], 0, n, lines=named)
    start = time.process_time()
    tensor = cnnzip.CodedTensor.from_frame(frame)
    assert time.process_time() - start < 1
    assert (tensor.decode() == 7).all()


def test_many_streams_are_refused_before_they_are_looked_for():
    """Streams of few weights, or as many lengths as there cannot be bytes."""
    for dims, per_stream, clause in (([1 << 20, 16], 1, "MIX-4"), ([240, 1 << 20], 1, "MIX-1")):
        start = forge.codebook("uint8", [7]) + forge.varint(0, 0, per_stream, 3, 16, 15, 99, 0, 0)
        frame = forge.frame(forge_mixed.MIXED, "uint8", dims, [start, b""], name="")
        with pytest.raises(cnnzip.FormatError, match=clause):
            cnnzip.CodedTensor.from_frame(frame)

"""Small files that announce much. Run as a program: opens each in a child, and prints its cost."""

import json
import os
import resource
import sys
import time

from cnnzip import CnnzipError
from cnnzip.container.reader import CodedFile
from tests import forge

MIB = 1 << 20


def small(name="w"):
    return forge.index_map("uint8", [2, 3], 0, [7], [], name=name)


def own(name="w"):
    return forge.owned(name, len(small(name)))


def filled(n_bytes):
    """A frame of as many bytes, so that the file may have more items."""
    data = os.urandom(n_bytes)
    return forge.raw("uint8", [1, n_bytes], data)


def many_aliases(n, compressed=True):
    frame = filled(500_000)
    items = [forge.owned("w", len(frame)), *(forge.alias(f"{i:x}", 0) for i in range(n))]
    return forge.cnnz({"w": frame}, b"", items, compressed=compressed)


def many_packed(n, dims=(0,)):
    frame = filled(870_000)  # with 128,000 tensors, all that a file of 1 MiB may name (ENV-6)
    pack = forge.pack([(f"{i:x}", "uint8", dims, b"") for i in range(n)], compressed=True)
    items = [forge.owned("w", len(frame)), *[forge.PACKED] * n]
    return forge.cnnz({"w": frame}, pack, items)


def long_names(n):
    items = [own(), *(forge.alias(f"{i:x}".rjust(1024, "n"), 0) for i in range(n))]
    frames = {"w": small()}
    return forge.cnnz(frames, b"", items, compressed=True)


def many_frames(n, end):
    frames = {f"{i:x}": small(f"{i:x}") for i in range(n)}
    return (forge.safetensors if end else forge.cnnz)(frames, compressed=True)


def header_of_dims(n_dims, dim):
    frame = forge.frame(forge.RAW, "uint8", [dim] * n_dims, [b"\0"])
    return forge.cnnz({"w": frame})


def of(frame):
    return forge.cnnz({"w": frame})


def zeros_blob(n):
    return forge.seal(b"\x89CNNZ\n\1\0", small(), forge.varint(n) + forge.zstd(bytes(n)))


def stored_blob(n):
    return forge.seal(b"\x89CNNZ\n\1\0", small(), forge.varint(n) + bytes(n))


def crafted():
    """Each file by name."""
    name = {"w": small()}
    found = {
        f"aliases-{n}-{'zstd' if z else 'plain'}": many_aliases(n, z)
        for n in (10, 1000, 50_000, 110_000)
        for z in (False, True)
        if z or n < 100_000
    }
    found |= {f"packed-{n}": many_packed(n) for n in (10, 1000, 50_000, 128_000)}
    found |= {f"packed-deep-{n}": many_packed(n, (0,) * 16) for n in (10, 1000, 50_000)}
    found |= {f"long-names-{n}": long_names(n) for n in (10, 1000, 4000)}
    found |= {f"frames-{n}-{end}": many_frames(n, end) for n in (10, 5000) for end in (0, 1)}
    found |= {f"dims-{n}-{d}": header_of_dims(n, d) for n in (1, 4, 16) for d in (1, 255, 1 << 47)}
    found |= {f"dims-{n}": header_of_dims(n, 1) for n in (17, 1000, 60_000)}
    found |= {f"zstd-zeros-{n}": zeros_blob(n) for n in (4096, 1 << 16, MIB, 16 * MIB, 17 * MIB)}
    found |= {f"zeros-{n}": stored_blob(n) for n in (1, 4096, 1 << 16, 900_000)}
    for n in (1, MIB - 20, MIB, MIB + 1, 1 << 55):
        found[f"metadata-of-{n}"] = forge.cnnz(name, n_metadata=n, compressed=True)
    letters = [f"{i:x}" for i in range(60_000)]
    texts = {
        "keys": "{" + ",".join(f'"{x}":""' for x in letters) + "}",
        "same-keys": "{" + ",".join('"a":""' for _ in letters) + "}",
        "nested": '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        "long": '{"a":"' + "x" * 1_000_000 + '"}',
        "digits": '{"a":' + "9" * 100_000 + "}",
        "escapes": '{"a":"' + "\\u0041" * 160_000 + '"}',
    }
    for key, text in texts.items():
        found[f"metadata-{key}"] = forge.cnnz(name, metadata=text.encode(), compressed=True)
    for n in (0, 1 << 20, (1 << 20) + 1, 1 << 55):
        found[f"items-{n}"] = forge.cnnz(name, n_items=n)
        found[f"frame-of-{n}"] = forge.cnnz(name, b"", [forge.owned("w", n)])
        found[f"frames-of-{n}"] = forge.cnnz(
            name, b"", [forge.owned(f"{i}", n) for i in range(300)]
        )
        found[f"pack-of-{n}"] = forge.cnnz(
            name, b"", [own(), forge.PACKED], pack_bytes=n, compressed=True
        )
        found[f"alias-of-{n}"] = forge.cnnz(name, b"", [own(), forge.alias("a", n)])
        sections = [forge.blob(forge.varint(n)), b""]
        pack = forge.frame(forge.PACK, "uint8", [0], sections, name="")
        found[f"pack-of-{n}-tensors"] = forge.cnnz(name, pack, [own(), forge.PACKED])
        sizes = forge.varint(1, 0, 0) + bytes([1]) + forge.varint(1, 6) + forge.u32(0)
        for what, body in {
            "sections": sizes + forge.varint(n),
            "section": sizes + forge.varint(1, n) + forge.u32(0),
        }.items():
            head = b"CZF\1\0" + forge.varint(len(body)) + body
            found[f"{what}-{n}"] = of(head + forge.u32(forge.crc32(head)) + bytes(24))
        head = b"CZF\1\0" + forge.varint(n)
        found[f"header-of-{n}"] = of(head + bytes(-len(head) % 8 + 24))
        prefix = n.to_bytes(8, "little")
        found[f"prefix-of-{n}"] = prefix + forge.safetensors(name)[8:]
    for n in (1000, 900_000):
        found[f"spaces-{n}"] = forge.safetensors(name, edit=lambda text, n=n: text + b" " * n)
        found[f"braces-{n}"] = forge.safetensors(name, edit=lambda text, n=n: b"{" * n)
    assert max(map(len, found.values())) <= MIB + 20_000
    return found


def cost(path):
    """Outcome, seconds and KiB of resident memory that opening takes, in a child of its own."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child:
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
        return json.loads(answer) if answer else ["died", 0, 0]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    try:
        with CodedFile(path) as file:
            outcome = f"{len(list(file))} tensors"
            for name in list(file)[:10]:
                file.header(name)
    except CnnzipError as error:
        outcome = type(error).__name__
    except Exception as error:  # noqa: BLE001 - what a reader must not raise
        outcome = f"raised {error!r}"
    seconds = time.process_time() - start
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    with os.fdopen(write_end, "w") as pipe:
        json.dump([outcome, seconds, kibibytes], pipe)
    os._exit(0)


def main(folder):
    """Write the files and print the cost of each as JSON."""
    if not os.listdir(folder):
        for name, data in crafted().items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
        # A new process, so that what making the files took does not hide what opening them takes.
        os.execv(sys.executable, [sys.executable, "-m", "tests.hostile.crafted", folder])
    good = os.path.join(folder, "items-0.good")
    with open(good, "wb") as file:
        file.write(forge.cnnz({"w": small()}))
    with CodedFile(good) as file:  # what any first use loads is no cost of these files
        file["w"].decode()
    names = sorted(os.listdir(folder))
    costs = {name: cost(os.path.join(folder, name)) for name in names}
    for name, (_, seconds, _) in costs.items():
        if seconds > 0.5:  # other programs slow this one, never speed it up: the least counts
            again = [cost(os.path.join(folder, name)) for _ in range(2)]
            costs[name][1] = min(seconds, *(found[1] for found in again))
    print(json.dumps(costs))


if __name__ == "__main__":
    main(sys.argv[1])

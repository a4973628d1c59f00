"""Write the golden files, spec/vectors/v1 and spec/vectors/invalid, and their MANIFEST.json.

Run by hand, once for each version of the format: `python -m tests.make_goldens`. The same bytes
come out each time. Files of a released version are never written anew.
"""

import hashlib
import json
import pathlib
from math import prod

import ml_dtypes
import numpy as np

import cnnzip
from cnnzip.codecs import ham as ham_codec
from cnnzip.codecs import sham as sham_codec
from cnnzip.container.envelope import envelope_of
from cnnzip.container.writer import write_file
from tests import forge, forge_banded, forge_mixed

VECTORS = pathlib.Path(__file__).parents[1] / "spec" / "vectors"
DTYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in forge.DTYPES}
FIBONACCI = [1, 1]
while len(FIBONACCI) < 20:
    FIBONACCI.append(FIBONACCI[-1] + FIBONACCI[-2])


class Tensor:
    """A tensor of a golden file, as the writer asks for it."""

    def __init__(self, name, tensor):
        self.name = name
        self.n_bytes = tensor.coded.shape.n_bytes
        self._tensor = tensor

    def frame(self):
        return self._tensor.to_frame(self.name)

    def plain(self):
        return self._tensor.coded.shape, self._tensor.coded.decode()


def encode(array, codec="raw"):
    return cnnzip.encode(array, codec, signed_zeros="keep")


def of_bytes(dtype, data, dims):
    return np.frombuffer(data, DTYPES[dtype]).reshape(dims)


def pseudorandom(n, below=256, seed=1):
    """Bytes by a linear congruence, the same on every machine."""
    out, state = np.empty(n, np.uint8), seed
    for i in range(n):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        out[i] = (state >> 16) % below
    return out


def some(dtype, dims=(5, 7), density=3):
    """A tensor of few values, and one of `density` weights that is not 0."""
    n = prod(dims)
    kinds = pseudorandom(n, 4, seed=n)
    kinds[pseudorandom(n, density, seed=n + 1) > 0] = 0
    if DTYPES[dtype] == np.bool_:
        return (kinds > 0).reshape(dims)
    values = np.array([0, 1, 2, 3], np.uint8).astype(DTYPES[dtype])
    return values[kinds].reshape(dims)


def fibonacci(n):
    """int16 weights whose values occur 1, 1, 2, 3, 5, ... times."""
    weights = np.repeat(np.arange(n, dtype=np.int16), FIBONACCI[:n])
    order = np.argsort((np.arange(weights.size) * 7919) % 104729, kind="stable")
    return weights[order].reshape(-1, 1)


def like_rows():
    """int8 weights of which each row is like one far above it."""
    kinds = pseudorandom(5 * 31, 9, seed=3).astype(np.int8).reshape(5, 31)
    return np.where(kinds > 5, kinds - 7, 0).astype(np.int8)[np.arange(40) * 3 % 5]


def ripples(dtype):
    """Floats of 8 x 30 that are much like their neighbours; sums of integers, on any machine."""
    noise = pseudorandom(240, 41, seed=7).reshape(8, 30).astype(np.int64) - 20
    smooth = np.cumsum(np.cumsum(noise, axis=0), axis=1) * (1 + np.arange(8))[:, None]
    return (smooth / 4096).astype(np.float32).astype(DTYPES[dtype])


def good():
    """(file name, tensors by name, aliases, metadata) of each file that cnnzip writes."""
    one = {}

    def add(file, array, codec, name="w"):
        one[file] = ({name: encode(array, codec)}, {}, {})

    for dtype, kind in DTYPES.items():
        dims = (3, 5)
        n = prod(dims) * kind.itemsize
        data = pseudorandom(n, 2 if dtype == "bool" else 256, seed=n)
        add(f"raw-{dtype}.cnnz", of_bytes(dtype, data.tobytes(), dims), "raw")
    for codec, dtypes in {
        "index-map": "bool uint8 int16 bfloat16 float32 float64 float8_e4m3fn complex64 uint4",
        "ham": "bool int8 uint16 int32 uint64 float16 bfloat16 float32 float64 float8_e5m2 int4",
        "sham": "bool uint8 int16 uint32 int64 float16 bfloat16 float32 float64 complex64 int4",
        "banded": "bool uint8 int16 uint32 float16 bfloat16 float32 float64 complex64 int4",
        "masked": "bool uint8 int16 bfloat16 float32 float64 complex64 complex128",
        "fast": "bool uint8 int16 uint32 int64 float16 bfloat16 float32 float64 complex64 int4",
        "mixed": "bool uint8 int16 uint32 float16 bfloat16 float32 float64 complex64 int4",
        "mixed-float": "float8_e4m3fn float8_e5m2 float16 bfloat16 float32 float64",
    }.items():
        for dtype in dtypes.split():
            add(f"{codec}-{dtype}.cnnz", some(dtype), codec)
    f32, f16 = np.float32, np.float16
    for codec in (
        "raw", "index-map", "ham", "sham", "banded", "masked", "fast", "mixed", "mixed-float",
    ):  # fmt: skip
        add(f"{codec}-empty.cnnz", np.zeros((3, 0, 2), f32), codec)
        add(f"{codec}-scalar.cnnz", np.array(1.5, f32), codec)
        add(f"{codec}-all-zero.cnnz", np.zeros((4, 4), f32), codec)
        add(f"{codec}-one-value.cnnz", np.full((4, 4), 7, f16), codec)
        add(f"{codec}-negative-zeros.cnnz", np.array([[0.0, -0.0, 1], [-0.0, 0, 0]], f32), codec)
        add(f"{codec}-all-distinct.cnnz", np.arange(1, 21, dtype=f16).reshape(4, 5), codec)
        nans = np.array([0, 0x7FC00000, 0x7F800001, 0xFFC12345, 0x7F800000, 1, 0x807FFFFF], "<u4")
        add(f"{codec}-nan-payloads-and-denormals.cnnz", nans.view(f32).reshape(1, 7), codec)
    add("raw-compressed.cnnz", np.repeat(np.arange(8, dtype=f32), 64).reshape(8, 64), "raw")
    add("index-map-width-16.cnnz", np.arange(257, dtype=np.uint16), "index-map")
    add("index-map-four-dims.cnnz", some("float32", (2, 3, 2, 2)), "index-map")
    add("ham-long-codes.cnnz", fibonacci(15), "ham")
    add("ham-longer-codes.safetensors", fibonacci(20), "ham")
    add("sham-long-codes.cnnz", fibonacci(15) + np.int16(1), "sham")
    add("banded-long-codes.cnnz", fibonacci(15) + np.int16(1), "banded")
    add("banded-many-rows.cnnz", some("float32", (300, 7), 5), "banded")
    add("banded-wide-rows.cnnz", some("int8", (4, 600), 9), "banded")
    add("mixed-long-codes.cnnz", fibonacci(15) + np.int16(1), "mixed")
    add("mixed-like-rows.cnnz", like_rows(), "mixed")
    add("mixed-four-dims.cnnz", some("float32", (6, 5, 3, 3)), "mixed")
    add("mixed-400-values.cnnz", np.arange(1200, dtype=np.uint16).reshape(30, 40) // 3, "mixed")
    add("fast-columns.cnnz", some("float32", (400, 3), 9), "fast")
    add("fast-skips.cnnz", some("float32", (5, 1000), 200), "fast")
    add("fast-128-values.cnnz", np.insert(np.arange(129, dtype=np.int16), [5, 50, 99], 0), "fast")
    add("fast-129-values.cnnz", np.arange(130, dtype=np.int16).reshape(2, 65), "fast")
    add("fast-long-lines.cnnz", some("int8", (2, 700), 2), "fast")
    for dtype in ("float8_e4m3fn", "float16", "bfloat16", "float32", "float64"):
        add(f"mixed-float-ripples-{dtype}.cnnz", ripples(dtype), "mixed-float")
    add("mixed-float-four-dims.cnnz", ripples("float32").reshape(2, 4, 3, 10), "mixed-float")
    add("sham-columns.cnnz", some("float32", (40, 3), 5), "sham")
    add("sham-rows-of-257.cnnz", some("int8", (2, 257), 20), "sham")
    wide = np.zeros((1, 65_537), np.int8)
    wide[0, [0, 40_000, 65_536]] = 1, 2, 1
    add("sham-row-of-65537.cnnz", wide, "sham")
    add("fast-rows-of-65536.cnnz", np.vstack([wide[:, 1:], 3 * wide[:, :-1]]), "fast")
    with_short_streams = (ham_codec, "STREAM_WEIGHTS", 32), (sham_codec, "STREAM_ENTRIES", 16)
    kept = [getattr(module, name) for module, name, _ in with_short_streams]
    for module, name, n in with_short_streams:
        setattr(module, name, n)
    add("ham-streams.cnnz", some("float32", (11, 15)), "ham")
    add("sham-streams.cnnz", some("float32", (11, 15), 2), "sham")
    add("sham-streams-of-columns.cnnz", some("float32", (64, 3), 2), "sham")
    for (module, name, _), n in zip(with_short_streams, kept, strict=True):
        setattr(module, name, n)
    add("ham-more-streams.cnnz", some("int8", (300, 250), 30), "ham")
    add("longest-name.cnnz", some("int8"), "ham", "n" * 1024)
    add("odd-name.safetensors", some("int8"), "ham", 'é"\\\U0001f600/~ ')

    layer, bias = encode(some("float32", (16, 20)), "sham"), encode(np.arange(4, dtype=f32))
    small = {f"p.{dtype}": encode(some(dtype, (2, 3))) for dtype in DTYPES}
    small |= {"p.scalar": encode(np.array(3, np.int64)), "p.empty": encode(np.empty((0, 2), f32))}
    model = {"fc.weight": layer, "fc.bias": bias}
    meta = {"epoch": "3", "é": 'quote " and \U0001f600'}
    tied = {"head.weight": "fc.weight", "head.bias": "fc.bias"}
    for end in ("cnnz", "safetensors"):
        one |= {
            f"no-tensors.{end}": ({}, {}, {}),
            f"no-tensors-but-metadata.{end}": ({}, {}, meta),
            f"model.{end}": (model, {}, {}),
            f"tied.{end}": (model, tied, {}),
            f"metadata.{end}": (model, {}, meta),
            f"pack-of-all-types.{end}": (small, {}, {}),
            f"two-frames.{end}": ({"a": encode(some("int8", (40, 40)), "ham"), "b": layer}, {}, {}),
        }
    return one


def forged_good():
    """Files that another writer may make, or a newer one that an older reader still reads."""
    rows = [0, 5, 7, 5, 0, 0]
    by_columns = forge.ham("uint8", [2, 3], [0, 5, 7], [1, 2], ["01010", "110"], axis=1, lines=2)
    places = forge.sham(
        "uint8", [3, 4], [5, 7], [2], [1, 0, 2], [1, 0, 3], ["0", "10"], axis=0, lines=2
    )
    skips = [[(None, 0), (None, 0), (2, 1)], [], [(0, 2), (None, 3), (0, 0)]]
    sections = [forge.planes([("uint8", bytes(rows))]), b"of a newer version"]
    newer = forge.frame(forge.RAW, "uint8", [2, 3], sections, optional=1 << 20, version=(1, 7))
    packed = [("b", "float16", [2], bytes(range(4))), ("c", "bool", [], b"\1")]
    wide = forge.index_map("uint8", [2, 3], 16, [5, 7], [0, 1, 1, 0, 0, 0])
    pack = forge.pack(packed)
    items = [forge.PACKED, forge.owned("w", len(wide)), forge.alias("t", 0), forge.PACKED]
    no_name = forge.cnnz({"w": wide}, pack, items, b' {"a" : "b"}\n', version=(1, 9))
    aliases = [forge.owned("w", len(wide)), *(forge.alias(f"alias.{i}", 0) for i in range(40))]
    high = forge.raw("int4", [1, 8], bytes(range(0x78, 0x80)))
    return {
        "forged-ham-columns.cnnz": forge.cnnz({"w": by_columns}),
        "forged-sham-two-rows-a-stream.cnnz": forge.cnnz({"w": places}),
        "forged-fast-columns.cnnz": forge.cnnz(
            {"w": fast_of(dims=[5, 2], axis=1, lines=[[(1, 0)], [(0, 2), (3, 1)]])}
        ),
        "forged-fast-more-skips-than-needed.cnnz": forge.cnnz(
            {"w": fast_of(dims=[3, 300], lines=skips)}
        ),
        "forged-fast-two-bytes-for-three-values.cnnz": forge.cnnz({"w": fast_of(token_bytes=2)}),
        **{f"forged-{name}.cnnz": forge.cnnz({"w": data}) for name, data in any_banded().items()},
        **{f"forged-{name}.cnnz": forge.cnnz(frames) for name, frames in any_mixed().items()},
        "forged-newer-minor-and-section.cnnz": forge.cnnz({"w": newer}),
        "forged-newer-minor.safetensors": forge.safetensors({"w": newer}, version="1.9"),
        "forged-pack-first.cnnz": no_name,
        "forged-pack-first.safetensors": forge.safetensors({"w": wide}, pack, items),
        "forged-directory-compressed.cnnz": forge.cnnz({"w": wide}, b"", aliases, compressed=True),
        "forged-int4-high-bits.cnnz": forge.cnnz({"w": high}),
    }


def any_banded():
    """Frames of banded and masked that our encoder does not write."""
    wide = {
        "dims": [3, 20], "weights": [k % 7 % 3 for k in range(60)], "lines_per_stream": 3,
        "n_bands": 64, "bands": list(range(20)), "scan": 1, "patterns": [2, 1], "kinds": [15, 6],
        "n_kinds": 16, "level_bits": 1, "memory_bits": 4, "thresholds": tuple(range(1, 64)),
        "n_gap_tables": 1, "gap_map": None, "value_grid": 0,
    }  # fmt: skip
    return {
        "banded-given-scan": banded_of(),
        "banded-columns-of-a-given-scan": banded_of(dims=[6, 2], axis=1),
        "banded-scan-by-bands": banded_of(scan=0),
        "banded-scan-by-place": banded_of(scan=1),
        "banded-levels-of-a-bit": banded_of(level_bits=1, memory_bits=6),
        "banded-kinds-without-a-grid": banded_of(value_grid=0),
        "banded-65536-contexts": banded_of(**wide),
        "masked-given-scan": masked_of(),
        "masked-of-kind-2": masked_of(n_kinds=3, kinds=[2]),
    }


def any_mixed():
    """Frames of mixed that our encoder does not write, by name, and file by file."""

    def named(**plans):
        return {name: mixed_of(name=name, **plan) for name, plan in plans.items()}

    shifts = {"entry_shift": 10, "value_shift": 20}, {"entry_shift": 20, "value_shift": 10}
    cube = {"dims": [4, 3, 5], "weights": [k * 7 % 5 if k % 3 else 0 for k in range(60)]}
    cube["patterns"] = [1, 2, 3, 4]
    values = range(1, 701)
    streams = {
        "dtype": "uint16", "dims": [513, 512], "lines_per_stream": 512, "form": 0, "chance": 9,
        "patterns": [*range(1, 3800)], "n_low": 1900, "lines": [512, 0, 300],
        "weights": [k % 3799 + 1 if k % 65_521 == 0 else 0 for k in range(513 * 512)],
    }  # fmt: skip
    return {
        "mixed-layouts": named(**{f"layout.{k}": {**cube, "layout": k} for k in range(12)}),
        "mixed-forms": named(**{f"form.{k}": {"form": k} for k in range(4)}),
        "mixed-shifts": named(**{f"shifts.{k}": shifts[k] for k in range(2)}),
        "mixed-chances": named(**{f"chance.{k}": {"chance": k} for k in (1, 65_535)}),
        "mixed-low-values": named(**{f"low.{k}": {"n_low": k} for k in range(4)}),
        "mixed-orders": named(
            some={"lines": [7, 2], "places": [30, 1, 2]},
            all={"lines": [*range(19, -1, -1)], "places": [7 * k % 31 for k in range(31)]},
        ),
        "mixed-symbol-past-the-end": {"w": mixed_of(symbols={9: 3})},
        "mixed-700-values": {
            "w": mixed_of(
                dtype="uint16", dims=[20, 20], patterns=list(values), n_low=100,
                weights=[values[k * k % 700] if k % 3 else 0 for k in range(400)],
            )
        },
        "mixed-long-lines": {
            "w": mixed_of(
                dims=[2, 1500], chance=300, patterns=[5, 9],
                weights=[(5, 9)[k % 2] if k * k % 173 == 4 or k in (900, 901) else 0 for k in range(3000)],
            )
        },
        "mixed-streams": {"w": mixed_of(**streams)},
    }  # fmt: skip


def sham_of(**how):
    """A sound sham frame of 2 x 4 weights, but for `how`."""
    sound = {
        "dtype": "uint8", "dims": [2, 4], "patterns": [5, 7], "counts": [2],
        "line_lengths": [2, 1], "places": [0, 3, 1], "streams": ["01", "1"],
    }  # fmt: skip
    return forge.sham(**(sound | how))


def ham_of(**how):
    """A sound ham frame of 2 x 4 weights, but for `how`."""
    sound = {
        "dtype": "uint8", "dims": [2, 4], "patterns": [1, 2, 3], "counts": [1, 2],
        "streams": ["0101111", "110010"],
    }  # fmt: skip
    return forge.ham(**(sound | how))


def fast_of(**how):
    """A sound fast frame of 2 x 5 weights, but for `how`."""
    sound = {
        "dtype": "uint8", "dims": [2, 5], "patterns": [5, 9, 7],
        "lines": [[(0, 0), (2, 1)], [(4, 2)]],
    }  # fmt: skip
    return forge.fast(**(sound | how))


def banded_of(**how):
    """A sound banded frame of 2 x 6 weights, but for `how`."""
    return forge_banded.banded(**(BANDED | how))


def mixed_of(**how):
    """A sound mixed frame of 20 x 31 weights, but for `how`."""
    weights = [
        (5, 7, 9)[(i + j // 3) % 3] if (i * i + j) % 7 < j % 4 else 0
        for i in range(20)
        for j in range(31)
    ]
    sound = {
        "dtype": "uint8", "dims": [20, 31], "weights": weights, "patterns": [5, 9, 7], "n_low": 1,
    }  # fmt: skip
    return forge_mixed.mixed(**(sound | how))


def masked_of(**how):
    """A sound masked frame of 2 x 6 weights, but for `how`."""
    return forge_banded.masked(**(BANDED | {"patterns": None, "n_kinds": 1} | how))


#: All that a description can say, in a few bytes.
BANDED = {
    "dtype": "uint8", "dims": [2, 6], "weights": [5, 0, 7, 7, 0, 5, 0, 0, 9, 0, 5, 0], "lines_per_stream": 2,
    "patterns": [7, 9, 5], "n_bands": 3, "bands": [0, 2, 1, 2, 0, 1], "scan": [4, 1, 0, 5, 3, 2],
    "thresholds": (3,), "level_bits": 2, "memory_bits": 4, "n_kinds": 3, "kinds": [2, 0, 1],
    "value_grid": 1, "n_gap_tables": 3, "gap_map": lambda context: context % 3,
    "n_value_tables": 3, "value_map": lambda context: context % 3,
}  # fmt: skip


def map_of(**how):
    """A sound index-map frame of 2 x 3 weights, but for `how`."""
    sound = {
        "dtype": "uint8", "dims": [2, 3], "width": 2, "patterns": [1, 2, 3],
        "indices": [0, 1, 2, 1, 0, 0],
    }  # fmt: skip
    return forge.index_map(**(sound | how))


def invalid():
    """(clause, error, bytes) of each file that breaks one rule."""
    corrupt, truncated, version, limit = "corrupt", "truncated", "version", "limit"
    plain = map_of()
    six = bytes(range(6))
    n = len(plain)
    here = [forge.owned("w", n)]
    frames = {"w": plain}
    whole = forge.cnnz(frames)
    bias = [("b", "float16", [2], bytes(range(4)))]
    pack = forge.pack(bias)
    packed = [*here, forge.PACKED]

    def of(frame):
        return forge.cnnz({"w": frame})

    def named(name):
        shown = name.decode("latin-1")
        crc = forge.crc32(name)
        return forge.cnnz(
            {shown: map_of(name_crc=crc)}, b"", [forge.owned(name, len(map_of(name_crc=crc)))]
        )

    def spaced(text):
        return text.replace(b'"U8"', b'"I8"', 1)

    z = forge.zstd(bytes(64))
    two_frames = forge.varint(len(z) + 9) + z + forge.zstd(b"")
    million = forge.index_map("uint8", [300 << 20], 0, [7], [])
    thirds = {c: forge.index_map("uint8", [100 << 20], 0, [7], [], name=c) for c in "abc"}
    raw_of = forge.planes([("uint8", six)])
    boolean = forge.raw("bool", [2], b"\1\2")
    short = forge.raw("uint8", [2, 3], six, padding=b"")
    assert len(short) % 8
    eights = [forge.index_map("uint8", [k], 0, [7], []) for k in range(24, 64, 8)]
    like_its_shape = next(f for k, f in zip(range(24, 64, 8), eights, strict=True) if len(f) > k)
    found = {
        "file-cut": ("ENV-1", truncated, whole[:-1]),
        "file-with-a-byte-more": ("ENV-1", truncated, whole + b"\0"),
        "file-longer-than-it-says": (
            "ENV-1", corrupt, forge.cnnz(frames, tail={"file_bytes": len(whole) - 1}),
        ),
        "tail-crc": ("ENV-1", corrupt, forge.cnnz(frames, tail={"flip": 1})),
        "prefix-magic": ("ENV-2", corrupt, forge.cnnz(frames, magic=b"\x89CNNY\n")),
        "prefix-of-major-0": ("ENV-2", corrupt, forge.cnnz(frames, version=(0, 1))),
        "newer-major": ("VER-1", version, forge.cnnz(frames, version=(2, 0))),
        "newer-major-header": ("VER-1", version, forge.safetensors(frames, version="2.0")),
        "item-of-kind-3": ("ENV-3", corrupt, forge.cnnz(frames, b"", [*here, b"\3"])),
        "alias-of-an-alias": (
            "ENV-3", corrupt,
            forge.cnnz(frames, b"", [*here, forge.alias("t", 0), forge.alias("u", 1)]),
        ),
        "directory-with-a-byte-more": ("ENV-3", corrupt, forge.cnnz(frames, end=b"\0")),
        "name-empty": ("ENV-4", corrupt, named(b"")),
        "name-of-1025-bytes": ("ENV-4", corrupt, named(b"n" * 1025)),
        "name-with-line-feed": ("ENV-4", corrupt, named(b"a\nb")),
        "name-not-utf-8": ("ENV-4", corrupt, named(b"a\xff")),
        "name-reserved": ("ENV-4", corrupt, named(b"__metadata__")),
        "name-twice": ("ENV-4", corrupt, forge.cnnz(frames, b"", [*here, forge.alias("w", 0)])),
        "name-also-in-the-pack": (
            "ENV-4", corrupt,
            forge.cnnz(frames, forge.pack([("w", "uint8", [1], b"\1")]), packed),
        ),
        "gap-after-the-frames": ("ENV-5", corrupt, forge.cnnz(frames, gap=bytes(8))),
        "frame-of-2-to-the-55-bytes": (
            "ENV-5", corrupt, forge.cnnz(frames, b"", [forge.owned("w", 1 << 55)]),
        ),
        "pack-of-2-to-the-55-bytes": (
            "ENV-5", corrupt, forge.cnnz(frames, pack, packed, pack_bytes=1 << 55),
        ),
        "frame-of-16-bytes": ("ENV-5", corrupt, of(plain[:16])),
        "pack-without-items": ("ENV-5", corrupt, forge.cnnz(frames, pack, here)),
        "items-without-a-pack": ("ENV-5", corrupt, forge.cnnz(frames, b"", packed)),
        "pack-of-one-for-two-items": (
            "ENV-5", corrupt, forge.cnnz(frames, pack, [*packed, forge.PACKED]),
        ),
        "pack-as-an-item": ("ENV-5", corrupt, of(forge.pack(bias, name="w"))),
        "pack-of-another-codec": (
            "ENV-5", corrupt, forge.cnnz(frames, map_of(name=""), packed),
        ),
        "items-more-than-bytes": (
            "ENV-6", corrupt, forge.cnnz(frames, pack, here + [forge.PACKED] * 4300, compressed=True),
        ),
        "metadata-not-json": ("ENV-7", corrupt, forge.cnnz(frames, metadata=b"{a}")),
        "metadata-of-numbers": ("ENV-7", corrupt, forge.cnnz(frames, metadata=b'{"a":1}')),
        "every-tensor-packed": ("ENV-8", corrupt, forge.cnnz({}, pack, [forge.PACKED])),
        "header-longer-than-the-file": (
            "ENV-9", truncated, (1 << 26).to_bytes(8, "little") + forge.safetensors(frames)[8:],
        ),
        "header-of-another-type": ("ENV-11", corrupt, forge.safetensors(frames, edit=spaced)),
        "header-of-another-format": (
            "ENV-11", corrupt,
            forge.safetensors(frames, edit=lambda text: text.replace(b'"pt"', b'"np"')),
        ),
        "header-padded-twice": (
            "ENV-11", corrupt,
            forge.safetensors(frames, edit=lambda text: text + b" " * (8 + -len(text) % 8)),
        ),
        "frame-of-another-name": ("ENV-13", corrupt, of(map_of(name="v"))),
        "frame-of-no-name": ("ENV-13", corrupt, of(map_of(name=""))),
        "pack-of-a-name": (
            "ENV-13", corrupt, forge.cnnz(frames, forge.pack(bias, name="w"), packed),
        ),
        "frame-magic": ("FRM-1", corrupt, of(map_of(magic=b"CZG"))),
        "frame-of-major-0": ("FRM-1", corrupt, of(map_of(version=(0, 9)))),
        "frame-of-newer-major": ("VER-1", version, of(map_of(version=(2, 0)))),
        "header-crc": ("FRM-2", corrupt, of(map_of(flip_header=1))),
        "header-with-a-byte-more": ("FRM-2", corrupt, of(map_of(body_end=b"\0"))),
        "seventeen-dims": ("FRM-3", corrupt, of(forge.raw("uint8", [1] * 17, b"\7"))),
        "too-many-weights": (
            "FRM-3", corrupt, of(forge.frame(forge.RAW, "uint8", [0, 1 << 48], [b"\0"])),
        ),
        "a-section-missing": (
            "FRM-4", corrupt, of(forge.frame(forge.INDEX_MAP, "uint8", [2, 3], [b"\0"])),
        ),
        "a-section-too-many": (
            "FRM-4", corrupt, of(forge.frame(forge.RAW, "uint8", [2, 3], [raw_of, b"new"])),
        ),
        "section-crc": ("FRM-5", corrupt, of(map_of(flip_section=1))),
        "padding-not-zero": (
            "FRM-6", corrupt, of(short + bytes(-len(short) % 8 - 1) + b"\1"),
        ),
        "padding-of-8-bytes-more": ("FRM-7", corrupt, of(plain + bytes(8))),
        "frame-like-its-tensor": ("FRM-7", truncated, of(like_its_shape[:-8])),
        "frame-that-expands-too-far": ("FRM-8", limit, of(million)),
        "frames-that-expand-too-far-together": ("FRM-8", limit, forge.cnnz(thirds)),
        "unknown-codec": ("VER-2", version, of(forge.frame(31, "uint8", [2, 3], [raw_of]))),
        "unknown-feature": ("VER-2", version, of(map_of(required=1))),
        "unknown-dtype": ("DTY-1", version, of(forge.frame(forge.RAW, 9, [2, 3], [raw_of]))),
        "bool-of-2": ("DTY-2", corrupt, of(boolean)),
        "varint-too-long": (
            "NUM-2", corrupt,
            of(forge.frame(forge.INDEX_MAP, "uint8", [2, 3], [b"\x80\0\1\7", b""])),
        ),
        "plane-with-a-byte-more": (
            "PLN-3", corrupt, of(forge.frame(forge.RAW, "uint8", [2, 3], [raw_of + b"\0"])),
        ),
        "plane-cut": (
            "PLN-2", truncated, of(forge.frame(forge.RAW, "uint8", [2, 3], [raw_of[:-1]])),
        ),
        "plane-of-two-zstd-frames": (
            "PLN-4", corrupt, of(forge.frame(forge.RAW, "uint8", [8, 8], [two_frames])),
        ),
        "plane-of-another-size": (
            "PLN-4", corrupt, of(forge.frame(forge.RAW, "uint8", [65], [forge.zstd_plane(bytes(64))])),
        ),
        "blob-that-expands-too-far": (
            "PLN-5", corrupt,
            forge.seal(b"\x89CNNZ\n\1\0", plain, forge.varint(1 << 20) + forge.zstd(bytes(1 << 20))),
        ),
        "code-of-25-bits": (
            "HUF-1", corrupt,
            of(ham_of(dims=[1, 1], patterns=range(26), counts=[1] * 24 + [2], streams=["0"])),
        ),
        "code-not-full": (
            "HUF-2", corrupt, of(ham_of(patterns=[1, 2], counts=[1, 1], streams=["0" * 4] * 2)),
        ),
        "code-of-a-symbol-more": ("HUF-3", corrupt, of(ham_of(patterns=[1, 2]))),
        "codebook-of-65537": (
            "BOK-1", corrupt,
            of(forge.frame(forge.INDEX_MAP, "uint8", [2, 3], [forge.varint(16, 65_537), b""])),
        ),
        "codebook-of-16-bytes-a-value": (
            "BOK-1", corrupt, of(map_of(dtype="complex128")),
        ),
        "codebook-decreases": ("BOK-2", corrupt, of(map_of(patterns=[1, 3, 2]))),
        "codebook-repeats": ("BOK-2", corrupt, of(ham_of(patterns=[1, 1, 3]))),
        "axis-2": ("LIN-2", corrupt, of(ham_of(axis=2))),
        "no-line-a-stream": ("LIN-3", corrupt, of(ham_of(lines=0))),
        "more-lines-a-stream-than-lines": (
            "LIN-3", corrupt, of(ham_of(lines=3, streams=["0101111" + "110010"])),
        ),
        "stream-too-short": ("LIN-5", corrupt, of(ham_of(streams=["0101111", ""]))),
        "stream-too-long": (
            "LIN-5", corrupt, of(ham_of(streams=["0101111", "110010" + "0" * 8])),
        ),
        "streams-do-not-fill": ("LIN-5", corrupt, of(ham_of(lengths=[1, 0]))),
        "stream-padding": ("NUM-3", corrupt, of(ham_of(streams=["0101111", "11001001"]))),
        "index-map-with-a-byte-more": ("IMP-1", corrupt, of(map_of(end=b"\0"))),
        "index-map-of-3-bits": ("IMP-2", corrupt, of(map_of(width=3))),
        "indices-cut": ("IMP-3", corrupt, of(map_of(indices=b"\x19"))),
        "index-past-the-codebook": ("IMP-4", corrupt, of(map_of(indices=[0, 1, 3, 0, 0, 0]))),
        "index-padding": ("NUM-3", corrupt, of(map_of(indices=b"\x19\1"))),
        "ham-with-a-byte-more": ("HAM-1", corrupt, of(ham_of(end=b"\0"))),
        "ham-cut": ("HAM-1", truncated, of(ham_of(lengths=[2]))),
        "ham-without-values": (
            "HAM-2", corrupt, of(ham_of(patterns=[], counts=[], streams=["", ""])),
        ),
        "ham-values-of-no-weights": (
            "HAM-2", corrupt, of(ham_of(dims=[0], patterns=[1], counts=[], streams=[])),
        ),
        "sham-with-a-byte-more": ("SHM-1", corrupt, of(sham_of(end=b"\0"))),
        "sham-with-zero": ("SHM-2", corrupt, of(sham_of(patterns=[0, 7]))),
        "sham-values-of-no-entries": (
            "SHM-2", corrupt,
            of(sham_of(patterns=[5], counts=[], line_lengths=[0, 0], places=[], streams=["", ""])),
        ),
        "line-lengths-wrong": ("SHM-3", corrupt, of(sham_of(line_lengths=[2, 2]))),
        "line-lengths-cut": ("SHM-3", corrupt, of(sham_of(line_lengths=[3]))),
        "places-cut": ("SHM-4", corrupt, of(sham_of(places=[0, 3], n_entries=3))),
        "place-past-the-line": ("SHM-4", corrupt, of(sham_of(places=[0, 4, 1]))),
        "places-decrease": ("SHM-4", corrupt, of(sham_of(places=[3, 0, 1]))),
        "more-entries-than-bits": (
            "SHM-6", corrupt, of(sham_of(n_entries=100, streams=["0" * 8, ""])),
        ),
        "fast-with-a-byte-more": ("FST-1", corrupt, of(fast_of(end=b"\0"))),
        "fast-with-zero": ("FST-2", corrupt, of(fast_of(patterns=[5, 0, 7]))),
        "fast-values-of-no-tokens": ("FST-2", corrupt, of(fast_of(lines=[[], []]))),
        "fast-tokens-of-3-bytes": ("FST-2", corrupt, of(fast_of(token_bytes=3))),
        "fast-values-too-many-for-a-byte": (
            "FST-2", corrupt, of(fast_of(patterns=range(1, 130), tokens=bytes(3))),
        ),
        "fast-line-lengths-wrong": ("FST-3", corrupt, of(fast_of(line_lengths=[2, 2]))),
        "fast-line-lengths-cut": ("FST-3", corrupt, of(fast_of(line_lengths=[3]))),
        "fast-tokens-cut": ("FST-4", corrupt, of(fast_of(tokens=bytes(2)))),
        "fast-last-token-a-skip": (
            "FST-5", corrupt, of(fast_of(dims=[2, 100], lines=[[(0, 0), (None, 0)], [(4, 2)]])),
        ),
        "fast-place-past-the-line": (
            "FST-5", corrupt, of(fast_of(lines=[[(0, 0), (4, 1)], [(4, 2)]])),
        ),
        "fast-skip-past-the-line": (
            "FST-5", corrupt, of(fast_of(lines=[[(None, 0), (0, 0)], [(4, 2)]])),
        ),
        "fast-symbol-outside": ("FST-5", corrupt, of(fast_of(lines=[[(0, 0), (2, 3)], [(4, 2)]]))),
        "fast-tokens-more-than-weights": (
            "FST-5", corrupt, of(fast_of(lines=[[(0, 0)] * 6, [(0, 0)] * 5])),
        ),
        **{
            name: (clause, truncated if "cut" in name else corrupt, of(frame))
            for name, (clause, frame) in (
                invalid_banded() | invalid_mixed() | invalid_mixed_float()
            ).items()
        },
        "pack-of-two-dims": (
            "PCK-1", corrupt,
            forge.cnnz(
                frames,
                forge.frame(forge.PACK, "uint8", [1, 0], [forge.blob(b"\1"), b""], name=""),
                packed,
            ),
        ),
        "pack-bytes-wrong": (
            "PCK-2", corrupt, forge.cnnz(frames, forge.pack(bias, n_bytes=5), packed),
        ),
        "pack-of-1024-bytes": (
            "PCK-2", corrupt,
            forge.cnnz(frames, forge.pack([("b", "uint8", [1024], bytes(1024))]), packed),
        ),
        "pack-index-with-a-byte-more": (
            "PCK-2", corrupt, forge.cnnz(frames, forge.pack(bias, end=b"\0"), packed),
        ),
    }  # fmt: skip
    for_safetensors = ("header-longer", "header-of-", "header-padded", "newer-major-header")
    return {
        f"{name}.{'safetensors' if name.startswith(for_safetensors) else 'cnnz'}": entry
        for name, entry in found.items()
    }


def invalid_banded():
    """(clause, frame) of each frame of banded or masked that breaks one rule."""
    varint, packed = forge.varint, forge_banded.packed

    def parts(frame=banded_of, **parts):
        return frame(parts=parts)

    many = {"n_bands": 64, "thresholds": tuple(range(1, 33))}
    long = [varint(0, 1, 0, 9, 0, 0, 0), b""]
    lines = [[(0, 1), (1, 0)], [(2, 2)]]
    return {
        "banded-with-a-byte-more": ("BND-1", parts(end=b"\0")),
        "banded-cut": ("BND-1", parts(streams=b"")),
        "banded-entries-do-not-add-up": ("BND-1", parts(n_entries=varint(8))),
        "banded-with-zero": ("BND-2", banded_of(patterns=[7, 9, 5, 0], kinds=[2, 0, 1, 0])),
        "banded-values-of-no-entries": ("BND-2", banded_of(weights=[0] * 12)),
        "banded-of-no-band": ("BND-3", parts(n_bands=varint(0))),
        "banded-of-65-bands": ("BND-3", parts(n_bands=varint(65))),
        "banded-band-outside": ("BND-3", parts(bands=packed([0, 2, 3, 2, 0, 1], 2))),
        "banded-scan-of-kind-3": ("BND-3", parts(scan=varint(3))),
        "banded-scan-of-kind-2-to-the-55": ("BND-3", parts(scan=varint(1 << 55))),
        "banded-scan-with-a-place-twice": ("BND-3", parts(places=packed([4, 1, 0, 5, 3, 4], 3))),
        "banded-scan-with-a-place-outside": ("BND-3", parts(places=packed([4, 1, 0, 5, 7, 2], 3))),
        "banded-thresholds-equal": ("BND-4", banded_of(thresholds=(3, 3))),
        "banded-levels-of-no-bit": ("BND-4", parts(level_bits=varint(0))),
        "banded-levels-of-3-bits": ("BND-4", parts(level_bits=varint(3))),
        "banded-levels-of-2-to-the-55-bits": ("BND-4", parts(level_bits=varint(1 << 55))),
        "banded-memory-of-7-bits": ("BND-4", banded_of(level_bits=1, memory_bits=7)),
        "banded-memory-of-a-level-and-a-half": ("BND-4", banded_of(memory_bits=3)),
        "banded-memory-of-2-to-the-55-bits": ("BND-4", parts(memory_bits=varint(1 << 55))),
        "banded-of-no-kind": ("BND-4", parts(n_kinds=varint(0))),
        "banded-of-17-kinds": ("BND-4", banded_of(n_kinds=17)),
        "banded-kind-outside": ("BND-4", parts(kinds=packed([2, 3, 1], 2))),
        "banded-kinds-padding": ("NUM-3", parts(kinds=b"\x85")),
        "banded-form-of-20": ("BND-4", parts(form=varint(20))),
        "banded-of-65-gap-tables": ("BND-4", parts(n_gap_tables=varint(65))),
        "banded-contexts-of-gaps-too-many": (
            "BND-5", banded_of(**many, level_bits=1, memory_bits=5, n_kinds=1),
        ),
        "banded-contexts-of-values-too-many": (
            "BND-5", banded_of(**many, memory_bits=0, n_kinds=16),
        ),
        "banded-gap-table-outside": ("BND-5", parts(gap_map=packed([0, 1, 2, 3] * 24, 2))),
        "banded-value-table-outside": ("BND-5", parts(value_map=packed([0, 1, 2] * 13 + [0, 1, 3], 2))),
        "banded-table-of-no-symbol": ("ANS-2", parts(count_table=b"\1\0")),
        "banded-line-of-7-entries": ("BND-7", banded_of(lines=[[(0, 0)] * 7, []])),
        "banded-gap-past-the-line": ("BND-7", banded_of(lines=[[(0, 1), (5, 0)], [(2, 2)]])),
        "banded-symbol-outside": ("BND-7", banded_of(lines=[[(0, 1), (1, 3)], [(2, 2)]])),
        "banded-entries-too-few": ("BND-7", banded_of(lines=lines, counts=[1, 1])),
        "banded-line-of-2-to-the-24-places": (
            "BND-8", forge.frame(forge_banded.BANDED, "bool", [1, 1 << 24], long),
        ),
        "banded-last-state": ("ANS-6", banded_of(last_state=1)),
        "banded-stream-too-short": (
            "LIN-5", banded_of(weights=[7] * 12, patterns=[7], kinds=[2], streams=[b"\0"]),
        ),
        "masked-scan-of-kind-3": ("BND-3", parts(masked_of, scan=varint(3))),
        "masked-of-2": ("DTY-2", parts(masked_of, codebook=b"\1\2")),
        "masked-entry-of-pattern-0": (
            "MSK-2", masked_of(entries=forge.planes([("uint8", bytes([7, 0, 5, 7, 5, 9]))])),
        ),
        "masked-planes-with-a-byte-more": ("PLN-3", masked_of(entries=bytes(8))),
    }  # fmt: skip


def invalid_mixed():
    """(clause, frame) of each frame of mixed that breaks one rule."""
    varint = forge.varint

    def parts(**parts):
        return mixed_of(parts=parts)

    def of_nothing(dims, n_lines, orders):
        """Sections of one value and one stream, of no bytes."""
        start = forge.codebook("uint8", [7]) + varint(0, 0, n_lines, 3, 16, 15, 1000)
        return forge.frame(forge_mixed.MIXED, "uint8", dims, [start + orders + varint(0), b""])

    coded = mixed_of()
    coded = forge.take_frame(coded)[2][1]
    plain = varint(0, 0)
    return {
        "mixed-with-a-byte-more": ("MIX-1", parts(end=b"\0")),
        "mixed-cut": ("MIX-1", parts(streams=b"")),
        "mixed-layout-12": ("MIX-1", mixed_of(layout=12)),
        "mixed-form-4": ("MIX-1", mixed_of(form=4)),
        "mixed-entry-shift-9": ("MIX-1", parts(entry_shift=varint(9))),
        "mixed-entry-shift-21": ("MIX-1", parts(entry_shift=varint(21))),
        "mixed-value-shift-9": ("MIX-1", parts(value_shift=varint(9))),
        "mixed-value-shift-2-to-the-55": ("MIX-1", parts(value_shift=varint(1 << 55))),
        "mixed-chance-0": ("MIX-1", parts(chance=varint(0))),
        "mixed-chance-65536": ("MIX-1", parts(chance=varint(65_536))),
        "mixed-line-of-2-to-the-20-places-and-one": (
            "MIX-2", of_nothing([1, (1 << 20) + 1], 1, plain),
        ),
        "mixed-values-of-no-weights": ("MIX-2", mixed_of(dims=[0, 3], weights=[])),
        "mixed-names-more-lines-than-there-are": ("MIX-3", parts(lines=varint(21) + bytes(40))),
        "mixed-names-more-places-than-there-are": ("MIX-3", parts(places=varint(32) + bytes(40))),
        "mixed-names-one-of-16385-lines": (
            "MIX-3", of_nothing([16_385, 1], 16_385, varint(1) + bytes(40)),
        ),
        "mixed-order-cut": ("MIX-3", of_nothing([3000, 1], 3000, varint(3000))),
        "mixed-order-padding": ("NUM-3", parts(lines=varint(1) + b"\1")),
        "mixed-no-line-a-stream": ("MIX-4", parts(lines_per_stream=varint(0))),
        "mixed-more-lines-a-stream-than-lines": ("MIX-4", parts(lines_per_stream=varint(21))),
        "mixed-streams-of-few-weights": ("MIX-4", mixed_of(lines_per_stream=10)),
        "mixed-streams-do-not-fill": ("LIN-5", parts(streams=varint(1))),
        "mixed-stream-of-no-entries": (
            "LIN-5", forge.frame(forge_mixed.MIXED, "uint8", [2, 3], [b"\0", b"\1"]),
        ),
        "mixed-with-zero": ("MIX-5", mixed_of(patterns=[5, 9, 7, 0])),
        "mixed-value-twice": ("BOK-2", mixed_of(patterns=[5, 9, 7, 5])),
        "mixed-low-values-4-of-3": ("MIX-5", parts(n_low=varint(4))),
        "mixed-stream-that-ends-in-zero": ("MXG-5", mixed_of(streams=[coded + b"\0"])),
        "mixed-stream-of-ones": ("MXG-5", mixed_of(streams=[b"\xff" * 8])),
        "mixed-stream-with-a-byte-left": ("MXG-5", mixed_of(streams=[coded + bytes(12) + b"\1"])),
    }  # fmt: skip


def invalid_mixed_float():
    """(clause, frame) of each frame of mixed-float that breaks one rule."""

    def of(*numbers, dtype="float32", dims=(2, 3), streams=b"", stored=None):
        """Weights of any values: a stream of no bytes, or of those given, and plain planes."""
        numbers = numbers or (0, dims[0], 0, 5, 9)
        description = forge.varint(*numbers, len(streams) if stored is None else stored)
        low = forge.planes([("uint16", bytes(2 * prod(dims)))])
        return forge.frame(9, dtype, dims, [description, streams, low])

    wide = [forge.varint(0, 1, 0, 5, 9, 0), b"", b""]
    return {
        "mixed-float-layout-12": ("FLM-1", of(12, 2, 0, 5, 9)),
        "mixed-float-form-2": ("FLM-1", of(0, 2, 2, 5, 9)),
        "mixed-float-exponent-256": ("FLM-1", of(0, 2, 0, 256, 9)),
        "mixed-float-rate-16": ("FLM-1", of(0, 2, 0, 5, 16)),
        "mixed-float-of-integers": ("FLM-1", of(dtype="int32")),
        "mixed-float-with-a-number-more": ("FLM-1", of(0, 2, 0, 5, 9, 0)),
        "mixed-float-cut": ("FLM-1", of(0, 2, 0, 5)),
        "mixed-float-no-line-a-stream": ("FLM-3", of(0, 0, 0, 5, 9)),
        "mixed-float-more-lines-a-stream-than-lines": ("FLM-3", of(0, 3, 0, 5, 9)),
        "mixed-float-streams-of-few-weights": ("FLM-3", of(0, 1, 0, 5, 9, 0)),
        "mixed-float-line-of-2-to-the-20-places-and-one": (
            "FLM-3", forge.frame(9, "bfloat16", [1, (1 << 20) + 1], wide),
        ),
        "mixed-float-streams-do-not-fill": ("LIN-5", of(stored=1)),
    }  # fmt: skip


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def described(path):
    """What the manifest says of a good file."""
    with cnnzip.open(path) as file:
        tensors = {
            name: {
                "dtype": file[name].dtype,
                "shape": list(file[name].shape),
                "sha256": sha256(file[name].decode().tobytes()),
            }
            for name in file
        }
        return {
            "sha256": sha256(path.read_bytes()),
            "tensors": tensors,
            "aliases": file.aliases,
            "metadata": file.metadata,
        }


def main():
    """Write everything."""
    good_folder, invalid_folder = VECTORS / "v1", VECTORS / "invalid"
    for folder in (good_folder, invalid_folder):
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
    for name, (tensors, aliases, metadata) in good().items():
        path = good_folder / name
        pending = [Tensor(name, tensor) for name, tensor in tensors.items()]
        write_file(
            path, pending, aliases, metadata, envelope=envelope_of(name), verify=True, durable=False
        )
    for name, data in forged_good().items():
        (good_folder / name).write_bytes(data)
    manifest = {
        "v1": {path.name: described(path) for path in sorted(good_folder.iterdir())},
        "invalid": {},
    }
    for name, (clause, error, data) in sorted(invalid().items()):
        (invalid_folder / name).write_bytes(data)
        manifest["invalid"][name] = {"sha256": sha256(data), "clause": clause, "error": error}
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (VECTORS / "MANIFEST.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

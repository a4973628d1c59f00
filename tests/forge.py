"""Frames and files written byte by byte from spec/*.md, faults included; no cnnzip in it.

Every argument that a sound writer would derive can be given instead. Checksums are always right,
unless `flip` asks for a wrong one: so a file breaks the one rule that its test is about.
"""

import json
import struct
from math import prod
from zlib import crc32

import zstandard

DTYPES = {
    "bool": (0, 1), "uint8": (1, 1), "int8": (2, 1), "uint16": (3, 2), "int16": (4, 2),
    "uint32": (5, 4), "int32": (6, 4), "uint64": (7, 8), "int64": (8, 8), "float16": (16, 2),
    "bfloat16": (17, 2), "float32": (18, 4), "float64": (19, 8), "float8_e4m3fn": (24, 1),
    "float8_e5m2": (25, 1), "float8_e4m3fnuz": (26, 1), "float8_e5m2fnuz": (27, 1),
    "float8_e8m0fnu": (28, 1), "complex64": (32, 8), "complex128": (33, 16), "int4": (40, 1),
    "uint4": (41, 1),
}  # fmt: skip
RAW, INDEX_MAP, HAM, SHAM, FAST, PACK = 1, 2, 3, 4, 7, 16


def varint(*numbers):
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


def u32(number):
    return struct.pack("<I", number)


def bits(text):
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def zstd(data):
    return zstandard.ZstdCompressor(level=19).compress(data)


def size_of(dtype):
    return DTYPES[dtype][1]


# Sections


def planes(tensors):
    """Planes of (dtype, bytes) pairs, all stored plainly."""
    sizes = [size_of(dtype) for dtype, _ in tensors]
    n_planes = max(sizes, default=0)
    cut = [
        data[p::size]
        for p in range(n_planes)
        for (_, data), size in zip(tensors, sizes, strict=True)
        if size > p
    ]
    return varint(*[0] * n_planes) + b"".join(cut)


def zstd_plane(data):
    """The planes of a tensor of bytes: one, compressed."""
    coded = zstd(data)
    return varint(len(coded)) + coded


def blob(data, compressed=False):
    return varint(len(data)) + (zstd(data) if compressed else data)


def codebook(dtype, patterns):
    size = size_of(dtype)
    return varint(len(patterns)) + b"".join(p.to_bytes(size, "little") for p in patterns)


def code(counts):
    return varint(len(counts), *counts)


def name_of(name):
    data = name if isinstance(name, bytes) else name.encode()
    return varint(len(data)) + data


# Frames


def frame(
    codec, dtype, dims, sections, name="w", *, version=(1, 0), required=0, optional=0,
    magic=b"CZF", name_crc=None, flip_header=0, flip_section=None, padding=None, n_dims=None,
    body_end=b"",
):  # fmt: skip
    if name_crc is None:
        name_crc = crc32(name.encode()) if name else 0
    number = DTYPES[dtype][0] if isinstance(dtype, str) else dtype
    body = varint(codec, required, optional) + bytes([number])
    body += varint(len(dims) if n_dims is None else n_dims, *dims) + u32(name_crc)
    body += varint(len(sections))
    for i, section in enumerate(sections):
        body += varint(len(section)) + u32(crc32(section) ^ (i == flip_section))
    body += body_end
    head = magic + bytes(version) + varint(len(body)) + body
    out = head + u32(crc32(head) ^ flip_header) + b"".join(sections)
    if padding is None:
        padding = bytes(-len(out) % 8)
        if tuple(dims) == (len(out) + len(padding),):
            padding += bytes(8)
    return out + padding


def raw(dtype, dims, data, **how):
    return frame(RAW, dtype, dims, [planes([(dtype, data)])], **how)


def index_map(dtype, dims, width, patterns, indices, end=b"", **how):
    """`indices`: numbers, or the section."""
    if not isinstance(indices, bytes):
        indices = bits("".join(f"{i:0{width}b}" for i in indices)) if width else b""
    return frame(
        INDEX_MAP, dtype, dims, [varint(width) + codebook(dtype, patterns) + end, indices], **how
    )


def ham(dtype, dims, patterns, counts, streams, axis=0, lines=1, lengths=None, end=b"", **how):
    """`streams`: the bits of each, as text."""
    streams = [bits(stream) for stream in streams]
    lengths = [len(stream) for stream in streams] if lengths is None else lengths
    description = varint(axis, lines) + codebook(dtype, patterns) + code(counts)
    sections = [description + varint(*lengths) + end, b"".join(streams)]
    return frame(HAM, dtype, dims, sections, **how)


def sham(
    dtype, dims, patterns, counts, line_lengths, places, streams, axis=0, lines=1, n_entries=None,
    end=b"", **how,
):  # fmt: skip
    """Lines of fewer than 256 weights; `streams`: the bits of each, as text."""
    streams = [bits(stream) for stream in streams]
    n_entries = len(places) if n_entries is None else n_entries
    description = varint(axis, lines, n_entries) + codebook(dtype, patterns) + code(counts)
    description += varint(*map(len, streams)) + end
    sections = [description, bytes(line_lengths), bytes(places), b"".join(streams)]
    return frame(SHAM, dtype, dims, sections, **how)


def fast_tokens(value_bits, lines, token_bytes=1):
    """`lines`: for each, pairs of gap and symbol; a gap of None is a skip."""
    skip = (1 << (8 * token_bytes - value_bits)) - 1
    return b"".join(
        ((skip if gap is None else gap) << value_bits | symbol).to_bytes(token_bytes, "little")
        for line in lines
        for gap, symbol in line
    )


def fast(
    dtype, dims, patterns, lines, axis=0, token_bytes=1, value_bits=None, n_tokens=None,
    line_lengths=None, tokens=None, end=b"", **how,
):  # fmt: skip
    """`lines`: as of `fast_tokens`; `line_lengths`, `tokens`: numbers, and the section."""
    if value_bits is None:
        value_bits = max(len(f"{max(len(patterns) - 1, 0):b}"), 1)
    if tokens is None:
        tokens = fast_tokens(value_bits, lines, token_bytes)
    n = sum(map(len, lines)) if n_tokens is None else n_tokens
    rows, columns = (dims[0], prod(dims[1:])) if dims else (1, 1)
    width = rows if axis else columns
    size = 1 if width < 1 << 8 else 2 if width < 1 << 16 else 4
    lengths = map(len, lines) if line_lengths is None else line_lengths
    sections = [
        varint(axis, token_bytes, n) + codebook(dtype, patterns) + end,
        b"".join(length.to_bytes(size, "little") for length in lengths),
        tokens,
    ]
    return frame(FAST, dtype, dims, sections, **how)


def pack(tensors, *, n_tensors=None, end=b"", n_bytes=None, compressed=False, **how):
    """`tensors`: (name, dtype, dims, bytes)."""
    index = varint(len(tensors) if n_tensors is None else n_tensors)
    for name, dtype, dims, _ in tensors:
        index += name_of(name) + bytes([DTYPES[dtype][0]]) + varint(len(dims), *dims)
    n = sum(len(data) for *_, data in tensors) if n_bytes is None else n_bytes
    sections = [blob(index + end, compressed), planes([(t, data) for _, t, _, data in tensors])]
    return frame(PACK, "uint8", [n], sections, **{"name": "", **how})


# Files


def owned(name, n_bytes):
    return varint(0) + name_of(name) + varint(n_bytes)


PACKED = varint(1)


def alias(name, number):
    return varint(2) + name_of(name) + varint(number)


def directory(
    items, pack_bytes=0, metadata=b"", *, n_items=None, end=b"", compressed=False, n_metadata=None
):
    body = varint(len(items) if n_items is None else n_items) + b"".join(items)
    body += varint(pack_bytes, len(metadata) if n_metadata is None else n_metadata)
    return blob(body + metadata + end, compressed)


def seal(prefix, frames, stored, *, file_bytes=None, magic=b"ZNNC", flip=0):
    """A file of this prefix, these bytes of frames and this stored directory."""
    n = len(prefix) + len(frames) + len(stored) + 20 if file_bytes is None else file_bytes
    tail = struct.pack("<QI", n, len(stored)) + magic
    return prefix + frames + stored + tail + u32(crc32(prefix + stored + tail) ^ flip)


def cnnz(
    frames, pack=b"", items=None, metadata=b"", *, magic=b"\x89CNNZ\n", version=(1, 0), gap=b"",
    tail=None, **how,
):  # fmt: skip
    """`frames`: by name; `items`: of the directory, where it is not these frames alone."""
    if items is None:
        items = [owned(name, len(data)) for name, data in frames.items()]
    stored = directory(items, how.pop("pack_bytes", len(pack)), metadata, **how)
    body = b"".join(frames.values()) + pack + gap
    return seal(magic + bytes(version), body, stored, **(tail or {}))


def safetensors_header(sizes, version="1.0"):
    """The header's JSON, not yet padded; `sizes`: of all tensors, `__cnnzip__` included."""
    parts = ['"__metadata__":{"format":"pt","cnnzip":"%s"}' % version]  # noqa: UP031
    at = 0
    for name, n in sizes:
        shape = f'"shape":[{n}],"data_offsets":[{at},{at + n}]'
        parts.append(f'{json.dumps(name)}:{{"dtype":"U8",{shape}}}')
        at += n
    return ("{" + ",".join(parts) + "}").encode()


def safetensors(frames, pack=b"", items=None, metadata=b"", *, edit=None, version="1.0", **how):
    """As `cnnz`; `edit` changes the header's JSON before it is padded."""
    if items is None:
        items = [owned(name, len(data)) for name, data in frames.items()]
    stored = directory(items, len(pack), metadata, **how)
    sizes = [(name, len(data)) for name, data in frames.items()]
    sizes.append(("__cnnzip__", len(pack) + len(stored) + 20))
    text = safetensors_header(sizes, version)
    text = edit(text) if edit else text
    text += b" " * (-len(text) % 8)
    return seal(struct.pack("<Q", len(text)) + text, b"".join(frames.values()) + pack, stored)


# Taking apart, to change a part and seal again


def read_varint(data, at):
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return number, at


def take_frame(data):
    """(magic and version, body before the section count, sections) of a sound frame."""
    n_body, at = read_varint(data, 5)
    start = at
    for _ in range(3):
        _, at = read_varint(data, at)
    n_dims, at = read_varint(data, at + 1)
    for _ in range(n_dims):
        _, at = read_varint(data, at)
    at += 4
    body = data[start:at]
    n_sections, at = read_varint(data, at)
    sizes = []
    for _ in range(n_sections):
        size, at = read_varint(data, at)
        sizes.append(size)
        at += 4
    assert at == start + n_body
    at += 4
    sections = []
    for size in sizes:
        sections.append(data[at : at + size])
        at += size
    return data[:5], body, sections


def put_frame(start, body, sections):
    """Invert `take_frame`, whatever the parts are now."""
    table = b"".join(varint(len(section)) + u32(crc32(section)) for section in sections)
    body = body + varint(len(sections)) + table
    head = start + varint(len(body)) + body
    out = head + u32(crc32(head)) + b"".join(sections)
    return out + bytes(-len(out) % 8)


def take_file(data):
    """(prefix, all frames, directory as stored) of a sound file."""
    n_prefix = 8 if data[:1] == b"\x89" else 8 + int.from_bytes(data[:8], "little")
    n_directory = int.from_bytes(data[-12:-8], "little")
    at = len(data) - 20 - n_directory
    return data[:n_prefix], data[n_prefix:at], data[at:-20]


def read_blob(stored):
    n, at = read_varint(stored, 0)
    rest = stored[at:]
    return rest if len(rest) == n else zstandard.ZstdDecompressor().decompress(rest)


def take_directory(stored):
    """(items, pack_bytes, metadata); an item is [kind, name, number]."""
    data = read_blob(stored)
    n_items, at = read_varint(data, 0)
    items = []
    for _ in range(n_items):
        kind, at = read_varint(data, at)
        name, number = b"", 0
        if kind != 1:
            n, at = read_varint(data, at)
            name, at = data[at : at + n], at + n
            number, at = read_varint(data, at)
        items.append([kind, name, number])
    pack_bytes, at = read_varint(data, at)
    _, at = read_varint(data, at)
    return items, pack_bytes, data[at:]


def put_items(items):
    return [
        varint(kind) if kind == 1 else varint(kind) + name_of(name) + varint(number)
        for kind, name, number in items
    ]


def frames_of(data):
    """The frames of a sound file, the pack's last."""
    _, frames, stored = take_file(data)
    items, pack_bytes, _ = take_directory(stored)
    sizes = [n for kind, _, n in items if kind == 0] + [pack_bytes] * (pack_bytes > 0)
    found, at = [], 0
    for n in sizes:
        found.append(frames[at : at + n])
        at += n
    return found

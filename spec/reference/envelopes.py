"""Envelopes (ENV), written to be read: the same reader for .cnnz and .safetensors."""

import json
import re
from dataclasses import dataclass
from typing import NamedTuple

from spec.reference import pack
from spec.reference.errors import CorruptError, TruncatedError
from spec.reference.frame import CODECS, check_limits, decode, parse_frame
from spec.reference.numbers import Cursor, check_version, crc32
from spec.reference.planes import read_blob
from spec.reference.shape import is_name, read_name

CNNZ = bytes.fromhex("89434e4e5a0a")
TAIL_MAGIC = bytes.fromhex("5a4e4e43")
TAIL_BYTES = 20
MIN_FRAME = 24
MAX_ITEMS = 1 << 20
MAX_METADATA = 1 << 20
HEADER_START = re.compile(  # ENV-11
    rb'\{"__metadata__":\{"format":"pt","cnnzip":"(\d{1,3})\.(\d{1,3})"\}'
)


class Tensor(NamedTuple):
    dtype_name: str
    dims: tuple[int, ...]
    data: bytes  # C order, little-endian


@dataclass(frozen=True, slots=True)
class File:
    tensors: dict[str, Tensor]  # an alias is the same object as the tensor it names
    metadata: dict[str, str]
    order: list[str]  # of the items


class Item(NamedTuple):
    kind: int
    name: str | None = None
    number: int | None = None  # frame_bytes of kind 0, the index of kind 2


@dataclass(frozen=True, slots=True)
class Directory:
    items: list[Item]
    pack_bytes: int
    metadata: dict[str, str]

    def of_kind(self, kind):
        return [item for item in self.items if item.kind == kind]


def read_file(data, max_decoded_bytes=None, allow_ratio=False):
    """Read every tensor of a file, `max_decoded_bytes` of them in all (FRM-8)."""
    version, prefix_bytes = read_prefix(data)
    stored = read_tail(data, prefix_bytes)
    directory = read_directory(stored, len(data))
    owned, packed = cut_frames(data, directory, prefix_bytes, len(stored))
    if version and data[:prefix_bytes] != write_header(version, directory, len(stored)):
        raise CorruptError("ENV-11", "another header than the directory says")  # ENV-12

    frames = [parse_frame(frame) for frame in owned]
    for frame, item in zip(frames, directory.of_kind(0), strict=True):
        if frame.name_crc != crc32(item.name.encode()):
            raise CorruptError("ENV-13", f"not the frame of {item.name!r}")
        if CODECS[frame.codec] is pack:
            raise CorruptError("ENV-5", f"{item.name!r} is a pack")
    pack_frame = parse_pack(packed, len(directory.of_kind(1)))
    everything = frames + ([pack_frame] if pack_frame else [])
    for frame in everything:
        check_limits(frame.n_bytes, frame.length, max_decoded_bytes, allow_ratio)
    total = sum(frame.n_bytes for frame in everything)
    check_limits(total, len(data), max_decoded_bytes, allow_ratio)
    return resolve(directory, frames, pack_frame)


def resolve(directory, frames, pack_frame):
    """Decode the frames, and give each item its tensor."""
    own = (Tensor(f.dtype.name, f.dims, decode(f, allow_ratio=True)) for f in frames)
    small = iter(())
    if pack_frame:
        index, tensors = pack.read_index(pack_frame), pack.read_tensors(pack_frame)
        small = (
            (place.name, Tensor(place.dtype.name, place.dims, data))
            for place, data in zip(index, tensors, strict=True)
        )
    pairs = []
    for item in directory.items:  # ENV-3
        if item.kind == 0:
            pairs.append((item.name, next(own)))
        elif item.kind == 1:
            pairs.append(next(small))
        else:
            pairs.append((item.name, pairs[item.number][1]))
    tensors = dict(pairs)
    if len(tensors) != len(pairs):
        raise CorruptError("ENV-4", "a name that is there twice")
    return File(tensors, directory.metadata, [name for name, _ in pairs])


def read_prefix(data):
    """The version in a .safetensors header, None for .cnnz; and the length of the prefix."""
    if len(data) < 8 + TAIL_BYTES:
        raise TruncatedError("ENV-1", f"a file of {len(data)} bytes")
    if data[:6] == CNNZ:  # ENV-2
        check_version(data[6], "ENV-2")
        return None, 8
    if data[8:9] != b"{":
        raise CorruptError("ENV-2", "neither a .cnnz nor a .safetensors file")
    prefix_bytes = 8 + int.from_bytes(data[:8], "little")  # ENV-9
    if prefix_bytes + TAIL_BYTES > len(data):
        raise TruncatedError("ENV-9", f"a header of {prefix_bytes - 8} bytes")
    found = HEADER_START.match(data[8:prefix_bytes])
    if not found:
        raise CorruptError("ENV-11", "not a header of this format")
    version = int(found[1]), int(found[2])
    check_version(version[0], "ENV-11")
    return version, prefix_bytes


def read_tail(data, prefix_bytes):
    """The directory as it is stored: proven whole, and by this the prefix and the tail."""
    tail = Cursor(data[-TAIL_BYTES:], "ENV-1")
    file_bytes, directory_bytes = tail.unsigned(8), tail.unsigned(4)
    if tail.take(4) != TAIL_MAGIC:
        raise TruncatedError("ENV-1", "the file does not end with its tail")
    if file_bytes != len(data):
        error = TruncatedError if len(data) < file_bytes else CorruptError
        raise error("ENV-1", f"a file of {len(data)} bytes, not {file_bytes}")
    at = len(data) - TAIL_BYTES - directory_bytes
    if at < prefix_bytes:
        raise CorruptError("ENV-5", f"a directory of {directory_bytes} bytes")
    directory = data[at:-TAIL_BYTES]
    if tail.unsigned(4) != crc32(data[:prefix_bytes] + directory + data[-TAIL_BYTES:-4]):
        raise CorruptError("ENV-1", "the CRC of prefix, directory and tail does not match")
    return directory


def read_directory(stored, file_bytes):
    cursor = Cursor(read_blob(stored), "ENV-3")
    n_items = cursor.varint()
    if n_items > MAX_ITEMS or 8 * (n_items - 4096) > file_bytes:
        raise CorruptError("ENV-6", f"{n_items} items in {file_bytes} bytes")
    items = []
    while len(items) < n_items:
        kind = cursor.varint()
        if kind == 0:
            items.append(Item(kind, read_name(cursor), cursor.varint()))
        elif kind == 1:
            items.append(Item(kind))
        elif kind == 2:
            alias = Item(kind, read_name(cursor), cursor.varint())
            if alias.number >= len(items) or items[alias.number].kind == 2:
                raise CorruptError("ENV-3", f"an alias of item {alias.number}")
            items.append(alias)
        else:
            raise CorruptError("ENV-3", f"an item of kind {kind}")
    pack_bytes, metadata_bytes = cursor.varint(), cursor.varint()
    if metadata_bytes > MAX_METADATA:
        raise CorruptError("ENV-7", f"metadata of {metadata_bytes} bytes")
    metadata = parse_metadata(cursor.take(metadata_bytes))
    cursor.end()
    if items and not any(item.kind == 0 for item in items):
        raise CorruptError("ENV-8", "no tensor has a frame of its own")
    return Directory(items, pack_bytes, metadata)


def read_structure(text):
    """What metadata tell of a network (ENV-14): names of modules, a number of layers."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptError("ENV-14", "a structure that is not JSON") from error
    if not isinstance(told, dict) or set(told) - {"removed", "resized"}:
        raise CorruptError("ENV-14", "a structure of other members")
    removed, resized = told.get("removed", []), told.get("resized", 0)
    if not isinstance(removed, list) or not all(isinstance(name, str) for name in removed):
        raise CorruptError("ENV-14", "removed modules that are no list of names")
    if len(set(removed)) != len(removed) or not all(map(is_name, removed)):
        raise CorruptError("ENV-14", "a module whose name is there twice or cannot be one")
    if type(resized) is not int or not 0 <= resized <= MAX_ITEMS:
        raise CorruptError("ENV-14", f"{resized} layers resized")
    return removed, resized


def parse_metadata(data):
    try:
        metadata = json.loads(data.decode("utf-8")) if data else {}  # ENV-7
    except (ValueError, RecursionError) as error:
        raise CorruptError("ENV-7", "metadata that is not JSON in UTF-8") from error
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CorruptError("ENV-7", "metadata that does not map strings to strings")
    return metadata


def cut_frames(data, directory, prefix_bytes, directory_bytes):
    """The bytes of the items' own frames, and of the pack frame or None (ENV-5)."""
    sizes = [item.number for item in directory.of_kind(0)]
    if (directory.pack_bytes == 0) != (not directory.of_kind(1)):
        raise CorruptError("ENV-5", f"a pack of {directory.pack_bytes} bytes")
    if directory.pack_bytes:
        sizes.append(directory.pack_bytes)
    if any(size < MIN_FRAME for size in sizes):
        raise CorruptError("ENV-5", f"a frame of {min(sizes)} bytes, at least {MIN_FRAME}")
    if prefix_bytes + sum(sizes) + directory_bytes + TAIL_BYTES != len(data):
        raise CorruptError("ENV-5", f"frames of {sum(sizes)} bytes do not fill the file")
    frames = Cursor(data, "ENV-5")
    frames.take(prefix_bytes)
    cut = [frames.take(size) for size in sizes]
    return (cut[:-1], cut[-1]) if directory.pack_bytes else (cut, None)


def parse_pack(packed, n_items):
    """The pack frame, or None; it holds as many tensors as there are items of kind 1 (ENV-5)."""
    if packed is None:
        return None
    frame = parse_frame(packed)
    if CODECS[frame.codec] is not pack:
        raise CorruptError("ENV-5", f"a pack frame of codec {frame.codec}")
    if frame.name_crc:
        raise CorruptError("ENV-13", "a pack frame with a name")
    pack.read_index(frame, n_items)
    return frame


def write_header(version, directory, directory_bytes):
    """The one prefix that a .safetensors file with this directory may have (ENV-9, ENV-11)."""
    tensors = [(item.name, item.number) for item in directory.of_kind(0)]
    tensors.append(("__cnnzip__", directory.pack_bytes + directory_bytes + TAIL_BYTES))  # ENV-10
    fields = ['"__metadata__":{{"format":"pt","cnnzip":"{}.{}"}}'.format(*version)]
    at = 0
    for name, n in tensors:
        key = json.dumps(name)  # which escapes as ENV-11 does: names hold no control characters
        fields.append(f'{key}:{{"dtype":"U8","shape":[{n}],"data_offsets":[{at},{at + n}]}}')
        at += n
    text = "{" + ",".join(fields) + "}"
    text += " " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text.encode("ascii")

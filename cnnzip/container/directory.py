"""Names and places of a file's tensors: the directory, and the index of the pack (ENV, PCK)."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cnnzip.codecs.planes import decode_blob, encode_blob
from cnnzip.codecs.source import MatrixShape
from cnnzip.container.frame import MIN_FRAME_BYTES, encode_shape, parse_shape
from cnnzip.container.limits import MAX_ITEMS, MAX_METADATA_BYTES, MAX_NAME_BYTES
from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import ArgumentError, CorruptError

RESERVED = ("__metadata__", "__cnnzip__")  # ENV-4
PACK_BYTES = 1024  # tensors below this are packed; ENV-8, PCK-2
FRAME, PACKED, ALIAS = 0, 1, 2
CONTROL = re.compile("[\x00-\x1f\x7f]")


def name_fault(name: str) -> str | None:
    """What is wrong with a tensor's name (ENV-4), or None."""
    try:
        n_bytes = len(name.encode())
    except UnicodeEncodeError:
        return "is not Unicode"
    if not 1 <= n_bytes <= MAX_NAME_BYTES:
        return f"has {n_bytes} bytes, 1 to {MAX_NAME_BYTES} are allowed"
    if CONTROL.search(name):
        return "has control characters"
    return "is reserved" if name in RESERVED else None


def check_name(name: str) -> None:
    """Refuse a name that a caller gave."""
    if fault := name_fault(name):
        raise ArgumentError(f"tensor name {name[:64]!r} {fault} [ENV-4]; rename it")


def _write_name(name: str) -> bytes:
    raw = name.encode()
    return encode_varint(len(raw)) + raw


def _parse_name(cursor: Cursor) -> str:
    n_bytes = cursor.varint()
    if n_bytes > MAX_NAME_BYTES:
        raise CorruptError("ENV-4", cursor.where, f"a name of {n_bytes} bytes")
    try:
        name = bytes(cursor.take(n_bytes)).decode()
    except UnicodeDecodeError as error:
        raise CorruptError("ENV-4", cursor.where, f"a name that is no UTF-8: {error}") from None
    if fault := name_fault(name):
        raise CorruptError("ENV-4", cursor.where, f"name {name[:64]!r} {fault}")
    return name


class Item(NamedTuple):
    """One name in a directory.

    kind : FRAME, PACKED or ALIAS
    name : str, "" for PACKED (the pack's index has it)
    value : bytes of the frame, 0, or the index of the item that the alias stands for
    """

    kind: int
    name: str
    value: int


NEXT_PACKED = Item(PACKED, "", 0)


@dataclass(frozen=True)
class Directory:
    """What a file holds, in order (ENV-3)."""

    items: Sequence[Item]
    pack_bytes: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)

    def write(self, plainly: bool = False) -> bytes:
        """Write the directory as a blob; `plainly` as of `encode_blob`."""
        out = [encode_varint(len(self.items))]
        for item in self.items:
            out.append(encode_varint(item.kind))
            if item.kind != PACKED:
                out.append(_write_name(item.name) + encode_varint(item.value))
        metadata = encode_metadata(self.metadata)
        out += [encode_varint(self.pack_bytes), encode_varint(len(metadata)), metadata]
        return encode_blob(b"".join(out), plainly)

    @classmethod
    def parse(cls, data: memoryview, file_bytes: int) -> "Directory":
        """Invert `write` (ENV-3 to ENV-7)."""
        cursor = Cursor(decode_blob(data, "directory"), "directory", "ENV-3")
        n_items = cursor.varint()
        if n_items > min(MAX_ITEMS, file_bytes // 8 + 4096):
            raise CorruptError("ENV-6", "directory", f"{n_items} items in {file_bytes} bytes")
        items: list[Item] = []
        for _ in range(n_items):
            items.append(_parse_item(cursor, items))
        pack_bytes, metadata_bytes = cursor.varint(), cursor.varint()
        if metadata_bytes > MAX_METADATA_BYTES:
            raise CorruptError("ENV-7", "metadata", f"{metadata_bytes} bytes")
        metadata = parse_metadata(cursor.take(metadata_bytes))
        cursor.finish("ENV-3")
        directory = cls(items, pack_bytes, metadata)
        directory.check()
        return directory

    def check(self) -> None:
        """Refuse what only the whole directory shows (ENV-4, ENV-5, ENV-8)."""
        kinds = [item.kind for item in self.items]
        if kinds and FRAME not in kinds:
            raise CorruptError("ENV-8", "directory", "tensors, but none with a frame of its own")
        if (PACKED in kinds) != bool(self.pack_bytes):
            raise CorruptError("ENV-5", "directory", f"a pack of {self.pack_bytes} bytes")
        frames = [item.value for item in self.items if item.kind == FRAME]
        small = min(
            [*frames, *([self.pack_bytes] if self.pack_bytes else [])], default=MIN_FRAME_BYTES
        )
        if small < MIN_FRAME_BYTES:
            raise CorruptError("ENV-5", "directory", f"a frame of {small} bytes")


def _parse_item(cursor: Cursor, before: Sequence[Item]) -> Item:
    kind = cursor.varint()
    if kind == PACKED:
        return NEXT_PACKED
    if kind not in (FRAME, ALIAS):
        raise CorruptError("ENV-3", "directory", f"an item of kind {kind}")
    item = Item(kind, _parse_name(cursor), cursor.varint())
    if kind == ALIAS and (item.value >= len(before) or before[item.value].kind == ALIAS):
        raise CorruptError("ENV-3", "directory", f"{item.name!r} stands for item {item.value}")
    return item


def encode_metadata(metadata: Mapping[str, str]) -> bytes:
    """Write metadata as JSON, nothing for none (ENV-7)."""
    if not metadata:
        return b""
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items()):
        raise ArgumentError("metadata holds strings by string keys only [ENV-7]")
    text = json.dumps(dict(metadata), separators=(",", ":")).encode()
    if len(text) > MAX_METADATA_BYTES:
        raise ArgumentError(
            f"metadata takes {len(text):,} bytes, at most {MAX_METADATA_BYTES:,} [ENV-7]"
        )
    return text


def parse_metadata(data: memoryview) -> dict[str, str]:
    """Invert `encode_metadata` (ENV-7)."""
    if not len(data):
        return {}
    try:
        metadata = json.loads(bytes(data).decode())
    except (ValueError, RecursionError) as error:
        raise CorruptError("ENV-7", "metadata", f"no JSON: {error}") from None
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CorruptError("ENV-7", "metadata", "not an object of strings")
    return metadata


PackIndex = Sequence[tuple[str, MatrixShape]]


def encode_pack_index(index: PackIndex, plainly: bool = False) -> bytes:
    """Write the names and shapes of packed tensors (PCK-2)."""
    body = [_write_name(name) + encode_shape(shape) for name, shape in index]
    return encode_blob(encode_varint(len(index)) + b"".join(body), plainly)


def parse_pack_index(section: memoryview, n_due: int, n_bytes: int) -> PackIndex:
    """Invert `encode_pack_index` of `n_due` tensors that add up to `n_bytes` (PCK-2, ENV-5)."""
    cursor = Cursor(decode_blob(section, "pack index"), "pack index", "PCK-2")
    n_tensors = cursor.varint()
    if n_tensors != n_due:
        raise CorruptError("ENV-5", "pack index", f"{n_tensors} tensors, {n_due} in the directory")
    index = []
    shapes: dict[MatrixShape, MatrixShape] = {}
    for _ in range(n_tensors):
        name, shape = _parse_name(cursor), parse_shape(cursor)
        if shape.n_bytes >= PACK_BYTES:
            raise CorruptError("PCK-2", "pack index", f"{name!r} of {shape.n_bytes} bytes")
        index.append((name, shapes.setdefault(shape, shape)))  # most are alike
    cursor.finish("PCK-2")
    total = sum(shape.n_bytes for _, shape in index)
    if total != n_bytes:
        raise CorruptError("PCK-2", "pack index", f"tensors of {total} bytes, not {n_bytes}")
    return index

"""What stands around the frames: prefix and tail of both envelopes (ENV)."""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from cnnzip.container.directory import FRAME, Item
from cnnzip.container.frame import VERSION, check_version
from cnnzip.errors import ArgumentError, ChecksumError, CorruptError, TruncatedError

CNNZ, SAFETENSORS = "cnnz", "safetensors"
MAGIC = b"\x89CNNZ\n"
TAIL_MAGIC = b"ZNNC"
JSON_START = '{"__metadata__":{"format":"pt","cnnzip":"'
HEADER_START = re.compile(re.escape(JSON_START.encode()) + rb"(\d{1,3})\.(\d{1,3})\"")
PREFIX_BYTES = 8
TAIL_BYTES = 20


def envelope_of(path: str) -> str:
    """Envelope that a file name asks for: safetensors by its ending, cnnz otherwise."""
    return SAFETENSORS if path.lower().endswith(".safetensors") else CNNZ


def write_prefix(
    envelope: str, items: Sequence[Item], rest_bytes: int, version: tuple[int, int] = VERSION
) -> bytes:
    """Write the prefix (ENV-2, ENV-9 to ENV-11); `rest_bytes` is what follows the frames."""
    if envelope == CNNZ:
        return MAGIC + bytes(version)
    entries = [JSON_START + f'{version[0]}.{version[1]}"}}']
    at = 0
    sizes = [(item.name, item.value) for item in items if item.kind == FRAME]
    for name, n_bytes in [*sizes, ("__cnnzip__", rest_bytes)]:
        offsets = f"[{at},{at + n_bytes}]"
        entries.append(
            f'{_quoted(name)}:{{"dtype":"U8","shape":[{n_bytes}],"data_offsets":{offsets}}}'
        )
        at += n_bytes
    header = (",".join(entries) + "}").encode()
    header += b" " * (-len(header) % 8)
    if len(header) > 100_000_000:
        raise ArgumentError("more names than a safetensors header holds; use the .cnnz envelope")
    return len(header).to_bytes(8, "little") + header


def prefix_version(envelope: str, prefix: bytes) -> tuple[int, int]:
    """Version that a prefix states (VER-1); a larger minor is not ours to refuse (VER-2)."""
    if envelope == CNNZ:
        return prefix[6], prefix[7]
    found = HEADER_START.match(prefix, PREFIX_BYTES)
    if not found:
        raise CorruptError("ENV-11", "safetensors header", "it is not one that cnnzip writes")
    return int(found[1]), int(found[2])


def refuse_newer(start: bytes) -> None:
    """Refuse a newer safetensors envelope by its first bytes, before all else (VER-1)."""
    found = HEADER_START.match(start, PREFIX_BYTES)
    if found:
        check_version(int(found[1]), int(found[2]), "file", "ENV-11")


def _quoted(name: str) -> str:
    """JSON string in ASCII (ENV-11): what `json.dumps` writes."""
    return json.dumps(name, ensure_ascii=True)


def sniff(start: bytes) -> str:
    """Tell the envelope by the first 8 bytes (ENV-2)."""
    if len(start) < PREFIX_BYTES:
        raise TruncatedError("ENV-1", "file", f"{len(start)} bytes hold no prefix and tail")
    if start[:6] == MAGIC:
        check_version(start[6], start[7], "file", "ENV-2")
        return CNNZ
    if 0 < int.from_bytes(start, "little") <= 100_000_000:
        return SAFETENSORS
    hint = "; a torch or NumPy archive: use `cnnzip compress`" if start[:2] == b"PK" else ""
    raise CorruptError("ENV-2", "file", f"starts with {start!r}: not a file of cnnzip{hint}")


class Tail(NamedTuple):
    """The last bytes of a file (ENV-1)."""

    file_bytes: int
    directory_bytes: int
    crc: int

    def fields(self) -> bytes:
        """All but the checksum."""
        return (
            self.file_bytes.to_bytes(8, "little")
            + self.directory_bytes.to_bytes(4, "little")
            + TAIL_MAGIC
        )

    @classmethod
    def parse(cls, data: bytes, file_bytes: int, envelope: str) -> "Tail":
        """Read the tail of a file of `file_bytes` bytes."""
        if len(data) < TAIL_BYTES or data[12:16] != TAIL_MAGIC:
            hint = (
                "a plain safetensors file (`cnnzip compress` codes it), or one cut short"
                if envelope == SAFETENSORS
                else "it is cut short, or other bytes follow it"
            )
            raise TruncatedError("ENV-1", "file", f"does not end as a file of cnnzip: {hint}")
        stated = int.from_bytes(data[:8], "little")
        if stated != file_bytes:
            error = TruncatedError if file_bytes < stated else CorruptError
            raise error("ENV-1", "tail", f"says {stated} bytes, the file has {file_bytes}")
        return cls(
            stated, int.from_bytes(data[8:12], "little"), int.from_bytes(data[16:20], "little")
        )


def write_tail(prefix: bytes, directory: bytes, file_bytes: int) -> bytes:
    """Write the tail (ENV-1)."""
    tail = Tail(file_bytes, len(directory), 0).fields()
    return tail + crc32(tail, crc32(directory, crc32(prefix))).to_bytes(4, "little")


def check_tail(tail: Tail, prefix: bytes, directory: bytes) -> None:
    """Check the checksum over prefix, directory and tail (ENV-1)."""
    found = crc32(tail.fields(), crc32(directory, crc32(prefix)))
    if found != tail.crc:
        raise ChecksumError("ENV-1", "directory", f"checksum {found:08x}, {tail.crc:08x} is stored")

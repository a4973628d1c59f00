"""The frame: one tensor as one self-describing, checksummed byte string (FRM)."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from cnnzip.codecs.base import Codec, Section
from cnnzip.codecs.names import CODEC_NAMES
from cnnzip.codecs.source import MatrixShape
from cnnzip.container.limits import MAX_DIMS, MAX_HEADER_BYTES, MAX_SECTIONS, MAX_WEIGHTS
from cnnzip.dtypes import dtype_by_id
from cnnzip.entropy.varints import Bytes, Cursor, encode_varint
from cnnzip.errors import ChecksumError, CorruptError, TruncatedError, VersionError

MAGIC = b"CZF"
VERSION = (1, 0)
ALIGNMENT = 8
MIN_FRAME_BYTES = 24  # ENV-5
LONGEST_START = 5 + 8  # magic, version, header_bytes


def name_crc(name: str) -> int:
    """Checksum by which a frame knows its tensor; 0 for no name (FRM-9)."""
    return crc32(name.encode()) if name else 0


def check_version(major: int, minor: int, what: str, clause: str) -> None:
    """Refuse a major version above ours (VER-1), and 0 by `clause`; `minor` is only told."""
    if major > VERSION[0]:
        raise VersionError(
            "VER-1",
            what,
            f"format {major}.{minor} needs a newer cnnzip; this one reads {VERSION[0]}.x",
        )
    if major < 1:
        raise CorruptError(clause, what, f"format {major}.{minor} never existed")


def encode_shape(shape: MatrixShape) -> bytes:
    """Write a dtype and a shape."""
    return bytes([shape.dtype.id]) + b"".join(map(encode_varint, (len(shape.dims), *shape.dims)))


def parse_shape(cursor: Cursor) -> MatrixShape:
    """Invert `encode_shape` (DTY-1, FRM-3)."""
    dtype = dtype_by_id(cursor.unsigned(1))
    n_dims = cursor.varint()
    if n_dims > MAX_DIMS:
        raise CorruptError("FRM-3", cursor.where, f"{n_dims} dimensions, at most {MAX_DIMS}")
    dims = tuple(cursor.varints(n_dims))
    n_weights = 1
    for dim in dims:
        n_weights *= dim or 1
    if n_weights >= MAX_WEIGHTS:
        raise CorruptError("FRM-3", cursor.where, f"shape {dims}, below 2^48 weights")
    return MatrixShape(dtype, dims)


@dataclass(frozen=True)
class Header:
    """What a frame says of itself before its sections.

    Attributes
    ----------
    codec_id : int
    shape : MatrixShape
    name_crc : int
    sections : tuple of (bytes, crc)
    header_bytes : int
        From the magic to the header's own checksum.
    has_extensions : bool
        Whether an optional feature is set that this version does not know (FRM-4).
    """

    codec_id: int
    shape: MatrixShape
    name_crc: int
    sections: tuple[tuple[int, int], ...]
    header_bytes: int = 0
    has_extensions: bool = False

    @property
    def codec(self) -> str:
        """The codec's name."""
        return CODEC_NAMES[self.codec_id]

    @property
    def coded_bytes(self) -> int:
        """Bytes of header and sections, without padding."""
        return self.header_bytes + sum(n_bytes for n_bytes, _ in self.sections)

    def write(self) -> bytes:
        """Magic, version, body and checksum."""
        body = b"".join(
            (
                encode_varint(self.codec_id),
                encode_varint(0),
                encode_varint(0),
                encode_shape(self.shape),
                self.name_crc.to_bytes(4, "little"),
                encode_varint(len(self.sections)),
                *(encode_varint(n) + crc.to_bytes(4, "little") for n, crc in self.sections),
            )
        )
        head = MAGIC + bytes(VERSION) + encode_varint(len(body)) + body
        return head + crc32(head).to_bytes(4, "little")

    @classmethod
    def parse(cls, data: Bytes) -> "Header":
        """Read the header at the start of `data` (FRM-1 to FRM-4)."""
        cursor = Cursor(data, "frame header", "FRM-1")
        magic = bytes(cursor.take(3))
        if magic != MAGIC:
            raise CorruptError("FRM-1", "frame", f"starts with {magic!r}, not {MAGIC!r}")
        major, minor = cursor.take(2)
        check_version(major, minor, "frame", "FRM-1")
        cursor.clause = "FRM-2"
        n_bytes = cursor.varint()
        if n_bytes > MAX_HEADER_BYTES:
            raise CorruptError(
                "FRM-2", "frame header", f"{n_bytes} bytes, at most {MAX_HEADER_BYTES}"
            )
        body = Cursor(cursor.take(n_bytes), "frame header", "FRM-2")
        found = crc32(cursor.data[: cursor.at])
        stored = cursor.unsigned(4)
        if found != stored:
            raise ChecksumError(
                "FRM-2", "frame header", f"checksum {found:08x}, {stored:08x} is stored"
            )
        return cls._parse_body(body, cursor.at)

    @classmethod
    def _parse_body(cls, body: Cursor, header_bytes: int) -> "Header":
        codec_id, required, optional = (body.varint() for _ in range(3))
        if required:
            raise VersionError("VER-2", "frame", f"required feature {required:#x} is unknown")
        if codec_id not in CODEC_NAMES:
            raise VersionError("VER-2", "frame", f"codec {codec_id} needs a newer cnnzip")
        shape = parse_shape(body)
        crc = body.unsigned(4)
        n_sections = body.varint()
        if n_sections > MAX_SECTIONS:
            raise CorruptError("FRM-4", "frame", f"{n_sections} sections, at most {MAX_SECTIONS}")
        sections = tuple((body.varint(), body.unsigned(4)) for _ in range(n_sections))
        body.finish("FRM-2")
        return cls(codec_id, shape, crc, sections, header_bytes, has_extensions=optional != 0)


def frame_bytes(coded_bytes: int, dims: tuple[int, ...]) -> int:
    """Length of a frame whose header and sections take `coded_bytes` (FRM-6)."""
    n_bytes = -(-coded_bytes // ALIGNMENT) * ALIGNMENT
    return n_bytes + ALIGNMENT if dims == (n_bytes,) else n_bytes


def write_frame(
    codec_id: int, shape: MatrixShape, sections: Sequence[Section], name: str = ""
) -> bytes:
    """Write one tensor's sections as a frame (FRM-1 to FRM-6)."""
    table = tuple((len(section), crc32(section)) for section in sections)
    head = Header(codec_id, shape, name_crc(name), table).write()
    coded_bytes = len(head) + sum(n_bytes for n_bytes, _ in table)
    padding = bytes(frame_bytes(coded_bytes, shape.dims) - coded_bytes)
    return b"".join((head, *sections, padding))


def rename_frame(frame: Bytes, name: str) -> bytes:
    """The same frame for another name; sections are copied, not decoded (FRM-9)."""
    header = Header.parse(frame)
    cursor = Cursor(frame, "frame header")
    cursor.take(len(MAGIC) + len(VERSION))
    for _ in range(4):  # header_bytes, codec, required, optional
        cursor.varint()
    parse_shape(cursor)
    head = bytearray(cursor.data[: header.header_bytes - 4])
    head[cursor.at : cursor.at + 4] = name_crc(name).to_bytes(4, "little")
    head += crc32(head).to_bytes(4, "little")
    return bytes(head) + bytes(cursor.data[header.header_bytes :])


def parse_sections(frame: Bytes, header: Header) -> list[memoryview]:
    """Check all sections' checksums and the padding; give the sections (FRM-5 to FRM-7)."""
    data = memoryview(frame)
    if len(data) < header.coded_bytes:
        raise TruncatedError("FRM-7", "frame", f"{len(data)} bytes of {header.coded_bytes}")
    sections, at = [], header.header_bytes
    for i, (n_bytes, stored) in enumerate(header.sections):
        section = data[at : at + n_bytes]
        found = crc32(section)
        if found != stored:
            raise ChecksumError(
                "FRM-5",
                f"section {i}, bytes {at} to {at + n_bytes} of the frame",
                f"checksum {found:08x}, {stored:08x} is stored",
            )
        sections.append(section)
        at += n_bytes
    due = frame_bytes(at, header.shape.dims)
    if len(data) != due:
        error = TruncatedError if len(data) < due else CorruptError
        raise error("FRM-7", "frame", f"{len(data)} bytes, its header says {due}")
    if any(data[at:]):
        raise CorruptError("FRM-6", f"byte {at} of the frame", "padding that is not zero")
    return sections


def codec_of(header: Header, sections: list[memoryview]) -> Codec:
    """The codec that the sections describe; they are checked, not decoded."""
    from cnnzip.codecs.registry import CODECS

    if header.codec_id not in CODECS:
        raise CorruptError("PCK-1", "frame", f"{header.codec} frames hold no single tensor")
    codec = CODECS[header.codec_id]
    if header.has_extensions:
        sections = sections[: codec.n_sections]
    return codec.parse(header.shape, sections)

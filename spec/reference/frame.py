"""Frames (FRM), written to be read."""

from dataclasses import dataclass
from math import prod

from spec.reference import banded, fast, ham, index_map, masked, mixed, mixed_float, pack, raw, sham
from spec.reference.errors import CorruptError, RefusedError, VersionError
from spec.reference.numbers import Cursor, Dtype, check_version, crc32, read_dtype
from spec.reference.shape import read_dims

CODECS = {  # VER-3
    1: raw, 2: index_map, 3: ham, 4: sham, 5: banded, 6: masked, 7: fast, 8: mixed,
    9: mixed_float, 16: pack,
}  # fmt: skip

MAX_HEADER = 65_536
MAX_SECTIONS = 16
MAX_RATIO = 4096
SURELY_FINE = 256 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One coded tensor. Its sections are bytes whose CRC matched, still to be decoded."""

    codec: int
    dtype: Dtype
    dims: tuple[int, ...]
    name_crc: int
    sections: tuple[bytes, ...]
    length: int  # bytes of the frame itself

    @property
    def n_weights(self):
        return prod(self.dims)

    @property
    def n_bytes(self):
        return self.n_weights * self.dtype.size


def parse_frame(data, name=None):
    """Parse the frame which `data` is from its first byte to its last (FRM-7)."""
    start = Cursor(data, "FRM-1")
    if start.take(3) != b"CZF":
        raise CorruptError("FRM-1", "no frame begins here")
    check_version(start.unsigned(1), "FRM-1")  # before the CRC: a new version may lie elsewhere
    start.unsigned(1)  # VER-2: any minor version will do

    start.clause = "FRM-2"
    header_bytes = start.varint()
    if header_bytes > MAX_HEADER:
        raise CorruptError("FRM-2", f"a header of {header_bytes} bytes, at most {MAX_HEADER}")
    body = Cursor(start.take(header_bytes), "FRM-2")
    if crc32(data[: start.at]) != start.unsigned(4):
        raise CorruptError("FRM-2", "the CRC of the header does not match")

    codec = body.varint()
    if codec not in CODECS:
        raise VersionError("VER-2", f"codec {codec}")
    if required := body.varint():
        raise VersionError("VER-2", f"required features {required:#x}")
    optional = body.varint()  # VER-2: all unknown, so they only matter to FRM-4
    dtype = read_dtype(body)
    dims = read_dims(body)
    name_crc = body.unsigned(4)
    if name is not None and name_crc not in (0, crc32(name.encode())):
        raise CorruptError("FRM-9", f"not the frame of {name!r}")

    n_sections, needed = body.varint(), CODECS[codec].SECTIONS
    if n_sections > MAX_SECTIONS:
        raise CorruptError("FRM-4", f"{n_sections} sections, at most {MAX_SECTIONS}")
    if n_sections < needed or (n_sections > needed and not optional):
        raise CorruptError("FRM-4", f"{n_sections} sections, the codec has {needed}")
    table = [(body.varint(), body.unsigned(4)) for _ in range(n_sections)]
    body.end()

    start.clause = "FRM-7"
    sections = tuple(start.take(section_bytes) for section_bytes, _ in table)  # FRM-5
    for section, (_, crc) in zip(sections, table, strict=True):
        if crc32(section) != crc:
            raise CorruptError("FRM-5", "the CRC of a section does not match")

    padding_bytes = -start.at % 8  # FRM-6
    if dims == (start.at + padding_bytes,):
        padding_bytes += 8
    padding = start.take(padding_bytes)
    start.end()
    if any(padding):
        raise CorruptError("FRM-6", f"the padding is {padding.hex(' ')}")
    return Frame(codec, dtype, dims, name_crc, sections, len(data))


def check_limits(n_decoded, n_coded, max_decoded_bytes=None, allow_ratio=False):
    """Refuse what decodes to too many bytes, before anything is allocated (FRM-8)."""
    if max_decoded_bytes is not None and n_decoded > max_decoded_bytes:
        raise RefusedError("FRM-8", f"{n_decoded} bytes decoded, at most {max_decoded_bytes}")
    if not allow_ratio and n_decoded > SURELY_FINE and n_decoded > MAX_RATIO * n_coded:
        raise RefusedError("FRM-8", f"{n_decoded} bytes decoded out of {n_coded}")


def decode(frame, max_decoded_bytes=None, allow_ratio=False):
    """The bytes of the frame's tensor, in C order."""
    check_limits(frame.n_bytes, frame.length, max_decoded_bytes, allow_ratio)
    return CODECS[frame.codec].decode(frame)

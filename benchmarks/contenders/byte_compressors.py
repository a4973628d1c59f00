"""General compressors of bytes: zstd and LZMA, of floats, of indices, and of gaps between entries."""

import lzma

import numpy as np
import zstandard
from numpy.typing import NDArray

from ..matrices.base import Case
from ._symbols import (
    Packed,
    Symbols,
    as_part,
    case_values,
    from_planes,
    n_weights,
    to_planes,
    with_zero,
)
from .base import Parts

ZSTD_LEVEL = 19
ESCAPE = 255  # as many zeros passed, no entry yet


def _zstd(data: bytes) -> NDArray[np.uint8]:
    return as_part(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data))


def _unzstd(part: NDArray[np.uint8]) -> bytes:
    return zstandard.ZstdDecompressor().decompress(part)


class FloatsZstd(Packed):
    """What zipping a file of weights does."""

    name = "float32 + zstd"
    family = "compressor"
    setting = f"zstandard {zstandard.__version__}, level {ZSTD_LEVEL}"

    def encode(self, case: Case) -> Parts:
        return {"values": _zstd(case_values(case))}

    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return np.frombuffer(_unzstd(parts["values"]), np.float32)


class IndicesZstd(Packed):
    """A byte or more for each weight, its index into the codebook; planes of bytes."""

    name = "index + zstd"
    family = "compressor"
    setting = f"zstandard {zstandard.__version__}, level {ZSTD_LEVEL}, indices by rows"

    def encode(self, case: Case) -> Parts:
        planes = to_planes(case.symbols, case.codebook.size + 1)
        return {"codebook": case.codebook, "indices": _zstd(planes)}

    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        values = with_zero(parts["codebook"])
        return values[from_planes(_unzstd(parts["indices"]), values.size)]


class IndicesLzma(Packed):
    """The same by LZMA2, as `xz -9e`, without the header and checks of a file.

    pb=0 is what xz's manual advises for bytes without alignment; lc and lp make no difference.
    """

    name = "index + lzma"
    family = "compressor"
    setting = "liblzma, raw LZMA2, 9e, lc=3, lp=0, pb=0, indices by rows"

    def encode(self, case: Case) -> Parts:
        planes = to_planes(case.symbols, case.codebook.size + 1)
        packed = lzma.compress(planes, lzma.FORMAT_RAW, filters=_lzma2(len(planes)))
        return {"codebook": case.codebook, "indices": as_part(packed)}

    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        values = with_zero(parts["codebook"])
        # A dictionary as large as the data is all that decoding may need.
        filters = _lzma2(4 * n_weights(shape))
        planes = lzma.decompress(parts["indices"], lzma.FORMAT_RAW, filters=filters)
        return values[from_planes(planes, values.size)]


def _lzma2(n_bytes: int) -> list[dict[str, int]]:
    preset = 9 | lzma.PRESET_EXTREME
    size = min(max(n_bytes, 1 << 12), 1 << 26)  # of preset 9, at most
    settings = {"lc": 3, "lp": 0, "pb": 0, "dict_size": size}
    return [{"id": lzma.FILTER_LZMA2, "preset": preset, **settings}]


class GapsZstd(Packed):
    """Of each entry, the zeros before it and its value's index: two streams of bytes."""

    name = "gaps + zstd"
    family = "compressor"
    setting = (
        f"zstandard {zstandard.__version__}, level {ZSTD_LEVEL}, by rows or columns: the smaller"
    )

    def encode(self, case: Case) -> Parts:
        found = (self._encode_along(case, axis) for axis in (0, 1))
        return min(found, key=lambda parts: sum(part.nbytes for part in parts.values()))

    def _encode_along(self, case: Case, axis: int) -> Parts:
        symbols = case.symbols if axis == 0 else case.symbols.T
        flat = symbols.reshape(-1)
        places = np.flatnonzero(flat)
        gaps = to_gap_bytes(np.diff(places, prepend=-1) - 1)
        return {
            "axis": np.array([axis], np.uint8),
            "codebook": case.codebook,
            "gaps": _zstd(gaps.tobytes()),
            "indices": _zstd(to_planes(flat[places] - 1, case.codebook.size)),
        }

    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        codebook = parts["codebook"]
        gaps = from_gap_bytes(np.frombuffer(_unzstd(parts["gaps"]), np.uint8))
        flat = np.zeros(n_weights(shape), np.float32)
        indices = from_planes(_unzstd(parts["indices"]), codebook.size)
        flat[np.cumsum(gaps + 1) - 1] = codebook[indices]
        return flat if parts["axis"][0] == 0 else flat.reshape(-1, shape[0]).T


def to_gap_bytes(gaps: Symbols) -> NDArray[np.uint8]:
    """Write each gap as its remainder by 255, after a byte of 255 for each 255 in it.

    >>> to_gap_bytes(np.array([3, 255, 600])).tolist()
    [3, 255, 0, 255, 255, 90]
    """
    escapes, rest = np.divmod(gaps, ESCAPE)
    ends = np.cumsum(escapes + 1)
    found = np.full(ends[-1] if ends.size else 0, ESCAPE, np.uint8)
    found[ends - 1] = rest
    return found


def from_gap_bytes(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Invert `to_gap_bytes`."""
    sums = np.cumsum(data, dtype=np.int64)
    return np.diff(sums[data != ESCAPE], prepend=0)

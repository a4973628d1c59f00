"""What compressors and entropy coders share: bytes of indices, and matrices kept compressed."""

from abc import abstractmethod
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..matrices.base import Case
from .base import Contender, Parts, Stored, dims

Symbols = NDArray[np.integer[Any]]


class Packed(Contender):
    """A contender that has to decode the whole matrix before anything can be done with it."""

    multiplies = False

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        """Hold the parts; `Stored.decode` does the work."""
        return _Held(self, parts, shape)

    @abstractmethod
    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The weight, of `shape` or of as many in one row."""


class _Held(Stored):
    def __init__(self, contender: Packed, parts: Parts, shape: tuple[int, ...]) -> None:
        self._contender, self._parts, self._shape = contender, parts, shape

    def decode(self) -> NDArray[np.float32]:
        values = self._contender.unpack(self._parts, self._shape)
        return np.ascontiguousarray(values.reshape(dims(self._shape)))


def n_weights(shape: tuple[int, ...]) -> int:
    """Number of weights."""
    return prod(shape)


def with_zero(codebook: NDArray[np.float32]) -> NDArray[np.float32]:
    """The value of each symbol of a `Case`: 0 for symbol 0, then those of the codebook."""
    return np.concatenate([np.zeros(1, np.float32), codebook])


def plane_count(n_symbols: int) -> int:
    """Bytes of an index below `n_symbols`.

    >>> plane_count(1), plane_count(256), plane_count(257), plane_count(65537)
    (1, 1, 2, 3)
    """
    return max(1, -(-(n_symbols - 1).bit_length() // 8))


def to_planes(symbols: Symbols, n_symbols: int) -> bytes:
    """All low bytes of indices below `n_symbols`, row by row, then all second bytes, ..."""
    flat = symbols.reshape(-1)
    planes = range(plane_count(n_symbols))
    return b"".join((flat >> 8 * plane & 255).astype(np.uint8).tobytes() for plane in planes)


def from_planes(data: bytes, n_symbols: int) -> Symbols:
    """Invert `to_planes`, in one row."""
    n_planes = plane_count(n_symbols)
    planes = np.frombuffer(data, np.uint8).reshape(n_planes, -1)
    if n_planes == 1:
        return planes[0]
    symbols = np.zeros(planes.shape[1], np.int32)
    for number, plane in enumerate(planes):
        symbols |= plane.astype(np.int32) << 8 * number
    return symbols


def as_part(data: bytes) -> NDArray[np.uint8]:
    """Compressed bytes, as a part."""
    return np.frombuffer(data, np.uint8)


def case_values(case: Case) -> bytes:
    """The weight's float32, row by row."""
    return case.matrix.tobytes()

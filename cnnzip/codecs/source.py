"""The encoder's view of a tensor: its patterns, and its distinct ones where they are few."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzip.arrays import Wrap, to_numpy
from cnnzip.codecs.codebook import MAX_VALUES
from cnnzip.dtypes import DType, dtype_by_name
from cnnzip.errors import ArgumentError

Patterns = NDArray[np.unsignedinteger]
SIGNED_ZEROS = ("drop", "keep")


@dataclass(frozen=True)
class MatrixShape:
    """A tensor's shape and type, and its view as a matrix (LIN-1)."""

    dtype: DType
    dims: tuple[int, ...]

    @cached_property
    def n_weights(self) -> int:
        """Number of weights."""
        return math.prod(self.dims)

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of the plain tensor."""
        return self.n_weights * self.dtype.itemsize

    @cached_property
    def n_rows(self) -> int:
        """Rows of the matrix view."""
        return (self.dims[0] if self.dims else 1) if self.n_weights else 0

    @cached_property
    def n_columns(self) -> int:
        """Columns of the matrix view."""
        return self.n_weights // self.n_rows if self.n_rows else 0


@dataclass(frozen=True)
class Distinct:
    """Distinct patterns of a tensor, numbered by increasing pattern.

    Attributes
    ----------
    patterns : unsigned (n_values,), increasing
    counts : int64 (n_values,)
    symbols : uint16 (n_weights,)
        The number of each weight's pattern, in C order.
    """

    patterns: Patterns
    counts: NDArray[np.int64]
    symbols: NDArray[np.uint16]

    @property
    def zero_symbol(self) -> int:
        """Symbol of pattern 0, or -1 where it does not occur."""
        return 0 if self.patterns.size and int(self.patterns[0]) == 0 else -1

    @property
    def n_values(self) -> int:
        """Distinct values of the entries."""
        return self.patterns.size - (self.zero_symbol == 0)

    @property
    def n_entries(self) -> int:
        """Weights whose pattern is not 0."""
        return int(self.counts[-self.n_values :].sum()) if self.n_values else 0

    def by_count(self) -> tuple[NDArray[np.uint16], Patterns]:
        """New symbols of the entries' values, the most frequent first, and their codebook."""
        first = self.patterns.size - self.n_values
        order = np.argsort(-self.counts[first:], kind="stable") + first
        number = np.zeros(self.counts.size, np.uint16)
        number[order] = np.arange(order.size)
        return number, self.patterns[order]


def numbers_of(shape: MatrixShape, patterns: Patterns) -> NDArray[np.float64]:
    """The codebook as numbers, of which like ones are near each other; not a number is 0."""
    plain = patterns.view(shape.dtype.numpy)
    real = plain.real if plain.dtype.kind == "c" else plain
    with np.errstate(invalid="ignore", over="ignore"):
        return np.nan_to_num(real.astype(np.float64), posinf=np.inf, neginf=-np.inf)


@dataclass(frozen=True)
class Source:
    """A tensor to encode.

    Attributes
    ----------
    shape : MatrixShape
    data : uint8 (n_bytes,)
        Its bytes in C order, little-endian, contiguous.
    """

    shape: MatrixShape
    data: NDArray[np.uint8]

    @property
    def patterns(self) -> Patterns:
        """The weights as unsigned integers; types of at most 8 bytes only."""
        return self.data.view(self.shape.dtype.pattern)

    @cached_property
    def distinct(self) -> Distinct | None:
        """Distinct patterns, or None where there are more than a codebook holds (BOK-1)."""
        itemsize = self.shape.dtype.itemsize
        if itemsize > 8:
            return None
        patterns = self.patterns
        if itemsize <= 2:
            per_pattern = np.bincount(patterns, minlength=1)
            found = np.flatnonzero(per_pattern)
            number = np.zeros(per_pattern.size, np.uint16)
            number[found] = np.arange(found.size)
            return Distinct(found.astype(patterns.dtype), per_pattern[found], number[patterns])
        return _hashed(patterns)


def _hashed(patterns: Patterns) -> Distinct | None:
    from cnnzip_native.patterns import find_distinct, renumber

    limit = min(patterns.size, MAX_VALUES)
    slots = np.full(1 << (2 * limit + 1).bit_length(), -1, np.int32)
    found = np.empty(limit, patterns.dtype)
    counts = np.zeros(limit, np.int64)
    symbols = np.empty(patterns.size, np.uint16)
    n_distinct = find_distinct(patterns, slots, limit, found, counts, symbols)
    if n_distinct < 0:
        return None
    order = np.argsort(found[:n_distinct])
    number = np.empty(n_distinct, np.uint16)
    number[order] = np.arange(n_distinct)
    renumber(symbols, number)
    return Distinct(found[order], counts[order], symbols)


def source_of(array: Any, signed_zeros: str = "drop") -> tuple[Source, int, Wrap | None]:
    """What `encode` codes: a source, the number of -0.0 dropped, the caller's kind of array."""
    if signed_zeros not in SIGNED_ZEROS:
        raise ArgumentError(f"signed_zeros={signed_zeros!r}, not one of {SIGNED_ZEROS}")
    plain, wrap = to_numpy(array)
    if plain.dtype.byteorder == ">":
        plain = plain.astype(plain.dtype.newbyteorder("<"))
    shape = MatrixShape(dtype_by_name(plain.dtype.name), plain.shape)
    data = np.ascontiguousarray(plain).reshape(-1).view(np.uint8)
    negative_zero = shape.dtype.negative_zero
    n_dropped = 0
    if signed_zeros == "drop" and negative_zero is not None:
        patterns = data.view(shape.dtype.pattern)
        negative = patterns == negative_zero
        n_dropped = int(np.count_nonzero(negative))
        if n_dropped:
            data = np.where(negative, patterns.dtype.type(0), patterns).view(np.uint8)
    return Source(shape, data), n_dropped, wrap

"""Codebooks: the distinct weights of a tensor, and the code that numbers them (BOK, HUF)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cnnzip.dtypes import DType, check_bools
from cnnzip.entropy.canonical import CanonicalCode, optimal_lengths
from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError

MAX_VALUES = 1 << 16  # BOK-1


def write_patterns(patterns: NDArray[np.unsignedinteger]) -> bytes:
    """Write a codebook (BOK-1)."""
    return encode_varint(patterns.size) + patterns.tobytes()


def parse_patterns(cursor: Cursor, dtype: DType) -> NDArray[np.unsignedinteger]:
    """Invert `write_patterns`; the order is checked by the caller (BOK-2)."""
    n_values = cursor.varint()
    if n_values > MAX_VALUES:
        raise CorruptError("BOK-1", "codebook", f"{n_values} values, at most {MAX_VALUES}")
    if dtype.itemsize > 8:
        raise CorruptError("BOK-1", "codebook", f"no codebook can hold {dtype.name}")
    patterns = np.frombuffer(cursor.take(n_values * dtype.itemsize), dtype.pattern).copy()
    check_bools(dtype, patterns, "codebook")
    return patterns


def check_increasing(patterns: NDArray[np.unsignedinteger]) -> None:
    """Refuse patterns that repeat or go down (BOK-2)."""
    if patterns.size > 1 and bool(np.any(patterns[1:] <= patterns[:-1])):
        raise CorruptError("BOK-2", "codebook", "patterns that do not increase")


@dataclass(frozen=True)
class CodedValues:
    """A codebook whose symbols are those of a Huffman code.

    Attributes
    ----------
    patterns : unsigned (n_values,)
        By codeword length, then increasing (BOK-2).
    code : CanonicalCode
    """

    patterns: NDArray[np.unsignedinteger]
    code: CanonicalCode

    @classmethod
    def of_counts(
        cls, patterns: NDArray[np.unsignedinteger], counts: NDArray[np.int64]
    ) -> tuple["CodedValues", NDArray[np.int64]]:
        """Make an optimal code. Returns it and the new symbol of each of `patterns`.

        Parameters
        ----------
        patterns : unsigned (n_values,), increasing
        counts : int64 (n_values,), each at least 1
        """
        lengths = optimal_lengths(counts)
        order = np.lexsort((patterns, lengths))
        number = np.empty(order.size, np.int64)
        number[order] = np.arange(order.size)
        return cls(patterns[order], CanonicalCode.of_lengths(lengths)), number

    def write(self) -> bytes:
        """Write the codebook, then the code."""
        return write_patterns(self.patterns) + self.code.write()

    @classmethod
    def parse(cls, cursor: Cursor, dtype: DType) -> "CodedValues":
        """Invert `write` (BOK-1, BOK-2, HUF-1 to HUF-3)."""
        patterns = parse_patterns(cursor, dtype)
        code = CanonicalCode.parse(cursor, patterns.size)
        if np.unique(patterns).size != patterns.size:
            raise CorruptError("BOK-2", "codebook", "a pattern that occurs twice")
        same = code.lengths[1:] == code.lengths[:-1]
        if bool(np.any(same & (patterns[1:] < patterns[:-1]))):
            raise CorruptError("BOK-2", "codebook", "patterns of one length that do not increase")
        return cls(patterns, code)

    @cached_property
    def zero_symbol(self) -> int:
        """Symbol of pattern 0, or -1."""
        found = np.flatnonzero(self.patterns == 0)
        return int(found[0]) if found.size else -1

    def n_bits(self, counts: NDArray[np.int64]) -> int:
        """Bits that symbols of these counts take, without padding."""
        return int(np.dot(counts, self.code.lengths.astype(np.int64)))

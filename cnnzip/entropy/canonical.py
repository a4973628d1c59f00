"""Canonical Huffman code: the description shared by the encoder and the decoder."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError

MAX_LENGTH = 24  # bits; HUF-1
MAX_TABLE_BITS = 12


def optimal_lengths(counts: NDArray[np.int64], max_length: int = MAX_LENGTH) -> NDArray[np.uint8]:
    """Codeword lengths of an optimal prefix code with no codeword above `max_length` bits.

    Parameters
    ----------
    counts : int64 (n_symbols,)
        Each at least 1; n_symbols at most ``2**max_length``.

    Returns
    -------
    lengths : uint8 (n_symbols,)
        One symbol alone gets 0 bits.

    Source: Larmore and Hirschberg, JACM 37 (1990): Package-Merge.
    """
    n_symbols = counts.size
    if n_symbols < 2:
        return np.zeros(n_symbols, np.uint8)
    order = np.argsort(counts, kind="stable")
    leaves = counts[order].astype(np.int64)
    # Level by level: the leaves merged with the packages (pairs) of the level below. Remember
    # only which items are leaves; their order is always that of `leaves`.
    level, is_leaf = leaves, [np.ones(n_symbols, bool)]
    for _ in range(max_length - 1):
        pairs = level[: level.size // 2 * 2].reshape(-1, 2).sum(axis=1)
        both = np.concatenate([leaves, pairs])
        merged = np.argsort(both, kind="stable")
        level = both[merged]
        is_leaf.append(merged < n_symbols)
    # The cheapest 2 n - 2 items of the last level, opened again down to the first.
    lengths = np.zeros(n_symbols, np.uint8)
    taken = 2 * n_symbols - 2
    for flags in reversed(is_leaf):
        n_leaves = int(np.count_nonzero(flags[:taken]))
        lengths[:n_leaves] += 1
        taken = 2 * (taken - n_leaves)
    result = np.empty(n_symbols, np.uint8)
    result[order] = lengths
    return result


@dataclass(frozen=True)
class CanonicalCode:
    """A prefix code, known by how many codewords it has of each length (HUF-1).

    Only `per_length` is stored; `codewords` serves the encoder, `limits` and `offsets` the decoder.
    Symbols are numbered by increasing length of their codewords (HUF-4).

    Attributes
    ----------
    per_length : tuple of int
        Number of codewords of 1, 2, ... bits; empty for a code of one symbol or none.
    n_symbols : int

    Raises
    ------
    CorruptError
        [HUF-1] A length above MAX_LENGTH. [HUF-2] The code is not complete. [HUF-3] The counts
        are not those of n_symbols.

    Source: HUF-1 to HUF-4. Huffman, Proc. IRE 40 (1952); Schwartz and Kallick, CACM 7 (1964).
    """

    per_length: tuple[int, ...]
    n_symbols: int

    def __post_init__(self) -> None:
        longest = len(self.per_length)
        if longest > MAX_LENGTH:
            raise CorruptError("HUF-1", "code", f"{longest} bits, at most {MAX_LENGTH}")
        if not longest:
            if self.n_symbols > 1:
                raise CorruptError("HUF-2", "code", f"no codewords for {self.n_symbols} symbols")
            return
        if not self.per_length[-1]:
            raise CorruptError("HUF-1", "code", f"no codeword of the longest, {longest} bits")
        kraft = sum(n << (longest - 1 - i) for i, n in enumerate(self.per_length))
        if kraft != 1 << longest:
            raise CorruptError("HUF-2", "code", f"Kraft sum is {kraft}/{1 << longest}, not 1")
        if sum(self.per_length) != self.n_symbols:
            raise CorruptError(
                "HUF-3", "code", f"{sum(self.per_length)} codewords for {self.n_symbols} symbols"
            )

    @classmethod
    def of_lengths(cls, lengths: NDArray[np.uint8]) -> "CanonicalCode":
        """The code of the given codeword lengths, in any order."""
        return cls(tuple(np.bincount(lengths).tolist()[1:]), lengths.size)

    def write(self) -> bytes:
        """Describe the code (HUF-1)."""
        return b"".join(map(encode_varint, (len(self.per_length), *self.per_length)))

    @classmethod
    def parse(cls, cursor: Cursor, n_symbols: int) -> "CanonicalCode":
        """Invert `write` (HUF-1 to HUF-3)."""
        longest = cursor.varint()
        if longest > MAX_LENGTH:
            raise CorruptError("HUF-1", "code", f"{longest} bits, at most {MAX_LENGTH}")
        return cls(tuple(cursor.varints(longest)), n_symbols)

    @property
    def longest(self) -> int:
        """Bits of the longest codeword."""
        return len(self.per_length)

    @cached_property
    def lengths(self) -> NDArray[np.uint8]:
        """Codeword length of each symbol, never decreasing; uint8 (n_symbols,)."""
        if not self.longest:
            return np.zeros(self.n_symbols, np.uint8)
        return np.repeat(np.arange(1, self.longest + 1, dtype=np.uint8), self.per_length)

    @cached_property
    def _firsts(self) -> list[int]:
        """First codeword of each length from 0 to MAX_LENGTH, right-aligned (HUF-4)."""
        firsts, word = [0], 0
        for n in (*self.per_length, *[0] * (MAX_LENGTH - self.longest)):
            word <<= 1
            firsts.append(word)
            word += n
        return firsts

    def codewords(self) -> NDArray[np.uint32]:
        """Encoder's view: the codeword of each symbol, right-aligned; uint32 (n_symbols,)."""
        rank = np.arange(self.n_symbols) - np.cumsum((0, 0, *self.per_length))[self.lengths]
        words: NDArray[np.uint32] = (np.array(self._firsts)[self.lengths] + rank).astype(np.uint32)
        return words

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """First symbol of each length minus its codeword; int64 (25,)."""
        symbols = np.cumsum((0, 0, *self.per_length, *[0] * (MAX_LENGTH - self.longest)))
        offsets: NDArray[np.int64] = symbols[: MAX_LENGTH + 1] - np.array(self._firsts)
        return offsets

    @cached_property
    def limits(self) -> NDArray[np.uint64]:
        """Least 32-bit prefix above those of codewords of n bits or fewer; uint64 (25,)."""
        counts = (0, *self.per_length, *[0] * (MAX_LENGTH - self.longest))
        ends = [first + n for first, n in zip(self._firsts, counts, strict=True)]
        return np.array([end << (32 - length) for length, end in enumerate(ends)], np.uint64)

    def decode_runs(self, zero_symbol: int, table_bits: int = MAX_TABLE_BITS) -> tuple[Any, ...]:
        """Decoder's view, zeros in runs: arguments of `decode_ham`, from `limits` to the table."""
        from cnnzip_native.huffman import build_runs

        table = np.zeros(1 << table_bits, np.uint32)
        code = self.limits, self.offsets, self.longest, zero_symbol, table_bits
        build_runs(*code, table)
        return *code, table

    def decode_pairs(self, table_bits: int = MAX_TABLE_BITS) -> tuple[Any, ...]:
        """Decoder's view: arguments of `decode_symbols`, from `limits` to the table."""
        from cnnzip_native.huffman import build_pairs

        table = np.zeros(1 << table_bits, np.uint32)
        code = self.limits, self.offsets, self.longest, table_bits
        build_pairs(*code, table)
        return *code, table

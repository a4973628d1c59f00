"""Tables of asymmetric numeral systems: the description shared by the encoder and the decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError

MAX_SYMBOLS = 320  # ANS-1
MAX_WEIGHT = 31  # ANS-2
LOG_SIZES = range(9, 13)  # ANS-1
MASSES = np.array([0] + [isqrt(1 << (11 + w)) for w in range(1, MAX_WEIGHT + 1)], np.int64)


def pack_bits(numbers: Sequence[int] | NDArray[np.integer], width: int) -> bytes:
    """Write numbers of `width` bits each, at most 16, as a bit string (NUM-3)."""
    rows = np.asarray(numbers, ">u2").reshape(-1, 1).view(np.uint8)
    return np.packbits(np.unpackbits(rows, axis=1)[:, 16 - width :]).tobytes()


def unpack_bits(cursor: Cursor, count: int, width: int) -> NDArray[np.uint16]:
    """Invert `pack_bits`; refuses padding that is set."""
    bits = np.unpackbits(np.frombuffer(cursor.take(-(-count * width // 8)), np.uint8))
    if bits[count * width :].any():
        raise CorruptError("NUM-3", cursor.where, "a padding bit that is set")
    if not width:
        return np.zeros(count, np.uint16)
    wide = np.zeros((count, 16), np.uint8)
    wide[:, 16 - width :] = bits[: count * width].reshape(count, width)
    return np.packbits(wide, axis=1).view(">u2").reshape(count).astype(np.uint16)


@dataclass(frozen=True)
class AnsTable:
    """A distribution, known by a weight of 5 bits for each symbol (ANS-1 to ANS-3).

    Attributes
    ----------
    weights : uint8 (n_symbols,)
        Half-octaves of frequency; 0 for a symbol that does not occur. The last is not 0.
    """

    weights: NDArray[np.uint8]

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64]) -> "AnsTable":
        """The nearest table to a histogram that is not empty."""
        used = counts[: int(np.flatnonzero(counts)[-1]) + 1].astype(np.float64)
        with np.errstate(divide="ignore"):
            steps = np.rint(2 * np.log2(used / used.max()))
        weights = np.where(used > 0, np.maximum(steps + MAX_WEIGHT, 1), 0)
        return cls(weights.astype(np.uint8))

    def write(self) -> bytes:
        """Describe the table (ANS-1)."""
        return encode_varint(self.weights.size) + pack_bits(self.weights, 5)

    @classmethod
    def parse(cls, cursor: Cursor) -> "AnsTable":
        """Invert `write` (ANS-1, ANS-2)."""
        n_symbols = cursor.varint()
        if not 1 <= n_symbols <= MAX_SYMBOLS:
            raise CorruptError("ANS-1", cursor.where, f"a table of {n_symbols} symbols")
        weights = unpack_bits(cursor, n_symbols, 5)
        if not weights[-1]:
            raise CorruptError("ANS-2", cursor.where, "a table whose last symbol does not occur")
        return cls(weights.astype(np.uint8))

    def frequencies(self, log_size: int) -> NDArray[np.int64]:
        """Frequencies that add up to ``2**log_size`` (ANS-3)."""
        masses, size = MASSES[self.weights], 1 << log_size
        found = np.where(masses > 0, np.maximum(masses * size // masses.sum(), 1), 0)
        missing = size - int(found.sum())
        if missing > 0:
            found[int(np.argmax(masses))] += missing
        for _ in range(-missing):
            found[int(np.argmax(found))] -= 1
        return found


class Coding(NamedTuple):
    """Encoder's view of several tables, as `banded.encode_banded` takes it."""

    frequencies: NDArray[np.int64]
    places: NDArray[np.int64]
    states: NDArray[np.uint16]


@dataclass(frozen=True)
class AnsTables:
    """Tables that share one state."""

    tables: tuple[AnsTable, ...]
    log_size: int

    @property
    def frequencies(self) -> NDArray[np.int64]:
        """Frequencies of each table's symbols; int64 (n_tables, n_symbols of the largest)."""
        widest = max(table.weights.size for table in self.tables)
        found = np.zeros((len(self.tables), widest), np.int64)
        for row, table in zip(found, self.tables, strict=True):
            row[: table.weights.size] = table.frequencies(self.log_size)
        return found

    def _spread(self, frequencies: NDArray[np.int64]) -> NDArray[np.uint16]:
        from cnnzip_native.ans import spread_symbols

        spreads = np.empty((len(self.tables), 1 << self.log_size), np.uint16)
        for row, spread in zip(frequencies, spreads, strict=True):
            spread_symbols(row, self.log_size, spread)
        return spreads

    def encoding(self) -> Coding:
        """Encoder's view: the states of each symbol."""
        from cnnzip_native.ans import build_encoding

        frequencies = self.frequencies
        places = np.cumsum(frequencies, axis=1) - frequencies
        spreads = self._spread(frequencies)
        states = np.empty_like(spreads)
        for spread, place, row in zip(spreads, places, states, strict=True):
            build_encoding(spread, place.copy(), row)
        return Coding(frequencies, places, states)

    def decoding(self) -> NDArray[np.uint32]:
        """Decoder's view: an entry for each state; uint32 (n_tables, 2**log_size)."""
        from cnnzip_native.ans import build_decoding

        frequencies = self.frequencies
        spreads = self._spread(frequencies)
        tables = np.empty(spreads.shape, np.uint32)
        for spread, row, table in zip(spreads, frequencies, tables, strict=True):
            build_decoding(spread, self.log_size, row.copy(), table)
        return tables

"""Entries of a matrix, listed line by line: what the encoders of banded and fast start from."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.lines import LANES
from cnnzip.codecs.source import Distinct, MatrixShape

SAMPLE_ENTRIES = 1 << 16  # of which a choice is made


@dataclass(frozen=True)
class EntryList:
    """Entries of a matrix, line by line.

    Attributes
    ----------
    lines : int64 (n_lines + 1,)
        Line i has the entries from ``lines[i]`` on, up to ``lines[i + 1]``.
    places : uint32 (n_entries,)
        Increasing in each line.
    symbols : uint16 (n_entries,)
    per_place : int64 (width,)
        Entries of each place; of the whole matrix, also in a sample.
    """

    lines: NDArray[np.int64]
    places: NDArray[np.uint32]
    symbols: NDArray[np.uint16]
    per_place: NDArray[np.int64]

    @classmethod
    def of_rows(
        cls, shape: MatrixShape, distinct: Distinct, number: NDArray[np.uint16]
    ) -> "EntryList":
        """The entries row by row, with the symbols that `number` gives."""
        from cnnzip_native.places import list_entries

        lines = np.empty(shape.n_rows + 1, np.int64)
        places = np.empty(shape.n_weights + LANES, np.uint32)
        symbols = np.empty(shape.n_weights + LANES, np.uint16)
        matrix = distinct.symbols.reshape(shape.n_rows, shape.n_columns)
        list_entries(matrix, distinct.zero_symbol, lines, places, symbols)
        places = places[: lines[-1]].copy()
        per_place = np.bincount(places, minlength=shape.n_columns)
        return cls(lines, places, number[symbols[: lines[-1]]], per_place)

    def transposed(self) -> "EntryList":
        """The same entries column by column, if these are row by row."""
        from cnnzip_native.places import transpose_entries

        lines = np.append(0, np.cumsum(self.per_place)).astype(np.int64)
        places, symbols = np.empty_like(self.places), np.empty_like(self.symbols)
        transpose_entries(self.lines, self.places, self.symbols, lines[:-1].copy(), places, symbols)
        return EntryList(lines, places, symbols, self.counts)

    @property
    def width(self) -> int:
        """Places of a line."""
        return self.per_place.size

    @property
    def counts(self) -> NDArray[np.int64]:
        """Entries of each line."""
        return np.diff(self.lines)

    def sample(self) -> "EntryList":
        """Every so many lines, so that about `SAMPLE_ENTRIES` are left."""
        step = max(1, self.places.size // SAMPLE_ENTRIES)
        if step == 1:
            return self
        chosen = np.arange(0, self.lines.size - 1, step)
        counts = self.counts[chosen]
        lines = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        if 4 * step * int(lines[-1]) < self.places.size:
            return self  # the entries crowd in lines that were not chosen
        at = np.repeat(self.lines[chosen] - lines[:-1], counts) + np.arange(int(lines[-1]))
        return replace(self, lines=lines, places=self.places[at], symbols=self.symbols[at])

    def joined(self, per_stream: int) -> "EntryList":
        """The same entries, with so many lines at a time as one; `per_place` stays."""
        line = np.repeat(np.arange(self.lines.size - 1) % per_stream, self.counts)
        places = self.places + (line * self.width).astype(np.uint32)
        lines = np.append(self.lines[:-1:per_stream], self.lines[-1])
        return replace(self, lines=lines, places=places)

    def in_scan(self, scan: NDArray[np.intp]) -> "EntryList":
        """The same entries, with places by their number in the scan (BND-3)."""
        number = np.empty(self.width, np.uint32)
        number[scan] = np.arange(self.width)
        # Sorted with the symbol in the low bits: an order of numbers is found faster than of indices.
        bases = np.arange(self.lines.size - 1, dtype=np.uint64) * np.uint64(self.width)
        keys = np.repeat(bases, self.counts)
        positions = keys + number[self.places]
        positions = (positions << np.uint64(16)) | self.symbols
        positions.sort()
        symbols = (positions & np.uint64(0xFFFF)).astype(np.uint16)
        places = ((positions >> np.uint64(16)) - keys).astype(np.uint32)
        return replace(self, places=places, symbols=symbols)

"""Codecs that cut a matrix into lines and streams (LIN), and the products they share (MAT)."""

import math
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs import threads
from cnnzip.codecs.base import Codec
from cnnzip.codecs.source import MatrixShape
from cnnzip.entropy.varints import Cursor
from cnnzip.errors import ArgumentError, CorruptError

PANEL = 16  # columns that a product with a matrix takes at a time
LANES = 16  # streams, tokens or weights that kernels take at a time
Vector = NDArray[np.floating]


@dataclass(frozen=True)
class Lines:
    """How a matrix is cut into lines, and lines into streams (LIN-2 to LIN-4)."""

    shape: MatrixShape
    axis: int
    per_stream: int

    def __post_init__(self) -> None:
        if self.axis not in (0, 1):
            raise CorruptError("LIN-2", "axis", f"{self.axis}, neither 0 nor 1")
        if not 1 <= self.per_stream <= max(self.n_lines, 1):
            raise CorruptError("LIN-3", "lines per stream", f"{self.per_stream} of {self.n_lines}")
        if self.per_stream * self.width >= 1 << 31:
            raise CorruptError(
                "LIN-4", "lines per stream", f"{self.per_stream} x {self.width} weights, below 2^31"
            )

    @classmethod
    def for_entries(cls, shape: MatrixShape, axis: int, n_entries: int, aim: int) -> "Lines":
        """Streams of about `aim` entries each, if entries were spread evenly."""
        whole = cls(shape, axis, 1)
        fitting = ((1 << 31) - 1) // max(whole.width, 1)
        per_stream = -(-aim * whole.n_lines // max(n_entries, 1))
        return cls(shape, axis, max(1, min(per_stream, fitting, whole.n_lines)))

    @cached_property
    def n_lines(self) -> int:
        """Rows for axis 0, columns for axis 1."""
        return self.shape.n_columns if self.axis else self.shape.n_rows

    @cached_property
    def width(self) -> int:
        """Weights of a line."""
        return self.shape.n_rows if self.axis else self.shape.n_columns

    @cached_property
    def n_streams(self) -> int:
        """Streams, the last of which may have fewer lines."""
        return -(-self.n_lines // self.per_stream)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Lines up to the end of each stream; int64 (n_streams,)."""
        ends = np.arange(1, self.n_streams + 1, dtype=np.int64) * self.per_stream
        return np.minimum(ends, self.n_lines)

    @cached_property
    def of_streams(self) -> NDArray[np.int64]:
        """Lines of each stream; int64 (n_streams,)."""
        return np.diff(self.ends, prepend=0)


class Block(NamedTuple):
    """Consecutive streams that are decoded together."""

    first: int
    stop: int


class Entries(NamedTuple):
    """Entries of a block, in the form that `cnnzip_native.entries` reads."""

    positions: NDArray[np.uint32]
    symbols: NDArray[np.uint16]
    begins: NDArray[np.int64]
    counts: NDArray[np.int64]
    first_line: int
    lines_per_stream: int
    width: int


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype[np.floating]) -> Vector:
    """Zeros whose rows of 16 begin a cache line: rows that straddle two cost 1.6 times as much."""
    n_bytes = math.prod(shape) * dtype.itemsize
    room = np.zeros(n_bytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    rows: Vector = room[start : start + n_bytes].view(dtype).reshape(shape)
    return rows


class _Scratch(threading.local):
    """Buffers for one block's entries, one set a thread, kept for the next block."""

    def __init__(self) -> None:
        self.positions = np.empty(0, np.uint32)
        self.symbols = np.empty(0, np.uint16)

    def buffers(self, capacity: int) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
        if capacity > MOST_KEPT:
            return np.empty(capacity, np.uint32), np.empty(capacity, np.uint16)
        if self.positions.size < capacity:
            self.positions = np.empty(capacity, np.uint32)
            self.symbols = np.empty(capacity, np.uint16)
        return self.positions[:capacity], self.symbols[:capacity]


MOST_KEPT = 1 << 20  # entries of scratch kept per thread; 6 bytes each
scratch = _Scratch()


def parse_stream_starts(cursor: Cursor, n_streams: int, section: memoryview) -> NDArray[np.int64]:
    """Read the streams' lengths and check that they fill `section` (LIN-5)."""
    return stream_starts(cursor.varints(n_streams), section)


def stream_starts(lengths: Sequence[int], section: memoryview) -> NDArray[np.int64]:
    """Where streams of these lengths begin, and end, if they fill `section` (LIN-5).

    Python's numbers are summed: int64 would wrap, and let a stream lie anywhere.
    """
    total = sum(lengths)
    if total != len(section):
        raise CorruptError("LIN-5", "stream lengths", f"{total} bytes of {len(section)}")
    return np.cumsum([0, *lengths], dtype=np.int64)


class LineCodec(Codec):
    """A codec whose streams decode to entries; decoding and products need no more."""

    multiplies = True

    lines: Lines
    #: Codebook, by symbol.
    patterns: NDArray[np.unsignedinteger]

    @property
    def scan(self) -> NDArray[np.intp] | None:
        """Places of a line in the order in which they are coded; None for their natural order."""
        return None

    @property
    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """Streams cut into blocks that fit the cache: what one thread decodes at a time."""

    @abstractmethod
    def decode_block(self, block: Block) -> Entries:
        """Decode a block to its entries, in this thread's scratch (valid until its next call).

        Raises CorruptError; what it returns has been checked.
        """

    def blocks_by_entries(
        self, ends: NDArray[np.int64], most: int, most_streams: int = 1 << 31
    ) -> Sequence[Block]:
        """Blocks of up to `most` entries, one stream at least; ``ends[i]`` stand before stream i."""
        blocks, first = [], 0
        for s in range(1, self.lines.n_streams):
            if ends[s + 1] - ends[first] > most or s - first == most_streams:
                blocks.append(Block(first, s))
                first = s
        return [*blocks, Block(first, self.lines.n_streams)] if self.lines.n_streams else []

    def blocks_of_lines(self, first: int, stop: int) -> Iterator[Block]:
        """The streams that hold the lines from `first` on, up to `stop`, in blocks."""
        first_stream = first // self.lines.per_stream
        last_stream = -(-stop // self.lines.per_stream)
        for block in self.blocks:
            part = Block(max(block.first, first_stream), min(block.stop, last_stream))
            if part.first < part.stop:
                yield part

    # Decoding

    @cached_property
    def _scan32(self) -> NDArray[np.uint32]:
        return np.empty(0, np.uint32) if self.scan is None else self.scan.astype(np.uint32)

    def natural(self, block: Block) -> Entries:
        """Decode a block, with places as the matrix has them; they may not increase in a line."""
        entries = self.decode_block(block)
        if self.scan is None:
            return entries
        line, place = np.divmod(entries.positions, np.uint32(max(entries.width, 1)))
        positions = line * np.uint32(entries.width) + self.scan[place].astype(np.uint32)
        return entries._replace(positions=positions)

    def decode_into(self, out: NDArray[np.uint8]) -> None:
        """Write every entry into zeros (DTY-2, LIN-1)."""
        from cnnzip_native.entries import write_entries

        plain = out.view(self.shape.dtype.pattern)
        plain.fill(0)
        steps = (1, self.shape.n_columns) if self.lines.axis else (self.shape.n_columns, 1)

        def write(block: Block) -> None:
            write_entries(*self.decode_block(block), self.patterns, self._scan32, *steps, plain)

        threads.run(write, self.blocks)

    def decode_rows(self, first: int, stop: int) -> NDArray[np.uint8]:
        """The bytes of rows `first` to `stop` alone, from the streams that hold them."""
        from cnnzip_native.entries import write_entries

        row_bytes = self.shape.n_columns * self.shape.dtype.itemsize
        if self.lines.axis:
            return self.decode()[first * row_bytes : stop * row_bytes]
        parts = []
        for block in self.blocks_of_lines(first, stop):
            at = block.first * self.lines.per_stream
            end = min(block.stop * self.lines.per_stream, self.lines.n_lines)
            part = np.zeros((end - at) * self.shape.n_columns, self.shape.dtype.pattern)
            entries = self.decode_block(block)._replace(first_line=0)
            write_entries(*entries, self.patterns, self._scan32, self.shape.n_columns, 1, part)
            rows = part.view(np.uint8)
            parts.append(rows[max(first - at, 0) * row_bytes : (min(stop, end) - at) * row_bytes])
        return np.concatenate(parts) if parts else np.empty(0, np.uint8)

    def validate(self) -> None:
        """Decode all streams, keep nothing."""

        def check(block: Block) -> None:
            self.decode_block(block)

        threads.run(check, self.blocks)

    def value_counts(self) -> NDArray[np.int64]:
        """Number of entries of each symbol; int64 (n_values,)."""
        counts = np.zeros(self.patterns.size, np.int64)
        for block in self.blocks:
            e = self.decode_block(block)
            for begin, n in zip(e.begins, e.counts, strict=True):
                counts += np.bincount(e.symbols[begin : begin + n], minlength=counts.size)
        return counts

    def entries(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint16]]:
        """Row, column and symbol of every entry, in scan order."""
        rows, columns, symbols = [], [], []
        for block in self.blocks:
            e = self.natural(block)
            for s in range(e.begins.size):
                run = slice(int(e.begins[s]), int(e.begins[s] + e.counts[s]))
                line, place = np.divmod(e.positions[run].astype(np.int64), max(e.width, 1))
                line += e.first_line + s * e.lines_per_stream
                rows.append(place if self.lines.axis else line)
                columns.append(line if self.lines.axis else place)
                symbols.append(e.symbols[run].copy())
        if not symbols:
            nothing = np.empty(0, np.int64)
            return nothing, nothing, np.empty(0, np.uint16)
        return np.concatenate(rows), np.concatenate(columns), np.concatenate(symbols)

    # Products

    @cached_property
    def _values(self) -> dict[str, Vector]:
        return {}

    def values(self, dtype: np.dtype[np.floating]) -> Vector:
        """The codebook in the type of the arithmetic (MAT-2)."""
        if dtype.char not in self._values:
            plain = self.patterns.view(self.shape.dtype.numpy)
            self._values[dtype.char] = plain.astype(dtype)
        return self._values[dtype.char]

    def multiply(self, x: Vector, transpose: bool = False) -> Vector:
        """``W @ x``, or ``W.T @ x``, for a vector or a matrix of columns.

        Parameters
        ----------
        x : float32 or float64 (n,) or (n, n_columns), C-contiguous

        Returns
        -------
        y : as x (m,) or (m, n_columns)

        Source: MAT-1 to MAT-5.
        """
        n, m = self.shape.n_columns, self.shape.n_rows
        if transpose:
            n, m = m, n
        if x.ndim not in (1, 2) or x.shape[0] != n:
            raise ArgumentError(
                f"x has shape {x.shape}; a product with this {'transposed ' * transpose}weight of "
                f"shape {self.shape.dims} takes ({n},) or ({n}, columns)"
            )
        if x.ndim == 1:
            return self._multiply_vector(x, m, gather=transpose == bool(self.lines.axis))
        n_columns = x.shape[1]
        if n_columns == PANEL:
            only: Vector = self.multiply_panels(x[None], transpose)[0]
            return only
        panels = aligned_zeros((-(-n_columns // PANEL), n, PANEL), x.dtype)
        for p, panel in enumerate(panels):
            columns = x[:, p * PANEL : (p + 1) * PANEL]
            panel[:, : columns.shape[1]] = columns
        product = self.multiply_panels(panels, transpose)
        wide = product.transpose(1, 0, 2).reshape(m, len(panels) * PANEL)
        return np.ascontiguousarray(wide[:, :n_columns])

    def _multiply_vector(self, x: Vector, m: int, gather: bool) -> Vector:
        from cnnzip_native.entries import gather_vector, scatter_vector

        y = np.zeros(m, x.dtype)
        if gather and self.scan is not None:
            x = x[self.scan]
        self._product(
            gather_vector if gather else scatter_vector, self.values(x.dtype), x, y, gather
        )
        return y if gather else self._in_place(y, 0)

    def multiply_panels(self, x: Vector, transpose: bool = False) -> Vector:
        """`multiply` on columns already cut into panels: (n_panels, n, 16) to (n_panels, m, 16)."""
        from cnnzip_native.entries import gather_panels, scatter_panels

        m = self.shape.n_columns if transpose else self.shape.n_rows
        y = aligned_zeros((x.shape[0], m, PANEL), x.dtype)
        gather = transpose == bool(self.lines.axis)
        kernel = gather_panels if gather else scatter_panels
        if gather and self.scan is not None:
            x = np.ascontiguousarray(x[:, self.scan])
        self._product(kernel, self.values(x.dtype), x, y, gather)
        return y if gather else self._in_place(y, 1)

    def _in_place(self, y: Vector, axis: int) -> Vector:
        """Results of a scatter, from the order of the scan to that of the matrix."""
        if self.scan is None:
            return y
        natural: Vector = np.empty_like(y)
        natural[(slice(None),) * axis + (self.scan,)] = y
        return natural

    def _product(
        self, kernel: Callable[..., None], values: Vector, x: Vector, y: Vector, gather: bool
    ) -> None:
        def add(block: Block) -> None:
            kernel(*self.decode_block(block), values, x, y)

        if gather:
            threads.run(add, self.blocks)  # each block has its own lines of y
        else:
            for block in self.blocks:  # MAT-4, MAT-5: in the order of lines
                add(block)

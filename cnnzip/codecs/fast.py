"""fast: gap and symbol of an entry in one byte or two. Format: spec/36-fast.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs import threads
from cnnzip.codecs.base import CannotEncodeError, check_section_count, frozen
from cnnzip.codecs.codebook import parse_patterns, write_patterns
from cnnzip.codecs.entry_list import EntryList
from cnnzip.codecs.faults import check
from cnnzip.codecs.lines import LANES, Block, Entries, LineCodec, Lines, Vector, scratch
from cnnzip.codecs.sham import length_bytes
from cnnzip.codecs.source import MatrixShape, Source
from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError

STREAM_TOKENS = 1 << 14  # what is decoded and multiplied at a time
BLOCK_TOKENS = 1 << 16
MAX_VALUES = 1 << 15  # FST-2
MAX_WIDTH = 1 << 30  # FST-6
SHORT_ROWS = 16  # so many times more rows than columns, and columns are scanned


def fields(n_values: int, token_bytes: int) -> tuple[int, int]:
    """Bits of a symbol, and the gap that means a skip; 0 where no bit is left (FST-2, FST-4)."""
    value_bits = max((n_values - 1).bit_length(), 1)
    return value_bits, (1 << max(8 * token_bytes - value_bits, 0)) - 1


def scan_axis(shape: MatrixShape) -> int:
    """The axis along which the encoder scans."""
    return int(shape.n_rows > SHORT_ROWS * shape.n_columns)


@dataclass(frozen=True)
class Fast(LineCodec):
    """Entries as tokens of fixed width, line after line."""

    id = 7
    name = "fast"
    n_sections = 3

    shape: MatrixShape
    lines: Lines
    patterns: NDArray[np.unsignedinteger]
    #: Tokens up to the end of each line, 0 first; int64 (n_lines + 1,).
    line_ends: NDArray[np.int64]
    #: uint8 or uint16 (n_tokens,), read-only.
    tokens: NDArray[np.unsignedinteger]

    @classmethod
    def least_bytes(cls, source: Source) -> int:
        """A token for each entry, and the codebook."""
        distinct = source.distinct
        if distinct is None or distinct.n_values > MAX_VALUES:
            raise CannotEncodeError("more than 32,768 distinct values [FST-2]")
        shape = source.shape
        if max(shape.n_columns, shape.n_rows) >= MAX_WIDTH:
            raise CannotEncodeError("a row or column of 2^30 weights or more [FST-6]")
        if shape.n_weights >= 1 << 31:
            raise CannotEncodeError(
                "2^31 weights or more, which this encoder does not hold at once"
            )
        size = 1 if distinct.n_values < 1 << 8 else 2
        return size * distinct.n_entries + distinct.patterns.nbytes

    @classmethod
    def encode(cls, source: Source) -> Self:
        """Scan rows, unless they are short and many; tokens of one byte, unless two save bytes."""
        from cnnzip_native.fast import count_tokens, encode_tokens

        cls.least_bytes(source)
        distinct, shape = source.distinct, source.shape
        assert distinct is not None
        number, patterns = distinct.by_count()
        axis = scan_axis(shape)
        entries = EntryList.of_rows(shape, distinct, number)
        if axis:
            entries = entries.transposed()
        best = None
        for size in (1, 2):
            value_bits, skip = fields(patterns.size, size)
            if skip and (best is None or best[0] > 2 * entries.places.size):
                counts = np.empty(entries.lines.size - 1, np.int64)
                count_tokens(entries.places, entries.lines, value_bits, skip, counts)
                n_bytes = size * int(counts.sum())
                if best is None or n_bytes < best[0]:
                    best = n_bytes, size, counts
        assert best is not None
        n_bytes, size, counts = best
        tokens = np.empty(n_bytes // size, np.dtype(f"<u{size}"))
        value_bits, skip = fields(patterns.size, size)
        encode_tokens(entries.places, entries.symbols, entries.lines, value_bits, skip, tokens)
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(shape, _lines(shape, axis, tokens.size), patterns, ends, frozen(tokens))

    @property
    def sections(self) -> Sequence[bytes | memoryview]:
        """Description, line lengths and tokens (FST-1)."""
        description = b"".join(
            (
                encode_varint(self.lines.axis),
                encode_varint(self.tokens.itemsize),
                encode_varint(self.tokens.size),
                write_patterns(self.patterns),
            )
        )
        lengths = np.diff(self.line_ends).astype(f"<u{length_bytes(self.lines.width)}")
        return description, lengths.tobytes(), self.tokens.view(np.uint8).data

    @classmethod
    def parse(cls, shape: MatrixShape, sections: Sequence[memoryview]) -> Self:
        """Invert `sections` (FST-1 to FST-3, FST-6)."""
        check_section_count(cls, sections)
        cursor = Cursor(sections[0], "description", "FST-1")
        axis, size, n_tokens = cursor.varint(), cursor.varint(), cursor.varint()
        if size not in (1, 2):
            raise CorruptError("FST-2", "tokens", f"of {size} bytes, 1 and 2 are allowed")
        if n_tokens > shape.n_weights:
            raise CorruptError("FST-5", "tokens", f"{n_tokens} of {shape.n_weights} weights")
        width = shape.n_rows if axis else shape.n_columns
        if width >= MAX_WIDTH:
            raise CorruptError("FST-6", "line", f"{width} places, below 2^30")
        lines = _lines(shape, axis, n_tokens)
        patterns = parse_patterns(cursor, shape.dtype)
        cursor.finish("FST-1")
        if np.unique(patterns).size != patterns.size:
            raise CorruptError("BOK-2", "codebook", "a pattern that occurs twice")
        if bool(np.any(patterns == 0)):
            raise CorruptError("FST-2", "codebook", "pattern 0 among the entries")
        if bool(patterns.size) != bool(n_tokens):
            raise CorruptError("FST-2", "codebook", f"{patterns.size} values, {n_tokens} tokens")
        if not fields(patterns.size, size)[1]:
            raise CorruptError("FST-2", "codebook", f"{patterns.size} values in {size} bytes")
        width = length_bytes(lines.width)
        if len(sections[1]) != lines.n_lines * width:
            raise CorruptError(
                "FST-3", "line lengths", f"{len(sections[1])} bytes for {lines.n_lines} lines"
            )
        if len(sections[2]) != n_tokens * size:
            raise CorruptError("FST-4", "tokens", f"{len(sections[2])} bytes for {n_tokens}")
        lengths = np.frombuffer(sections[1], f"<u{width}").astype(np.int64)
        if int(lengths.sum()) != n_tokens:
            raise CorruptError("FST-3", "line lengths", f"they do not add up to {n_tokens}")
        if bool(np.any(lengths > lines.width)):
            raise CorruptError("FST-5", "line lengths", f"more tokens than {lines.width} places")
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        return cls(shape, lines, patterns, ends, np.frombuffer(sections[2], f"<u{size}"))

    @cached_property
    def _fields(self) -> tuple[int, int]:
        return fields(self.patterns.size, self.tokens.itemsize)

    @cached_property
    def _native_tokens(self) -> NDArray[np.unsignedinteger]:
        """The tokens as kernels read them, checked (FST-5)."""
        from cnnzip_native.fast import check_tokens

        tokens = frozen(np.require(self.tokens, self.tokens.dtype.newbyteorder("="), "A"))
        fields_and_size = (*self._fields, self.patterns.size)
        status = check_tokens(tokens, self.line_ends, self.lines.width, *fields_and_size)
        check(status, "tokens", "FST-5")
        return tokens

    @cached_property
    def blocks(self) -> Sequence[Block]:
        """As many streams as make `BLOCK_TOKENS`."""
        ends = self.line_ends[np.append(0, self.lines.ends)]
        return self.blocks_by_entries(ends, BLOCK_TOKENS)

    def _bounds(self, block: Block) -> tuple[int, int]:
        """First line of a block, and the line after its last."""
        per_stream = self.lines.per_stream
        return block.first * per_stream, min(block.stop * per_stream, self.lines.n_lines)

    def decode_block(self, block: Block) -> Entries:
        """Read the tokens of a block's lines."""
        from cnnzip_native.fast import decode_tokens

        first, stop = self._bounds(block)
        ends = self.line_ends[first : stop + 1]
        n_streams = block.stop - block.first
        begins, counts = np.empty(n_streams, np.int64), np.empty(n_streams, np.int64)
        positions, symbols = scratch.buffers(int(ends[-1] - ends[0]) + LANES)
        decode_tokens(
            self._native_tokens,
            ends,
            self.lines.per_stream,
            self.lines.width,
            *self._fields,
            self.patterns.size,
            begins,
            counts,
            positions,
            symbols,
        )
        width = self.lines.width
        return Entries(positions, symbols, begins, counts, first, self.lines.per_stream, width)

    @cached_property
    def _padded(self) -> dict[str, Vector]:
        return {}

    def _padded_values(self, dtype: np.dtype[np.floating]) -> Vector:
        """`values`, with zeros up to what every symbol can name."""
        if dtype.char not in self._padded:
            values = np.zeros(max(1 << self._fields[0], 32), dtype)
            values[: self.patterns.size] = self.values(dtype)
            self._padded[dtype.char] = values
        return self._padded[dtype.char]

    def _multiply_vector(self, x: Vector, m: int, gather: bool) -> Vector:
        if not gather:
            return super()._multiply_vector(x, m, gather)
        from cnnzip_native.fast import gather_tokens

        y = np.empty(m, x.dtype)
        tokens, values = self._native_tokens, self._padded_values(x.dtype)

        def multiply(lines: tuple[int, int]) -> None:
            gather_tokens(
                tokens, self.line_ends, *lines, self.lines.width, *self._fields, values, x, y
            )

        threads.run(multiply, self._parts())
        return y

    def _parts(self) -> list[tuple[int, int]]:
        """Lines from one number up to another, of about as many tokens, some for each thread."""
        n_threads = threads.get_num_threads()
        n = min(4 * n_threads, self.tokens.size >> 16) if n_threads > 1 else 1
        targets = [self.tokens.size * i // n for i in range(1, n)]
        cuts = np.searchsorted(self.line_ends, targets).tolist()
        return list(pairwise([0, *cuts, self.lines.n_lines]))


def _lines(shape: MatrixShape, axis: int, n_tokens: int) -> Lines:
    return Lines.for_entries(shape, axis, n_tokens, STREAM_TOKENS)

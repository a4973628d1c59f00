"""ham: one Huffman code over all distinct weights. Format: spec/32-ham.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.base import CannotEncodeError, check_section_count, frozen
from cnnzip.codecs.codebook import CodedValues
from cnnzip.codecs.faults import check
from cnnzip.codecs.lines import Block, Entries, LineCodec, Lines, parse_stream_starts, scratch
from cnnzip.codecs.source import MatrixShape, Source
from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError

STREAM_WEIGHTS = 1 << 15  # what the encoder aims at
BLOCK_WEIGHTS = 1 << 18


@dataclass(frozen=True)
class Ham(LineCodec):
    """The codewords of all weights, row after row (HAM-3)."""

    id = 3
    name = "ham"
    n_sections = 2

    shape: MatrixShape
    lines: Lines
    coded: CodedValues
    starts: NDArray[np.int64]
    streams: NDArray[np.uint8]

    @classmethod
    def _code(cls, source: Source) -> tuple[CodedValues, NDArray[np.int64]]:
        distinct = source.distinct
        if distinct is None:
            raise CannotEncodeError("more than 65,536 distinct weights [BOK-1]")
        if source.shape.n_columns >= 1 << 31:
            raise CannotEncodeError("2^31 columns or more [LIN-4]")
        return CodedValues.of_counts(distinct.patterns, distinct.counts)

    @classmethod
    def least_bytes(cls, source: Source) -> int:
        """The codewords and the codebook."""
        coded, number = cls._code(source)
        assert source.distinct is not None
        counts = np.empty_like(source.distinct.counts)
        counts[number] = source.distinct.counts
        return coded.n_bits(counts) // 8 + coded.patterns.nbytes

    @classmethod
    def encode(cls, source: Source) -> Self:
        """Write the codewords of each weight, row after row."""
        from cnnzip_native.bits import encode_streams

        coded, number = cls._code(source)
        distinct = source.distinct
        assert distinct is not None
        shape = source.shape
        rows = max(1, min(STREAM_WEIGHTS // max(shape.n_columns, 1), shape.n_rows))
        lines = Lines(shape, 0, rows)
        lengths = coded.code.lengths[number]
        n_bits = int(np.dot(distinct.counts, lengths.astype(np.int64)))
        out = np.empty(n_bits // 8 + lines.n_streams + 1, np.uint8)
        stream_bytes = np.zeros(lines.n_streams, np.int64)
        n_bytes = encode_streams(
            distinct.symbols,
            lines.ends * lines.width,
            coded.code.codewords()[number],
            lengths,
            out,
            stream_bytes,
        )
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(stream_bytes)])
        return cls(shape, lines, coded, starts, frozen(out[:n_bytes].copy()))

    @property
    def sections(self) -> Sequence[bytes | memoryview]:
        """Description and streams (HAM-1)."""
        description = b"".join(
            (
                encode_varint(self.lines.axis),
                encode_varint(self.lines.per_stream),
                self.coded.write(),
                *map(encode_varint, np.diff(self.starts).tolist()),
            )
        )
        return description, self.streams.data

    @classmethod
    def parse(cls, shape: MatrixShape, sections: Sequence[memoryview]) -> Self:
        """Invert `sections` (HAM-1, HAM-2)."""
        check_section_count(cls, sections)
        cursor = Cursor(sections[0], "description", "HAM-1")
        lines = Lines(shape, cursor.varint(), cursor.varint())
        coded = CodedValues.parse(cursor, shape.dtype)
        if bool(coded.patterns.size) != bool(shape.n_weights):
            raise CorruptError(
                "HAM-2", "codebook", f"{coded.patterns.size} values for {shape.n_weights} weights"
            )
        starts = parse_stream_starts(cursor, lines.n_streams, sections[1])
        cursor.finish("HAM-1")
        if coded.patterns.size > 1 and shape.n_weights > 8 * len(sections[1]):
            raise CorruptError(
                "LIN-5", "streams", f"{shape.n_weights} weights in {len(sections[1])} bytes"
            )
        if coded.patterns.size < 2 and len(sections[1]):
            raise CorruptError("LIN-5", "streams", "bytes in streams of no bits")
        return cls(shape, lines, coded, starts, np.frombuffer(sections[1], np.uint8))

    @property
    def patterns(self) -> NDArray[np.unsignedinteger]:  # type: ignore[override]
        """The codebook."""
        return self.coded.patterns

    def decode_into(self, out: NDArray[np.uint8]) -> None:
        """Write every weight; of a single value without listing them, which takes memory."""
        if self.patterns.size == 1:
            out.view(self.shape.dtype.pattern).fill(self.patterns[0])
        else:
            super().decode_into(out)

    def validate(self) -> None:
        """Decode all streams, keep nothing; those of a single value have no bits."""
        if self.patterns.size > 1:
            super().validate()

    @cached_property
    def _decoding(self) -> tuple[Any, ...]:
        return self.coded.code.decode_runs(self.coded.zero_symbol)

    @cached_property
    def blocks(self) -> Sequence[Block]:
        """As many streams as make `BLOCK_WEIGHTS`."""
        weights = max(self.lines.per_stream * self.lines.width, 1)
        step = max(1, BLOCK_WEIGHTS // weights)
        n_streams = self.lines.n_streams
        return [Block(s, min(s + step, n_streams)) for s in range(0, n_streams, step)]

    def decode_block(self, block: Block) -> Entries:
        """Decode the streams of a block in turns."""
        from cnnzip_native.ham import decode_ham

        lines = self.lines
        n_streams = block.stop - block.first
        first_line = block.first * lines.per_stream
        n_weights = np.full(n_streams, lines.per_stream * lines.width, np.int64)
        left = (lines.n_lines - first_line) * lines.width
        n_weights[-1] = min(left - (n_streams - 1) * int(n_weights[0]), int(n_weights[0]))
        capacity = int(n_weights[0])
        positions, symbols = scratch.buffers(n_streams * capacity)
        begins = np.arange(n_streams, dtype=np.int64) * capacity
        if self.coded.code.longest == 0:
            counts = self._constant(n_weights, begins, positions, symbols)
        else:
            where = np.empty((3, n_streams), np.uint64)
            status = decode_ham(
                self.streams,
                self.starts[block.first : block.stop + 1],
                n_weights,
                *self._decoding,
                positions.reshape(n_streams, capacity),
                symbols.reshape(n_streams, capacity),
                where,
            )
            check(status, f"streams {block.first} to {block.stop - 1}")
            counts = where[2].astype(np.int64)
        return Entries(
            positions, symbols, begins, counts, first_line, lines.per_stream, lines.width
        )

    def _constant(
        self,
        n_weights: NDArray[np.int64],
        begins: NDArray[np.int64],
        positions: NDArray[np.uint32],
        symbols: NDArray[np.uint16],
    ) -> NDArray[np.int64]:
        """Entries of streams whose only codeword has no bits (HUF-2)."""
        if self.coded.zero_symbol == 0:
            return np.zeros_like(n_weights)
        for begin, n in zip(begins, n_weights, strict=True):
            positions[begin : begin + n] = np.arange(n, dtype=np.uint32)
        symbols[:] = 0
        return n_weights

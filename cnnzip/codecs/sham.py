"""sham: sparse lines, Huffman-coded values. Format: spec/33-sham.md."""

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

STREAM_ENTRIES = 1 << 12  # what the encoder aims at
BLOCK_ENTRIES = 1 << 16


def place_bytes(width: int) -> int:
    """Bytes of a place in a line of `width` weights (SHM-4)."""
    return 1 if width <= 1 << 8 else 2 if width <= 1 << 16 else 4


def length_bytes(width: int) -> int:
    """Bytes of a line's number of entries (SHM-3)."""
    return 1 if width < 1 << 8 else 2 if width < 1 << 16 else 4


def _array_bytes(shape: MatrixShape, axis: int, n_entries: int) -> int:
    """Bytes of the places and line lengths."""
    n_lines, width = shape.n_rows, shape.n_columns
    if axis:
        n_lines, width = width, n_lines
    return n_entries * place_bytes(width) + n_lines * length_bytes(width)


@dataclass(frozen=True)
class Sham(LineCodec):
    """Places of the entries in their lines, and the codewords of their values."""

    id = 4
    name = "sham"
    n_sections = 4

    shape: MatrixShape
    lines: Lines
    coded: CodedValues
    starts: NDArray[np.int64]
    #: Number of entries up to the end of each line; int64 (n_lines,).
    line_ends: NDArray[np.int64]
    places: NDArray[np.uint8]
    streams: NDArray[np.uint8]

    @classmethod
    def least_bytes(cls, source: Source) -> int:
        """Places, line lengths, codewords and codebook."""
        distinct = source.distinct
        if distinct is None:
            raise CannotEncodeError("more than 65,536 distinct weights [BOK-1]")
        if max(source.shape.n_columns, source.shape.n_rows) >= 1 << 31:
            raise CannotEncodeError("a line of 2^31 weights or more [LIN-4]")
        n_entries = distinct.n_entries
        first = distinct.patterns.size - distinct.n_values
        coded, number = CodedValues.of_counts(distinct.patterns[first:], distinct.counts[first:])
        lengths = coded.code.lengths[number].astype(np.int64)
        arrays = min(_array_bytes(source.shape, axis, n_entries) for axis in (0, 1))
        return arrays + int(np.dot(distinct.counts[first:], lengths)) // 8 + coded.patterns.nbytes

    @classmethod
    def encode(cls, source: Source) -> Self:
        """List the entries along the axis that takes fewer bytes, rows if in doubt."""
        from cnnzip_native.bits import encode_streams
        from cnnzip_native.places import select_entries

        n_bytes = cls.least_bytes(source)
        distinct, shape = source.distinct, source.shape
        assert distinct is not None
        n_entries = distinct.n_entries
        first = distinct.patterns.size - distinct.n_values
        axis = min((0, 1), key=lambda axis: _array_bytes(shape, axis, n_entries))
        scanned = distinct.symbols
        if axis:
            scanned = np.ascontiguousarray(scanned.reshape(shape.n_rows, -1).T).reshape(-1)
        lines = Lines.for_entries(shape, axis, n_entries, STREAM_ENTRIES)

        places = np.empty(n_entries, np.uint32)
        symbols = np.empty(n_entries, np.uint16)
        stream_ends = lines.ends
        entry_ends = np.empty(lines.n_streams, np.int64)
        line_lengths = np.empty(lines.n_lines, np.int64)
        at = 0
        for s, stop in enumerate(stream_ends.tolist()):
            start = s * lines.per_stream
            stream = scanned[start * lines.width : stop * lines.width]
            found, kept = scratch.buffers(stream.size + 1)
            n = select_entries(stream, distinct.zero_symbol, found, kept)
            line, place = np.divmod(found[:n], np.uint32(max(lines.width, 1)))
            line_lengths[start:stop] = np.bincount(line, minlength=stop - start)
            places[at : at + n], symbols[at : at + n] = place, kept[:n]
            at += n
            entry_ends[s] = at

        coded, number = CodedValues.of_counts(distinct.patterns[first:], distinct.counts[first:])
        codewords = np.zeros(distinct.patterns.size, np.uint32)
        lengths = np.zeros(distinct.patterns.size, np.uint8)
        codewords[first:] = coded.code.codewords()[number]
        lengths[first:] = coded.code.lengths[number]
        out = np.empty(n_bytes + lines.n_streams + 1, np.uint8)
        stream_bytes = np.zeros(lines.n_streams, np.int64)
        n_bytes = encode_streams(symbols, entry_ends, codewords, lengths, out, stream_bytes)
        return cls(
            shape,
            lines,
            coded,
            np.concatenate([np.zeros(1, np.int64), np.cumsum(stream_bytes)]),
            np.cumsum(line_lengths),
            frozen(places.astype(f"<u{place_bytes(lines.width)}").view(np.uint8)),
            frozen(out[:n_bytes].copy()),
        )

    @property
    def n_entries(self) -> int:
        """Number of entries."""
        return int(self.line_ends[-1]) if self.line_ends.size else 0

    @property
    def sections(self) -> Sequence[bytes | memoryview]:
        """Description, line lengths, places, streams (SHM-1)."""
        description = b"".join(
            (
                encode_varint(self.lines.axis),
                encode_varint(self.lines.per_stream),
                encode_varint(self.n_entries),
                self.coded.write(),
                *map(encode_varint, np.diff(self.starts).tolist()),
            )
        )
        lengths = np.diff(self.line_ends, prepend=0)
        lengths = lengths.astype(f"<u{length_bytes(self.lines.width)}")
        return description, lengths.tobytes(), self.places.data, self.streams.data

    @classmethod
    def parse(cls, shape: MatrixShape, sections: Sequence[memoryview]) -> Self:
        """Invert `sections` (SHM-1 to SHM-4, SHM-6)."""
        check_section_count(cls, sections)
        cursor = Cursor(sections[0], "description", "SHM-1")
        lines = Lines(shape, cursor.varint(), cursor.varint())
        n_entries = cursor.varint()
        coded = CodedValues.parse(cursor, shape.dtype)
        if coded.zero_symbol >= 0:
            raise CorruptError("SHM-2", "codebook", "pattern 0 among the entries")
        if bool(coded.patterns.size) != bool(n_entries):
            raise CorruptError(
                "SHM-2", "codebook", f"{coded.patterns.size} values for {n_entries} entries"
            )
        starts = parse_stream_starts(cursor, lines.n_streams, sections[3])
        cursor.finish("SHM-1")
        if coded.patterns.size > 1 and n_entries > 8 * len(sections[3]):
            raise CorruptError("SHM-6", "entries", f"{n_entries} coded in {len(sections[3])} bytes")
        width = length_bytes(lines.width)
        if len(sections[1]) != lines.n_lines * width:
            raise CorruptError(
                "SHM-3", "line lengths", f"{len(sections[1])} bytes for {lines.n_lines} lines"
            )
        line_ends = np.cumsum(np.frombuffer(sections[1], f"<u{width}"), dtype=np.int64)
        if (int(line_ends[-1]) if line_ends.size else 0) != n_entries:
            raise CorruptError("SHM-3", "line lengths", f"they do not add up to {n_entries}")
        if len(sections[2]) != n_entries * place_bytes(lines.width):
            raise CorruptError(
                "SHM-4", "places", f"{len(sections[2])} bytes for {n_entries} entries"
            )
        arrays = [np.frombuffer(section, np.uint8) for section in sections[2:]]
        return cls(shape, lines, coded, starts, line_ends, *arrays)

    @property
    def patterns(self) -> NDArray[np.unsignedinteger]:  # type: ignore[override]
        """The codebook."""
        return self.coded.patterns

    @cached_property
    def _decoding(self) -> tuple[Any, ...]:
        return self.coded.code.decode_pairs()

    @cached_property
    def entry_ends(self) -> NDArray[np.int64]:
        """Entries up to each stream's first, and their number; int64 (n_streams + 1,)."""
        return np.concatenate([np.zeros(1, np.int64), self.line_ends[self.lines.ends - 1]])

    @cached_property
    def blocks(self) -> Sequence[Block]:
        """As many streams as make `BLOCK_ENTRIES`."""
        return self.blocks_by_entries(self.entry_ends, BLOCK_ENTRIES)

    def decode_block(self, block: Block) -> Entries:
        """Decode the values of a block in turns, and the places of its lines."""
        from cnnzip_native.huffman import decode_symbols
        from cnnzip_native.places import decode_places

        lines = self.lines
        ends = self.entry_ends[block.first : block.stop + 1]
        begins = ends[:-1] - ends[0]
        counts = np.diff(ends)
        n_entries = int(ends[-1] - ends[0])
        positions, symbols = scratch.buffers(n_entries)
        first_line = block.first * lines.per_stream
        last_line = min(block.stop * lines.per_stream, lines.n_lines)
        status = decode_places(
            self.places,
            place_bytes(lines.width),
            self.line_ends[first_line:last_line],
            lines.per_stream,
            lines.width,
            int(ends[0]),
            positions,
        )
        check(status, f"places of lines {first_line} to {last_line - 1}")
        if self.coded.code.longest == 0:
            if self.streams.size:
                raise CorruptError("LIN-5", "streams", "bytes in streams of no bits")
            symbols[:] = 0
        else:
            status = decode_symbols(
                self.streams,
                self.starts[block.first : block.stop + 1],
                ends - ends[0],
                *self._decoding,
                symbols,
                np.empty((2, block.stop - block.first), np.uint64),
            )
            check(status, f"streams {block.first} to {block.stop - 1}")
        return Entries(
            positions, symbols, begins, counts, first_line, lines.per_stream, lines.width
        )

"""banded: gaps and values coded by the density of their place. Format: spec/34-banded.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.base import CannotEncodeError, check_section_count, frozen
from cnnzip.codecs.codebook import parse_patterns, write_patterns
from cnnzip.codecs.contexts import (
    BY_BANDS,
    COUNT_DIRECT,
    EXPLICIT,
    NATURAL,
    VALUE_DIRECT,
    Contexts,
    count_classes,
    extra_bits,
    find_gap_contexts,
    find_gaps,
    find_value_contexts,
)
from cnnzip.codecs.entry_list import EntryList
from cnnzip.codecs.faults import check
from cnnzip.codecs.lines import LANES, Block, Entries, LineCodec, Lines, scratch, stream_starts
from cnnzip.codecs.planning import choose
from cnnzip.codecs.source import MatrixShape, Source, numbers_of
from cnnzip.entropy.ans import LOG_SIZES, MAX_SYMBOLS
from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError, TruncatedError
from cnnzip_native.status import PLACE_PAST_END, SYMBOL_PAST_END

STREAM_ENTRIES = 1 << 12  # what the encoder aims at in large matrices
LEAST_STREAM_ENTRIES = 1 << 10  # in small ones, for sixteen streams that decode at once
BLOCK_ENTRIES = 1 << 18
LEAST_LANES = 4  # fewer streams decode faster one after the other
LOG_SIZE = 10  # 4 KiB a table; 11 saves 0.1 % and doubles what is resident
MAX_WIDTH = 1 << 24  # BND-8
MAX_STREAM_ENTRIES = 1 << 20  # BND-8


SCANS = {BY_BANDS: "by bands", NATURAL: "in order", EXPLICIT: "by likeness"}


@dataclass(frozen=True)
class Grid:
    """What chooses the tables of a banded tensor, in numbers."""

    axis: int
    scan: int
    n_classes: int
    n_bands: int
    memory_bits: int
    n_kinds: int
    n_gap_tables: int
    n_value_tables: int
    joined: bool

    def __str__(self) -> str:
        return (
            f"{'columns' if self.axis else 'rows'}{' joined' * self.joined}, "
            f"scanned {SCANS[self.scan]}; "
            f"{self.n_classes} classes x {self.n_bands} bands; {self.memory_bits} bits of gaps "
            f"before, {self.n_kinds} kinds of values before; "
            f"tables: {self.n_gap_tables} of gaps, {self.n_value_tables} of values"
        )


@dataclass(frozen=True)
class Banded(LineCodec):
    """Entries of lines, by tables that depend on how dense their lines and places are."""

    id = 5
    name = "banded"
    n_sections = 2

    shape: MatrixShape
    lines: Lines
    patterns: NDArray[np.unsignedinteger]
    log_size: int
    contexts: Contexts | None  # None where there are no entries
    #: Entries up to each stream's first, and all; int64 (n_streams + 1,).
    entry_ends: NDArray[np.int64]
    starts: NDArray[np.int64]
    streams: NDArray[np.uint8]

    @classmethod
    def least_bytes(cls, source: Source) -> int:
        """The codebook; what the contexts save is known after encoding only."""
        distinct = source.distinct
        if distinct is None:
            raise CannotEncodeError("more than 65,536 distinct weights [BOK-1]")
        shape = source.shape
        if max(shape.n_columns, shape.n_rows) >= MAX_WIDTH:
            raise CannotEncodeError("a row or column of 2^24 weights or more [BND-8]")
        if shape.n_weights >= 1 << 31:
            raise CannotEncodeError(
                "2^31 weights or more, which this encoder does not hold at once"
            )
        return distinct.patterns.nbytes

    @classmethod
    def encode(cls, source: Source) -> Self:
        """Choose axis, bands and contexts by description length, and code the entries."""
        cls.least_bytes(source)
        distinct = source.distinct
        assert distinct is not None
        number, patterns = distinct.by_count()
        if not patterns.size:
            lines = Lines(source.shape, 0, max(source.shape.n_rows, 1))
            ends = np.zeros(lines.n_streams + 1, np.int64)
            nothing = frozen(np.empty(0, np.uint8))
            return cls(source.shape, lines, patterns, LOG_SIZE, None, ends, ends, nothing)
        rows = EntryList.of_rows(source.shape, distinct, number)
        views = [rows, rows.transposed()]
        cut = [_lines(source.shape, axis, entries) for axis, entries in enumerate(views)]
        values = numbers_of(source.shape, patterns)
        axis, contexts = choose(views, [lines.per_stream for lines in cut], values, LOG_SIZE)
        return cls._coded(source.shape, cut[axis], patterns, contexts, views[axis])

    @classmethod
    def _coded(
        cls,
        shape: MatrixShape,
        lines: Lines,
        patterns: NDArray[np.unsignedinteger],
        contexts: Contexts,
        entries: EntryList,
    ) -> Self:
        from cnnzip_native.banded import encode_banded, write_words

        if contexts.joined:
            scanned, line_ends = entries.joined(lines.per_stream), np.arange(lines.n_streams + 1)
        else:
            scanned = entries.in_scan(contexts.scan.places)
            line_ends = np.append(0, lines.ends)
        gaps, gap_tables, value_tables = _tables_of(contexts, scanned)
        coding = contexts.tables.encoding()
        parts, ends = [], scanned.lines[line_ends]
        for s in range(lines.n_streams):
            own = slice(int(ends[s]), int(ends[s + 1]))
            lines_here = scanned.lines[line_ends[s] : line_ends[s + 1] + 1] - ends[s]
            n_tokens = 2 * (own.stop - own.start) + (not contexts.joined) * (lines_here.size - 1)
            words, lengths = np.empty(n_tokens, np.uint64), np.empty(n_tokens, np.uint8)
            first = encode_banded(
                lines_here,
                gaps[own],
                scanned.symbols[own],
                gap_tables[own],
                value_tables[own],
                contexts.gap_bits,
                int(contexts.joined),
                *coding,
                words,
                lengths,
            )
            n_bits = contexts.tables.log_size + int(lengths.sum(dtype=np.int64))
            out = np.empty(n_bits // 8 + 1, np.uint8)
            n_bytes = write_words(words, lengths, first, contexts.tables.log_size, out)
            parts.append(out[:n_bytes])
        starts = np.cumsum([0, *(part.size for part in parts)])
        streams = frozen(np.concatenate(parts))
        log_size = contexts.tables.log_size
        return cls(shape, lines, patterns, log_size, contexts, ends, starts, streams)

    @property
    def sections(self) -> Sequence[bytes | memoryview]:
        """Description and streams (BND-1)."""
        per_stream = zip(
            np.diff(self.entry_ends).tolist(), np.diff(self.starts).tolist(), strict=True
        )
        description = b"".join(
            (
                encode_varint(self.lines.axis),
                encode_varint(self.lines.per_stream),
                encode_varint(int(self.entry_ends[-1])),
                encode_varint(self.log_size),
                write_patterns(self.patterns),
                self.contexts.write() if self.contexts else b"",
                *(encode_varint(n) + encode_varint(n_bytes) for n, n_bytes in per_stream),
            )
        )
        return description, self.streams.data

    @classmethod
    def parse(cls, shape: MatrixShape, sections: Sequence[memoryview]) -> Self:
        """Invert `sections` (BND-1 to BND-5, BND-8)."""
        check_section_count(cls, sections)
        cursor = Cursor(sections[0], "description", "BND-1")
        lines = Lines(shape, cursor.varint(), cursor.varint())
        if lines.width >= MAX_WIDTH:
            raise CorruptError("BND-8", "line", f"{lines.width} places, below 2^24")
        n_entries, log_size = cursor.varint(), cursor.varint()
        if n_entries > shape.n_weights:
            raise CorruptError("BND-7", "entries", f"{n_entries} of {shape.n_weights} weights")
        if log_size not in LOG_SIZES:
            raise CorruptError("ANS-1", "tables", f"2^{log_size} states, 2^9 to 2^12 are allowed")
        patterns = parse_patterns(cursor, shape.dtype)
        if np.unique(patterns).size != patterns.size:
            raise CorruptError("BOK-2", "codebook", "a pattern that occurs twice")
        if bool(np.any(patterns == 0)):
            raise CorruptError("BND-2", "codebook", "pattern 0 among the entries")
        if bool(patterns.size) != bool(n_entries):
            raise CorruptError(
                "BND-2", "codebook", f"{patterns.size} values for {n_entries} entries"
            )
        contexts = (
            Contexts.parse(cursor, lines.width, patterns.size, log_size) if n_entries else None
        )
        if contexts and contexts.joined and lines.per_stream * lines.width >= MAX_WIDTH:
            raise CorruptError("BND-8", "line", "joined lines of 2^24 places or more")
        if 2 * lines.n_streams > cursor.left:
            raise TruncatedError("BND-1", "streams", f"{lines.n_streams} in {cursor.left} bytes")
        pairs = cursor.varints(2 * lines.n_streams)
        cursor.finish("BND-1")
        per_stream, lengths = pairs[::2], pairs[1::2]
        if sum(per_stream) != n_entries:
            raise CorruptError("BND-1", "streams", f"their entries do not add up to {n_entries}")
        if not n_entries and any(lengths):
            raise CorruptError("BND-2", "streams", f"{sum(lengths)} bytes for no entries")
        most = max(per_stream, default=0)
        if most > lines.per_stream * lines.width:
            raise CorruptError(
                "BND-7", "stream", f"{most} entries, more than its lines have places"
            )
        if most > MAX_STREAM_ENTRIES and lines.per_stream > 1:
            raise CorruptError("BND-8", "stream", f"{most} entries, at most {MAX_STREAM_ENTRIES}")
        ends = np.cumsum([0, *per_stream], dtype=np.int64)
        starts = stream_starts(lengths, sections[1])
        streams = np.frombuffer(sections[1], np.uint8)
        return cls(shape, lines, patterns, log_size, contexts, ends, starts, streams)

    @property
    def scan(self) -> NDArray[np.intp] | None:
        """Places in the order of the scan (BND-3), None where it is the natural one."""
        scan = self.contexts.scan if self.contexts else None
        return None if scan is None or scan.kind == NATURAL else scan.places

    @cached_property
    def _decoding(self) -> tuple[Any, ...]:
        contexts = self.contexts
        assert contexts is not None
        gap_map, value_map = (tables.astype(np.uint32) << self.log_size for tables in contexts.maps)
        return (
            contexts.thresholds.astype(np.uint32),
            contexts.scan.scan_bands.astype(np.uint32),
            contexts.scan.n_bands,
            contexts.level_bits,
            contexts.memory_bits,
            contexts.padded_kinds.astype(np.uint32),
            contexts.n_kinds,
            int(contexts.uses_cell),
            contexts.gap_bits,
            int(contexts.joined),
            gap_map,
            value_map,
            self.log_size,
            contexts.tables.decoding().reshape(-1),
        )

    @cached_property
    def _fits_lanes(self) -> bool:
        """Whether sixteen streams at a time can be decoded, and this is faster here."""
        from cnnzip_native._lanes import HAS_AVX512

        joined = self.contexts is not None and self.contexts.joined
        width = self.lines.width * (self.lines.per_stream if joined else 1)
        fits = width < 1 << 18 and 8 <= self.streams.size < 1 << 29
        return HAS_AVX512 and fits

    @cached_property
    def blocks(self) -> Sequence[Block]:
        """As many streams as make `BLOCK_ENTRIES`, by whole rounds of lanes."""
        return self.blocks_by_entries(self.entry_ends, BLOCK_ENTRIES, 2 * LANES)

    def decode_block(self, block: Block) -> Entries:
        """Decode the streams of a block in turns."""
        from cnnzip_native.banded import N_KEPT, decode_banded
        from cnnzip_native.banded_lanes import STAGED, decode_banded_lanes

        lines = self.lines
        ends = self.entry_ends[block.first : block.stop + 1]
        begins = ends - ends[0]
        positions, symbols = scratch.buffers(int(begins[-1]))
        first_line = block.first * lines.per_stream
        if self.contexts is not None:
            n_lines = lines.of_streams[block.first : block.stop]
            n_streams = block.stop - block.first
            coded = (
                self.streams,
                self.starts[block.first : block.stop + 1],
                begins,
                n_lines,
                lines.width,
                self.patterns.size,
            )
            if n_streams >= LEAST_LANES and self._fits_lanes:
                stage = np.empty(2 * STAGED * LANES, np.uint32)
                where = np.empty((2, LANES), np.int64)
                status = decode_banded_lanes(
                    *coded, *self._decoding, positions, symbols, stage, where
                )
            else:
                where = np.empty((n_streams, N_KEPT), np.uint64)
                direct = COUNT_DIRECT, self.contexts.gap_bits
                numbers = (class_numbers(n) for n in direct)
                status = decode_banded(*coded, *self._decoding, *numbers, positions, symbols, where)
            inside = status in (PLACE_PAST_END, SYMBOL_PAST_END)
            check(status, f"streams {block.first} to {block.stop - 1}", "BND-7" if inside else "")
        counts = begins[1:] - begins[:-1]
        return Entries(
            positions, symbols, begins[:-1], counts, first_line, lines.per_stream, lines.width
        )

    # Where the bits go

    @property
    def grid(self) -> Grid | None:
        """The grid of contexts; None where there are no entries."""
        contexts = self.contexts
        if contexts is None:
            return None
        return Grid(
            self.lines.axis,
            contexts.scan.kind,
            contexts.n_classes,
            contexts.scan.n_bands,
            contexts.memory_bits,
            contexts.n_kinds,
            contexts.n_gap_tables,
            contexts.n_value_tables,
            contexts.joined,
        )

    def token_counts(self) -> NDArray[np.int64]:
        """How often each table codes each class; int64 (n_tables, n_symbols), the count table first."""
        contexts = self.contexts
        if contexts is None:
            return np.zeros((0, 0), np.int64)
        n_tables, widest = contexts.tables.frequencies.shape
        found = np.zeros((n_tables, widest), np.int64)

        def add(numbers: NDArray[np.integer], direct: int, tables: NDArray[np.uint8]) -> None:
            counts = count_classes(numbers, direct, tables.astype(np.uint16), n_tables)
            found[:, : counts.shape[1]] += counts[:, :widest]  # no class beyond was coded

        for block in self.blocks:
            e = self.decode_block(block)
            if contexts.joined:
                per_line, places = e.counts, e.positions
            else:
                line, places = np.divmod(e.positions, np.uint32(e.width))
                first = np.arange(e.counts.size, dtype=np.uint32) * np.uint32(e.lines_per_stream)
                line += np.repeat(first, e.counts)
                n_lines = min(block.stop * e.lines_per_stream, self.lines.n_lines) - e.first_line
                per_line = np.bincount(line, minlength=n_lines).astype(np.int64)
                add(per_line, COUNT_DIRECT, np.zeros(n_lines, np.uint8))
            scanned = EntryList(np.append(0, per_line.cumsum()), places, e.symbols, per_line[:0])
            gaps, gap_tables, value_tables = _tables_of(contexts, scanned)
            add(gaps, contexts.gap_bits, gap_tables)
            add(e.symbols, VALUE_DIRECT, value_tables)
        return found

    def token_prices(self) -> NDArray[np.float64]:
        """Ideal bits of each class by each table, extra bits included; as `token_counts`."""
        contexts = self.contexts
        assert contexts is not None
        frequencies = contexts.tables.frequencies
        prices = self.log_size - np.log2(np.maximum(frequencies, 1))
        first_value_table = 1 + contexts.n_gap_tables
        prices[:1] += extra_bits(COUNT_DIRECT)[: frequencies.shape[1]]
        prices[1:first_value_table] += extra_bits(contexts.gap_bits)[: frequencies.shape[1]]
        prices[first_value_table:] += extra_bits(VALUE_DIRECT)[: frequencies.shape[1]]
        return prices

    def parts(self) -> dict[str, float]:
        """Bits of both sections by what they are for; decodes the streams.

        "gaps", "values" and "counts" are the ideal bits of the tokens, "rounding" is what the
        streams take beyond them and their first states; "tables"; "labels", that is bands,
        thresholds and maps; "codebook"; "streams", their lengths and first states; and the
        description's other fields, "header".
        """
        n_streams, n_bits = self.lines.n_streams, 8 * self.streams.size
        pairs = zip(np.diff(self.entry_ends).tolist(), np.diff(self.starts).tolist(), strict=True)
        directory = 8 * sum(len(encode_varint(a)) + len(encode_varint(b)) for a, b in pairs)
        parts = dict.fromkeys(("gaps", "values", "counts", "rounding", "tables", "labels"), 0.0)
        parts["codebook"] = 8.0 * len(write_patterns(self.patterns))
        parts["streams"] = float(directory)
        if self.contexts is not None:
            contexts = self.contexts
            ideal = (self.token_counts() * self.token_prices()).sum(axis=1)
            parts["counts"] = float(ideal[0])
            parts["gaps"] = float(ideal[1 : 1 + contexts.n_gap_tables].sum())
            parts["values"] = float(ideal[1 + contexts.n_gap_tables :].sum())
            states = n_streams * self.log_size
            parts["streams"] += states
            parts["rounding"] = n_bits - states - float(ideal.sum())
            stored = contexts.tables.tables[1 if contexts.joined else 0 :]
            tables = 8 * sum(len(table.write()) for table in stored)
            parts["tables"] = float(tables)
            parts["labels"] = 8.0 * len(contexts.write()) - tables
        known = sum(parts.values())
        parts["header"] = float(round(8 * sum(map(len, self.sections)) - known))
        return parts


def stream_entries(n_entries: int) -> int:
    """Entries of a stream that the encoder aims at, so that `LANES` streams decode at once."""
    rounds = max(-(-n_entries // (LANES * STREAM_ENTRIES)), 1)
    return max(LEAST_STREAM_ENTRIES, -(-n_entries // (LANES * rounds)))


def _tables_of(
    contexts: Contexts, scanned: EntryList
) -> tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Gap of every entry of a scan, and the tables of its gap and value, the count table first."""
    gaps, cells = find_gaps(scanned, contexts.classes(scanned.counts), contexts.scan)
    memory = contexts.level_bits, contexts.memory_bits
    kinds = contexts.kinds, contexts.n_kinds, contexts.uses_cell
    gap_map, value_map = contexts.maps
    of_gap = find_gap_contexts(gaps, cells, scanned.lines, *memory)
    of_value = find_value_contexts(gaps, cells, scanned, *kinds)
    return gaps, gap_map[of_gap], value_map[of_value]


def _lines(shape: MatrixShape, axis: int, entries: EntryList) -> Lines:
    """Lines and streams along an axis; fewer lines a stream where entries crowd in few of them."""
    n_entries = entries.places.size
    lines = Lines.for_entries(shape, axis, n_entries, stream_entries(n_entries))
    while lines.per_stream > 1 and _most_entries(entries, lines.per_stream) > MAX_STREAM_ENTRIES:
        lines = Lines(shape, axis, lines.per_stream // 2)
    return lines


def _most_entries(entries: EntryList, per_stream: int) -> int:
    """Entries of the fullest stream."""
    starts = entries.lines[:-1:per_stream]
    return int(np.diff(starts, append=entries.lines[-1]).max())


@cache
def class_numbers(direct: int) -> NDArray[np.uint32]:
    """Least number and extra bits of each class (ANS-7), as the kernel reads them; uint32 (320,)."""
    found = np.full(MAX_SYMBOLS, (1 << 24) - 1, np.uint32)
    found[: 1 << direct] = np.arange(1 << direct)
    for e in range(direct, 24):
        for half in (0, 1):
            klass = (1 << direct) + 2 * (e - direct) + half
            if klass < MAX_SYMBOLS:
                found[klass] = (2 | half) << (e - 1) | (e - 1) << 24
    return found

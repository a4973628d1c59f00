"""banded: gaps and values coded by the density of their place. Format: spec/34-banded.md."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.base import CannotEncodeError, check_section_count, frozen
from cnnzip.codecs.codebook import parse_patterns, write_patterns
from cnnzip.codecs.contexts import CHOICES, Contexts, Entries, find_contexts, plan
from cnnzip.codecs.lines import Block, LineCodec, Lines, scratch, stream_starts
from cnnzip.codecs.lines import Entries as Decoded
from cnnzip.codecs.source import Distinct, MatrixShape, Source
from cnnzip.entropy.ans import LOG_SIZES, MAX_SYMBOLS
from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError, TruncatedError

STREAM_ENTRIES = 1 << 12  # what the encoder aims at
BLOCK_ENTRIES = 1 << 16
LOG_SIZE = 10  # 4 KiB a table; 11 saves 0.1 % and doubles what is resident
MAX_WIDTH = 1 << 24  # BND-8
MAX_STREAM_ENTRIES = 1 << 20  # BND-8


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
        number, patterns = _by_count(distinct)
        if not patterns.size:
            lines = Lines(source.shape, 0, max(source.shape.n_rows, 1))
            ends = np.zeros(lines.n_streams + 1, np.int64)
            nothing = frozen(np.empty(0, np.uint8))
            return cls(source.shape, lines, patterns, LOG_SIZE, None, ends, ends, nothing)
        views = [_entries(source.shape, axis, distinct, number) for axis in (0, 1)]
        samples = [view.sample() for view in views]
        n_entries = views[0].places.size

        @cache
        def cost(axis: int, choice: tuple[int, int, int]) -> float:
            sample = samples[axis]
            return plan(sample, *choice, LOG_SIZE).n_bits(n_entries / sample.places.size)

        # Fewer than four entries a context do not pay for it.
        choices = [choice for choice in CHOICES if math.prod(choice) * 4 <= n_entries] or CHOICES[
            :1
        ]
        axis = min((0, 1), key=lambda axis: cost(axis, choices[min(4, len(choices) - 1)]))
        choice = min(choices, key=lambda choice: cost(axis, choice))
        entries = views[axis]
        contexts = plan(entries, *choice, LOG_SIZE).contexts
        return cls._coded(source.shape, axis, patterns, contexts, entries)

    @classmethod
    def _coded(
        cls,
        shape: MatrixShape,
        axis: int,
        patterns: NDArray[np.unsignedinteger],
        contexts: Contexts,
        entries: Entries,
    ) -> Self:
        from cnnzip_native.banded import encode_banded, write_words

        lines = Lines.for_entries(shape, axis, entries.places.size, STREAM_ENTRIES)
        while (
            lines.per_stream > 1 and _most_entries(entries, lines.per_stream) > MAX_STREAM_ENTRIES
        ):  # entries crowd in few lines
            lines = Lines(shape, axis, lines.per_stream // 2)
        scanned = entries.in_scan(contexts.bands)
        gaps, of_entry = find_contexts(
            scanned,
            contexts.classes(entries.counts),
            contexts.scan_bands,
            contexts.n_bands,
            contexts.n_before,
        )
        coding = contexts.tables.encoding()
        line_ends = np.append(0, lines.ends())
        parts, ends = [], scanned.lines[line_ends]
        for s in range(lines.n_streams):
            own = slice(int(ends[s]), int(ends[s + 1]))
            lines_here = scanned.lines[line_ends[s] : line_ends[s + 1] + 1] - ends[s]
            n_tokens = 2 * (own.stop - own.start) + lines_here.size - 1
            words, lengths = np.empty(n_tokens, np.uint64), np.empty(n_tokens, np.uint8)
            first = encode_banded(
                lines_here,
                gaps[own],
                scanned.symbols[own],
                of_entry[own],
                *contexts.maps,
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
        cursor = Cursor(sections[0], "description")
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
        contexts = Contexts.parse(cursor, lines.width, log_size) if n_entries else None
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
        """Places in the order of the scan (BND-3)."""
        return self.contexts.scan if self.contexts else None

    @cached_property
    def _decoding(self) -> tuple[Any, ...]:
        contexts = self.contexts
        assert contexts is not None
        gap_map, value_map = (tables.astype(np.uint16) for tables in contexts.maps)
        return (
            contexts.thresholds,
            contexts.scan_bands.astype(np.uint16) * np.uint16(contexts.n_before),
            contexts.n_bands * contexts.n_before,
            int(contexts.n_before > 1),
            gap_map | value_map << np.uint16(8),
            self.log_size,
            contexts.tables.decoding().reshape(-1),
            class_numbers(),
        )

    @cached_property
    def blocks(self) -> Sequence[Block]:
        """As many streams as make `BLOCK_ENTRIES`."""
        return self.blocks_by_entries(self.entry_ends, BLOCK_ENTRIES)

    def decode_block(self, block: Block) -> Decoded:
        """Decode the streams of a block in turns."""
        from cnnzip.codecs.faults import check
        from cnnzip_native.banded import decode_banded
        from cnnzip_native.status import PLACE_PAST_END, SYMBOL_PAST_END

        lines = self.lines
        ends = self.entry_ends[block.first : block.stop + 1]
        begins = ends - ends[0]
        positions, symbols = scratch.buffers(int(begins[-1]))
        first_line = block.first * lines.per_stream
        if self.contexts is not None:
            n_lines = np.diff(np.append(0, lines.ends()))[block.first : block.stop]
            status = decode_banded(
                self.streams,
                self.starts[block.first : block.stop + 1],
                begins,
                n_lines,
                lines.width,
                self.patterns.size,
                *self._decoding,
                positions,
                symbols,
                np.empty((block.stop - block.first, 10), np.uint64),
            )
            inside = status in (PLACE_PAST_END, SYMBOL_PAST_END)
            check(status, f"streams {block.first} to {block.stop - 1}", "BND-7" if inside else "")
        counts = np.diff(begins)
        begins = begins[:-1]
        return Decoded(
            positions, symbols, begins, counts, first_line, lines.per_stream, lines.width
        )


def _most_entries(entries: Entries, per_stream: int) -> int:
    """Entries of the fullest stream."""
    starts = entries.lines[:-1:per_stream]
    return int(np.diff(starts, append=entries.lines[-1]).max())


def class_numbers() -> NDArray[np.uint32]:
    """Least number and extra bits of each class with 4 direct bits (ANS-7), as the kernel reads them."""
    found = np.full(MAX_SYMBOLS, (1 << 24) - 1, np.uint32)
    found[:16] = np.arange(16)
    for e in range(4, 24):
        for half in (0, 1):
            least = (2 | half) << (e - 1)
            found[16 + 2 * (e - 4) + half] = least | (e - 1) << 24
    return found


def _by_count(distinct: Distinct) -> tuple[NDArray[np.uint16], NDArray[np.unsignedinteger]]:
    """New symbols of the distinct values, the most frequent first, and the codebook."""
    first = 1 if distinct.zero_symbol == 0 else 0
    order = np.argsort(-distinct.counts[first:], kind="stable") + first
    number = np.zeros(distinct.counts.size, np.uint16)
    number[order] = np.arange(order.size)
    return number, distinct.patterns[order]


def _entries(
    shape: MatrixShape, axis: int, distinct: Distinct, number: NDArray[np.uint16]
) -> Entries:
    from cnnzip_native.places import select_entries

    scanned = distinct.symbols
    if axis:
        scanned = np.ascontiguousarray(scanned.reshape(shape.n_rows, -1).T).reshape(-1)
    found = np.empty(scanned.size + 1, np.uint32)
    kept = np.empty(scanned.size + 1, np.uint16)
    n = select_entries(scanned, distinct.zero_symbol, found, kept)
    whole = Lines(shape, axis, 1)
    line, places = np.divmod(found[:n], np.uint32(whole.width))
    lines = np.zeros(whole.n_lines + 1, np.int64)
    np.cumsum(np.bincount(line, minlength=whole.n_lines), out=lines[1:])
    per_place = np.bincount(places, minlength=whole.width)
    return Entries(lines, places, number[kept[:n]], per_place)

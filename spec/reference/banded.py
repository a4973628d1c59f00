"""banded, codec 5 (BND), written to be read."""

from dataclasses import dataclass
from itertools import pairwise

from spec.reference.ans import Stream, read_integers, read_log_size, read_weights, table
from spec.reference.codebook import read_codebook
from spec.reference.errors import CorruptError
from spec.reference.lines import Lines, lines_of, split
from spec.reference.numbers import Cursor

SECTIONS = 2  # BND-1

MAX_BANDS = 64
MAX_CLASSES = 64
MAX_TABLES = 64
MAX_MEMORY_BITS = 6
MAX_KINDS = 16
MAX_SYMBOLS_OF_KINDS = 256  # BND-4: symbols that have a kind of their own
MAX_CONTEXTS = 65_536  # BND-5: of gaps, and of values
MAX_EXPLICIT = 1 << 16  # BND-3: places of a scan of kind 2
MAX_WIDTH = 1 << 24
MAX_STREAM = 1 << 20  # BND-8: entries of a stream of several lines

COUNT_BITS = 4  # BND-6: direct bits of the number of entries of a line,
VALUE_BITS = 8  # and of a symbol


@dataclass(frozen=True, slots=True)
class Contexts:
    """Which tables decode an entry (BND-4); a table is a list of rows (ANS-5)."""

    thresholds: list
    level_bits: int
    memory_bits: int
    n_kinds: int
    kinds: list  # of the first symbols; empty with n_kinds = 1
    value_grid: int
    gap_bits: int  # direct bits of a gap
    joined: int
    count_table: list
    gap_map: list
    value_map: list
    gap_tables: list
    value_tables: list

    def line_class(self, n):
        """The class of a line of n entries (BND-5)."""
        return sum(threshold <= n for threshold in self.thresholds)

    def remember(self, memory, gap):
        """The memory after a gap (BND-5)."""
        level = min(gap.bit_length(), 2**self.level_bits - 1)
        return (memory * 2**self.level_bits + level) % 2**self.memory_bits

    def gap_context(self, cell, memory):
        return cell * 2**self.memory_bits + memory

    def value_context(self, cell, before, gap):
        """`before`: the symbol before, None for the first entry of a line; `gap`: of this entry."""
        if self.n_kinds == 1 or before is None:
            v = 0
        else:
            kind = self.kinds[before] if before < MAX_SYMBOLS_OF_KINDS else 0
            v = 1 + kind + (self.n_kinds if gap == 0 else 0)
        return v + values_per_cell(self.n_kinds) * cell if self.value_grid else v


@dataclass(frozen=True, slots=True)
class Description:
    lines: Lines
    log_size: int
    book: list  # patterns
    n_bands: int
    bands: list  # by place in the line
    scan: list  # the place in the line of each place of the scan
    contexts: Contexts | None
    streams: list  # of each, its entries and its length in bytes


def describe(frame):
    cursor = Cursor(frame.sections[0], "BND-1")
    lines = lines_of(cursor.varint(), cursor.varint(), frame.dims)
    if lines.width >= MAX_WIDTH:
        raise CorruptError("BND-8", f"lines of {lines.width} places")
    n_entries = cursor.varint()
    log_size = read_log_size(cursor)
    book = read_codebook(cursor, frame.dtype, zero="BND-2")  # in any order
    if (not book) != (n_entries == 0):
        raise CorruptError("BND-2", f"{len(book)} values for {n_entries} entries")
    n_bands, bands, scan, contexts = 0, [], range(lines.width), None
    if book:  # BND-2
        n_bands, bands = read_bands(cursor, lines.width)
        scan_kind, scan = read_scan(cursor, bands)
        contexts = read_contexts(cursor, n_bands, scan_kind, log_size, len(book))
        if contexts.joined and lines.lines_per_stream * lines.width >= MAX_WIDTH:
            raise CorruptError("BND-8", f"{lines.lines_per_stream} joined lines of {lines.width}")
    numbers = cursor.varints(2 * lines.n_streams)
    cursor.end()
    streams = list(zip(numbers[::2], numbers[1::2], strict=True))
    if lines.lines_per_stream > 1 and any(n > MAX_STREAM for n, _ in streams):
        raise CorruptError("BND-8", f"more than {MAX_STREAM} entries in the lines of one stream")
    if sum(n for n, _ in streams) != n_entries:
        raise CorruptError("BND-1", f"streams of {sum(n for n, _ in streams)}, not {n_entries}")
    if not book and any(n_bytes for _, n_bytes in streams):
        raise CorruptError("BND-2", "a stream of bytes and of no entries")
    return Description(lines, log_size, book, n_bands, bands, scan, contexts, streams)


def read_count(cursor, most, clause):
    n = cursor.varint()
    if not 1 <= n <= most:
        raise CorruptError(clause, f"{n} where 1 to {most} may be")
    return n


def read_indices(cursor, n, limit, clause):
    """A bit string of n integers below `limit`, each of the fewest bits that hold them all."""
    found = read_integers(cursor, n, (limit - 1).bit_length(), clause)
    if any(index >= limit for index in found):
        raise CorruptError(clause, f"{max(found)}, which must be below {limit}")
    return found


def read_bands(cursor, width):
    """How many bands there are, and the band of each place (BND-3)."""
    n_bands = read_count(cursor, MAX_BANDS, "BND-3")
    return n_bands, read_indices(cursor, width, n_bands, "BND-3")


def read_scan(cursor, bands):
    """The kind of scan, and the places of a line in its order (BND-3)."""
    kind, width = cursor.varint(), len(bands)
    if kind == 0:
        return kind, sorted(range(width), key=bands.__getitem__)  # equal bands stay in order
    if kind == 1:
        return kind, list(range(width))
    if kind != 2 or width > MAX_EXPLICIT:
        raise CorruptError("BND-3", f"a scan of kind {kind} of {width} places")
    scan = read_indices(cursor, width, width, "BND-3")
    if len(set(scan)) != width:
        raise CorruptError("BND-3", "a scan that does not take each place once")
    return kind, scan


def read_contexts(cursor, n_bands, scan_kind, log_size, n_values):
    n_classes = read_count(cursor, MAX_CLASSES, "BND-4")
    thresholds = cursor.varints(n_classes - 1)
    if any(b <= a for a, b in pairwise(thresholds)):
        raise CorruptError("BND-4", f"the thresholds {thresholds}")
    level_bits, memory_bits = cursor.varint(), cursor.varint()
    if level_bits not in (1, 2):
        raise CorruptError("BND-4", f"levels of {level_bits} bits")
    if memory_bits > MAX_MEMORY_BITS or memory_bits % level_bits:
        raise CorruptError("BND-4", f"a memory of {memory_bits} bits, levels of {level_bits}")
    n_kinds, kinds = read_count(cursor, MAX_KINDS, "BND-4"), []
    if n_kinds > 1:
        kinds = read_indices(cursor, min(n_values, MAX_SYMBOLS_OF_KINDS), n_kinds, "BND-4")
    form = cursor.varint()
    if form >= 20:
        raise CorruptError("BND-4", f"form is {form}")
    value_grid, gap_bits, joined = form % 2, 4 + form // 2 % 5, form // 10
    count_table = None if joined else table(read_weights(cursor), log_size)
    if joined and (n_classes, n_bands, scan_kind) != (1, 1, 1):
        raise CorruptError("BND-4", f"joined lines of scan {scan_kind}")
    n_gap_tables = read_count(cursor, MAX_TABLES, "BND-4")
    n_value_tables = read_count(cursor, MAX_TABLES, "BND-4")
    n_cells = n_classes * n_bands
    n_gap_contexts = n_cells * 2**memory_bits
    n_value_contexts = values_per_cell(n_kinds) * (n_cells if value_grid else 1)
    for n_contexts in (n_gap_contexts, n_value_contexts):
        if n_contexts > MAX_CONTEXTS:
            raise CorruptError("BND-5", f"{n_contexts} contexts, at most {MAX_CONTEXTS}")
    gap_map = read_indices(cursor, n_gap_contexts, n_gap_tables, "BND-5")
    value_map = read_indices(cursor, n_value_contexts, n_value_tables, "BND-5")
    tables = [table(read_weights(cursor), log_size) for _ in range(n_gap_tables + n_value_tables)]
    gap_tables, value_tables = tables[:n_gap_tables], tables[n_gap_tables:]
    return Contexts(
        thresholds, level_bits, memory_bits, n_kinds, kinds, value_grid, gap_bits, joined,
        count_table, gap_map, value_map, gap_tables, value_tables,
    )  # fmt: skip


def values_per_cell(n_kinds):
    """The contexts of values in a cell: V of BND-5."""
    return 1 if n_kinds == 1 else 2 * n_kinds + 1


def decode(frame):
    found = describe(frame)
    lines, size, scan = found.lines, frame.dtype.size, found.scan
    data = bytearray(frame.n_bytes)
    streams = split(frame.sections[1], [n_bytes for _, n_bytes in found.streams])
    if not found.book:
        return bytes(data)
    for i, (n_entries, _) in enumerate(found.streams):
        stream = Stream(streams[i], found.log_size)
        if found.contexts.joined:  # BND-6
            here = lines.stream(i)
            for place, symbol in read_line(stream, found, len(here) * lines.width, n_entries):
                line, place = divmod(place, lines.width)
                at = lines.c_order(here.start + line, place) * size
                data[at : at + size] = found.book[symbol].to_bytes(size, "little")
            stream.end()
            continue
        for line in lines.stream(i):
            n = stream.number(found.contexts.count_table, COUNT_BITS)
            if n > min(lines.width, n_entries):
                raise CorruptError("BND-7", f"{n} entries in a line, {n_entries} are left")
            entries = read_line(stream, found, lines.width, n)
            n_entries -= len(entries)
            for place, symbol in entries:
                at = lines.c_order(line, scan[place]) * size
                data[at : at + size] = found.book[symbol].to_bytes(size, "little")
        if n_entries:
            raise CorruptError("BND-7", f"{n_entries} entries too few in stream {i}")
        stream.end()
    return bytes(data)


def read_line(stream, found, width, n):
    """The place in the scan and the symbol of each of a line's n entries (BND-6)."""
    contexts = found.contexts
    line_class = contexts.line_class(n)
    entries, place, memory, before = [], 0, 0, None
    for _ in range(n):
        if place == width:
            raise CorruptError("BND-7", f"an entry at the end of a line of {width}")
        band = 0 if contexts.joined else found.bands[found.scan[place]]
        cell = line_class * found.n_bands + band  # BND-5
        context = contexts.gap_context(cell, memory)
        gap = stream.number(contexts.gap_tables[contexts.gap_map[context]], contexts.gap_bits)
        if place + gap >= width:
            raise CorruptError("BND-7", f"a gap of {gap} at place {place} of {width}")
        context = contexts.value_context(cell, before, gap)
        symbol = stream.number(contexts.value_tables[contexts.value_map[context]], VALUE_BITS)
        if symbol >= len(found.book):
            raise CorruptError("BND-7", f"symbol {symbol}, {len(found.book)} values")
        entries.append((place + gap, symbol))
        place += gap + 1
        memory, before = contexts.remember(memory, gap), symbol
    return entries


def axis(frame):
    return Cursor(frame.sections[0], "BND-1").varint()


def scan(frame):
    """The order in which products take the places of a line (BND-9)."""
    return describe(frame).scan

"""Contexts of banded: which tables code a gap and a value, found by description length (BND)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.source import Distinct, MatrixShape
from cnnzip.entropy.ans import AnsTable, AnsTables, pack_bits, unpack_bits
from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError

MAX_BANDS = 64  # BND-3
MAX_CLASSES = 64  # BND-4
MAX_TABLES = 64  # BND-4
MAX_MEMORY_BITS = 6  # BND-4
MAX_KINDS = 16  # BND-4
MAX_CONTEXTS = 1 << 16  # BND-5
MAX_EXPLICIT = 1 << 16  # places; BND-3
N_WITH_KIND = 256  # symbols that have a kind of their own; BND-4
COUNT_DIRECT, VALUE_DIRECT = 4, 8  # direct bits; BND-6
GAP_DIRECT = range(4, 9)  # direct bits of gaps; BND-4
BY_BANDS, NATURAL, EXPLICIT = range(3)  # kinds of scan; BND-3
LANES = 16
SAMPLE_ENTRIES = 1 << 16  # of which a choice is made
#: Bands and classes of lines that are tried for each kind of scan.
GRIDS = {
    NATURAL: ((1, 1), (1, 16), (4, 4)),
    BY_BANDS: ((4, 4), (16, 12), (32, 16)),
    EXPLICIT: ((1, 1), (8, 8)),
}
MEMORIES = ((1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 4))  # level bits, memory bits
#: Kinds of symbols, and whether cells choose a value's table.
VALUE_CONTEXTS = (
    *((n, True) for n in (1, 2, 4, 8, 16)),
    *((n, False) for n in (4, 8, 16)),
)
QUICK_MEMORIES = ((1, 0), (1, 2))
QUICK_VALUE_CONTEXTS = ((1, True), (4, True), (4, False))
N_REFINED = 3  # of the grids tried; on all options
#: Bits a gap by which states may exceed the ideal length in tables of more than 4 direct bits, at
#: most; that much must be saved, or lemma 9 of spec/bounds.md would not hold.
STATES_MARGIN = 1.35
TABLE_NUMBERS = (1, 2, 4, 8, 16, 32)
QUICK_TABLE_NUMBERS = (1, 8, 32)
CHAIN_WORK = 1 << 30  # products of weights that the search for like places may take
LEAST_CHAIN_LINES = 256


def least_bits(n: int) -> int:
    """Bits of a number below `n`."""
    return (n - 1).bit_length()


@dataclass(frozen=True)
class Entries:
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
    ) -> "Entries":
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

    def transposed(self) -> "Entries":
        """The same entries column by column, if these are row by row."""
        from cnnzip_native.places import transpose_entries

        lines = np.append(0, np.cumsum(self.per_place)).astype(np.int64)
        places, symbols = np.empty_like(self.places), np.empty_like(self.symbols)
        transpose_entries(self.lines, self.places, self.symbols, lines[:-1].copy(), places, symbols)
        return Entries(lines, places, symbols, self.counts)

    @property
    def width(self) -> int:
        """Places of a line."""
        return self.per_place.size

    @property
    def counts(self) -> NDArray[np.int64]:
        """Entries of each line."""
        return np.diff(self.lines)

    def sample(self) -> "Entries":
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

    def in_scan(self, scan: NDArray[np.intp]) -> "Entries":
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


@dataclass(frozen=True)
class Scan:
    """In which order the places of a line are taken, and their bands (BND-3).

    Attributes
    ----------
    kind : int
        BY_BANDS, NATURAL or EXPLICIT.
    bands : uint8 (width,)
        Band of each place of the matrix.
    n_bands : int
    places : intp (width,)
        Places in the order of the scan.
    """

    kind: int
    bands: NDArray[np.uint8]
    n_bands: int
    places: NDArray[np.intp]

    @cached_property
    def scan_bands(self) -> NDArray[np.uint8]:
        """Band of each place in the scan, and one more; uint8 (width + 1,)."""
        return np.append(self.bands[self.places], np.uint8(0))

    def write(self) -> bytes:
        """Describe bands and scan."""
        parts = [encode_varint(self.n_bands), pack_bits(self.bands, least_bits(self.n_bands))]
        parts.append(encode_varint(self.kind))
        if self.kind == EXPLICIT:
            parts.append(pack_bits(self.places, least_bits(self.places.size)))
        return b"".join(parts)

    @classmethod
    def parse(cls, cursor: Cursor, width: int) -> "Scan":
        """Invert `write`."""
        n_bands = _parse_number(cursor, 1, MAX_BANDS, "BND-3", "bands")
        bands = _parse_indices(cursor, width, n_bands, "BND-3", "bands").astype(np.uint8)
        kind = _parse_number(cursor, 0, EXPLICIT, "BND-3", "kind of scan")
        if kind == EXPLICIT:
            if width > MAX_EXPLICIT:
                raise CorruptError("BND-3", "scan", f"{width} places, at most {MAX_EXPLICIT}")
            places = _parse_indices(cursor, width, width, "BND-3", "scan").astype(np.intp)
            if np.bincount(places, minlength=width).max() > 1:
                raise CorruptError("BND-3", "scan", "a place that occurs twice")
        else:
            places = np.arange(width) if kind == NATURAL else np.argsort(bands, kind="stable")
        return cls(kind, bands, n_bands, places)


@dataclass(frozen=True)
class Contexts:
    """What chooses an entry's tables, and the tables (BND-3 to BND-5).

    Attributes
    ----------
    scan : Scan
    thresholds : int64 (n_classes - 1,), increasing
    level_bits, memory_bits : int
    kinds : uint8 (n,)
        Kind of each symbol up to the 255th.
    n_kinds : int
    uses_cell : bool
        Whether cells are a part of a value's context.
    gap_bits : int
        Direct bits of gaps.
    gap_map, value_map : uint8 (n_contexts,)
        Number of each context's table among the gap tables or value tables.
    n_gap_tables : int
    tables : AnsTables
        The count table, the gap tables, the value tables.
    """

    scan: Scan
    thresholds: NDArray[np.int64]
    level_bits: int
    memory_bits: int
    kinds: NDArray[np.uint8]
    n_kinds: int
    uses_cell: bool
    gap_bits: int
    gap_map: NDArray[np.uint8]
    value_map: NDArray[np.uint8]
    n_gap_tables: int
    tables: AnsTables

    @property
    def n_classes(self) -> int:
        """Classes of lines."""
        return self.thresholds.size + 1

    @property
    def n_value_tables(self) -> int:
        """Tables of values."""
        return len(self.tables.tables) - 1 - self.n_gap_tables

    @cached_property
    def maps(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Both maps with tables counted from the count table."""
        first = np.uint8(1 + self.n_gap_tables)
        return self.gap_map + np.uint8(1), self.value_map + first

    @cached_property
    def padded_kinds(self) -> NDArray[np.uint8]:
        """Kind of each symbol up to 255, and of those beyond; uint8 (257,)."""
        return np.pad(self.kinds, (0, N_WITH_KIND + 1 - self.kinds.size))

    def classes(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Class of lines of so many entries (BND-5)."""
        return np.searchsorted(self.thresholds, counts, side="right").astype(np.int64)

    def write(self) -> bytes:
        """Describe scan, contexts and tables (BND-3, BND-4)."""
        has_kinds = self.n_kinds > 1
        return b"".join(
            (
                self.scan.write(),
                encode_varint(self.n_classes),
                *map(encode_varint, self.thresholds.tolist()),
                encode_varint(self.level_bits),
                encode_varint(self.memory_bits),
                encode_varint(self.n_kinds),
                pack_bits(self.kinds, least_bits(self.n_kinds)) if has_kinds else b"",
                encode_varint(int(self.uses_cell) + 2 * (self.gap_bits - GAP_DIRECT.start)),
                self.tables.tables[0].write(),
                encode_varint(self.n_gap_tables),
                encode_varint(self.n_value_tables),
                pack_bits(self.gap_map, least_bits(self.n_gap_tables)),
                pack_bits(self.value_map, least_bits(self.n_value_tables)),
                *(table.write() for table in self.tables.tables[1:]),
            )
        )

    @classmethod
    def parse(cls, cursor: Cursor, width: int, n_values: int, log_size: int) -> "Contexts":
        """Invert `write` (BND-3 to BND-5)."""
        scan = Scan.parse(cursor, width)
        n_classes = _parse_number(cursor, 1, MAX_CLASSES, "BND-4", "classes")
        thresholds = np.array(cursor.varints(n_classes - 1), np.int64)
        if bool(np.any(np.diff(thresholds) <= 0)):
            raise CorruptError("BND-4", "thresholds", "they do not increase")
        level_bits = _parse_number(cursor, 1, 2, "BND-4", "level bits")
        memory_bits = _parse_number(cursor, 0, MAX_MEMORY_BITS, "BND-4", "memory bits")
        if memory_bits % level_bits:
            raise CorruptError("BND-4", "memory", f"{memory_bits} bits for levels of {level_bits}")
        n_kinds = _parse_number(cursor, 1, MAX_KINDS, "BND-4", "kinds")
        n_with_kind = min(n_values, N_WITH_KIND) if n_kinds > 1 else 0
        kinds = _parse_indices(cursor, n_with_kind, n_kinds, "BND-4", "kinds").astype(np.uint8)
        form = _parse_number(cursor, 0, 2 * len(GAP_DIRECT) - 1, "BND-4", "form")
        gap_bits, uses_cell = GAP_DIRECT[form // 2], bool(form % 2)
        n_cells = n_classes * scan.n_bands
        n_contexts = n_cells << memory_bits, value_contexts(n_cells, n_kinds, uses_cell)
        if max(n_contexts) > MAX_CONTEXTS:
            raise CorruptError("BND-5", "contexts", f"{max(n_contexts)}, at most {MAX_CONTEXTS}")
        tables = [AnsTable.parse(cursor)]
        n_tables = [
            _parse_number(cursor, 1, MAX_TABLES, "BND-4", f"{what} tables")
            for what in ("gap", "value")
        ]
        gap_map, value_map = (
            _parse_indices(cursor, n, most, "BND-5", "map").astype(np.uint8)
            for n, most in zip(n_contexts, n_tables, strict=True)
        )
        for _ in range(sum(n_tables)):
            tables.append(AnsTable.parse(cursor))
        return cls(
            scan,
            thresholds,
            level_bits,
            memory_bits,
            kinds,
            n_kinds,
            uses_cell,
            gap_bits,
            gap_map,
            value_map,
            n_tables[0],
            AnsTables(tuple(tables), log_size),
        )


def value_contexts(n_cells: int, n_kinds: int, uses_cell: bool) -> int:
    """Contexts of values (BND-5)."""
    return (n_cells if uses_cell else 1) * (2 * n_kinds + 1 if n_kinds > 1 else 1)


def _parse_number(cursor: Cursor, least: int, most: int, clause: str, what: str) -> int:
    number = cursor.varint()
    if not least <= number <= most:
        raise CorruptError(clause, what, f"{number}, {least} to {most} are allowed")
    return number


def _parse_indices(
    cursor: Cursor, n: int, limit: int, clause: str, what: str
) -> NDArray[np.uint16]:
    """A bit string of n numbers below `limit`, each of the fewest bits that hold them all."""
    found = unpack_bits(cursor, n, least_bits(limit))
    if found.size and int(found.max()) >= limit:
        raise CorruptError(clause, what, f"{int(found.max())}, which must be below {limit}")
    return found


# What the encoder chooses


@dataclass(frozen=True)
class Cells:
    """Entries in a scan, and their cells.

    Attributes
    ----------
    scan : Scan
    thresholds : int64 (n_classes - 1,)
    entries : Entries
        With places of the scan.
    gaps : uint32 (n_entries,)
    cells : uint16 (n_entries,)
    scale : float
        As many times more entries there are in the whole matrix.
    """

    scan: Scan
    thresholds: NDArray[np.int64]
    entries: Entries
    gaps: NDArray[np.uint32]
    cells: NDArray[np.uint16]
    scale: float

    @classmethod
    def of(cls, entries: Entries, scan: Scan, n_classes: int, scale: float = 1.0) -> "Cells":
        """Cut the lines into classes of like counts, and find gaps and cells."""
        counts = entries.counts
        cuts = np.quantile(counts, np.arange(1, n_classes) / n_classes, method="higher")
        thresholds = np.unique(cuts[cuts > counts.min()]).astype(np.int64)
        classes = np.searchsorted(thresholds, counts, side="right").astype(np.int64)
        scanned = entries if scan.kind == NATURAL else entries.in_scan(scan.places)
        gaps, cells = find_gaps(scanned, classes, scan)
        return cls(scan, thresholds, scanned, gaps, cells, scale)

    @property
    def n_cells(self) -> int:
        """Cells."""
        return (self.thresholds.size + 1) * self.scan.n_bands

    def fits(self, n_contexts: int) -> bool:
        """Whether contexts are so few that the format holds them, and that they may pay."""
        return n_contexts <= min(MAX_CONTEXTS, max(self.gaps.size * self.scale, 1))

    def gap_tables(
        self, level_bits: int, memory_bits: int, gap_bits: int = 4, quick: bool = False
    ) -> "Tables":
        """Find tables of gaps."""
        contexts = find_gap_contexts(
            self.gaps, self.cells, self.entries.lines, level_bits, memory_bits
        )
        n_contexts = self.n_cells << memory_bits
        counts = count_classes(self.gaps, gap_bits, contexts, n_contexts)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_gap = counts @ np.arange(counts.shape[1]) / counts.sum(axis=1)
        order = np.argsort(np.nan_to_num(mean_gap, nan=np.inf), kind="stable")
        return Tables.of(counts, gap_bits, order, self.scale, quick)

    def value_tables(
        self, kinds: NDArray[np.uint8], n_kinds: int, uses_cell: bool, quick: bool = False
    ) -> "Tables":
        """Find tables of values."""
        contexts = find_value_contexts(
            self.gaps, self.cells, self.entries, kinds, n_kinds, uses_cell
        )
        n_contexts = value_contexts(self.n_cells, n_kinds, uses_cell)
        counts = count_classes(self.entries.symbols, VALUE_DIRECT, contexts, n_contexts)
        return Tables.of(counts, VALUE_DIRECT, np.arange(n_contexts), self.scale, quick)

    def best_memory(self, memories: Sequence[tuple[int, int]]) -> tuple[float, tuple[int, int]]:
        """The memory of gaps that takes the fewest bits, and these."""
        return min(
            (self.gap_tables(level_bits, memory_bits, quick=True).n_bits, (level_bits, memory_bits))
            for level_bits, memory_bits in memories
            if not memory_bits or self.fits(self.n_cells << memory_bits)
        )

    def best_gap_bits(self, memory: tuple[int, int]) -> int:
        """The direct bits of gaps that take the fewest bits."""
        level_bits, memory_bits = memory
        costs = [
            self.gap_tables(level_bits, memory_bits, gap_bits, quick=True).n_bits
            for gap_bits in GAP_DIRECT
        ]
        return GAP_DIRECT[int(np.argmin(costs))]

    def best_kinds(
        self, kinds_of: dict[int, NDArray[np.uint8]], options: Sequence[tuple[int, bool]]
    ) -> tuple[float, tuple[int, bool]]:
        """How many kinds of values, and whether cells too, take the fewest bits, and these."""
        n_values = kinds_of[1].size
        return min(
            (
                self.value_tables(kinds_of[n], n, uses_cell, quick=True).n_bits
                + n_values * least_bits(n),
                (n, uses_cell),
            )
            for n, uses_cell in options
            if (n, uses_cell) == (1, True)
            or (
                n <= n_values
                and (uses_cell or self.n_cells > 1)
                and self.fits(value_contexts(self.n_cells, n, uses_cell))
            )
        )

    def line_tables(self) -> "Tables":
        """The table of the lines' counts."""
        numbers = self.entries.counts
        counts = count_classes(numbers, COUNT_DIRECT, np.zeros(numbers.size, np.uint16), 1)
        return Tables.of(counts, COUNT_DIRECT, np.zeros(1, np.intp), self.scale, quick=True)

    def line_bits(self) -> float:
        """Bits of scan, thresholds and the lines' counts."""
        thresholds = sum(len(encode_varint(int(t))) for t in self.thresholds)
        return 8 * (len(self.scan.write()) + thresholds) + self.line_tables().n_bits


@dataclass(frozen=True)
class Tables:
    """Tables that contexts share, and what they take.

    Attributes
    ----------
    counts : int64 (n_contexts, n_classes)
    direct : int
    groups : intp (n_contexts,)
        Contexts of one group share a table.
    n_bits : float
        Of tokens, map and tables, about.
    """

    counts: NDArray[np.int64]
    direct: int
    groups: NDArray[np.intp]
    n_bits: float

    @classmethod
    def of(
        cls,
        counts: NDArray[np.int64],
        direct: int,
        order: NDArray[np.intp],
        scale: float,
        quick: bool,
    ) -> "Tables":
        """Let contexts share tables."""
        n_bits, groups = _cluster(counts, order, scale, quick)
        return cls(counts, direct, groups, n_bits + scale * _extra_bits(counts, direct))

    @cached_property
    def map(self) -> NDArray[np.uint8]:
        """Number of each context's table; uint8 (n_contexts,)."""
        return np.unique(self.groups, return_inverse=True)[1].astype(np.uint8)

    @cached_property
    def tables(self) -> list[AnsTable]:
        """The tables."""
        totals = np.zeros((int(self.map.max()) + 1, self.counts.shape[1]), np.int64)
        np.add.at(totals, self.map, self.counts)
        return [AnsTable.of_counts(row) for row in totals]

    def token_bits(self, log_size: int) -> float:
        """Ideal bits of the tokens by the tables, as states take in the mean."""
        frequencies = AnsTables(tuple(self.tables), log_size).frequencies
        shares = frequencies[self.map] / (1 << log_size)
        used = self.counts > 0
        missing = self.counts.shape[1] - shares.shape[1]
        shares = np.pad(shares, ((0, 0), (0, max(missing, 0))))[:, : self.counts.shape[1]]
        ideal = -(self.counts[used] * np.log2(shares[used])).sum()
        return float(ideal) + _extra_bits(self.counts, self.direct)


def choose(
    views: list[Entries], values: NDArray[np.float64], log_size: int
) -> tuple[int, Contexts]:
    """Choose axis, scan, grid and contexts by description length.

    Parameters
    ----------
    views : list of Entries
        Row by row, and column by column.
    values : float64 (n_values,)
        Of each symbol; like ones are of one kind.
    log_size : int

    Returns
    -------
    axis : int
    contexts : Contexts
        On all entries these take no more bits than one table of gaps and one of values.
    """
    counts = np.bincount(views[0].symbols, minlength=values.size)
    kinds_of = {n: kinds_by_value(values, counts, n) for n in (1, 2, 4, 8, 16)}
    tried: list[tuple[float, int, Cells]] = []
    for axis, entries in enumerate(views):
        sample = entries.sample()
        scale = entries.places.size / sample.places.size
        for scan, n_classes in _scans(entries, values):
            if scan.n_bands * n_classes * 4 > entries.places.size and scan.n_bands * n_classes > 1:
                continue  # fewer than four entries a cell do not pay for it
            cells = Cells.of(sample, scan, n_classes, scale)
            gap_bits, _ = cells.best_memory(QUICK_MEMORIES)
            value_bits, _ = cells.best_kinds(kinds_of, QUICK_VALUE_CONTEXTS)
            tried.append((cells.line_bits() + gap_bits + value_bits, axis, cells))
    tried.sort(key=lambda each: each[0])
    best: tuple[float, int, Cells, tuple[int, int], tuple[int, bool]] | None = None
    for _, axis, cells in tried[:N_REFINED]:
        gap_bits, memory = cells.best_memory(MEMORIES)
        value_bits, kinds = cells.best_kinds(kinds_of, VALUE_CONTEXTS)
        n_bits = cells.line_bits() + gap_bits + value_bits
        if best is None or n_bits < best[0]:
            best = n_bits, axis, cells, memory, kinds
    assert best is not None
    _, axis, cells, memory, (n_kinds, uses_cell) = best
    gap_bits = cells.best_gap_bits(memory)
    entries = views[axis]
    if cells.scale > 1:
        cells = Cells.of(entries, cells.scan, cells.thresholds.size + 1)
    plain = Cells.of(entries, natural_scan(entries, 1), 1)
    static, static_bits = _contexts(plain, (1, 0, 4), kinds_of[1], 1, True, log_size)
    for n_direct in (gap_bits, GAP_DIRECT.start):
        choice = (*memory, n_direct)
        contexts, n_bits = _contexts(cells, choice, kinds_of[n_kinds], n_kinds, uses_cell, log_size)
        if n_direct > GAP_DIRECT.start:
            n_bits += STATES_MARGIN * entries.places.size
        if n_bits < static_bits:
            return axis, contexts
    return axis, static


def _contexts(
    cells: Cells,
    gap_choice: tuple[int, int, int],
    kinds: NDArray[np.uint8],
    n_kinds: int,
    uses_cell: bool,
    log_size: int,
) -> tuple[Contexts, float]:
    """Contexts for all entries, and the bits of their description and of the tokens."""
    level_bits, memory_bits, gap_bits = gap_choice
    gaps = cells.gap_tables(level_bits, memory_bits, gap_bits)
    values = cells.value_tables(kinds, n_kinds, uses_cell)
    lines = cells.line_tables()
    tables = AnsTables((*lines.tables, *gaps.tables, *values.tables), log_size)
    contexts = Contexts(
        cells.scan,
        cells.thresholds,
        level_bits,
        memory_bits,
        kinds,
        n_kinds,
        uses_cell,
        gap_bits,
        gaps.map,
        values.map,
        len(gaps.tables),
        tables,
    )
    token_bits = sum(found.token_bits(log_size) for found in (lines, gaps, values))
    return contexts, token_bits + 8 * len(contexts.write())


def kinds_by_value(
    values: NDArray[np.float64], counts: NDArray[np.int64], n_kinds: int
) -> NDArray[np.uint8]:
    """Kinds of about as many weights each, like values in one."""
    order = np.argsort(values, kind="stable")
    middles = np.cumsum(counts[order]) - counts[order] / 2
    kinds = np.empty(values.size, np.uint8)
    kinds[order] = np.minimum(middles * n_kinds // max(int(counts.sum()), 1), n_kinds - 1)
    return kinds[:N_WITH_KIND]


def _scans(entries: Entries, values: NDArray[np.float64]) -> Iterator[tuple[Scan, int]]:
    """The scans that are tried, and for each the classes of lines."""
    for n_bands, n_classes in GRIDS[NATURAL]:
        yield natural_scan(entries, n_bands), n_classes
    for n_bands, n_classes in GRIDS[BY_BANDS]:
        bands = bands_by_count(entries, n_bands)
        yield Scan(BY_BANDS, bands, n_bands, np.argsort(bands, kind="stable")), n_classes
    chain = like_places(entries, values)
    if chain is not None:
        for n_bands, n_classes in GRIDS[EXPLICIT]:
            yield Scan(EXPLICIT, bands_by_count(entries, n_bands), n_bands, chain), n_classes


def natural_scan(entries: Entries, n_bands: int) -> Scan:
    """The scan that takes places as they come."""
    return Scan(NATURAL, bands_by_count(entries, n_bands), n_bands, np.arange(entries.width))


def bands_by_count(entries: Entries, n_bands: int) -> NDArray[np.uint8]:
    """Bands of as many places each, the densest first; uint8 (width,)."""
    bands = np.empty(entries.width, np.uint8)
    bands[np.argsort(-entries.per_place, kind="stable")] = (
        np.arange(entries.width) * n_bands // max(entries.width, 1)
    )
    return bands


def like_places(entries: Entries, values: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """An order in which each place is followed by the one most like it of those that are left.

    Likeness is the cosine between two places' weights, on the fullest lines, as many as
    `CHAIN_WORK` allows.
    None where these are too few.
    """
    width, n_lines = entries.width, entries.lines.size - 1
    n_chosen = min(n_lines, CHAIN_WORK // max(width, 1) ** 2)
    if n_chosen < min(LEAST_CHAIN_LINES, n_lines) or width < 4:
        return None
    lines = np.argsort(-entries.counts, kind="stable")[:n_chosen]
    weights = np.zeros((n_chosen, width), np.float32)
    scale = np.abs(values[np.isfinite(values)]).max(initial=0) or 1.0
    plain = np.nan_to_num(values / scale, posinf=1, neginf=-1).astype(np.float32)
    for row, line in enumerate(lines):
        own = slice(entries.lines[line], entries.lines[line + 1])
        weights[row, entries.places[own]] = plain[entries.symbols[own]]
    norms = np.sqrt(np.einsum("ij,ij->j", weights, weights))
    weights /= np.maximum(norms, np.float32(1e-20))
    likeness = weights.T @ weights
    taken = np.zeros(width, np.float32)
    here = int(np.argmax(entries.per_place))
    chain = [here]
    for _ in range(width - 1):
        taken[here] = 4
        here = int(np.argmax(likeness[here] - taken))
        chain.append(here)
    return np.array(chain, np.intp)


def find_gaps(
    entries: Entries, classes: NDArray[np.int64], scan: Scan
) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Gap and cell of every entry of a scan (BND-5)."""
    from cnnzip_native import banded

    gaps = np.empty(entries.places.size, np.uint32)
    cells = np.empty(entries.places.size, np.uint16)
    banded.find_gaps(
        entries.places, entries.lines, classes, scan.scan_bands, scan.n_bands, gaps, cells
    )
    return gaps, cells


def find_gap_contexts(
    gaps: NDArray[np.uint32],
    cells: NDArray[np.uint16],
    lines: NDArray[np.int64],
    level_bits: int,
    memory_bits: int,
) -> NDArray[np.uint16]:
    """Context of every gap (BND-5)."""
    from cnnzip_native import banded

    contexts = np.empty(gaps.size, np.uint16)
    banded.find_gap_contexts(gaps, cells, lines, level_bits, memory_bits, contexts)
    return contexts


def find_value_contexts(
    gaps: NDArray[np.uint32],
    cells: NDArray[np.uint16],
    entries: Entries,
    kinds: NDArray[np.uint8],
    n_kinds: int,
    uses_cell: bool,
) -> NDArray[np.uint16]:
    """Context of every value (BND-5)."""
    from cnnzip_native import banded

    contexts = np.empty(gaps.size, np.uint16)
    padded = np.pad(kinds, (0, N_WITH_KIND + 1 - kinds.size))
    banded.find_value_contexts(
        gaps, cells, entries.symbols, entries.lines, padded, n_kinds, int(uses_cell), contexts
    )
    return contexts


def count_classes(
    numbers: NDArray[np.integer], direct: int, tables: NDArray[np.uint16], n_tables: int
) -> NDArray[np.int64]:
    """Histograms of the classes of numbers (ANS-7); int64 (n_tables, n_classes)."""
    from cnnzip_native import banded

    largest = int(numbers.max(initial=0))
    n_classes = largest + 1
    if largest >= 1 << direct:
        n_classes = (1 << direct) + 2 * (largest.bit_length() - direct)
    counts = np.zeros((n_tables, n_classes), np.int64)
    banded.class_counts(numbers.astype(np.uint32), direct, tables, counts)
    return counts


def _extra_bits(counts: NDArray[np.int64], direct: int) -> float:
    """Extra bits of histograms of classes (ANS-7)."""
    classes = np.arange(counts.shape[1])
    extra = np.where(classes < 1 << direct, 0, direct - 1 + (classes - (1 << direct)) // 2)
    return float((counts @ extra).sum())


def _cluster(
    counts: NDArray[np.int64], order: NDArray[np.intp], scale: float, quick: bool
) -> tuple[float, NDArray[np.intp]]:
    """Share tables among contexts so that tables, map and tokens take the fewest bits.

    Starts from groups of equal mass along `order` and moves each context to the table that codes
    it best, three times; the number of tables is tried. Returns the bits, and each context's group.
    """
    mass = counts.sum(axis=1)
    filled = mass > 0
    weights = counts[filled].astype(np.float32)  # for the matrix products
    reached = (np.cumsum(mass[order]) - mass[order]) / max(int(mass.sum()), 1)
    share = np.empty(mass.size)
    share[order] = reached
    share = share[filled]
    rows = np.arange(share.size)
    best_bits, best = np.inf, np.zeros(share.size, np.intp)
    for n_tables in QUICK_TABLE_NUMBERS if quick else TABLE_NUMBERS:
        if n_tables >= 2 * max(share.size, 1):
            break
        group = np.minimum((share * n_tables).astype(np.intp), n_tables - 1)
        for _ in range(3 if n_tables > 1 else 1):
            sums = (group == np.arange(n_tables)[:, None]).astype(np.float32) @ weights
            costs = np.log2((sums + 1e-2).sum(axis=1, keepdims=True)) - np.log2(sums + 1e-2)
            prices = weights @ costs.T
            group = prices.argmin(axis=1)
        used = np.unique(group)
        widths = sums.shape[1] - np.argmax(sums[used, ::-1] > 0, axis=1)
        bits = scale * float(prices[rows, group].sum(dtype=np.float64))
        bits += float((8 + 5 * widths).sum()) + mass.size * least_bits(used.size)
        if bits < best_bits:
            best_bits, best = bits, group
    groups = np.full(mass.size, best[np.argmax(mass[filled])] if share.size else 0)
    groups[filled] = best
    return best_bits, groups

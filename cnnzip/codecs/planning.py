"""What the encoder of banded chooses: scan, contexts and tables, by description length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.contexts import (
    BY_BANDS,
    COUNT_DIRECT,
    EXPLICIT,
    GAP_DIRECT,
    MAX_CONTEXTS,
    N_WITH_KIND,
    NATURAL,
    NO_COUNTS,
    VALUE_DIRECT,
    Contexts,
    Scan,
    count_classes,
    extra_bits,
    find_gap_contexts,
    find_gaps,
    find_value_contexts,
    least_bits,
    value_contexts,
)
from cnnzip.codecs.entry_list import EntryList
from cnnzip.codecs.likeness import chain
from cnnzip.entropy.ans import AnsTable, AnsTables
from cnnzip.entropy.varints import encode_varint

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
QUICK_TABLE_NUMBERS = (1, 16)
MAX_JOINED = 1 << 18  # places of the lines of a stream together; spec/bounds.md, lemma 9
CHAIN_WORK = 1 << 30  # products of weights that the search for like places may take
MOST_LIKE = 1 << 11  # places; their likeness is a square matrix


@dataclass(frozen=True)
class Cells:
    """Entries in a scan, and their cells.

    Attributes
    ----------
    scan : Scan
    thresholds : int64 (n_classes - 1,)
    entries : EntryList
        With places of the scan.
    gaps : uint32 (n_entries,)
    cells : uint16 (n_entries,)
    scale : float
        As many times more entries there are in the whole matrix.
    joined : bool
        Whether the entries' lines are those of streams.
    """

    scan: Scan
    thresholds: NDArray[np.int64]
    entries: EntryList
    gaps: NDArray[np.uint32]
    cells: NDArray[np.uint16]
    scale: float
    joined: bool = False

    @classmethod
    def of(cls, entries: EntryList, scan: Scan, n_classes: int, scale: float = 1.0) -> "Cells":
        """Cut the lines into classes of like counts, and find gaps and cells."""
        counts = entries.counts
        cuts = np.quantile(counts, np.arange(1, n_classes) / n_classes, method="higher")
        thresholds = np.unique(cuts[cuts > counts.min()]).astype(np.int64)
        classes = np.searchsorted(thresholds, counts, side="right").astype(np.int64)
        scanned = entries if scan.kind == NATURAL else entries.in_scan(scan.places)
        gaps, cells = find_gaps(scanned, classes, scan)
        return cls(scan, thresholds, scanned, gaps, cells, scale)

    @classmethod
    def of_joined(cls, entries: EntryList, per_stream: int, scale: float = 1.0) -> "Cells":
        """One cell for the lines of each stream, read as one line."""
        scan, joined = natural_scan(entries, 1), entries.joined(per_stream)
        gaps, cells = find_gaps(joined, np.zeros(joined.lines.size - 1, np.int64), scan)
        return cls(scan, np.zeros(0, np.int64), joined, gaps, cells, scale, True)

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
        """The table of the lines' counts; of joined lines, one that takes nothing."""
        numbers = np.zeros(0, np.int64) if self.joined else self.entries.counts
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
    views: list[EntryList],
    per_stream: list[int],
    values: NDArray[np.float64],
    log_size: int,
) -> tuple[int, Contexts]:
    """Choose axis, scan, grid and contexts by description length.

    Parameters
    ----------
    views : list of EntryList
        Row by row, and column by column.
    per_stream : list of int
        Lines of a stream along each axis.
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
        for cells in _cells(entries, per_stream[axis], values):
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
    if cells.scale > 1 and cells.joined:
        cells = Cells.of_joined(entries, per_stream[axis])
    elif cells.scale > 1:
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
    of_lines = [NO_COUNTS] if cells.joined else lines.tables
    tables = AnsTables((*of_lines, *gaps.tables, *values.tables), log_size)
    contexts = Contexts(
        cells.scan,
        cells.thresholds,
        level_bits,
        memory_bits,
        kinds,
        n_kinds,
        uses_cell,
        gap_bits,
        cells.joined,
        gaps.map,
        values.map,
        len(gaps.tables),
        tables,
    )
    coded = (gaps, values) if cells.joined else (lines, gaps, values)
    token_bits = sum(found.token_bits(log_size) for found in coded)
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


def _cells(entries: EntryList, per_stream: int, values: NDArray[np.float64]) -> Iterator[Cells]:
    """What is tried along an axis, on a sample."""
    sample = entries.sample()
    scale = entries.places.size / sample.places.size
    for scan, n_classes in _scans(entries, values):
        n_cells = scan.n_bands * n_classes
        if n_cells == 1 or 4 * n_cells <= entries.places.size:  # fewer entries do not pay for it
            yield Cells.of(sample, scan, n_classes, scale)
    if entries.width * per_stream < MAX_JOINED:
        yield Cells.of_joined(sample, per_stream, scale)


def _scans(entries: EntryList, values: NDArray[np.float64]) -> Iterator[tuple[Scan, int]]:
    """The scans that are tried, and for each the classes of lines."""
    for n_bands, n_classes in GRIDS[NATURAL]:
        yield natural_scan(entries, n_bands), n_classes
    for n_bands, n_classes in GRIDS[BY_BANDS]:
        bands = bands_by_count(entries, n_bands)
        yield Scan(BY_BANDS, bands, n_bands, np.argsort(bands, kind="stable")), n_classes
    places = like_places(entries, values)
    if places is not None:
        for n_bands, n_classes in GRIDS[EXPLICIT]:
            yield Scan(EXPLICIT, bands_by_count(entries, n_bands), n_bands, places), n_classes


def natural_scan(entries: EntryList, n_bands: int) -> Scan:
    """The scan that takes places as they come."""
    return Scan(NATURAL, bands_by_count(entries, n_bands), n_bands, np.arange(entries.width))


def bands_by_count(entries: EntryList, n_bands: int) -> NDArray[np.uint8]:
    """Bands of as many places each, the densest first; uint8 (width,)."""
    bands = np.empty(entries.width, np.uint8)
    bands[np.argsort(-entries.per_place, kind="stable")] = (
        np.arange(entries.width) * n_bands // max(entries.width, 1)
    )
    return bands


def like_places(entries: EntryList, values: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """An order in which each place is followed by the one most like it of those that are left.

    Likeness is the cosine between two places' weights, on the fullest lines, as many as
    `CHAIN_WORK` allows. None for few places, and for more than `MOST_LIKE`.
    """
    width = entries.width
    if not 4 <= width <= MOST_LIKE:
        return None
    lines = np.argsort(-entries.counts, kind="stable")[: CHAIN_WORK // width**2]
    weights = np.zeros((lines.size, width), np.float32)
    scale = np.abs(values[np.isfinite(values)]).max(initial=0) or 1.0
    plain = np.nan_to_num(values / scale, posinf=1, neginf=-1).astype(np.float32)
    for row, line in enumerate(lines):
        own = slice(entries.lines[line], entries.lines[line + 1])
        weights[row, entries.places[own]] = plain[entries.symbols[own]]
    norms = np.sqrt(np.einsum("ij,ij->j", weights, weights))
    weights /= np.maximum(norms, np.float32(1e-20))
    likeness = weights.T @ weights
    return chain(likeness, int(np.argmax(entries.per_place)))


def _extra_bits(counts: NDArray[np.int64], direct: int) -> float:
    """Extra bits of histograms of classes (ANS-7)."""
    return float((counts @ extra_bits(direct)[: counts.shape[1]]).sum())


@np.errstate(invalid="ignore")  # BLAS computes on padding, too, and sets flags for it
def _cluster(
    counts: NDArray[np.int64], order: NDArray[np.intp], scale: float, quick: bool
) -> tuple[float, NDArray[np.intp]]:
    """Share tables among contexts so that tables, map and tokens take the fewest bits.

    Starts from groups of equal mass along `order` and moves each context to the table that codes
    it best, three times, or two where quick; the number of tables is tried. Returns the bits, and
    each context's group.
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
        for _ in range((2 if quick else 3) if n_tables > 1 else 1):
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

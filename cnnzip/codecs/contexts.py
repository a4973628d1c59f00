"""Contexts of banded: which tables code a gap and a value, found by description length (BND)."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cnnzip.entropy.ans import AnsTable, AnsTables, pack_bits, unpack_bits
from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError

MAX_BANDS = 64  # BND-3
MAX_CLASSES = 64  # BND-4
MAX_TABLES = 64  # BND-4
GAP_DIRECT, VALUE_DIRECT = 4, 8  # direct bits; BND-6
SAMPLE_ENTRIES = 1 << 16  # of which a choice is made
#: Bands, classes of lines, and gaps before that are tried, from a static code on.
CHOICES = ((1, 1, 1), (1, 1, 3), (4, 4, 1), (4, 4, 3), (16, 12, 1), (32, 16, 1), (16, 12, 3))
TABLE_NUMBERS = (1, 2, 4, 8, 16, 32)


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

    def in_scan(self, bands: NDArray[np.uint8]) -> "Entries":
        """The same entries with places in the scan that `bands` make (BND-3)."""
        scan = np.argsort(bands, kind="stable")
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
class Contexts:
    """What chooses an entry's tables, and the tables (BND-3 to BND-5).

    Attributes
    ----------
    bands : uint8 (width,)
        Band of each place, before the scan is sorted.
    n_bands, n_before : int
    thresholds : int64 (n_classes - 1,), increasing
    gap_map, value_map : uint8 (n_contexts,)
        Number of each context's table among the gap tables or value tables.
    n_gap_tables : int
    tables : AnsTables
        The count table, the gap tables, the value tables.
    """

    bands: NDArray[np.uint8]
    n_bands: int
    n_before: int
    thresholds: NDArray[np.int64]
    gap_map: NDArray[np.uint8]
    value_map: NDArray[np.uint8]
    n_gap_tables: int
    tables: AnsTables

    @property
    def n_value_tables(self) -> int:
        """Tables of values."""
        return len(self.tables.tables) - 1 - self.n_gap_tables

    @cached_property
    def scan(self) -> NDArray[np.intp]:
        """Places in the order of the scan."""
        return np.argsort(self.bands, kind="stable")

    @cached_property
    def scan_bands(self) -> NDArray[np.uint8]:
        """Band of each place in the scan, and one more; uint8 (width + 1,)."""
        return np.append(self.bands[self.scan], np.uint8(0))

    @cached_property
    def maps(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Both maps with tables counted from the count table, as the kernels take them."""
        first = np.uint8(1 + self.n_gap_tables)
        return self.gap_map + np.uint8(1), self.value_map + first

    def classes(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Class of lines of so many entries (BND-5)."""
        return np.searchsorted(self.thresholds, counts, side="right").astype(np.int64)

    def write(self) -> bytes:
        """Describe bands, contexts and tables (BND-3, BND-4)."""
        return b"".join(
            (
                encode_varint(self.n_bands),
                pack_bits(self.bands, least_bits(self.n_bands)),
                encode_varint(self.thresholds.size + 1),
                *map(encode_varint, self.thresholds.tolist()),
                encode_varint(self.n_before),
                self.tables.tables[0].write(),
                encode_varint(self.n_gap_tables),
                encode_varint(self.n_value_tables),
                pack_bits(self.gap_map, least_bits(self.n_gap_tables)),
                pack_bits(self.value_map, least_bits(self.n_value_tables)),
                *(table.write() for table in self.tables.tables[1:]),
            )
        )

    @classmethod
    def parse(cls, cursor: Cursor, width: int, log_size: int) -> "Contexts":
        """Invert `write` (BND-3 to BND-5)."""
        n_bands = _parse_number(cursor, MAX_BANDS, "BND-3", "bands")
        bands = unpack_bits(cursor, width, least_bits(n_bands))
        if bands.size and int(bands.max()) >= n_bands:
            raise CorruptError("BND-3", "bands", f"band {int(bands.max())} of {n_bands}")
        n_classes = _parse_number(cursor, MAX_CLASSES, "BND-4", "classes")
        thresholds = np.array(cursor.varints(n_classes - 1), np.int64)
        if bool(np.any(np.diff(thresholds) <= 0)):
            raise CorruptError("BND-4", "thresholds", "they do not increase")
        n_before = cursor.varint()
        if n_before not in (1, 3):
            raise CorruptError("BND-4", "contexts", f"{n_before} gaps before, neither 1 nor 3")
        tables = [AnsTable.parse(cursor)]
        n_gap_tables = _parse_number(cursor, MAX_TABLES, "BND-4", "gap tables")
        n_value_tables = _parse_number(cursor, MAX_TABLES, "BND-4", "value tables")
        maps = []
        for n_tables in (n_gap_tables, n_value_tables):
            found = unpack_bits(cursor, n_classes * n_bands * n_before, least_bits(n_tables))
            if int(found.max()) >= n_tables:
                raise CorruptError("BND-5", "map", f"table {int(found.max())} of {n_tables}")
            maps.append(found)
        for _ in range(n_gap_tables + n_value_tables):
            tables.append(AnsTable.parse(cursor))
        return cls(
            bands,
            n_bands,
            n_before,
            thresholds,
            maps[0],
            maps[1],
            n_gap_tables,
            AnsTables(tuple(tables), log_size),
        )


def _parse_number(cursor: Cursor, most: int, clause: str, what: str) -> int:
    number = cursor.varint()
    if not 1 <= number <= most:
        raise CorruptError(clause, what, f"{number}, 1 to {most} are allowed")
    return number


@dataclass(frozen=True)
class Plan:
    """A choice of bands, classes and contexts, and the bits that it takes on the entries given."""

    contexts: Contexts
    token_bits: float

    def n_bits(self, scale: float) -> float:
        """Bits of the description, and of `scale` times as many tokens."""
        return scale * self.token_bits + 8 * len(self.contexts.write())


def plan(entries: Entries, n_bands: int, n_classes: int, n_before: int, log_size: int) -> Plan:
    """Cut the places into bands of like density and the lines into classes, and find tables."""
    bands = np.empty(entries.width, np.uint8)
    bands[np.argsort(-entries.per_place, kind="stable")] = (
        np.arange(entries.width) * n_bands // entries.width
    )
    counts = entries.counts
    cuts = np.quantile(counts, np.arange(1, n_classes) / n_classes, method="higher")
    thresholds = np.unique(cuts[cuts > counts.min()]).astype(np.int64)
    n_contexts = (thresholds.size + 1) * n_bands * n_before
    classes = np.searchsorted(thresholds, counts, side="right").astype(np.int64)
    scanned = entries.in_scan(bands)
    scan_bands = np.append(np.sort(bands), np.uint8(0))
    gaps, of_entry = find_contexts(scanned, classes, scan_bands, n_bands, n_before)
    gap_counts = count_classes(gaps, GAP_DIRECT, of_entry, n_contexts)
    value_counts = count_classes(scanned.symbols, VALUE_DIRECT, of_entry, n_contexts)
    line_counts = count_classes(counts, GAP_DIRECT, np.zeros(counts.size, np.uint16), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_gap = gap_counts @ np.arange(gap_counts.shape[1]) / gap_counts.sum(axis=1)
    order = np.argsort(np.nan_to_num(mean_gap, nan=np.inf), kind="stable")
    gap_map, gap_tables = _cluster(gap_counts, order)
    value_map, value_tables = _cluster(value_counts, order)
    count_table = AnsTable.of_counts(line_counts[0])
    tables = AnsTables((count_table, *gap_tables, *value_tables), log_size)
    contexts = Contexts(
        bands, n_bands, n_before, thresholds, gap_map, value_map, len(gap_tables), tables
    )
    token_bits = 0.0
    for found, direct, numbers in (
        (line_counts, GAP_DIRECT, np.zeros(1, np.uint8)),
        (gap_counts, GAP_DIRECT, contexts.maps[0]),
        (value_counts, VALUE_DIRECT, contexts.maps[1]),
    ):
        token_bits += _bits(tables, found, numbers) + _extra_bits(found, direct)
    return Plan(contexts, token_bits)


def _bits(tables: AnsTables, counts: NDArray[np.int64], numbers: NDArray[np.uint8]) -> float:
    """Bits that histograms take by their tables, as states do in the mean."""
    shares = tables.frequencies[numbers, : counts.shape[1]] / (1 << tables.log_size)
    if shares.shape[1] < counts.shape[1]:
        shares = np.pad(shares, ((0, 0), (0, counts.shape[1] - shares.shape[1])))
    used = counts > 0
    return float(-(counts[used] * np.log2(shares[used])).sum())


def _extra_bits(counts: NDArray[np.int64], direct: int) -> float:
    """Extra bits of histograms of classes (ANS-7)."""
    classes = np.arange(counts.shape[1])
    extra = np.where(classes < 1 << direct, 0, direct - 1 + (classes - (1 << direct)) // 2)
    return float((counts @ extra).sum())


def find_contexts(
    entries: Entries,
    classes: NDArray[np.int64],
    scan_bands: NDArray[np.uint8],
    n_bands: int,
    n_before: int,
) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Gap and context of every entry of a scan (BND-5)."""
    from cnnzip_native import banded

    gaps = np.empty(entries.places.size, np.uint32)
    contexts = np.empty(entries.places.size, np.uint16)
    banded.find_contexts(
        entries.places, entries.lines, classes, scan_bands, n_bands, n_before, gaps, contexts
    )
    return gaps, contexts


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


def _cluster(
    counts: NDArray[np.int64], order: NDArray[np.intp]
) -> tuple[NDArray[np.uint8], list[AnsTable]]:
    """Share tables among contexts so that tables, map and tokens take the fewest bits.

    Starts from groups of equal mass along `order` and moves each context to the table that codes
    it best, three times; the number of tables is tried.
    """
    weights = counts.astype(np.float64)  # for the matrix products
    mass = counts.sum(axis=1)
    reached = np.cumsum(mass[order]) - mass[order]
    best_bits, best = np.inf, np.zeros(mass.size, np.intp)
    for n_tables in TABLE_NUMBERS:
        group = np.empty(mass.size, np.intp)
        group[order] = np.minimum(reached * n_tables // max(int(mass.sum()), 1), n_tables - 1)
        for _ in range(3 if n_tables > 1 else 1):
            sums = (group == np.arange(n_tables)[:, None]).astype(np.float64) @ weights
            costs = -np.log2((sums + 1e-2) / (sums + 1e-2).sum(axis=1, keepdims=True))
            prices = weights @ costs.T
            group = prices.argmin(axis=1)
        used = np.unique(group[mass > 0])
        widths = [int(np.flatnonzero(sums[g])[-1]) + 1 if sums[g].any() else 1 for g in used]
        bits = prices[np.arange(mass.size), group].sum()
        bits += sum(8 + 5 * w for w in widths) + mass.size * least_bits(used.size)
        if bits < best_bits:
            best_bits, best = bits, group
    best[mass == 0] = best[np.argmax(mass)]
    used, numbers = np.unique(best, return_inverse=True)
    totals = ((numbers == np.arange(used.size)[:, None]) @ weights).astype(np.int64)
    return numbers.astype(np.uint8), [AnsTable.of_counts(row) for row in totals]

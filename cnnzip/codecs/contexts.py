"""Contexts of banded: which tables code a gap and a value (BND-3 to BND-5)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.entry_list import EntryList
from cnnzip.entropy.ans import MAX_SYMBOLS, AnsTable, AnsTables, pack_bits, unpack_bits
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


#: In place of the count table where lines are joined.
NO_COUNTS = AnsTable(np.ones(1, np.uint8))


def least_bits(n: int) -> int:
    """Bits of a number below `n`."""
    return (n - 1).bit_length()


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
    joined : bool
        Whether the lines of a stream are read as one, without counts.
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
    joined: bool
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

    @property
    def form(self) -> int:
        """What a varint says of value_grid, gap_bits and joined (BND-4)."""
        n_direct = self.gap_bits - GAP_DIRECT.start
        return int(self.uses_cell) + 2 * n_direct + 2 * len(GAP_DIRECT) * int(self.joined)

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
                encode_varint(self.form),
                b"" if self.joined else self.tables.tables[0].write(),
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
        form = _parse_number(cursor, 0, 4 * len(GAP_DIRECT) - 1, "BND-4", "form")
        joined, form = divmod(form, 2 * len(GAP_DIRECT))
        gap_bits, uses_cell = GAP_DIRECT[form // 2], bool(form % 2)
        if joined and (n_classes, scan.n_bands, scan.kind) != (1, 1, NATURAL):
            raise CorruptError("BND-4", "contexts", "joined lines of classes, bands or a scan")
        n_cells = n_classes * scan.n_bands
        n_contexts = n_cells << memory_bits, value_contexts(n_cells, n_kinds, uses_cell)
        if max(n_contexts) > MAX_CONTEXTS:
            raise CorruptError("BND-5", "contexts", f"{max(n_contexts)}, at most {MAX_CONTEXTS}")
        tables = [NO_COUNTS if joined else AnsTable.parse(cursor)]
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
            bool(joined),
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


def find_gaps(
    entries: EntryList, classes: NDArray[np.int64], scan: Scan
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
    entries: EntryList,
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


def classes_up_to(largest: int, direct: int) -> int:
    """Classes of the numbers up to `largest` (ANS-7)."""
    if largest < 1 << direct:
        return largest + 1
    return (1 << direct) + 2 * (largest.bit_length() - direct)


def extra_bits(direct: int) -> NDArray[np.int64]:
    """Extra bits of each class (ANS-7); int64 (320,)."""
    classes = np.arange(MAX_SYMBOLS)
    return np.where(classes < 1 << direct, 0, direct - 1 + (classes - (1 << direct)) // 2)


def count_classes(
    numbers: NDArray[np.integer], direct: int, tables: NDArray[np.uint16], n_tables: int
) -> NDArray[np.int64]:
    """Histograms of the classes of numbers (ANS-7); int64 (n_tables, n_classes)."""
    from cnnzip_native import banded

    n_classes = classes_up_to(int(numbers.max(initial=0)), direct)
    counts = np.zeros((n_tables, n_classes), np.int64)
    banded.class_counts(numbers.astype(np.uint32), direct, tables, counts)
    return counts

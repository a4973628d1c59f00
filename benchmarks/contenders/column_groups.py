"""Column groups: columns, alone or several together, as a dictionary of tuples and where they are.

Source: Elgohary, Boehm, Haas, Reiss, Reinwald, "Compressed linear algebra for large-scale machine
learning" (CLA), PVLDB 9 (2016), and its longer form, VLDB Journal 27 (2018), which adds DDC.

A group is stored in the way that takes the fewest bytes. With n rows, a group of w columns that has
d tuples other than the all-zero one in z rows, and values of 4 bytes:

=== ===================================================== ========================================
DDC codes: for each row, the number of its tuple          4w (d + 1) + n, or 2n above 256 tuples
OLE offset lists: for each tuple, by segments of 65,535   4d (w + 1) + 2 (segments up to the last
    rows, the number of rows and their offsets            one of each tuple) + 2z
RLE runs: for each tuple, of each run the distance from   4d (w + 1) + 4 runs
    the last one's end, and the length
UC  uncompressed                                          4wn
=== ===================================================== ========================================

and the columns' numbers, and three fields of a header. Where the matrix has at most 256 values, DDC
groups of one column share one dictionary, as in the authors' SystemML.

Simplified: columns are grouped within bins of `BIN`, of like density (CLA: of like cardinality), by
greedy merging of pairs. Gains are estimated from `SAMPLE` evenly spaced rows (tuples by Charikar's
GEE; CLA: a jackknife), and a merge is kept only if it saves bytes in truth. Uncompressed
columns are dense; CLA's may be sparse.
"""

from dataclasses import dataclass
from itertools import chain, combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzip_native._jit import kernel

from ..matrices.base import Case
from .base import Contender, Parts, Stored, dims

BIN = 8  # columns that may become one group
SAMPLE = 1024  # rows
SEGMENT = (1 << 16) - 1  # rows of an offset list: their number fits 16 bits too
SHARED, DDC1, DDC2, OLE, RLE, UC = range(6)


@dataclass(frozen=True)
class _Group:
    """Columns that are stored together.

    Attributes
    ----------
    columns : int64 (w,)
    tuples : float32 (d + 1, w)
        The all-zero one first.
    codes : int64 (rows,)
        Of each row the number of its tuple.
    """

    columns: NDArray[np.int64]
    tuples: NDArray[np.float32]
    codes: NDArray[np.int64]
    nbytes: tuple[int, ...]  # in each of the ways

    @classmethod
    def of(
        cls,
        columns: NDArray[np.int64],
        tuples: NDArray[np.float32],
        codes: NDArray[np.int64],
        shares: bool,
    ) -> "_Group":
        wide, d, z, runs = columns.size, len(tuples) - 1, np.count_nonzero(codes), n_runs(codes)
        segments = 1
        if codes.size > SEGMENT:  # those up to the last of each tuple
            last = np.zeros(d + 1, np.int64)
            np.maximum.at(last, codes, np.arange(codes.size) // SEGMENT)
            segments = float((last[1:] + 1).mean()) if d else 0
        nbytes = _nbytes(codes.size, wide, d, int(z), runs, segments, shares)
        return cls(columns, tuples, codes, nbytes)

    @property
    def kind(self) -> int:
        return int(np.argmin(self.nbytes))


def _nbytes(
    n: int, wide: int, d: float, z: float, runs: float, segments: float, shares: bool
) -> tuple[int, ...]:
    """The table above, for each of the kinds in turn."""
    never = 1 << 62
    lists = 4 * d * (wide + 1)
    sizes = (
        n if shares and wide == 1 else never,
        4 * wide * (d + 1) + n if d < 256 else never,
        4 * wide * (d + 1) + 2 * n if d < 65_536 else never,
        lists + 2 * d * segments + 2 * z,
        lists + 4 * runs,
        4 * wide * n,
    )
    return tuple(int(size) + 4 * wide + 6 for size in sizes)


def n_runs(codes: NDArray[np.int64]) -> int:
    """Number of runs of a code other than 0."""
    begun = (codes[1:] != codes[:-1]) & (codes[1:] != 0)
    return int(np.count_nonzero(begun)) + int(codes[0] != 0)


def merged(a: _Group, b: _Group, shares: bool) -> _Group:
    """The group of both groups' columns."""
    both = a.codes * len(b.tuples) + b.codes
    pairs, codes = np.unique(np.concatenate([[0], both]), return_inverse=True)
    tuples = np.hstack([a.tuples[pairs // len(b.tuples)], b.tuples[pairs % len(b.tuples)]])
    return _Group.of(np.concatenate([a.columns, b.columns]), tuples, codes[1:], shares)


def estimated(a: _Group, b: _Group, rows: slice, shares: bool) -> int:
    """Bytes that `merged` might take, from some of the rows."""
    both = a.codes[rows] * len(b.tuples) + b.codes[rows]
    scale = a.codes.size / both.size
    if len(a.tuples) * len(b.tuples) <= 8 * SAMPLE:
        counts = np.bincount(both)[1:]
        counts = counts[counts > 0]
    else:
        counts = np.unique(both[both > 0], return_counts=True)[1]
    once = np.count_nonzero(counts == 1)
    d = once * scale**0.5 + counts.size - once
    z, runs = scale * np.count_nonzero(both), scale * n_runs(both)
    wide = a.columns.size + b.columns.size
    return min(_nbytes(a.codes.size, wide, d, z, runs, 1, shares))


def grouped(case: Case) -> list[_Group]:
    """Columns in groups, by the rule above."""
    rows, columns = case.matrix.shape
    shares = case.codebook.size < 256
    values = np.concatenate([np.zeros(1, np.float32), case.codebook])
    by_column = np.ascontiguousarray(case.symbols.T)
    order = np.argsort(np.count_nonzero(by_column, axis=1), kind="stable")
    step = slice(None, None, max(1, rows // SAMPLE))
    result = []
    for first in range(0, columns, BIN):
        groups = {}
        for column in order[first : first + BIN]:
            used, codes = np.unique(np.append(0, by_column[column]), return_inverse=True)
            groups[len(groups)] = _Group.of(
                np.array([column]), values[used][:, None], codes[1:], shares
            )
        gains: dict[tuple[int, int], int] = {}
        fresh = list(combinations(groups, 2))
        while True:
            for i, j in fresh:
                apart = min(groups[i].nbytes) + min(groups[j].nbytes)
                gains[i, j] = apart - estimated(groups[i], groups[j], step, shares)
            fresh = []
            i, j = max(gains, key=gains.get, default=(0, 0))
            if not gains or gains[i, j] <= 0:
                break
            one = merged(groups[i], groups[j], shares)
            del gains[i, j]
            if min(one.nbytes) >= min(groups[i].nbytes) + min(groups[j].nbytes):
                continue
            del groups[i], groups[j]
            gains = {pair: gain for pair, gain in gains.items() if not {i, j} & {*pair}}
            new = max(i, j, *groups, 0) + BIN
            fresh = [(other, new) for other in groups]
            groups[new] = one
        result += groups.values()
    return sorted(result, key=lambda group: group.kind)


Lists = tuple[NDArray[np.uint16], list[int]]  # the lists of a group's tuples, and their lengths


def offset_lists(codes: NDArray[np.int64], d: int) -> Lists:
    """OLE: for each tuple but the zero one, by segments, the number of rows and their offsets."""
    segments = np.arange(codes.size) // SEGMENT
    last = np.full(d + 1, -1)
    np.maximum.at(last, codes, segments)
    lengths = last[1:] + 1
    firsts = np.concatenate([[0, 0], np.cumsum(lengths)[:-1]]) if d else np.zeros(1, np.int64)
    rows = np.argsort(codes, kind="stable")[np.count_nonzero(codes == 0) :]
    counts = np.bincount(
        firsts[codes[rows]] + segments[rows], minlength=int(lengths.sum())
    )  # of each tuple's segments up to its last
    places = np.insert(rows % SEGMENT, np.cumsum(counts) - counts, counts)
    sizes = lengths + np.bincount(codes, minlength=d + 1)[1:]
    return places.astype(np.uint16), sizes.tolist()


def run_lists(codes: NDArray[np.int64], d: int) -> Lists:
    """RLE: for each tuple but the zero one, distances and lengths of runs, in turn."""
    edges = np.flatnonzero(np.diff(codes, prepend=-1, append=-1)).tolist()
    pairs: list[list[int]] = [[] for _ in range(d + 1)]
    ends = [0] * (d + 1)
    for first, stop in pairwise(edges):
        code = int(codes[first])
        gap, length = first - ends[code], stop - first
        ends[code] = stop
        while gap > 0xFFFF:  # a run of no rows
            pairs[code] += [0xFFFF, 0]
            gap -= 0xFFFF
        while length > 0xFFFF:
            pairs[code] += [gap, 0xFFFF]
            gap, length = 0, length - 0xFFFF
        pairs[code] += [gap, length]
    return np.array([*chain(*pairs[1:])], np.uint16), [len(own) for own in pairs[1:]]


@kernel
def multiply_vector(kinds, wides, sizes, arrays, n_shared, x, sums, y):
    """Multiply each group's dictionary by x, and add its sums to the rows.

    Parameters
    ----------
    kinds, wides : uint8 (n_groups,)
        UC last.
    sizes : uint32 (n_groups,)
        Number of tuples in the codebook.
    arrays : tuple
        Of all groups, one after the other: columns unsigned (n,), codebook float32 (n,), codes
        uint8 (n,), long codes uint16 (n,), list starts uint32 (n_lists + 1,), places uint16 (n,).
    n_shared : int64
        Size of the shared dictionary, at the head of the codebook.
    x : float32 (columns,)
    sums : float32 (n,), written
        Scratch: of each tuple its product with x.
    y : float32 (rows,), updated
        Sums are float32, in the order of groups.
    """
    columns, codebook, codes, long_codes, list_starts, places = arrays
    rows = y.size
    at_column, at_value, at_code, at_long, at_list = 0, n_shared, 0, 0, 0
    for g in range(kinds.size):
        kind, wide, size = np.int64(kinds[g]), np.int64(wides[g]), np.int64(sizes[g])
        if kind == UC:
            break
        if kind == SHARED:
            factor = x[np.int64(columns[at_column])]
            for t in range(n_shared):
                sums[t] = codebook[t] * factor
        else:
            for t in range(size):
                total = np.float32(0)
                for w in range(wide):
                    total += codebook[at_value + w] * x[np.int64(columns[at_column + w])]
                sums[t] = total
                at_value += wide
        at_column += wide
        if kind <= DDC1:
            mine = codes[at_code : at_code + rows]
            for r in range(rows):
                y[r] += sums[np.uint64(mine[r])]
            at_code += rows
        elif kind == DDC2:
            far = long_codes[at_long : at_long + rows]
            for r in range(rows):
                y[r] += sums[np.uint64(far[r])]
            at_long += rows
        else:
            for t in range(size):
                at = np.int64(list_starts[at_list])
                at_list += 1
                end = np.int64(list_starts[at_list])
                base = np.uint64(0)
                total = sums[t]
                while kind == OLE and at < end:
                    stop = at + 1 + np.int64(places[at])
                    for k in range(at + 1, stop):
                        y[base + np.uint64(places[k])] += total
                    at = stop
                    base += np.uint64(SEGMENT)
                while kind == RLE and at < end:
                    base += np.uint64(places[at])
                    for _ in range(np.int64(places[at + 1])):
                        y[base] += total
                        base += np.uint64(1)
                    at += 2


@kernel
def multiply_matrix(kinds, wides, sizes, arrays, n_shared, x, sums, y):
    """As `multiply_vector`, for x of (columns, n), sums of (n_tuples, n) and y of (rows, n)."""
    columns, codebook, codes, long_codes, list_starts, places = arrays
    rows, n = y.shape
    at_column, at_value, at_code, at_long, at_list = 0, n_shared, 0, 0, 0
    for g in range(kinds.size):
        kind, wide, size = np.int64(kinds[g]), np.int64(wides[g]), np.int64(sizes[g])
        if kind == UC:
            break
        if kind == SHARED:
            column = np.int64(columns[at_column])
            for t in range(n_shared):
                for i in range(n):
                    sums[t, i] = codebook[t] * x[column, i]
        else:
            for t in range(size):
                for i in range(n):
                    sums[t, i] = 0
                for w in range(wide):
                    column = np.int64(columns[at_column + w])
                    for i in range(n):
                        sums[t, i] += codebook[at_value + w] * x[column, i]
                at_value += wide
        at_column += wide
        if kind <= DDC2:
            for r in range(rows):
                t = (
                    np.int64(codes[at_code + r])
                    if kind <= DDC1
                    else np.int64(long_codes[at_long + r])
                )
                for i in range(n):
                    y[r, i] += sums[t, i]
            at_code += rows if kind <= DDC1 else 0
            at_long += rows if kind == DDC2 else 0
        else:
            for t in range(size):
                at = np.int64(list_starts[at_list])
                at_list += 1
                end = np.int64(list_starts[at_list])
                base = 0
                while kind == OLE and at < end:
                    stop = at + 1 + np.int64(places[at])
                    for k in range(at + 1, stop):
                        r = base + np.int64(places[k])
                        for i in range(n):
                            y[r, i] += sums[t, i]
                    at = stop
                    base += SEGMENT
                while kind == RLE and at < end:
                    base += np.int64(places[at])
                    for _ in range(np.int64(places[at + 1])):
                        for i in range(n):
                            y[base, i] += sums[t, i]
                        base += 1
                    at += 2


@kernel
def write_weights(kinds, wides, sizes, arrays, n_shared, turned):
    """Decode, as `multiply_vector` goes through the groups.

    turned : float32 (columns, rows), 0 where the matrix is and otherwise written
    """
    columns, codebook, codes, long_codes, list_starts, places = arrays
    rows = turned.shape[1]
    at_column, at_value, at_code, at_long, at_list = 0, n_shared, 0, 0, 0
    for g in range(kinds.size):
        kind, wide, size = np.int64(kinds[g]), np.int64(wides[g]), np.int64(sizes[g])
        if kind == UC:
            break
        for w in range(wide):
            column = turned[np.int64(columns[at_column + w])]
            values = codebook[:n_shared] if kind == SHARED else codebook[at_value + w :: wide]
            if kind <= DDC1:
                for r in range(rows):
                    column[r] = values[np.int64(codes[at_code + r])]
            elif kind == DDC2:
                for r in range(rows):
                    column[r] = values[np.int64(long_codes[at_long + r])]
            else:
                for t in range(size):
                    at = np.int64(list_starts[at_list + t])
                    end = np.int64(list_starts[at_list + t + 1])
                    base = 0
                    while kind == OLE and at < end:
                        stop = at + 1 + np.int64(places[at])
                        for k in range(at + 1, stop):
                            column[base + np.int64(places[k])] = values[t]
                        at = stop
                        base += SEGMENT
                    while kind == RLE and at < end:
                        base += np.int64(places[at])
                        column[base : base + np.int64(places[at + 1])] = values[t]
                        base += np.int64(places[at + 1])
                        at += 2
        at_column += wide
        at_value += size * wide
        at_code += rows if kind <= DDC1 else 0
        at_long += rows if kind == DDC2 else 0
        at_list += size if kind > DDC2 else 0


ARRAYS = ("columns", "codebook", "values", "long values", "list starts", "positions")


class _Groups(Stored):
    def __init__(self, parts: Parts, dims: tuple[int, int]) -> None:
        self._dims = dims
        kinds, wides, sizes = (parts[name] for name in ("kinds", "widths", "sizes"))
        self._arrays = tuple(parts[name] for name in ARRAYS)
        self._n_shared = int(parts["header"][0])
        self._groups = (kinds, wides, sizes, self._arrays, self._n_shared)
        self._n_sums = max(self._n_shared, int(sizes.max()))
        n_plain = int(wides[kinds == UC].sum())
        self._plain = parts["uncompressed"].reshape(dims[0], n_plain)
        self._plain_columns = parts["columns"][parts["columns"].size - n_plain :]

    def decode(self) -> NDArray[np.float32]:
        turned = np.zeros(self._dims[::-1], np.float32)  # contiguous by columns
        write_weights(*self._groups, turned)
        turned[self._plain_columns] = self._plain.T
        return np.ascontiguousarray(turned.T)

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        y = np.zeros((self._dims[0], *x.shape[1:]), np.float32)
        sums = np.empty((self._n_sums, *x.shape[1:]), np.float32)
        (multiply_vector if x.ndim == 1 else multiply_matrix)(*self._groups, x, sums, y)
        if self._plain_columns.size:
            y += self._plain @ x[self._plain_columns]
        return y


class ColumnGroups(Contender):
    """Groups of columns in the way that takes least; products through those of dictionaries."""

    name = "CLA"
    family = "indices"
    setting = f"DDC, OLE, RLE; groups of at most {BIN} columns, greedily merged; sums in float32"

    def encode(self, case: Case) -> Parts:
        groups = grouped(case)
        columns = np.concatenate([group.columns for group in groups])
        kinds = np.array([group.kind for group in groups], np.uint8)
        shared = np.zeros(0, np.float32)
        if SHARED in kinds:
            shared = np.concatenate([np.zeros(1, np.float32), case.codebook])
        tuples, codes, long_codes, lists, lengths, sizes = [shared], [], [], [], [0], []
        for group in groups:
            d = len(group.tuples) - 1
            if group.kind == SHARED:
                codes.append(case.symbols[:, group.columns[0]])
            elif group.kind in (DDC1, DDC2):
                (codes if group.kind == DDC1 else long_codes).append(group.codes)
            elif group.kind != UC:
                places, own = (offset_lists if group.kind == OLE else run_lists)(group.codes, d)
                lists.append(places)
                lengths += own
            stored = group.tuples if group.kind in (DDC1, DDC2) else group.tuples[1:]
            tuples.append(stored[: 0 if group.kind in (SHARED, UC) else None].ravel())
            sizes.append(tuples[-1].size // group.columns.size)
        plain = columns[columns.size - sum(g.columns.size for g in groups if g.kind == UC) :]
        return {
            "header": np.array([shared.size], np.uint32),
            "kinds": kinds,
            "widths": np.array([group.columns.size for group in groups], np.uint8),
            "sizes": np.array(sizes, np.uint32),
            "columns": columns.astype(np.uint32),
            "codebook": np.concatenate(tuples),
            "values": _joined(codes, np.uint8),
            "long values": _joined(long_codes, np.uint16),
            "list starts": np.cumsum(lengths).astype(np.uint32),
            "positions": _joined(lists, np.uint16),
            "uncompressed": np.ascontiguousarray(case.matrix[:, plain]),
        }

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        return _Groups(parts, dims(shape))


def _joined(arrays: list[NDArray[Any]], kind: type[np.unsignedinteger]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *arrays]).astype(kind)

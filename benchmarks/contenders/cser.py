"""CER and CSER: rows as lists of columns, grouped by value; the most frequent value is implied.

Source: Wiedemann, Müller, Samek, "Compact and computationally efficient representation of deep
neural networks", IEEE TNNLS 31 (2020), arXiv 1805.10692. Their names: Omega is the codebook, colI
the columns, OmegaI the index of each group's value, OmegaPtr where groups begin in colI, rowPtr
where rows begin in OmegaPtr.
"""

import numpy as np
from numpy.typing import NDArray

from cnnzip_native._jit import kernel

from ..matrices.base import Case
from .base import Contender, Parts, Stored, dims

MOST_GROUPS = 1 << 27  # of CER, which stores empty ones too


@kernel
def multiply_vector(codebook, values, columns, group_starts, row_starts, x, y):
    """Sum x by group, then multiply each sum once.

    With c the implied value, w = c + (w - c): c times the sum of all x is added to each row, and a
    group's sum is multiplied by its value less c. Sums are float32, in four parts; c's is float64.

    Parameters
    ----------
    codebook : float32 (k,)
        The implied value first.
    values : unsigned (n_groups,)
        Index of each group's value. Empty for CER, where a row's groups have values 1, 2, ...
    columns : unsigned (n,)
    group_starts : unsigned (n_groups + 1,)
    row_starts : int64 (rows + 1,)
    x : float32 (columns,)
    y : float32 (rows,), written
    """
    implied = codebook[0]
    rest = 0.0
    if implied != 0:
        for c in range(x.size):
            rest += np.float64(x[c])
        rest *= np.float64(implied)
    for row in range(y.size):
        total = np.float32(0)
        first = row_starts[row]
        for group in range(first, row_starts[row + 1]):
            at = np.int64(group_starts[group])
            end = np.int64(group_starts[group + 1])
            a = b = c = d = np.float32(0)
            while at + 4 <= end:
                a += x[np.uint64(columns[at])]
                b += x[np.uint64(columns[at + 1])]
                c += x[np.uint64(columns[at + 2])]
                d += x[np.uint64(columns[at + 3])]
                at += 4
            while at < end:
                a += x[np.uint64(columns[at])]
                at += 1
            value = np.int64(values[group]) if values.size else group - first + 1
            total += (codebook[value] - implied) * ((a + b) + (c + d))
        y[row] = np.float32(np.float64(total) + rest) if implied != 0 else total


@kernel
def multiply_matrix(codebook, values, columns, group_starts, row_starts, x, sums, rest, y):
    """As `multiply_vector`, for x of (columns, n).

    Parameters
    ----------
    sums : float32 (n,), written
        Scratch: those of a group.
    rest : float64 (n,), written
        Scratch: the implied value times the sums of all x.
    """
    n = x.shape[1]
    implied = codebook[0]
    rest[:] = 0
    if implied != 0:
        for c in range(x.shape[0]):
            for i in range(n):
                rest[i] += np.float64(x[c, i])
        for i in range(n):
            rest[i] *= np.float64(implied)
    for row in range(y.shape[0]):
        for i in range(n):
            y[row, i] = 0
        first = row_starts[row]
        for group in range(first, row_starts[row + 1]):
            at = np.int64(group_starts[group])
            end = np.int64(group_starts[group + 1])
            if at == end:
                continue
            value = np.int64(values[group]) if values.size else group - first + 1
            factor = codebook[value] - implied
            if at + 1 == end:
                column = np.uint64(columns[at])
                for i in range(n):
                    y[row, i] += factor * x[column, i]
                continue
            column = np.uint64(columns[at])
            other = np.uint64(columns[at + 1])
            for i in range(n):
                sums[i] = x[column, i] + x[other, i]
            for k in range(at + 2, end):
                column = np.uint64(columns[k])
                for i in range(n):
                    sums[i] += x[column, i]
            for i in range(n):
                y[row, i] += factor * sums[i]
        if implied != 0:
            for i in range(n):
                y[row, i] = np.float32(np.float64(y[row, i]) + rest[i])


@kernel
def write_weights(codebook, values, columns, group_starts, row_starts, matrix):
    """Decode: the implied value everywhere, then the groups.

    matrix : float32 (rows, columns), written
    """
    matrix[:] = codebook[0]
    for row in range(matrix.shape[0]):
        first = row_starts[row]
        for group in range(first, row_starts[row + 1]):
            value = np.int64(values[group]) if values.size else group - first + 1
            for k in range(np.int64(group_starts[group]), np.int64(group_starts[group + 1])):
                matrix[row, np.int64(columns[k])] = codebook[value]


class _Grouped(Stored):
    def __init__(self, parts: Parts, dims: tuple[int, int]) -> None:
        values = parts.get("values", np.zeros(0, np.uint8))
        row_starts = parts["row starts"].astype(np.int64)  # one kind, one kernel
        places = (parts["positions"], parts["group starts"], row_starts)
        self._arrays = (parts["codebook"], values, *places)
        self._dims = dims

    def decode(self) -> NDArray[np.float32]:
        matrix = np.empty(self._dims, np.float32)
        write_weights(*self._arrays, matrix)
        return matrix

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        y = np.empty((self._dims[0], *x.shape[1:]), np.float32)
        if x.ndim == 1:
            multiply_vector(*self._arrays, x, y)
        else:
            n = x.shape[1]
            multiply_matrix(*self._arrays, x, np.empty(n, np.float32), np.empty(n), y)
        return y


def ranked(case: Case) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The values by decreasing frequency, and of each weight the rank of its own."""
    counts = np.bincount(case.symbols.ravel(), minlength=case.codebook.size + 1)
    values = np.concatenate([np.zeros(1, np.float32), case.codebook])
    order = np.argsort(-counts, kind="stable")
    ranks = np.empty_like(order)
    ranks[order] = np.arange(order.size)
    return values[order][: np.count_nonzero(counts)], ranks[case.symbols]


def starts(counts: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    """Where each of some runs begins, and the end, in the least type that holds it."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    return ends.astype(np.min_scalar_type(int(ends[-1])))


class CSER(Contender):
    """Compressed shared elements row: each group names its value."""

    name = "CSER"
    family = "indices"
    setting = "indices of 8, 16 or 32 bits, the least; sums in float32"

    def encode(self, case: Case) -> Parts:
        values, ranks = ranked(case)
        (rows, columns), k = ranks.shape, values.size
        at_row, at_column = np.nonzero(ranks)
        key = at_row * k + ranks[at_row, at_column]
        order = np.argsort(key, kind="stable")
        groups, lengths = np.unique(key, return_counts=True)
        return {
            "codebook": values,
            "values": (groups % k).astype(np.min_scalar_type(k - 1)),
            "positions": at_column[order].astype(np.min_scalar_type(columns - 1)),
            "group starts": starts(lengths),
            "row starts": starts(np.bincount(groups // k, minlength=rows)),
        }

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        return _Grouped(parts, dims(shape))


class CER(Contender):
    """Compressed entropy row: a row's groups are those of values 1, 2, ... by frequency.

    So groups need no index of their value; but those before a row's last are stored though empty.
    """

    name = "CER"
    family = "indices"
    setting = CSER.setting

    def refuses(self, case: Case) -> str | None:
        n_groups = int(ranked(case)[1].max(axis=1).sum())
        if n_groups > MOST_GROUPS:
            return f"{n_groups:,} groups, most of them empty; at most {MOST_GROUPS:,} here"
        return None

    def encode(self, case: Case) -> Parts:
        values, ranks = ranked(case)
        columns = ranks.shape[1]
        at_row, at_column = np.nonzero(ranks)
        n_groups = ranks.max(axis=1)
        row_starts = starts(n_groups)
        group = row_starts[at_row].astype(np.int64) + ranks[at_row, at_column] - 1
        order = np.argsort(group, kind="stable")
        return {
            "codebook": values,
            "positions": at_column[order].astype(np.min_scalar_type(columns - 1)),
            "group starts": starts(np.bincount(group, minlength=int(n_groups.sum()))),
            "row starts": row_starts,
        }

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        return _Grouped(parts, dims(shape))

"""SciPy's sparse matrices, with indices of the least type it supports (int32)."""

from itertools import product

import numpy as np
import scipy
import scipy.sparse
from numpy.typing import NDArray

from ..matrices.base import Case
from .base import Contender, Parts, Stored, dims

SIDES = (1, 2, 3, 4, 6, 8)  # of BSR's blocks; those of `estimate_blocksize`, and 8


class _Sparse(Stored):
    def __init__(self, matrix: scipy.sparse.sparray) -> None:
        self._matrix = matrix

    def decode(self) -> NDArray[np.float32]:
        return self._matrix.toarray()

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        y = self._matrix @ x
        return y.reshape(self._matrix.shape[0], *x.shape[1:])  # COO of 1 x 1 gives a scalar


class CSR(Contender):
    """For each row, the columns of its entries and their values."""

    name = "CSR"
    family = "sparse"
    setting = f"scipy {scipy.__version__}, int32 indices"

    def encode(self, case: Case) -> Parts:
        matrix = scipy.sparse.csr_array(case.matrix)
        return {"values": matrix.data, "positions": matrix.indices, "row starts": matrix.indptr}

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        arrays = (parts["values"], parts["positions"], parts["row starts"])
        return _Sparse(scipy.sparse.csr_array(arrays, dims(shape)))


class CSC(Contender):
    """For each column, the rows of its entries and their values."""

    name = "CSC"
    family = "sparse"
    setting = CSR.setting

    def encode(self, case: Case) -> Parts:
        matrix = scipy.sparse.csc_array(case.matrix)
        return {"values": matrix.data, "positions": matrix.indices, "column starts": matrix.indptr}

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        arrays = (parts["values"], parts["positions"], parts["column starts"])
        return _Sparse(scipy.sparse.csc_array(arrays, dims(shape)))


class COO(Contender):
    """For each entry, its row, its column and its value; by rows."""

    name = "COO"
    family = "sparse"
    setting = CSR.setting

    def encode(self, case: Case) -> Parts:
        matrix = scipy.sparse.coo_array(case.matrix)
        return {"values": matrix.data, "positions": np.stack(matrix.coords)}

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        arrays = (parts["values"], tuple(parts["positions"]))
        return _Sparse(scipy.sparse.coo_array(arrays, dims(shape)))


class BSR(Contender):
    """For each row of blocks, the columns of those that are not all zero, and all their weights."""

    name = "BSR"
    family = "sparse"
    setting = f"{CSR.setting}, blocks of least bytes with sides of {', '.join(map(str, SIDES))}"

    def encode(self, case: Case) -> Parts:
        block = least_block(case.matrix)
        matrix = scipy.sparse.csr_array(case.matrix).tobsr(block)
        return {
            "header": np.array(block, np.uint8),
            "values": matrix.data,
            "positions": matrix.indices,
            "row starts": matrix.indptr,
        }

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        values = parts["values"].reshape(-1, *parts["header"].tolist())
        arrays = (values, parts["positions"], parts["row starts"])
        return _Sparse(scipy.sparse.bsr_array(arrays, dims(shape)))


def least_block(matrix: NDArray[np.float32]) -> tuple[int, int]:
    """Sides of the blocks that take the fewest bytes; they divide those of the matrix."""
    rows, columns = matrix.shape
    entries = matrix != 0

    def nbytes(block: tuple[int, int]) -> int:
        high, wide = block
        tiles = entries.reshape(rows // high, high, columns // wide, wide)
        n_blocks = int(np.count_nonzero(tiles.any(axis=(1, 3))))
        return n_blocks * (4 * high * wide + 4) + 4 * (rows // high + 1)

    blocks = [(h, w) for h, w in product(SIDES, SIDES) if rows % h == columns % w == 0]
    return min(blocks, key=nbytes)

"""Index map: the distinct values, and for each weight the index of its own.

Source: Han, Mao, Dally, "Deep compression" (ICLR 2016), weight sharing; "IM" in Marino et al.
(2023).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from cnnzip_native._jit import kernel

from ..matrices.base import Case
from .base import Contender, Parts, Stored

TILE = (
    1 << 15
)  # weights looked up at a time, 128 KiB: they are still in L2 when they are multiplied


@kernel
def look_up(codebook, indices, first, tile):
    """Values of some rows.

    Parameters
    ----------
    codebook : float32 (k,)
    indices : uint8, uint16 or uint32 (rows, columns)
    first : int64
        The first of the rows.
    tile : float32 (n, columns), written
    """
    for r in range(tile.shape[0]):
        row = indices[first + r]
        for c in range(tile.shape[1]):
            tile[r, c] = codebook[np.uint64(row[c])]


@kernel
def multiply_vector(codebook, indices, x, y):
    """Look up each weight as it is multiplied; a row's sum is float32, in four parts.

    Parameters
    ----------
    codebook : float32 (k,)
    indices : uint8, uint16 or uint32 (rows, columns)
    x : float32 (columns,)
    y : float32 (rows,), written
    """
    whole = x.size & ~3
    for r in range(y.size):
        row = indices[r]
        a = b = c = d = np.float32(0)
        for i in range(0, whole, 4):
            a += codebook[np.uint64(row[i])] * x[i]
            b += codebook[np.uint64(row[i + 1])] * x[i + 1]
            c += codebook[np.uint64(row[i + 2])] * x[i + 2]
            d += codebook[np.uint64(row[i + 3])] * x[i + 3]
        for i in range(whole, x.size):
            a += codebook[np.uint64(row[i])] * x[i]
        y[r] = (a + b) + (c + d)


class _Indexed(Stored):
    def __init__(self, codebook: NDArray[np.float32], indices: NDArray[np.unsignedinteger]) -> None:
        self._codebook = codebook
        self._indices = indices
        rows, columns = indices.shape
        self._tile = np.empty((min(rows, max(1, TILE // columns)), columns), np.float32)

    def decode(self) -> NDArray[np.float32]:
        matrix = np.empty(self._indices.shape, np.float32)
        look_up(self._codebook, self._indices, 0, matrix)
        return matrix

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = self._indices.shape[0]
        if x.ndim == 1:
            vector = np.empty(rows, np.float32)
            multiply_vector(self._codebook, self._indices, x, vector)
            return vector
        y = torch.empty(rows, x.shape[1])
        factor = torch.from_numpy(x)
        for first in range(0, rows, len(self._tile)):
            tile = self._tile[: rows - first]
            look_up(self._codebook, self._indices, first, tile)
            torch.mm(torch.from_numpy(tile), factor, out=y[first : first + len(tile)])
        return y.numpy()


class IndexMap(Contender):
    """A float32 for each distinct value, and for each weight an index of 8, 16 or 32 bits.

    A vector is multiplied as weights are looked up; for a matrix a few rows are looked up at a time
    and left to MKL. On one Xeon core, at 2048 x 2048 with 90 % zeros, that took 1.25 ms for a
    vector, and MKL by rows 1.9; adding x up by index, 2.4 ms in four parts and 11 in one at 16
    values, 9 and 15 at 5,000.
    """

    name = "index map"
    family = "indices"
    setting = "8, 16 or 32 bits an index; matrices by rows looked up and MKL; sums in float32"

    def encode(self, case: Case) -> Parts:
        symbols = case.symbols
        codebook = np.concatenate([np.zeros(1, np.float32), case.codebook])
        if symbols.min() > 0:  # zero does not occur
            codebook, symbols = codebook[1:], symbols - 1
        kind = np.min_scalar_type(codebook.size - 1)
        return {"codebook": codebook, "values": symbols.astype(kind)}

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        return _Indexed(parts["codebook"], parts["values"].reshape(shape[0], -1))

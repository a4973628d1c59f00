"""Bitmask: a bit for each weight, set where it is an entry, and the entries' values in order."""

import numpy as np
from numba import config
from numpy.typing import NDArray

from cnnzip_native._jit import kernel

from ..matrices.base import Case
from .base import Contender, Parts, Stored, dims

if config.DISABLE_JIT:

    def trailing_zeros(word):
        """Place of the lowest set bit."""
        return (int(word) & -int(word)).bit_length() - 1
else:
    from numba.cpython.unsafe.numbers import trailing_zeros  # an intrinsic of LLVM


@kernel
def multiply_mask(mask, values, codebook, x, y):
    """Visit the set bits of each row, lowest first; sums in float32, in the order of columns.

    Parameters
    ----------
    mask : uint64 (n_words,)
        Bit c of weight (r, c) is bit ``r * columns + c``, from the least significant on.
    values : float32 or unsigned (n_entries,)
    codebook : float32 (k,)
        What `values` index; empty where they are the values.
    x : float32 (columns, n)
    y : float32 (rows, n), written
    """
    n_columns, n = x.shape
    entry = np.uint64(0)
    for row in range(y.shape[0]):
        first = row * n_columns
        end = first + n_columns
        total = np.float32(0)
        for i in range(n):
            y[row, i] = 0
        for w in range(first >> 6, (end + 63) >> 6):
            word = mask[w]
            if w == first >> 6:  # the row's own bits alone
                word &= ~np.uint64(0) << np.uint64(first & 63)
            if w == end >> 6:
                word &= (np.uint64(1) << np.uint64(end & 63)) - np.uint64(1)
            base = 64 * w - first
            while word != np.uint64(0):
                column = np.uint64(base + np.int64(trailing_zeros(word)))
                word &= word - np.uint64(1)
                if codebook.size:
                    value = codebook[np.uint64(values[entry])]
                else:
                    value = np.float32(values[entry])
                entry += np.uint64(1)
                if n == 1:
                    total += value * x[column, 0]
                else:
                    for i in range(n):
                        y[row, i] += value * x[column, i]
        if n == 1:
            y[row, 0] = total


class _Masked(Stored):
    def __init__(self, parts: Parts, dims: tuple[int, int]) -> None:
        codebook = parts.get("codebook", np.zeros(0, np.float32))
        self._arrays = (parts["positions"], parts["values"], codebook)
        self._dims = dims

    def decode(self) -> NDArray[np.float32]:
        mask, values, codebook = self._arrays
        size = self._dims[0] * self._dims[1]
        bits = np.unpackbits(mask.view(np.uint8), count=size, bitorder="little")
        matrix = np.zeros(size, np.float32)
        matrix[bits.view(bool)] = codebook[values] if codebook.size else values
        return matrix.reshape(self._dims)

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        y = np.empty((self._dims[0], *x.shape[1:]), np.float32)
        multiply_mask(*self._arrays, x.reshape(len(x), -1), y.reshape(len(y), -1))
        return y


def mask_of(matrix: NDArray[np.float32]) -> NDArray[np.uint64]:
    """A bit for each weight, filled up to whole words."""
    packed = np.packbits(matrix.ravel() != 0, bitorder="little")
    return np.pad(packed, (0, -packed.size % 8)).view(np.uint64)


class Bitmask(Contender):
    """Bits, and float32 values."""

    name = "bitmask"
    family = "sparse"
    setting = "trailing zeros counted in words of 64 bits; sums in float32"

    def encode(self, case: Case) -> Parts:
        return {"positions": mask_of(case.matrix), "values": case.matrix[case.matrix != 0]}

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        return _Masked(parts, dims(shape))


class BitmaskIndexed(Contender):
    """Bits, and indices of 8, 16 or 32 bits into the values other than zero."""

    name = "bitmask + index"
    family = "indices"
    setting = Bitmask.setting

    def encode(self, case: Case) -> Parts:
        indices = case.symbols[case.matrix != 0] - 1
        return {
            "codebook": case.codebook,
            "positions": mask_of(case.matrix),
            "values": indices.astype(np.min_scalar_type(max(0, case.codebook.size - 1))),
        }

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        return _Masked(parts, dims(shape))

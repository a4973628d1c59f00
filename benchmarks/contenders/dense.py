"""The matrix as it is: float32, row by row."""

import numpy as np
import torch
from numpy.typing import NDArray

from ..matrices.base import Case
from .base import Contender, Parts, Stored


class _Matrix(Stored):
    def __init__(self, matrix: NDArray[np.float32]) -> None:
        self._matrix = matrix
        self._tensor = torch.from_numpy(matrix)

    def decode(self) -> NDArray[np.float32]:
        return self._matrix.copy()

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return (self._tensor @ torch.from_numpy(x)).numpy()


class Dense(Contender):
    """Plain float32; torch's product is that of MKL."""

    name = "dense"
    family = "dense"
    setting = f"torch {torch.__version__}, float32"

    def encode(self, case: Case) -> Parts:
        return {"values": case.matrix}

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        return _Matrix(parts["values"])

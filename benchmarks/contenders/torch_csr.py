"""torch's CSR: MKL multiplies where the indices are int32; int64, its default, are converted."""

import warnings

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from ..matrices.base import Case
from .base import Contender, Parts, Stored, dims


class _Tensor(Stored):
    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def decode(self) -> NDArray[np.float32]:
        return self._tensor.to_dense().numpy()

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return (self._tensor @ torch.from_numpy(x)).numpy()


class TorchCSR(Contender):
    """For each row, the columns of its entries and their values."""

    family = "sparse"

    def __init__(self, index_type: str) -> None:
        self.name = f"torch CSR {index_type}"
        self.setting = f"torch {torch.__version__}, {index_type} indices"
        self._index_type = np.dtype(index_type)

    def encode(self, case: Case) -> Parts:
        matrix = scipy.sparse.csr_array(case.matrix)
        return {
            "values": matrix.data,
            "positions": matrix.indices.astype(self._index_type),
            "row starts": matrix.indptr.astype(self._index_type),
        }

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        names = ("row starts", "positions", "values")
        arrays = [torch.from_numpy(np.require(parts[name], requirements="W")) for name in names]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse", UserWarning)  # "... is in beta state"
            return _Tensor(torch.sparse_csr_tensor(*arrays, dims(shape), check_invariants=False))

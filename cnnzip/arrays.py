"""Arrays of the caller's kind, NumPy's or torch's, without importing torch.

Who has a torch tensor has imported torch: it is taken from `sys.modules`.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzip.dtypes import dtype_by_name
from cnnzip.errors import ArgumentError

Wrap = Callable[[NDArray[Any]], Any]


def is_torch(array: Any) -> bool:
    """Whether `array` is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def to_numpy(array: Any) -> tuple[NDArray[Any], Wrap | None]:
    """A NumPy array of the same bits, and what turns such arrays back into the caller's kind.

    Types that NumPy lacks become those of `ml_dtypes`.
    """
    if not is_torch(array):
        return np.asarray(array), None
    torch = sys.modules["torch"]
    if array.layout is not torch.strided:
        raise ArgumentError(f"a {array.layout} tensor; give tensor.to_dense(), zeros cost nothing")
    if array.is_meta:
        raise ArgumentError("a tensor on the meta device, which holds nothing to code")
    plain = array.detach().cpu().resolve_conj().resolve_neg().contiguous()
    dtype = dtype_by_name(str(array.dtype).removeprefix("torch."))
    if dtype.numpy.isbuiltin == 1:
        return plain.numpy(), from_numpy
    carrier = torch.uint8 if dtype.itemsize == 1 else torch.int16
    return plain.view(carrier).numpy().view(dtype.numpy), from_numpy


def from_numpy(array: NDArray[Any]) -> Any:
    """A torch tensor of the same bits; shares memory with `array` where it is writable."""
    torch = sys.modules["torch"]
    array = np.require(array, requirements=("C", "W"))
    if array.dtype.isbuiltin == 1:
        return torch.from_numpy(array)
    carrier = np.uint8 if array.dtype.itemsize == 1 else np.int16
    return torch.from_numpy(array.view(carrier)).view(getattr(torch, array.dtype.name))

"""Frames as torch tensors: how they are made, parsed once, and decoded."""

import weakref
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnzip.container.limits import Limits
from cnnzip.errors import ArgumentError
from cnnzip.tensor import CodedTensor

#: A layer compares a frame's shape with its own before anything is decoded, so these are no bounds.
UNLIMITED = Limits(1 << 62, float("inf"))
HEAD_BYTES = 512  # no header is longer (FRM-2 to FRM-4), and it holds all sections' checksums


class _Known(NamedTuple):
    """A parsed frame, and by what one sees that the tensor still holds these bytes."""

    ref: "weakref.ref[Tensor]"
    data_ptr: int
    version: int
    head: NDArray[np.uint8]  # views the bytes
    head_bytes: bytes
    coded: CodedTensor

    def holds(self, frame: Tensor) -> bool:
        """Whether `frame` is this tensor, neither moved nor written to since."""
        return (
            self.ref() is frame
            and self.data_ptr == frame.data_ptr()
            and self.version == _version(frame)
            and self.head_bytes == self.head.tobytes()
        )


#: By `id` of the tensor. The parsed form views a detached twin of the tensor, which does not keep
#: the tensor alive; so entries go when their tensor goes.
_known: dict[int, _Known] = {}


def parse(frame: Tensor) -> CodedTensor:
    """The coded tensor that a frame holds; with the same tensor a second call costs little.

    A frame on a device is copied to the host, once. One moved or written to is parsed anew.

    Parameters
    ----------
    frame : uint8 (n_bytes,)

    Raises
    ------
    FormatError
        The bytes are no frame, or damaged. Checksums and description are checked, and nothing
        is decoded.
    """
    key = id(frame)
    known = _known.get(key)
    if known is not None and known.holds(frame):
        return known.coded
    if frame.dtype != torch.uint8 or frame.ndim != 1 or frame.is_meta:
        raise ArgumentError(
            "a frame is a uint8 tensor of one dimension, this is a "
            f"{frame.dtype} tensor of shape {tuple(frame.shape)} on {frame.device}"
        )
    version = _version(frame)
    array = frame.detach().cpu().contiguous().numpy()
    array.flags.writeable = False  # as mapped files are: kernels then need one form
    coded = CodedTensor.from_frame(array.data, UNLIMITED)
    ref = weakref.ref(frame, lambda ref: _forget(key, ref))
    head = array[:HEAD_BYTES]
    _known[key] = _Known(ref, frame.data_ptr(), version, head, head.tobytes(), coded)
    return coded


def _version(frame: Tensor) -> int:
    """Torch's count of writes; tensors of inference mode have none, the header must do there."""
    return -1 if frame.is_inference() else frame._version


def _forget(key: int, ref: "weakref.ref[Tensor]") -> None:
    known = _known.get(key)
    if known is not None and known.ref is ref:
        del _known[key]


def frame_of(coded: CodedTensor, device: torch.device | str = "cpu") -> Tensor:
    """Write a coded tensor's frame, without a name, as a tensor; uint8 (n_bytes,)."""
    data = coded.to_frame()
    with torch.inference_mode(False):
        frame = torch.empty(len(data), dtype=torch.uint8)
        frame.numpy()[:] = np.frombuffer(data, np.uint8)
        return frame.to(device)


def dtype_of(coded: CodedTensor) -> torch.dtype:
    """Torch's type of the weights."""
    dtype = getattr(torch, coded.dtype, None)
    if not isinstance(dtype, torch.dtype) or coded.dtype in ("int4", "uint4"):
        raise ArgumentError(f"torch has no tensors of dtype {coded.dtype}")
    return dtype


def dense_of(coded: CodedTensor) -> Tensor:
    """The plain tensor, every weight equal."""
    plain = torch.empty(coded.shape, dtype=dtype_of(coded))
    if plain.numel():
        coded.coded.decode_into(plain.reshape(-1).view(torch.uint8).numpy())
    return plain

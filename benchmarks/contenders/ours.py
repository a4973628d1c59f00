"""cnnzip's codecs, each as a whole frame: header, checksums and all."""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

import cnnzip
from cnnzip import bounds
from cnnzip.api import NO_LIMITS
from cnnzip.codecs.choose import NAMES
from cnnzip.codecs.names import CODEC_NAMES, PACK_ID
from cnnzip.errors import ArgumentError
from cnnzip.tensor import CodedTensor

from ..matrices.base import Case
from .base import Contender, Parts, Size, Stored

CODECS = tuple(name for number, name in CODEC_NAMES.items() if number != PACK_ID)


class _Coded(Stored):
    def __init__(self, tensor: CodedTensor) -> None:
        self._tensor = tensor

    def decode(self) -> NDArray[np.float32]:
        return self._tensor.decode().reshape(self._tensor.shape[0], -1)

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._tensor @ x


class Ours(Contender):
    """A codec of cnnzip, or how it is chosen. Bounds: `cnnzip.bounds.frame_bound`, if it has one."""

    family = "cnnzip"
    setting = f"cnnzip {cnnzip.__version__}"

    def __init__(self, name: str) -> None:
        self.name = name
        self.multiplies = name in NAMES and NAMES[name].multiplies

    def refuses(self, case: Case) -> str | None:
        try:
            self._bound_bits(case)
        except ArgumentError as error:
            return str(error)
        return None

    def encode(self, case: Case) -> Parts:
        frame = cnnzip.encode(case.weight, self.name).to_frame()
        return {"frame": np.frombuffer(frame, np.uint8)}

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        return _Coded(CodedTensor.from_frame(parts["frame"].data, NO_LIMITS))

    def size(self, case: Case, parts: Parts) -> Size:
        tensor = CodedTensor.from_frame(parts["frame"].data, NO_LIMITS)
        split = tensor.report().parts or {"frame": 8 * tensor.nbytes}
        return Size(8 * tensor.nbytes, split, self._bound_bits(case))

    def _bound_bits(self, case: Case) -> int | None:
        if self.name in bounds.CODECS:
            return 8 * bounds.frame_bound(case.counts, self.name)
        if self.name in NAMES:
            return None
        found = []
        for codec in bounds.CODECS:
            with suppress(ArgumentError):
                found.append(8 * bounds.frame_bound(case.counts, codec))
        return min(found)

"""ZipNN: bytes of floats grouped by place, each group by Huffman or zstd (Hershcovitch et al.)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..matrices.base import Case
from ._symbols import Packed, as_part
from .base import Parts, with_version


def _coder() -> Any:
    from zipnn import ZipNN

    # method="AUTO", the default, is what its documentation advises.
    return ZipNN(bytearray_dtype="float32", threads=1)


class ZipNN(Packed):
    """Made for weights as training leaves them, neither pruned nor quantized."""

    name = "zipnn"
    family = "compressor"
    package = "zipnn"
    setting = with_version(package, "method AUTO, float32")

    def encode(self, case: Case) -> Parts:
        data = bytearray(case.matrix.tobytes())  # a copy: ZipNN reorders the bits in place
        return {"values": as_part(bytes(_coder().compress(data)))}

    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return np.frombuffer(_coder().decompress(parts["values"].tobytes()), np.float32)

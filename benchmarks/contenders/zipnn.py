"""ZipNN: bytes of floats grouped by place, each group by Huffman or zstd (Hershcovitch et al.)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..matrices.base import Case
from ._symbols import Packed, as_part
from .base import Parts, with_version


def compress(data: bytes, dtype: str = "float32") -> bytes:
    """The bytes of floats by ZipNN; method AUTO, the default, is what its documentation advises."""
    return bytes(_coder(dtype).compress(bytearray(data)))  # a copy: it reorders the bits in place


def decompress(coded: bytes, dtype: str = "float32") -> bytes:
    """Invert `compress`."""
    return bytes(_coder(dtype).decompress(coded))


def _coder(dtype: str) -> Any:
    from zipnn import ZipNN

    return ZipNN(bytearray_dtype=dtype, threads=1)


class ZipNN(Packed):
    """Made for weights as training leaves them, neither pruned nor quantized."""

    name = "zipnn"
    family = "compressor"
    package = "zipnn"
    setting = with_version(package, "method AUTO, float32")

    def encode(self, case: Case) -> Parts:
        return {"values": as_part(compress(case.matrix.tobytes()))}

    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return np.frombuffer(decompress(parts["values"].tobytes()), np.float32)

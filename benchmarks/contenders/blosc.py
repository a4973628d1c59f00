"""Blosc2: blocks, shuffled and compressed by zstd."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..matrices.base import Case
from ._symbols import Packed, as_part, case_values, from_planes, n_weights, to_planes, with_zero
from .base import Parts, with_version

MAX_BYTES = (1 << 31) - 33  # of a chunk
SAMPLE_BYTES = 1 << 20
FILTERS = ("NOFILTER", "SHUFFLE", "BITSHUFFLE")


def _compress(data: bytes, itemsize: int) -> NDArray[np.uint8]:
    """Compress with the filter that is best for the first MiB; the chunk tells which."""
    import blosc2

    def packed(data: bytes, name: str) -> bytes:
        parameters: dict[str, Any] = {"filters": [blosc2.Filter[name]], "typesize": itemsize}
        zstd = blosc2.CParams(codec=blosc2.Codec.ZSTD, clevel=9, nthreads=1, **parameters)
        return blosc2.compress2(data, cparams=zstd)

    best = min(FILTERS, key=lambda name: len(packed(data[:SAMPLE_BYTES], name)))
    return as_part(packed(data, best))


def _decompress(part: NDArray[np.uint8], n_bytes: int) -> bytes:
    import blosc2

    return blosc2.decompress2(part, dparams=blosc2.DParams(nthreads=1)) if n_bytes else b""


class _Blosc(Packed):
    family = "compressor"
    package = "blosc2"
    setting = with_version(
        package, "zstd, clevel 9, the best of its filters (none, shuffle, bitshuffle) on a sample"
    )
    itemsize: int

    def refuses(self, case: Case) -> str | None:
        if self.itemsize * case.weight.size > MAX_BYTES:
            return "a Blosc2 chunk holds less than 2 GiB"
        return None


class FloatsBlosc(_Blosc):
    """Of the floats themselves, as array stores use it."""

    name = "float32 + blosc2"
    itemsize = 4

    def encode(self, case: Case) -> Parts:
        return {"values": _compress(case_values(case), self.itemsize)}

    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return np.frombuffer(_decompress(parts["values"], n_weights(shape)), np.float32)


class IndicesBlosc(_Blosc):
    """Of indices into the codebook, in planes of bytes."""

    name = "index + blosc2"
    itemsize = 1

    def encode(self, case: Case) -> Parts:
        planes = to_planes(case.symbols, case.codebook.size + 1)
        return {"codebook": case.codebook, "indices": _compress(planes, self.itemsize)}

    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        values = with_zero(parts["codebook"])
        planes = _decompress(parts["indices"], n_weights(shape))
        return values[from_planes(planes, values.size)]

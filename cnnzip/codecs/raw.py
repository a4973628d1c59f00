"""raw: any tensor, byte planes stored or zstd. Format: spec/30-raw.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.base import Codec, check_section_count
from cnnzip.codecs.planes import decode_planes, encode_planes
from cnnzip.codecs.source import MatrixShape, Source
from cnnzip.dtypes import check_bools


@dataclass(frozen=True)
class Raw(Codec):
    """A tensor as its bytes, those of the same significance together (RAW-1)."""

    id = 1
    name = "raw"
    n_sections = 1

    shape: MatrixShape
    planes: bytes | memoryview

    @classmethod
    def least_bytes(cls, source: Source) -> int:
        """zstd may find anything."""
        return 0

    @classmethod
    def encode(cls, source: Source) -> Self:
        """Code any tensor."""
        planes = encode_planes([(source.data, source.shape.dtype.itemsize)])
        return cls(source.shape, planes)

    @property
    def sections(self) -> Sequence[bytes | memoryview]:
        """The planes."""
        return (self.planes,)

    @classmethod
    def parse(cls, shape: MatrixShape, sections: Sequence[memoryview]) -> Self:
        """Invert `sections`; the planes are read when they are decoded."""
        check_section_count(cls, sections)
        return cls(shape, sections[0])

    def decode_into(self, out: NDArray[np.uint8]) -> None:
        """Put the planes' bytes together again (PLN-1)."""
        decode_planes(memoryview(self.planes), [(out, self.shape.dtype.itemsize)])
        check_bools(self.shape.dtype, out, "planes")

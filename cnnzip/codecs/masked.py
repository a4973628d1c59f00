"""masked: places of the entries as banded, values as raw. Format: spec/35-masked.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.banded import Banded
from cnnzip.codecs.base import CannotEncodeError, Codec, check_section_count
from cnnzip.codecs.planes import decode_planes, encode_planes
from cnnzip.codecs.source import MatrixShape, Source
from cnnzip.dtypes import BY_NAME, check_bools
from cnnzip.errors import CorruptError

BOOL = BY_NAME["bool"]


@dataclass(frozen=True)
class Masked(Codec):
    """A coded mask and the planes of what it lets through (MSK-1)."""

    id = 6
    name = "masked"
    n_sections = 3

    shape: MatrixShape
    mask: Banded
    planes: bytes | memoryview

    @classmethod
    def least_bytes(cls, source: Source) -> int:
        """Nothing is promised; with shared values, or without zeros, other codecs are smaller."""
        n_entries = int(np.count_nonzero(_is_entry(source.data, source.shape)))
        n_values = source.distinct.patterns.size if source.distinct else n_entries
        if 2 * n_values < n_entries or n_entries == source.shape.n_weights:
            raise CannotEncodeError("its values are shared, or none of them is zero")
        return 0

    @classmethod
    def encode(cls, source: Source) -> Self:
        """Code the mask, and put the bytes of the entries into planes."""
        kept = _is_entry(source.data, source.shape)
        mask = Banded.encode(Source(MatrixShape(BOOL, source.shape.dims), kept.view(np.uint8)))
        itemsize = source.shape.dtype.itemsize
        entries = source.data.reshape(-1, itemsize)[kept].reshape(-1)
        return cls(source.shape, mask, encode_planes([(entries, itemsize)]))

    @property
    def sections(self) -> Sequence[bytes | memoryview]:
        """Those of the mask, and the planes."""
        return (*self.mask.sections, self.planes)

    @classmethod
    def parse(cls, shape: MatrixShape, sections: Sequence[memoryview]) -> Self:
        """Invert `sections`; the planes are read when they are decoded."""
        check_section_count(cls, sections)
        mask = Banded.parse(MatrixShape(BOOL, shape.dims), sections[:2])
        return cls(shape, mask, sections[2])

    def decode_into(self, out: NDArray[np.uint8]) -> None:
        """Put the entries where the mask has them, zeros elsewhere."""
        itemsize = self.shape.dtype.itemsize
        entries = np.empty(int(self.mask.entry_ends[-1]) * itemsize, np.uint8)
        decode_planes(memoryview(self.planes), [(entries, itemsize)])
        check_bools(self.shape.dtype, entries, "planes")
        if not _is_entry(entries, MatrixShape(self.shape.dtype, (entries.size // itemsize,))).all():
            raise CorruptError("MSK-2", "planes", "an entry of pattern 0")
        rows = out.reshape(-1, itemsize)
        rows[:] = 0
        rows[self.mask.decode().view(bool)] = entries.reshape(-1, itemsize)


def _is_entry(data: NDArray[np.uint8], shape: MatrixShape) -> NDArray[np.bool_]:
    """Which weights have a pattern other than 0."""
    found: NDArray[np.bool_]
    if shape.dtype.itemsize <= 8:
        found = data.view(shape.dtype.pattern) != 0
    else:
        found = np.asarray(data.reshape(-1, shape.dtype.itemsize).any(axis=1))
    return found

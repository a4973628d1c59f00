"""What every codec is, and what those that multiply share.

A codec is a description of one tensor: it is made from a `Source` (encode) or from the sections
of a frame (parse), is valid from then on, and never changes. `sections` and `parse` are inverse.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.source import MatrixShape, Source
from cnnzip.entropy.varints import encode_varint
from cnnzip.errors import CorruptError

Section = bytes | memoryview


def frozen(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mark coded bytes read-only, as those of a file are: kernels then need one form."""
    array = array.view()
    array.flags.writeable = False
    return array


class CannotEncodeError(Exception):
    """This codec cannot hold this tensor; the message says why. Never leaves `choose`."""


class Codec(ABC):
    """One tensor, coded."""

    id: ClassVar[int]
    name: ClassVar[str]
    n_sections: ClassVar[int]
    #: Whether products are computed from the coded form.
    multiplies: ClassVar[bool] = False
    #: Whether it is decoded bit by bit, and so asked for only where bytes alone count.
    is_slow: ClassVar[bool] = False
    #: Whether a layer that is to compute from its weight's coded form codes it anew (`direct`).
    recoded: ClassVar[bool] = False

    shape: MatrixShape

    @classmethod
    @abstractmethod
    def least_bytes(cls, source: Source) -> int:
        """Lower bound of the sections' bytes, found without encoding.

        Raises
        ------
        CannotEncodeError
        """

    @classmethod
    @abstractmethod
    def encode(cls, source: Source) -> Self:
        """Code a tensor.

        Raises
        ------
        CannotEncodeError
        """

    @property
    @abstractmethod
    def sections(self) -> Sequence[Section]:
        """The sections, as a frame holds them."""

    @classmethod
    @abstractmethod
    def parse(cls, shape: MatrixShape, sections: Sequence[memoryview]) -> Self:
        """Invert `sections`. Raises CorruptError or TruncatedError, naming the clause."""

    @abstractmethod
    def decode_into(self, out: NDArray[np.uint8]) -> None:
        """Write the plain tensor's bytes, in C order, into ``out`` (uint8, n_bytes)."""

    def validate(self) -> None:
        """Decode everything without keeping it, and raise what decoding would raise."""
        self.decode_into(np.empty(self.shape.n_bytes, np.uint8))

    def decode(self) -> NDArray[np.uint8]:
        """The plain tensor's bytes, in C order; uint8 (n_bytes,)."""
        out = np.empty(self.shape.n_bytes, np.uint8)
        self.decode_into(out)
        return out

    @property
    def stored_bytes(self) -> int:
        """Bytes of the sections, their lengths and their checksums in a frame (FRM)."""
        lengths = [len(section) for section in self.sections]
        return sum(n + len(encode_varint(n)) + 4 for n in lengths)


def check_section_count(codec: type[Codec], sections: Sequence[memoryview]) -> None:
    """Refuse too few sections, or too many (FRM-4).

    `container.frame` has already dropped sections that an unknown optional feature explains.
    """
    if len(sections) != codec.n_sections:
        raise CorruptError(
            "FRM-4", "sections", f"{len(sections)}, {codec.name} has {codec.n_sections}"
        )

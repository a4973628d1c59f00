"""What a contender is: a way to store a matrix, as the bytes that are needed to have it again."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..matrices.base import Case

Parts = Mapping[str, NDArray[Any]]  # all that `open` needs but the shape
PAPER = "paper"  # the family of what is charged by a formula, and stores nothing


def dims(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a weight's matrix: outputs x all the rest."""
    return shape[0], prod(shape[1:])


def with_version(package: str, setting: str) -> str:
    """A setting after the package's name and version, if it is installed."""
    return f"{package} {version(package)}, {setting}" if find_spec(package) else setting


class Stored(ABC):
    """A matrix in memory, ready to be decoded; of some contenders, to be multiplied with."""

    @abstractmethod
    def decode(self) -> NDArray[np.float32]:
        """The matrix: float32 (rows, columns), every bit as it was."""

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """W x for C-contiguous float32 x of (columns,) or (columns, n)."""
        raise NotImplementedError(f"{type(self).__name__} does not multiply")


@dataclass(frozen=True)
class Size:
    """What a contender takes for a matrix, in bits.

    Attributes
    ----------
    bits : float
        Everything, or what a paper charges.
    parts : mapping of str to float
        The same by part: "header", "codebook", "tables", "positions", "values", ...
    bound_bits : float or None
        The most it takes for this shape and these counts, by its documentation.
    """

    bits: float
    parts: Mapping[str, float]
    bound_bits: float | None = None


class Contender(ABC):
    """A way to store a matrix.

    Attributes
    ----------
    name : str
        Unique; what tables show.
    family : str
        "cnnzip", "dense", "sparse", "indices" (into a codebook), "compressor", "entropy coder", or
        "paper" (not stored, only charged by its authors' formula).
    setting : str
        Library, version, and the setting that its documentation names as its best.
    multiplies : bool
        Whether it multiplies from the stored form, without decoding the matrix first.
    package : str
        What has to be installed for it beside the suite; "" for nothing.
    """

    name: str
    family: str
    setting: str = ""
    multiplies: bool = True
    package: str = ""

    def missing(self) -> str | None:
        """The command that installs what is missing here; None if nothing is."""
        return (
            f"pip install {self.package}" if self.package and not find_spec(self.package) else None
        )

    def refuses(self, case: Case) -> str | None:
        """Why it cannot store this matrix; None if it can."""
        return None

    @abstractmethod
    def encode(self, case: Case) -> Parts:
        """Store the matrix: arrays whose bytes are all that is kept, and all that is counted."""

    @abstractmethod
    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        """Make the matrix usable, from its parts and the weight's shape alone."""

    def size(self, case: Case, parts: Parts) -> Size:
        """Count the bits of the parts."""
        bits = {name: 8.0 * part.nbytes for name, part in parts.items()}
        return Size(sum(bits.values()), bits)

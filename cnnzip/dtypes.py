"""Element types of the format (DTY-1) and their NumPy forms."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnzip.errors import ArgumentError, CorruptError, VersionError


@dataclass(frozen=True, slots=True)
class DType:
    """An element type: its id in the format, its name in NumPy and torch, its bytes."""

    id: int
    name: str
    itemsize: int

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The NumPy dtype; those NumPy lacks come from `ml_dtypes`."""
        try:
            return np.dtype(self.name)
        except TypeError:
            import ml_dtypes

            dtype: np.dtype[np.generic] = np.dtype(getattr(ml_dtypes, self.name))
            return dtype

    @property
    def pattern(self) -> np.dtype[np.unsignedinteger]:
        """Unsigned integer of the same width; only up to 8 bytes."""
        return np.dtype(f"<u{self.itemsize}")

    @property
    def arithmetic(self) -> np.dtype[np.floating] | None:
        """Type in which products are computed (MAT-2), None where there are none."""
        if self.name.startswith("complex") or self.name == "float8_e8m0fnu":
            return None
        wide = ("float64", "int32", "uint32", "int64", "uint64")
        return np.dtype(np.float64 if self.name in wide else np.float32)

    @property
    def negative_zero(self) -> int | None:
        """Pattern of -0.0, None for types without one."""
        if self.name in ("float16", "bfloat16", "float32", "float64") or self.name in (
            "float8_e4m3fn",
            "float8_e5m2",
        ):
            return 1 << (8 * self.itemsize - 1)
        return None


DTYPES = tuple(
    DType(*row)
    for row in (
        (0, "bool", 1),
        (1, "uint8", 1),
        (2, "int8", 1),
        (3, "uint16", 2),
        (4, "int16", 2),
        (5, "uint32", 4),
        (6, "int32", 4),
        (7, "uint64", 8),
        (8, "int64", 8),
        (16, "float16", 2),
        (17, "bfloat16", 2),
        (18, "float32", 4),
        (19, "float64", 8),
        (24, "float8_e4m3fn", 1),
        (25, "float8_e5m2", 1),
        (26, "float8_e4m3fnuz", 1),
        (27, "float8_e5m2fnuz", 1),
        (28, "float8_e8m0fnu", 1),
        (32, "complex64", 8),
        (33, "complex128", 16),
        (40, "int4", 1),
        (41, "uint4", 1),
    )
)
BY_ID = {dtype.id: dtype for dtype in DTYPES}
BY_NAME = {dtype.name: dtype for dtype in DTYPES}


def dtype_by_id(number: int) -> DType:
    """Look up an id read from a file."""
    if number not in BY_ID:
        raise VersionError("DTY-1", "dtype", f"{number} is unknown to this version")
    return BY_ID[number]


def dtype_by_name(name: str) -> DType:
    """Look up a NumPy or torch name given by a caller."""
    if name not in BY_NAME:
        raise ArgumentError(
            f"dtype {name} cannot be stored; cnnzip stores {', '.join(BY_NAME)}: convert the array"
        )
    return BY_NAME[name]


def check_bools(dtype: DType, patterns: NDArray[np.unsignedinteger], where: str) -> None:
    """Refuse a bool that is neither 0 nor 1 (DTY-2)."""
    if dtype.name == "bool" and patterns.size and int(patterns.max()) > 1:
        raise CorruptError("DTY-2", where, f"a bool of pattern {int(patterns.max())}, not 0 or 1")

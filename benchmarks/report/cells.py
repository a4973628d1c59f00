"""What tables are made of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..results import TimeRow
from .findings import Condition


class Cell(NamedTuple):
    """A text, the number that sorts it if it stands for one, and whether it is the best."""

    text: str = ""
    value: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under headers; `folded` where it is long and of one matrix or group alone."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False

    def is_numeric(self, column: int) -> bool:
        """Whether any cell of the column stands for a number."""
        return any(row[column].value is not None for row in self.rows)


@dataclass(frozen=True)
class Section:
    """A part of the report; left out where it has no tables."""

    slug: str
    title: str
    text: str
    tables: Sequence[Table] = field(default_factory=list)


def short(value: float) -> str:
    """Three significant digits without exponents where that is readable.

    >>> short(0.95), short(12.345), short(1), short(65536)
    ('0.950', '12.3', '1.00', '65,536')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def number(value: float | None, best: bool = False) -> Cell:
    """A cell of three significant digits; empty for None."""
    return Cell() if value is None else Cell(short(value), value, best)


def whole(value: int) -> Cell:
    """A cell of a whole number."""
    return Cell(f"{value:,}", value)


def seconds(value: float) -> str:
    """With the unit that fits.

    >>> seconds(0.0123), seconds(4.5e-6), seconds(75)
    ('12.3 ms', '4.50 us', '75.0 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{short(value / size)} {unit}"
    return f"{short(value / 1e-9)} ns"


def best_of(values: Iterable[float | None], least: bool = True) -> float | None:
    """The least or largest of those that are known."""
    known = [value for value in values if value is not None]
    return (min if least else max)(known, default=None)


def factor(ratio: float) -> Cell:
    """So many times, with more digits near 1."""
    return Cell(f"{ratio:.4f}" if 0.99 < ratio < 1.01 else short(ratio), ratio)


def times_faster(row: TimeRow, rival: str) -> Cell:
    """The ratio to "dense", "csr" or "mkl" with its quartiles."""
    value, low, high = (getattr(row, rival + end) for end in ("", "_low", "_high"))
    if value is None:
        return Cell()
    spread = "" if low is None or high is None else f" ({short(low)} to {short(high)})"
    return Cell(short(value) + spread, value)


def condition_cells(condition: Condition) -> list[Cell]:
    """Columns, threads and cache."""
    columns = Cell(str(condition.columns or "vector"), condition.columns)
    return [columns, whole(condition.threads), Cell(condition.cache)]

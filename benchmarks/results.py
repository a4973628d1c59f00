"""Rows of results, and the CSV files that hold them."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parent
SIZES = ROOT / "sizes.csv"
TIMES = ROOT / "results"

Parts = dict[str, int]


@dataclass(frozen=True, slots=True)
class SizeRow:
    """What a contender takes for a matrix.

    Attributes
    ----------
    case, group : str
        As of `matrices.base.Case`.
    shape : str
        "512 x 256 x 3 x 3".
    density : float
        Share of entries.
    k : int
        Distinct values but zero.
    h0_bits : float
        Order-0 entropy with zero as a symbol, bits per weight.
    adaptive_bits : float or None
        Code length by a mix of adaptive contexts (`measures.estimate`), bits per weight: what a
        slower, purely sequential coder might reach. None for the largest.
    contender, family : str
    bits : int
        Everything, rounded up.
    bound_bits : int or None
        The most that its documentation allows.
    parts : dict of str to int
        `bits` by part, rounded.
    """

    case: str
    group: str
    shape: str
    density: float
    k: int
    h0_bits: float
    adaptive_bits: float | None
    contender: str
    family: str
    bits: int
    bound_bits: int | None
    parts: Parts

    @property
    def n_weights(self) -> int:
        """Number of weights."""
        n = 1
        for dim in self.shape.split(" x "):
            n *= int(dim)
        return n

    @property
    def bits_per_weight(self) -> float:
        """Bits per weight."""
        return self.bits / self.n_weights


@dataclass(frozen=True, slots=True)
class TimeRow:
    """What a contender took for something, over several rounds; all contenders in turn in each.

    Attributes
    ----------
    case, contender : str
    measure : str
        "encode", "decode", "first use" (from parts to the first product), "multiply", "forward" (a
        whole network; contender is how its layers are stored), in seconds; "peak memory" (of a
        fresh process that loads and multiplies, above what it held before), in bytes.
    columns : int
        Of the right-hand side; 0 for a vector, and where there is none.
    threads : int
    cache : str
        "hot" or "cold" (caches overwritten before each call).
    rounds : int
    best, median : float
        Seconds, or bytes.
    dense, csr, mkl : float or None
        How many times less than the dense product, SciPy's CSR and torch's CSR of int32 (MKL) of the
        same round: median over the rounds. Of "multiply" only; "dense" of "forward" too.
    dense_low, dense_high, csr_low, csr_high, mkl_low, mkl_high : float or None
        Quartiles of the same.
    """

    case: str
    contender: str
    measure: str
    columns: int
    threads: int
    cache: str
    rounds: int
    best: float
    median: float
    dense: float | None = None
    dense_low: float | None = None
    dense_high: float | None = None
    csr: float | None = None
    csr_low: float | None = None
    csr_high: float | None = None
    mkl: float | None = None
    mkl_low: float | None = None
    mkl_high: float | None = None


Row = TypeVar("Row", SizeRow, TimeRow)


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of one kind, a line each, in their order."""
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        lines = csv.writer(file, lineterminator="\n")
        if rows:
            lines.writerow(field.name for field in fields(rows[0]))
        lines.writerows([_text(value) for value in astuple(row)] for row in rows)


def read(path: Path, kind: type[Row]) -> list[Row]:
    """Read what `write` wrote."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        names = next(lines, [])
        if names and names != [field.name for field in fields(kind)]:
            raise SystemExit(f"{path}: columns {', '.join(names)}; not a table of this version")
        return [kind(*_values(line, kind)) for line in lines]


def _text(value: object) -> object:
    if isinstance(value, dict):
        return ";".join(f"{name}={bits}" for name, bits in value.items())
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value


def _values(line: Iterable[str], kind: type[Any]) -> list[Any]:
    return [_value(text, field.type) for text, field in zip(line, fields(kind), strict=True)]


def _value(text: str, kind: Any) -> Any:
    if kind is str:
        return text
    if kind == Parts:
        pairs = (part.rpartition("=") for part in text.split(";") if part)
        return {name: int(bits) for name, _, bits in pairs}
    if not text:
        return None
    return int(text) if kind in (int, int | None) else float(text)

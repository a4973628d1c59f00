"""What the report says, as numbers: lookups into results, fits, fronts, violations, losses."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import exp, log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..results import SizeRow, TimeRow, read

OWN = "cnnzip"
PAPER = "paper"
SCALING = "scaling"


class Condition(NamedTuple):
    """Under which a product is timed."""

    columns: int
    threads: int
    cache: str

    def __str__(self) -> str:
        shape = f"{self.columns} column{'s'[: self.columns > 1]}" if self.columns else "vector"
        return f"{shape}, {self.threads} thread{'s'[: self.threads > 1]}, {self.cache}"


@dataclass(frozen=True)
class Results:
    """Everything that was measured, and on what."""

    sizes: Sequence[SizeRow]
    times: Sequence[TimeRow] = ()
    machine: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, sizes: Path, times: Path | None) -> "Results":
        """Read tables, and the machine from the `.json` beside the times; what is missing is empty."""
        machine = times.with_suffix(".json") if times else None
        return cls(
            read(sizes, SizeRow) if sizes.exists() else [],
            read(times, TimeRow) if times and times.exists() else [],
            json.loads(machine.read_text("utf-8")) if machine and machine.exists() else {},
        )

    @cached_property
    def cases(self) -> dict[str, SizeRow]:
        """A row of each matrix, for what all its rows have in common."""
        return {row.case: row for row in reversed(self.sizes)}

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Matrices by group, in the order of the rows."""
        found: dict[str, dict[str, None]] = {}
        for row in self.sizes:
            found.setdefault(row.group, {})[row.case] = None
        return {group: list(cases) for group, cases in found.items()}

    @cached_property
    def families(self) -> dict[str, str]:
        """Family of each contender, in order; empty where it has times alone."""
        timed = {row.contender: "" for row in self.times if row.measure != "forward"}
        sized = {row.contender: row.family for row in self.sizes}
        return sized | {name: family for name, family in timed.items() if name not in sized}

    @cached_property
    def stored(self) -> list[str]:
        """Contenders that really store a matrix."""
        return [name for name, family in self.families.items() if family != PAPER]

    @cached_property
    def own(self) -> list[str]:
        """Our codecs."""
        return [name for name, family in self.families.items() if family == OWN]

    @cached_property
    def size(self) -> dict[tuple[str, str], SizeRow]:
        """Rows of sizes by matrix and contender."""
        return {(row.case, row.contender): row for row in self.sizes}

    @cached_property
    def products(self) -> dict[tuple[str, Condition], dict[str, TimeRow]]:
        """Rows of "multiply" by matrix and condition, then by contender."""
        found: dict[tuple[str, Condition], dict[str, TimeRow]] = {}
        for row in self.times:
            if row.measure == "multiply":
                condition = Condition(row.columns, row.threads, row.cache)
                found.setdefault((row.case, condition), {})[row.contender] = row
        return found

    @cached_property
    def conditions(self) -> list[Condition]:
        """Conditions of all products; the first one stands for all in headlines and figures."""
        found = {condition for _, condition in self.products}
        return sorted(found, key=lambda c: (c.columns, c.threads, c.cache != "hot"))

    @cached_property
    def once(self) -> dict[tuple[str, str, str], TimeRow]:
        """Rows of all but "multiply", by matrix, contender and measure; with the fewest threads."""
        rows = [row for row in self.times if row.measure != "multiply"]
        rows.sort(key=lambda row: (row.threads, row.cache != "hot"), reverse=True)
        return {(row.case, row.contender, row.measure): row for row in rows}

    def derived(self, case: str, condition: Condition) -> dict[str, float]:
        """Seconds of decode + dense product, of contenders that do not multiply."""
        rows = self.products.get((case, condition), {})
        dense = next((rows[name] for name in rows if self.families.get(name) == "dense"), None)
        if dense is None:
            return {}
        decodes = {name: self.once.get((case, name, "decode")) for name in self.stored}
        return {
            name: decode.median + dense.median
            for name, decode in decodes.items()
            if decode and name not in rows
        }

    def megabytes_per_second(self, case: str, contender: str, measure: str) -> float | None:
        """10^6 bytes of float32 a second, of "encode" or "decode"."""
        row = self.once.get((case, contender, measure))
        known = self.cases.get(case)
        return 4e-6 * known.n_weights / row.median if row and known and row.median else None


def geometric_mean(values: Iterable[float]) -> float | None:
    """exp of the mean of logarithms; None of nothing.

    >>> geometric_mean([1, 4])
    2.0
    """
    logs = [log(value) for value in values if value > 0]
    return exp(sum(logs) / len(logs)) if logs else None


def share(row: SizeRow) -> float | None:
    """Bits over those of H0; None where H0 is 0."""
    return row.bits_per_weight / row.h0_bits if row.h0_bits else None


# Scaling


class PowerLaw(NamedTuple):
    """y = factor x^exponent, and by what factor points lie off it (root mean square of logs)."""

    exponent: float
    factor: float
    off: float


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Fit a line to the logarithms by least squares."""
    log_x, log_y = np.log(x), np.log(y)
    exponent, offset = np.polyfit(log_x, log_y, 1)
    residuals = log_y - (exponent * log_x + offset)
    return PowerLaw(float(exponent), exp(offset), exp(np.sqrt(np.mean(residuals**2))))


class Curve(NamedTuple):
    """A quantity of a contender against the number of weights, increasing in it."""

    density: str
    contender: str
    quantity: str
    n: list[int]
    y: list[float]


def scaling_curves(results: Results) -> list[Curve]:
    """Curves of the group "scaling", by density to one digit; of at least three sizes each."""
    points: dict[tuple[str, str, str], dict[int, list[float]]] = {}

    def add(case: str, contender: str, quantity: str, y: float) -> None:
        row = results.cases[case]
        if y > 0:
            curve = points.setdefault((f"{row.density:.1g}", contender, quantity), {})
            curve.setdefault(row.n_weights, []).append(y)

    scaling = set(results.groups.get(SCALING, ()))
    for row in results.sizes:
        if row.case in scaling:
            add(row.case, row.contender, "bits", row.bits)
    for (case, condition), rows in results.products.items():
        for name, timed in rows.items() if case in scaling else ():
            add(case, name, f"multiply: {condition}", timed.median)
    for (case, name, measure), timed in results.once.items():
        if case in scaling:
            add(case, name, measure, timed.median)
    return [
        Curve(*key, sorted(curve), [float(np.median(curve[n])) for n in sorted(curve)])
        for key, curve in points.items()
        if len(curve) >= 3
    ]


# Fronts, violations, losses


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points no other point matches or beats in both, by increasing first coordinate."""
    front: list[int] = []
    for i in sorted(range(len(points)), key=points.__getitem__):
        if not front or points[i][1] < points[front[-1]][1]:
            front.append(i)
    return front


def violations(rows: Iterable[SizeRow]) -> list[SizeRow]:
    """Rows that take more than their bound, the worst first."""
    found = [row for row in rows if row.bound_bits is not None and row.bits > row.bound_bits]
    return sorted(found, key=slack)


def slack(row: SizeRow) -> float:
    """Bound over bits."""
    return (row.bound_bits or 0) / row.bits if row.bits else 1.0


class Loss(NamedTuple):
    """Where something else beats every codec of ours."""

    case: str
    condition: Condition | None
    winner: str
    least: float  # bits, or seconds
    ours: str
    our_least: float


def _loss(
    values: dict[str, float], own: Sequence[str], case: str, condition: Condition | None
) -> Iterator[Loss]:
    known = [name for name in reversed(own) if name in values]  # of equals not "auto", the first
    ours = min(known, key=values.__getitem__, default=None)
    if ours is not None:
        winner = min(values, key=values.__getitem__)
        if values[winner] < values[ours]:
            yield Loss(case, condition, winner, values[winner], ours, values[ours])


def size_losses(results: Results) -> list[Loss]:
    """Matrices of which something else stores fewer bits."""
    bits: dict[str, dict[str, float]] = {}
    for row in results.sizes:
        if row.family != PAPER:
            bits.setdefault(row.case, {})[row.contender] = row.bits
    return [loss for case, found in bits.items() for loss in _loss(found, results.own, case, None)]


def time_losses(results: Results) -> list[Loss]:
    """Matrices and conditions of which something else has the faster product."""
    cases = dict.fromkeys(case for case, _ in results.products)
    return [
        loss
        for case, condition in product(cases, results.conditions)
        if (rows := results.products.get((case, condition)))
        for loss in _loss(
            {name: row.median for name, row in rows.items()}, results.own, case, condition
        )
    ]

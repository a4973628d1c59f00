"""Tables of what was measured: means over seeds, against the dense network of the same seed."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from tabulate import tabulate

from . import extreme
from .rows import Row, Setting

DIVERGENCES = (0.01, 0.02, 0.04, 0.08, 0.16)
SHARES = (0.25, 0.5, 0.75)  # of the bytes that all quantizers reach, from least to most


@dataclass(frozen=True)
class Point:
    """A method with a setting on a network: means over seeds.

    Attributes
    ----------
    lost : float
        Points below the dense network of the same seed.
    error : float or None
        Standard error of the mean of that difference; None of one seed.
    seconds : float
        The least of the seeds'.
    """

    network: str
    method: str
    setting: Setting
    n_seeds: int
    accuracy: float
    lost: float
    error: float | None
    divergence: float
    bits: float
    n_bytes: float
    ratio: float
    n_entries: float
    seconds: float

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Point":
        """Of the same point's rows of several seeds."""
        first = rows[0]
        losses = [row.lost for row in rows]
        error = stdev(losses) / math.sqrt(len(rows)) if len(rows) > 1 else None

        def mean(value: Callable[[Row], float]) -> float:
            return fmean(map(value, rows))

        return cls(
            first.network,
            first.method,
            first.setting,
            len(rows),
            mean(lambda row: row.accuracy),
            fmean(losses),
            error,
            mean(lambda row: row.divergence),
            mean(lambda row: row.bits),
            mean(lambda row: row.n_bytes),
            first.float_bytes / mean(lambda row: row.n_bytes),
            mean(lambda row: row.n_entries),
            min(row.seconds for row in rows),
        )

    @property
    def shown_loss(self) -> str:
        """The difference to dense, with its standard error: "-0.3 ± 0.1"."""
        return f"{round(-self.lost, 2) + 0.0:+.2f}" + (
            "" if self.error is None else f" ± {self.error:.2f}"
        )

    @property
    def shown_setting(self) -> str:
        """Name and value of what was set."""
        return ", ".join(f"{name} {value}" for name, value in self.setting.items())

    @property
    def shown_way(self) -> str:
        """Method and setting."""
        return ", ".join(filter(None, (self.method, self.shown_setting)))


def points(rows: Iterable[Row]) -> list[Point]:
    """Means over seeds, in the order in which points come first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        key = json.dumps([row.experiment, row.network, row.method, row.setting], sort_keys=True)
        groups.setdefault(key, []).append(row)
    return [Point.of(group) for group in groups.values()]


def at(curve: Iterable[tuple[float, float]], place: float) -> float | None:
    """The height of a line through points, whose places are taken as logarithms; None outside.

    >>> at([(1, 0.0), (100, 2.0)], 10)
    1.0
    """
    known = sorted((math.log(max(x, 1e-12)), y) for x, y in curve)
    x = math.log(place)
    for (x0, y0), (x1, y1) in pairwise(known):
        if x0 <= x <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return None


def report(experiment: str, rows: Sequence[Row]) -> str:
    """An experiment's tables as Markdown."""
    found = points(rows)
    parts = [_dense(rows)]
    for network in dict.fromkeys(point.network for point in found):
        own = [point for point in found if point.network == network]
        parts += [f"## {network}", *TABLES[experiment](own)]
    return "\n\n".join(parts) + "\n"


def _dense(rows: Sequence[Row]) -> str:
    """What all is compared with."""
    dense: dict[str, dict[int, Row]] = {}
    for row in rows:
        dense.setdefault(row.network, {})[row.seed] = row
    lines = []
    for network, seeds in dense.items():
        one = next(iter(seeds.values()))
        mean = fmean(row.dense for row in seeds.values())
        lines.append(
            f"- {network}: {one.n_weights:,} weights, {one.float_bytes:,} bytes as float32; dense "
            f"{mean:.2f} % (mean of {len(seeds)} seeds)"
        )
    return "\n".join(lines)


def _quantizers(found: Sequence[Point]) -> list[str]:
    table = [
        {
            "method": point.method,
            "setting": point.shown_setting,
            "bits a weight": f"{point.bits:.3f}",
            "accuracy": f"{point.accuracy:.2f}",
            "to dense": point.shown_loss,
            "divergence": f"{point.divergence:.4f}",
            "s": f"{point.seconds:.1f}",
            "seeds": point.n_seeds,
        }
        for point in found
    ]
    equal = []
    for method in dict.fromkeys(point.method for point in found):
        curve = [(p.divergence, p.bits) for p in found if p.method == method]
        bits = {f"at {goal}": _number(at(curve, goal), ".3f") for goal in DIVERGENCES}
        equal.append({"method": method, **bits})
    return [_markdown(table), "Bits a weight at equal divergence from dense:", _markdown(equal)]


def _protocol(found: Sequence[Point]) -> list[str]:
    parts = []
    pruned = [p for p in found if p.method == "pruned"]
    shared = [p for p in found if p.method != "pruned"]
    table = [
        {
            "extent": point.setting["extent"],
            "zeros": f"{point.setting['sparsity']:.0%}",
            "kB": f"{point.n_bytes / 1000:,.1f}",
            "to dense": point.shown_loss,
        }
        for point in pruned
    ]
    parts += ["Pruned and retrained, without shared values:", _markdown(table)]
    parts += [
        "At equal k; points to dense, and kB of the file:",
        _markdown(_equal_k(shared)),
        "At equal bytes; points to dense:",
        _markdown(_equal_bytes(shared)),
    ]
    return parts


def _grouped(
    found: Iterable[Point], names: Sequence[str]
) -> dict[tuple[str | float | bool, ...], list[Point]]:
    groups: dict[tuple[str | float | bool, ...], list[Point]] = {}
    for point in found:
        groups.setdefault(tuple(point.setting[name] for name in names), []).append(point)
    return groups


def _equal_k(found: Sequence[Point]) -> list[dict[str, Any]]:
    table = []
    for key, members in _grouped(found, ("extent", "scope", "sparsity", "k")).items():
        extent, scope, sparsity, k = key
        by_method = {p.method: f"{p.shown_loss} ({p.n_bytes / 1000:,.1f})" for p in members}
        about = {"extent": extent, "codebook": scope, "zeros": f"{sparsity:.0%}", "k": k}
        table.append(about | by_method)
    return table


def _equal_bytes(found: Sequence[Point]) -> list[dict[str, Any]]:
    table = []
    for key, members in _grouped(found, ("extent", "scope", "sparsity")).items():
        curves: dict[str, list[tuple[float, float]]] = {}
        for p in members:
            curves.setdefault(p.method, []).append((p.n_bytes, p.lost))
        least = max(min(n_bytes for n_bytes, _ in curve) for curve in curves.values())
        most = min(max(n_bytes for n_bytes, _ in curve) for curve in curves.values())
        if least >= most:
            continue
        extent, scope, sparsity = key
        for share in SHARES:
            place = least * (most / least) ** share
            losses = {name: at(curve, place) for name, curve in curves.items()}
            table.append(
                {
                    "extent": extent,
                    "codebook": scope,
                    "zeros": f"{sparsity:.0%}",
                    "kB": f"{place / 1000:,.1f}",
                }
                | {name: _number(None if y is None else -y, "+.2f") for name, y in losses.items()}
            )
    return table


def _extreme(found: Sequence[Point]) -> list[str]:
    table = [
        {
            "way": point.method,
            "setting": point.shown_setting,
            "entries": f"{point.n_entries:,.0f}",
            "bytes": f"{point.n_bytes:,.0f}",
            "times less": f"{point.ratio:,.0f}",
            "accuracy": f"{point.accuracy:.2f}",
            "to dense": point.shown_loss,
            "seeds": point.n_seeds,
        }
        for point in found
    ]
    goals = []
    for target in extreme.TARGETS:
        if target.network != found[0].network:
            continue
        small = [p for p in found if p.ratio >= target.ratio]
        good = [p for p in found if p.lost <= target.lost]
        best = min(small, key=lambda p: p.lost, default=None)
        smallest = max(good, key=lambda p: p.ratio, default=None)
        goals.append(
            {
                "goal": f"1/{target.ratio:g} at {target.lost:g} points",
                "reached": any(p in good for p in small),
                "best of that size": best and f"{best.shown_loss}, 1/{best.ratio:.0f}",
                "by": best and best.shown_way,
                "smallest of that loss": smallest
                and f"1/{smallest.ratio:.0f}, {smallest.shown_loss}",
                "way": smallest and smallest.shown_way,
            }
        )
    return [_markdown(table), "Goals:" if goals else "", _markdown(goals)]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _markdown(table: Sequence[Mapping[str, Any]]) -> str:
    return str(tabulate(table, "keys", "pipe", disable_numparse=True)) if table else ""


TABLES: Mapping[str, Callable[[Sequence[Point]], list[str]]] = {
    "quantizers": _quantizers,
    "protocol": _protocol,
    "extreme": _extreme,
}

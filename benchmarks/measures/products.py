"""Times of W x and W X from the stored forms, each product checked against float64."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import cnnzip

from ..results import TimeRow
from .stored import StoredCase
from .timing import Call, Flush, Times, in_turn

BASELINES = {"dense": "dense", "csr": "CSR", "mkl": "torch CSR int32"}  # column: contender
EPS = float(np.finfo(np.float32).eps)
BLOCK = 1 << 24  # weights that are widened to float64 at a time


@dataclass(frozen=True, slots=True)
class Condition:
    """How a product is run: columns of the right-hand side (0 for a vector), threads, caches."""

    columns: int
    threads: int
    cache: str = "hot"


def measure(
    stored: StoredCase,
    conditions: Sequence[Condition],
    rounds: int,
    budget: float,
    flush: Flush | None,
) -> list[TimeRow]:
    """A row for each contender that multiplies, under each condition.

    Parameters
    ----------
    budget : seconds for one condition
    flush : needed where a condition's cache is "cold"
    """
    matrix = stored.case.matrix
    rng = np.random.default_rng(0)
    rows = []
    checked = set()
    for condition in conditions:
        n = matrix.shape[1]
        x = rng.standard_normal((n, condition.columns) if condition.columns else n, np.float32)
        with threads(condition.threads):
            if condition.columns not in checked:
                checked.add(condition.columns)
                check(stored, x)
            calls: dict[str, Call] = {
                c.name: lambda c=c, x=x: stored.open(c).multiply(x) for c in stored.multiplying
            }
            before = {"before": flush} if condition.cache == "cold" and flush else {}
            times = in_turn(calls, rounds, budget, **before)
        rows += [_row(stored.case.name, name, condition, times) for name in times]
    return rows


def check(stored: StoredCase, x: NDArray[np.float32]) -> None:
    """Compare every contender's product with that in float64.

    A sum of n float32 products in any order is within (n + 1) eps / 2 of the sum of their
    magnitudes, to first order; twice that is allowed, which covers sums of x taken first. Those that
    are wrong are dropped.
    """
    exact, allowed = [], []
    matrix = stored.case.matrix
    n_rows = max(1, BLOCK // max(matrix.shape[1], 1))
    for first in range(0, matrix.shape[0], n_rows):
        block = matrix[first : first + n_rows].astype(np.float64)
        exact.append(block @ x)
        allowed.append(np.abs(block) @ np.abs(x))
    y, bound = np.concatenate(exact), np.concatenate(allowed) * (matrix.shape[1] + 1) * EPS
    for contender in stored.multiplying:
        error = np.abs(stored.open(contender).multiply(x) - y)
        if error.shape != y.shape or not (error <= bound).all():
            stored.drop(contender, "multiplies wrongly")


@contextmanager
def threads(n_threads: int) -> Iterator[None]:
    """Run everything that computes on so many threads."""
    before = torch.get_num_threads(), cnnzip.get_num_threads()
    torch.set_num_threads(n_threads)
    cnnzip.set_num_threads(n_threads)
    try:
        with threadpool_limits(n_threads):
            yield
    finally:
        torch.set_num_threads(before[0])
        cnnzip.set_num_threads(before[1])


def _row(case: str, name: str, condition: Condition, times: Times) -> TimeRow:
    own = times[name]
    ratios = {}
    for column, baseline in BASELINES.items():
        if baseline in times:
            low, middle, high = np.percentile(times[baseline] / own, (25, 50, 75))
            ratios |= {column: middle, f"{column}_low": low, f"{column}_high": high}
    return TimeRow(
        case,
        name,
        "multiply",
        condition.columns,
        condition.threads,
        condition.cache,
        own.size,
        float(own.min()),
        float(np.median(own)),
        **{column: float(ratio) for column, ratio in ratios.items()},
    )

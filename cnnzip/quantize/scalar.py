"""Scalar quantizers: each gives the weights of a group a codebook and an index into it.

Entries alone are quantized: a weight that is 0 has index 0, which is exact zero and not in the
codebook. So k counts the levels that are not 0. All work on the CPU in float64.

Source: Marino, Petrini, Malchiodi, Frasca, "Deep neural networks compression: A comparative survey
and choice recommendations" (2023), for CWS, PWS, UQ and ECSQ.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

Values = NDArray[np.float64]
Index = NDArray[np.int64]
#: From entries, k and a random generator to the codebook and each entry's index, from 0 (zero) on.
Quantizer = Callable[[Values, int, torch.Generator], tuple[Values, Index]]

MOST_CELLS = 1 << 15  # of k-means; more distinct weights are first gathered in so many cells
BISECTIONS = 20
MOST_BISECTED = 1 << 15  # entries by which ECSQ finds the weight of entropy
MOST_SWEEPS = 200
TOLERANCE = 1e-6  # of ECSQ's objective, in variances
START_CELLS = 3  # per level, from which ECSQ starts
LEAST_OF_CELL = 2  # entries; of one each, no price tells them apart until all become one level


def cws(entries: Values, k: int, generator: torch.Generator | None = None) -> tuple[Values, Index]:
    """Share the k values of the exact k-means of the entries.

    Exact for up to 32,768 distinct entries. Of more, the best clusters of as many cells of equal
    width are the start of Lloyd's iteration on all entries.

    Returns
    -------
    codebook : float64 (at most k,), increasing
    index : int64, of the shape of `entries`, from 1
    """
    distinct, counts = np.unique(entries, return_counts=True)
    if distinct.size <= k:
        return _nearest(entries, distinct)
    if distinct.size <= MOST_CELLS:
        return _nearest(entries, _exact_means(distinct, counts.astype(np.float64), k))
    edges = np.linspace(distinct[0], distinct[-1], MOST_CELLS + 1)
    cell = np.searchsorted(edges[1:-1], entries, side="right")
    mass = np.bincount(cell).astype(np.float64)
    means = np.bincount(cell, entries)[mass > 0] / mass[mass > 0]
    codebook = _exact_means(means, mass[mass > 0], k)
    for _ in range(MOST_SWEEPS):
        _, index = _nearest(entries, codebook)
        moved = _means(entries, index - 1)
        if np.array_equal(moved, codebook):
            break
        codebook = moved
    return _nearest(entries, codebook)


def pws(entries: Values, k: int, generator: torch.Generator) -> tuple[Values, Index]:
    """Share the k quantiles of the entries at random, so that each keeps its value in the mean.

    An entry w between neighbouring quantiles v and V becomes V with probability (w - v) / (V - v).

    Returns
    -------
    codebook : float64 (at most k,), increasing; equal quantiles are one
    index : int64, of the shape of `entries`, from 1
    """
    codebook = np.unique(np.quantile(entries, np.linspace(0, 1, k)))
    if codebook.size == 1:
        return codebook, np.ones(entries.shape, np.int64)
    low = np.clip(np.searchsorted(codebook, entries, side="right") - 1, 0, codebook.size - 2)
    share = (entries - codebook[low]) / (codebook[low + 1] - codebook[low])
    draws = torch.rand(entries.shape, generator=generator, dtype=torch.float64).numpy()
    return codebook, low + 1 + (draws < share)


def uq(entries: Values, k: int, generator: torch.Generator | None = None) -> tuple[Values, Index]:
    """Round to multiples of the finest step, by bisection, of which at most k but 0 occur.

    Small entries become zero.

    Returns
    -------
    codebook : float64 (at most k,), increasing
    index : int64, of the shape of `entries`, from 0
    """
    largest = float(np.abs(entries).max())
    fine, coarse = largest / (k + 1), 2 * largest * (1 + 1e-9)  # the coarsest leaves 0 alone
    for _ in range(2 * BISECTIONS):
        step = (fine + coarse) / 2
        if np.count_nonzero(np.unique(np.rint(entries / step))) <= k:
            coarse = step
        else:
            fine = step
    multiples = np.rint(entries / coarse)
    kept = np.unique(multiples)
    kept = kept[kept != 0]
    return kept * coarse, np.where(multiples == 0, 0, np.searchsorted(kept, multiples) + 1)


def ecsq(entries: Values, k: int, generator: torch.Generator | None = None) -> tuple[Values, Index]:
    """Share at most k values that trade distortion for entropy.

    The weight of the entropy is the least, by bisection, that leaves k of 3k levels. Where there
    are so few entries that these would be of one each, it is k-means.

    Returns
    -------
    codebook : float64 (at most k,), increasing
    index : int64, of the shape of `entries`, from 1
    """
    rising = np.sort(entries, axis=None)
    few = rising[:: max(1, rising.size // MOST_BISECTED)]
    n_cells = min(START_CELLS * k, few.size // LEAST_OF_CELL)
    if n_cells <= k or _is_within(rising, k):
        return cws(entries, k)
    low, high = 0.0, 1.0
    while len(Intervals.of(few, n_cells).sweep(high)[0].levels) > k:
        high *= 4
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if len(Intervals.of(few, n_cells).sweep(middle)[0].levels) <= k:
            high = middle
        else:
            low = middle
    while True:
        found, _ = Intervals.of(rising, n_cells).sweep(high)
        if len(found.levels) <= k:
            return found.index(entries)
        high *= 1.1  # the few were not quite like all


def ecsq_of(entries: Values, k: int, lam: float) -> tuple[Values, Index]:
    """Share at most k values that trade distortion for entropy, a bit being worth so much.

    Parameters
    ----------
    lam : float
        Squared error that a bit is worth, relative to the variance.

    Returns
    -------
    codebook : float64 (at most k,), increasing
    index : int64, of the shape of `entries`, from 1
    """
    rising = np.sort(entries, axis=None)
    if lam == 0 or rising[0] == rising[-1]:
        return cws(entries, k)
    return Intervals.of(rising, k).sweep(lam)[0].index(entries)


@dataclass(frozen=True)
class Intervals:
    """Entries in rising order, cut into intervals of one level each.

    Attributes
    ----------
    rising : float64 (n,), increasing
    sums, squares : float64 (n + 1,)
        Of the entries before each.
    ends : int64 (n_levels + 1,), increasing, from 0 to n
    """

    rising: Values
    sums: Values
    squares: Values
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, rising: Values, n_levels: int) -> "Intervals":
        """Cut into intervals of as many entries each; equal entries stay together."""
        cuts = rising[np.linspace(0, rising.size - 1, n_levels + 1).astype(np.int64)[1:-1]]
        ends = np.concatenate([[0], np.searchsorted(rising, cuts), [rising.size]])
        sums = np.append(0.0, np.cumsum(rising))
        squares = np.append(0.0, np.cumsum(rising * rising))
        return cls(rising, sums, squares, np.unique(ends))

    @property
    def levels(self) -> Values:
        """Mean of each interval."""
        levels: Values = np.diff(self.sums[self.ends]) / np.diff(self.ends)
        return levels

    def index(self, entries: Values) -> tuple[Values, Index]:
        """The levels, and the index of each entry among them, from 1."""
        borders = self.rising[self.ends[1:-1]]
        return self.levels, np.searchsorted(borders, entries, side="right") + 1

    def sweep(self, lam: float) -> tuple["Intervals", list[float]]:
        """Alternate levels and shares with the intervals that are cheapest by them.

        Returns
        -------
        intervals : Intervals
        objective : list of float
            Mean squared error over the variance plus `lam` times the entropy, before each sweep;
            it does not rise.

        Source: Chou, Lookabaugh, Gray, "Entropy-constrained vector quantization" (1989).
        """
        here, objective = self, list[float]()
        n, variance = self.rising.size, float(self.rising.var())
        for _ in range(MOST_SWEEPS):
            mass, levels = np.diff(here.ends), here.levels
            shares = mass / n
            error = (np.diff(self.squares[here.ends]) - levels**2 * mass).sum() / n
            entropy = -(shares * np.log2(shares)).sum()
            objective.append(float(error / variance + lam * entropy))
            if len(objective) > 1 and objective[-2] - objective[-1] <= TOLERANCE:
                break
            ends = _cut(self.rising, levels, -lam * variance * np.log2(shares))
            here = replace(here, ends=ends)
        return here, objective


def _cut(rising: Values, levels: Values, prices: Values) -> NDArray[np.int64]:
    """Ends of the runs of entries that are cheapest at one level each, at least one entry long.

    (w - c)^2 + p is least where the line c^2 + p - 2cw is lowest: the runs are those of the lower
    envelope of lines whose slopes fall, and a level that is nowhere the lowest falls out.
    """
    heights = levels**2 + prices
    kept: list[int] = []
    borders: list[float] = []  # of the last of `kept` and those before, to the left
    for j in range(levels.size):
        border = -np.inf
        while kept:
            gap = 2 * (levels[j] - levels[kept[-1]])
            rise = heights[j] - heights[kept[-1]]
            border = rise / gap if gap else np.copysign(np.inf, rise)
            if border > borders[-1]:
                break
            kept.pop()
            borders.pop()
            border = -np.inf
        kept.append(j)
        borders.append(border)
    ends = np.searchsorted(rising, borders[1:], side="right")
    return np.unique(np.concatenate([[0], ends, [rising.size]]).astype(np.int64))


def _exact_means(cells: Values, mass: Values, k: int) -> Values:
    """Means of the k clusters of cells, in rising order, of the least squared distance."""
    from cnnzip_native.clusters import split_cells

    centred = cells - np.average(cells, weights=mass)
    masses, sums, squares = (
        np.append(0.0, np.cumsum(each)) for each in (mass, mass * centred, mass * centred**2)
    )
    first = np.zeros((k, masses.size), np.int32)
    before = np.append(0.0, np.full(cells.size, np.inf))
    after = np.empty_like(before)
    for row in first:
        split_cells(sums, squares, masses, before, after, row)
        before, after = after, before
    group = np.empty(cells.size, np.int64)
    stop = cells.size
    for cluster in range(k - 1, -1, -1):
        start = int(first[cluster, stop])
        group[start:stop] = cluster
        stop = start
    return np.bincount(group, mass * cells) / np.bincount(group, mass)


def _is_within(rising: Values, k: int) -> bool:
    """Whether there are at most k distinct entries."""
    return int(np.count_nonzero(np.diff(rising))) < k


def _nearest(entries: Values, codebook: Values) -> tuple[Values, Index]:
    middles = (codebook[:-1] + codebook[1:]) / 2
    return codebook, np.searchsorted(middles, entries) + 1


def _means(entries: Values, group: Index) -> Values:
    """Means of groups; a group without entries is left out."""
    counts = np.bincount(group.ravel())
    means: Values = np.bincount(group.ravel(), entries.ravel())[counts > 0] / counts[counts > 0]
    return means


QUANTIZERS: dict[str, Quantizer] = {"cws": cws, "pws": pws, "uq": uq, "ecsq": ecsq}

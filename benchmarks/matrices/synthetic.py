"""Made-up matrices: entries at random places, independently or more in some rows and columns.

Random numbers come block by block, so that a matrix of 2^28 weights takes little more than its own
memory. The block is part of the recipe: another one gives other matrices.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from math import prod
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from .base import Case

BLOCK_WEIGHTS = 1 << 20
USES = ("equal", "bell")
CELLS = 6.0  # deviations from the first to the last cell of "bell"


def cases(
    group: str,
    shapes: Sequence[Sequence[int]],
    density: Sequence[float],
    k: Sequence[int],
    spread: Sequence[float] = (0.0,),
    use: Sequence[str] = ("equal",),
    seeds: Sequence[int] = (0,),
) -> Iterator[Case]:
    """Yield every combination of the arguments.

    Parameters
    ----------
    density : shares of entries, 0 to 1
    k : numbers of distinct values but zero, up to 65,536
    spread : standard deviations of the logarithms of rows' and columns' densities; 0 for i.i.d.
    use : of the k values, "equal" (all as often) or "bell" (as a normal sample in k equal cells)
    """
    for shape, *settings in product(shapes, density, k, spread, use, seeds):
        kind = f"uneven{settings[2]:g}" if settings[2] else "iid"
        name = f"{kind} {'x'.join(map(str, shape))} {label(*settings)}"
        make = partial(sample, shape, *settings)
        yield Case(name, group, recipe(*settings), make)


def label(density: float, k: int, spread: float, use: str, seed: int) -> str:
    """The settings, short: "10% k16"; use and seed only where they are not the usual ones."""
    return f"{100 * density:g}% k{k}" + " bell" * (use == "bell") + (f" s{seed}" if seed else "")


def recipe(density: float, k: int, spread: float, use: str, seed: int) -> str:
    """How `sample` makes a matrix, in words."""
    places = (
        f"row and column densities log-normal (deviation {spread:g}), capped at 1, "
        f"about {density:g} in the mean"
        if spread
        else f"each weight an entry with chance {density:g}"
    )
    values = (
        f"{k} normal quantiles, all as often"
        if use == "equal"
        else f"a normal sample in {k} equal cells from -3 to 3"
    )
    return f"{places}; values: {values}; numpy default_rng({seed}), blocks of {BLOCK_WEIGHTS}"


def sample(
    shape: Sequence[int], density: float, k: int, spread: float, use: str, seed: int
) -> NDArray[np.float32]:
    """Make a matrix; one of more dimensions is a matrix of outputs x all the rest."""
    if use not in USES:
        raise ValueError(f"use {use!r}: not one of {', '.join(USES)}")
    if not 0 < k <= 1 << 16:
        raise ValueError(f"k {k}: 1 to 65,536 values")
    rng = np.random.default_rng(seed)
    values = levels(k, use)
    rows, columns = shape[0], prod(shape[1:])
    W = np.zeros((rows, columns), np.float32)
    row_factors = np.exp(spread * rng.standard_normal(rows))
    column_factors = np.exp(spread * rng.standard_normal(columns))
    row_factors *= _scale(row_factors, column_factors, density) if spread else density
    n_rows = max(1, BLOCK_WEIGHTS // max(columns, 1))
    for first in range(0, rows, n_rows):
        block = W[first : first + n_rows]
        chances = np.outer(row_factors[first : first + n_rows], column_factors)  # > 1: certain
        is_entry = rng.random(block.shape, np.float32) < chances
        n_entries = int(np.count_nonzero(is_entry))
        if use == "equal":
            symbols = rng.integers(0, k, n_entries, np.uint16)
        else:
            cells = (rng.standard_normal(n_entries, np.float32) + CELLS / 2) * (k / CELLS)
            symbols = np.clip(cells, 0, k - 1).astype(np.uint16)
        block[is_entry] = values[symbols]
    return W.reshape(tuple(shape))


def levels(k: int, use: str) -> NDArray[np.float32]:
    """The k values in increasing order: a third into each of k cells, which is never zero."""
    thirds = (np.arange(k) + 1 / 3) / k
    if use == "bell":
        return (CELLS * (thirds - 0.5)).astype(np.float32)
    return np.array([NormalDist().inv_cdf(share) for share in thirds], np.float32)


def _scale(
    row_factors: NDArray[np.float64], column_factors: NDArray[np.float64], density: float
) -> float:
    """Solve mean(min(1, scale * products)) = density by bisection, on at most 512 x 512 of them."""
    shares = np.linspace(0, 1, 514)[1:-1]
    products = np.outer(np.quantile(row_factors, shares), np.quantile(column_factors, shares))
    low, high = 0.0, 1.0 / products.min()
    for _ in range(60):
        middle = (low + high) / 2
        if np.minimum(1, middle * products).mean() < density:
            low = middle
        else:
            high = middle
    return high

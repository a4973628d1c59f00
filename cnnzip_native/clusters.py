"""Exact k-means of weights in rising order."""

import numpy as np

from cnnzip_native._jit import kernel


@kernel
def split_cells(sums, squares, masses, before, after, first):
    """Find the cheapest cut of each run of cells into one cluster more.

    A cluster of cells i to j - 1 costs what its squares exceed the square of its sum over its
    mass. The first cell of the last cluster does not go down from one j to the next, so a middle j
    looks between its neighbours': n log n costs in all.

    Parameters
    ----------
    sums, squares, masses : float64 (n + 1,)
        Of the cells before each, from 0.
    before : float64 (n + 1,)
        The least cost of the cells before each, in one cluster fewer.
    after : float64 (n + 1,), written
    first : int32 (n + 1,), written
        First cell of the last cluster.

    Source: ARXIV-1701.07204, section 2.2 (Gronlund et al., "Fast exact k-means in 1D").
    """
    n = sums.size - 1
    after[0] = 0.0
    first[0] = 0
    step = 1
    while step <= n:
        step *= 2
    while step > 0:
        for j in range(step, n + 1, 2 * step):
            low = np.int64(first[j - step])
            high = j - 1
            if j + step <= n:
                high = min(high, np.int64(first[j + step]))
            best = np.inf
            for i in range(low, high + 1):
                total = sums[j] - sums[i]
                cost = before[i] + squares[j] - squares[i] - total * total / (masses[j] - masses[i])
                if cost < best:
                    best = cost
                    first[j] = np.int32(i)
            after[j] = best
        step //= 2

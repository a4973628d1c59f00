import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnzip.quantize import scalar
from cnnzip.quantize.scalar import QUANTIZERS, Intervals, cws, ecsq, ecsq_of, pws, uq


def laplace(n, seed=0):
    return np.random.default_rng(seed).laplace(size=n).astype("f4").astype("f8") / 20


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def restored(codebook, index):
    return np.append(0.0, codebook)[index]


def error(entries, found):
    return float(((restored(*found) - entries) ** 2).mean())


def entropy(index):
    shares = np.bincount(index.ravel()) / index.size
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def least_error(entries, k):
    """By trying all ways of cutting the entries in k runs."""
    rising = np.sort(entries)
    cuts = itertools.combinations(range(1, rising.size), k - 1)
    return min(
        sum(((run - run.mean()) ** 2).sum() for run in np.split(rising, list(cut))) for cut in cuts
    )


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(-50, 50), min_size=5, max_size=9), st.integers(1, 4))
def test_cws_is_the_best_of_all_clusterings(numbers, k):
    entries = np.array(numbers, float) / 7
    found = cws(entries, k)
    assert error(entries, found) * entries.size <= least_error(entries, k) + 1e-9


def test_cws_of_more_weights_than_cells_is_near_the_best_of_all():
    entries = laplace(3 * scalar.MOST_CELLS)
    exact = cws(np.sort(entries)[1::3], 16)  # of a third of the weights, which fit
    codebook, index = cws(entries, 16)
    assert np.all(np.diff(codebook) > 0)
    nearest = np.abs(entries[:2000, None] - codebook).argmin(axis=1) + 1
    assert np.array_equal(index[:2000], nearest)
    there = np.abs(entries[:, None] - exact[0]).min(axis=1)
    assert error(entries, (codebook, index)) <= (there**2).mean()


@pytest.mark.parametrize("method", QUANTIZERS)
@pytest.mark.parametrize("k", [1, 2, 5, 31])
def test_at_most_k_levels_come_back_and_twice_the_same(method, k):
    entries = laplace(2000)
    codebook, index = QUANTIZERS[method](entries, k, generator())
    again = QUANTIZERS[method](entries, k, generator())
    assert 1 <= codebook.size <= k
    assert np.all(np.diff(codebook) > 0)
    assert index.min() >= (0 if method == "uq" else 1)
    assert index.max() <= codebook.size
    assert np.array_equal(codebook, again[0])
    assert np.array_equal(index, again[1])


@pytest.mark.parametrize("method", ["cws", "pws", "ecsq"])
def test_few_values_are_kept_as_they_are(method):
    entries = np.array([-1.0, 2.0, 2.0, -1.0, -1.0])
    codebook, index = QUANTIZERS[method](entries, 2, generator())
    np.testing.assert_allclose(restored(codebook, index), entries, rtol=1e-6)


def test_pws_keeps_each_weight_in_the_mean_of_draws():
    entries = laplace(60)
    draws = generator(1)
    found = np.array([restored(*pws(entries, 6, draws)) for _ in range(2000)])
    spread = found.std(axis=0) / 2000**0.5
    assert np.all(np.abs(found.mean(axis=0) - entries) <= 4 * spread + 1e-12)


def test_pws_takes_no_level_but_the_neighbours():
    entries = laplace(500)
    codebook, index = pws(entries, 9, generator())
    chosen = codebook[index - 1]
    between = (codebook > np.minimum(chosen, entries)[:, None] + 1e-12) & (
        codebook < np.maximum(chosen, entries)[:, None] - 1e-12
    )
    assert not between.any()


@pytest.mark.parametrize("k", [3, 8, 40])
def test_uq_rounds_to_multiples_of_the_finest_step_that_k_allows(k):
    entries = laplace(3000)
    codebook, index = uq(entries, k, generator())
    step = float(np.diff(codebook).min())
    multiples = np.rint(entries / step)
    assert np.allclose(restored(codebook, index), multiples * step)
    finer = np.unique(np.rint(entries / (step * 0.999)))
    assert np.count_nonzero(finer) >= k


@pytest.mark.parametrize("k", [2, 4, 16, 64])
def test_cws_errs_less_than_uq_at_equal_k(k):
    entries = laplace(4000)
    assert error(entries, cws(entries, k)) <= error(entries, uq(entries, k, generator()))


@pytest.mark.parametrize("lam", [1e-3, 0.03, 0.3])
def test_the_objective_of_ecsq_does_not_rise(lam):
    rising = np.sort(laplace(4000))
    intervals, objective = Intervals.of(rising, 48).sweep(lam)
    assert len(objective) > 3
    assert np.all(np.diff(objective) <= 1e-12)
    levels, index = intervals.index(rising)
    shares = np.bincount(index)[1:] / rising.size
    cost = (rising[:, None] - levels) ** 2 - lam * rising.var() * np.log2(shares)
    chosen = cost[np.arange(rising.size), index - 1]
    assert np.mean(chosen - cost.min(axis=1)) <= 1e-5 * rising.var()  # the stopping rule's slack


def test_ecsq_errs_less_than_cws_at_equal_entropy():
    entries = laplace(20000)
    cws_points = [(entropy(f[1]), error(entries, f)) for f in (cws(entries, k) for k in (4, 8, 16))]
    lams = np.geomspace(1e-3, 1, 25)
    points = [(entropy(f[1]), error(entries, f)) for f in (ecsq_of(entries, 64, x) for x in lams)]
    bits, errors = np.array(sorted(points)).T
    for at, of_cws in cws_points:
        decibels = 10 * np.log10(of_cws / np.exp(np.interp(at, bits, np.log(errors))))
        assert decibels >= 1  # 1.3 to 2.9 are known of Laplacian weights


def test_entropy_falls_as_a_bit_is_worth_more():
    entries = laplace(20000)
    bits = [entropy(ecsq_of(entries, 32, lam)[1]) for lam in (0.0, 0.003, 0.03, 0.3)]
    assert np.all(np.diff(bits) < 0)


def test_ecsq_weighs_entropy_no_more_than_k_asks():
    entries = laplace(20000)
    codebook, _ = ecsq(entries, 16)
    assert 12 <= codebook.size <= 16


def test_clusters_kernel_agrees_with_its_formula():
    from cnnzip_native.clusters import split_cells

    rng = np.random.default_rng(3)
    cells, mass = np.sort(rng.standard_normal(40)), rng.integers(1, 5, 40).astype(float)
    sums, squares, masses = (
        np.append(0.0, np.cumsum(each)) for each in (mass * cells, mass * cells**2, mass)
    )
    before = np.append(0.0, rng.random(40))
    after, first = np.empty(41), np.empty(41, np.int32)
    split_cells(sums, squares, masses, before, after, first)
    for j in range(1, 41):
        i = np.arange(j)
        costs = before[i] + squares[j] - squares[i]
        costs -= (sums[j] - sums[i]) ** 2 / (masses[j] - masses[i])
        assert costs[first[j]] == after[j]
        assert after[j] <= costs.min() + 1e-12


@pytest.mark.parametrize("n", [300, 600, 700, 1000])
def test_ecsq_keeps_its_levels_where_entries_are_hardly_more(n):
    draws = np.random.default_rng(n).normal(size=n)
    entries = draws + 2 * np.sign(draws)
    codebook, index = ecsq(entries, 256)
    assert 128 < codebook.size <= 256
    assert ((codebook[index - 1] - entries) ** 2).mean() <= 1e-4 * entries.var()

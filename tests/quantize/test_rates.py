import numpy as np
import pytest
import torch

from cnnzip.codecs.banded import Banded
from cnnzip.codecs.source import source_of
from cnnzip.quantize import rates
from cnnzip.quantize.rates import Code, Entropy, place_prices

LEVELS = np.arange(-4, 5, dtype=np.float32) / 4
ZERO = 4


def uneven(shape, seed=0):
    """Levels of a matrix whose rows and columns are of unlike density; int64."""
    rng = np.random.default_rng(seed)
    density = np.outer(rng.beta(0.4, 1, shape[0]), rng.beta(0.4, 1, shape[1]))
    drawn = rng.choice([1, 2, 3, 5, 6, 7], shape, p=[0.05, 0.15, 0.3, 0.3, 0.15, 0.05])
    return np.where(rng.random(shape) < density, drawn, ZERO)


def coded(index):
    return Banded.encode(source_of(LEVELS[index])[0])


def total_bits(index, prices):
    """Bits of entries beyond zeros, by the prices at their places."""
    values, tables, entries = prices
    is_entry = index != ZERO
    return float((values[tables, index] + entries)[is_entry].sum())


@pytest.mark.parametrize("shape", [(60, 90), (200, 40), (8, 9), (64, 600)])
def test_prices_have_the_shape_of_the_matrix_and_zero_costs_nothing(shape):
    index = uneven(shape)
    values, tables, entries = place_prices(coded(index), index, LEVELS)
    assert tables.shape == entries.shape == shape
    assert np.isfinite(values).all()
    assert np.isfinite(entries).all()
    assert not values[:, ZERO].any()
    assert tables.max() < len(values)


def test_entries_are_cheaper_where_entries_are_dense():
    rng = np.random.default_rng(1)
    density = np.where(np.arange(120) % 2, 0.5, 0.02)[:, None]
    index = np.where(rng.random((120, 150)) < density, 6, ZERO)
    _, _, entries = place_prices(coded(index), index, LEVELS)
    dense, sparse = entries[1::2].mean(), entries[::2].mean()
    assert dense == pytest.approx(0, abs=0.5)
    assert sparse > dense + 3


@pytest.mark.parametrize("shape", [(120, 150), (300, 64)])
def test_without_smoothing_prices_add_up_to_the_bits_of_the_tokens(shape, monkeypatch):
    """By the chain rule; the zeros that end a line are what the count of its entries says."""
    for name in ("MIXED", "BORROWED"):
        monkeypatch.setattr(rates, name, 1e-9)
    monkeypatch.setattr(rates, "LEAST_SHARE", 1e-12)
    index = uneven(shape)
    tensor = coded(index)
    values, tables, entries = place_prices(tensor, index, LEVELS)
    # an entry costs -log2 h, a zero -log2 (1 - h), and entries hold the difference
    of_zero = np.log2(1 + 2.0**-entries)
    found = total_bits(index, (values, tables, entries)) + float(of_zero.sum())
    parts = tensor.parts()
    assert found == pytest.approx(parts["gaps"] + parts["values"] + parts["counts"], rel=0.05)


def test_a_layer_of_zeros_is_priced_by_entropy():
    index = torch.full((6, 7), ZERO)
    prices = Code().prices(index, torch.from_numpy(LEVELS), Code.PLANNED[0])
    expected = Entropy().prices(index, torch.from_numpy(LEVELS), 0)
    assert prices.tables is None
    assert torch.equal(prices.values, expected.values)


def test_entropy_is_that_of_the_levels():
    index = torch.from_numpy(uneven((300, 300)))
    bits = Entropy().prices(index, torch.from_numpy(LEVELS), 0).values[0]
    shares = torch.bincount(index.flatten(), minlength=9) / index.numel()
    used = shares > 0
    torch.testing.assert_close(bits[used], -torch.log2(shares[used]).double(), atol=2e-3, rtol=1e-3)

"""The adaptive estimate finds what is uneven or alike, and nothing where there is nothing to find."""

import numpy as np
import pytest

from benchmarks.matrices.base import Case
from benchmarks.measures.estimate import adaptive_bits
from tests.benchmarks.test_compressor_contenders import WEIGHTS
from tests.codecs.battery import sparse


def bits_and_entropy(weight):
    case = Case("made up", "tests", "", lambda: weight)
    return adaptive_bits(case), case.counts.h0 * weight.size


def uneven(shape, k, seed=0):
    """Entries mostly in a tenth of the rows."""
    rng = np.random.default_rng(seed)
    rows = np.where(rng.random(shape[0]) < 0.1, 0.7, 0.03)
    return np.where(rng.random(shape) < rows[:, None], sparse(shape, 1, k, seed), 0).astype(
        np.float32
    )


@pytest.mark.parametrize(
    ("density", "k", "most"),
    [(0.02, 4, 1.03), (0.1, 16, 1.02), (0.5, 32, 1.02), (1.0, 16, 1.02)],
    ids=lambda number: str(number),
)
def test_independent_weights_cost_their_entropy(density, k, most):
    bits, entropy = bits_and_entropy(sparse((600, 1000), density, k))
    assert 0.998 * entropy < bits < most * entropy


def test_values_that_are_all_different_cost_their_codebook_and_order():
    weight = np.random.default_rng(0).permutation(4096).astype(np.float32).reshape(64, 64) + 1
    bits, entropy = bits_and_entropy(weight)
    assert entropy < bits - 32 * 4096 < 1.3 * entropy


@pytest.mark.parametrize("turn", [False, True], ids=["rows", "columns"])
def test_uneven_rows_or_columns_cost_less(turn):
    weight = uneven((600, 700), 8)
    bits, entropy = bits_and_entropy(weight.T if turn else weight)
    assert bits < 0.85 * entropy


def test_uneven_channels_of_convolutions_cost_less():
    rng = np.random.default_rng(3)
    shares = np.where(rng.random((1, 128, 1, 1)) < 0.2, 0.5, 0.02)
    weight = np.where(rng.random((64, 128, 3, 3)) < shares, 0.5, 0).astype(np.float32)
    bits, entropy = bits_and_entropy(weight)
    assert bits < 0.8 * entropy


def test_copies_of_rows_cost_little_and_what_they_copy_costs_its_entropy():
    rows = sparse((150, 800), 0.2, 8)
    _, entropy = bits_and_entropy(rows)
    bits, _ = bits_and_entropy(np.vstack([rows, rows[::-1]]))
    assert entropy < bits < 1.25 * entropy


def test_a_weight_is_not_predicted_from_itself_or_what_follows():
    # Were it, independent rows below would make those above cheaper or free.
    rows = uneven((300, 400), 8)
    above, _ = bits_and_entropy(rows[:150])
    both, entropy = bits_and_entropy(rows)
    assert above < both
    assert both > 0.7 * entropy


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_every_matrix_has_an_estimate(weight):
    bits, entropy = bits_and_entropy(weight)
    values = np.unique(weight[weight != 0]).size
    assert np.isfinite(bits)
    assert bits >= 32 * values
    assert bits <= 32 * values + 1.5 * entropy + 40 * values + 200

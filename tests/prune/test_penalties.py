"""The two penalties of the reconstruction after Khan et al."""

import pytest
import torch
from torch import nn

from cnnzip.prune import gradient_count, redundancy
from cnnzip.tuning import fit
from tests.prune.small import accuracy, batches, trained, vgg


def filters(*rows):
    layer = nn.Linear(len(rows[0]), len(rows))
    layer.weight.data = torch.tensor(rows, dtype=torch.float32)
    return nn.Sequential(layer)


def test_redundancy_counts_cosines_above_tau_of_both_signs():
    assert redundancy(filters([1, 0], [0, 2])) == 0
    assert redundancy(filters([1, 0], [3, 0])).item() == pytest.approx(0.7**2)
    assert redundancy(filters([1, 0], [-3, 0])).item() == pytest.approx(0.7**2)
    assert redundancy(filters([1, 0], [3, 0], [0, 1])).item() == pytest.approx(2 / 3 * 0.7**2)
    assert redundancy(filters([1, 0], [1, 1]), tau=0.8) == 0


def test_the_gradient_count_is_that_of_places_where_a_kernel_changes():
    layer = nn.Conv2d(1, 2, 3)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 1, 1] = 5.0
    # the spike's own place, that left of it, and that above it: 3 of 18
    assert gradient_count(layer, sigma=1e-4).item() == pytest.approx(3 / 18, rel=1e-6)
    assert gradient_count(nn.Linear(3, 3)) == 0


@pytest.mark.parametrize(("penalty", "weight"), [(redundancy, 0.1), (gradient_count, 0.5)])
def test_training_lowers_each_penalty_at_equal_accuracy(penalty, weight):
    model = trained(vgg)
    plain = fit(model, batches(), 6, lr=2e-3).eval()
    drawn = fit(model, batches(), 6, lr=2e-3, penalty=lambda m: weight * penalty(m)).eval()
    assert penalty(drawn).item() < 0.8 * penalty(plain).item()
    assert accuracy(drawn) > accuracy(plain) - 1

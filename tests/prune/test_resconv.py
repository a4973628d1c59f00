"""Convolutions with a shortcut, fused and removed."""

import copy

import pytest
import torch
from torch import nn

from benchmarks.networks import vgg_digits
from cnnzip.errors import ArgumentError
from cnnzip.prune import ResConv, drop_resconv, shrinking, to_resconv
from cnnzip.tuning import fit
from tests.prune.small import accuracy, batches, digits, vgg
from tests.prune.test_channels import IMAGES, Everything, built
from tests.torch.nets import same_state

EXAMPLE = IMAGES[:2]


def resconvs(model):
    return [module for module in model.modules() if isinstance(module, ResConv)]


def n_convolutions(model):
    return sum(isinstance(module, nn.Conv2d) for module in model.modules())


def trained_resconv(kind=vgg_digits, factors=()):
    """With factors, alphas and statistics as training might leave them."""
    model = to_resconv(built(kind), EXAMPLE)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for i, layer in enumerate(resconvs(model)):
            layer.factor.fill_(0.0 if i in factors else 0.7)
            layer.alpha.copy_(0.5 + torch.rand((), generator=generator))
    return model.eval()


def test_convolutions_that_keep_the_shape_between_relus_get_a_shortcut():
    model = vgg()
    changed = to_resconv(model, EXAMPLE)
    assert [n for n, m in changed.named_modules() if isinstance(m, ResConv)] == ["3", "11", "14"]
    assert [type(changed[i]) for i in (4, 12, 15)] == [nn.Identity] * 3
    assert n_convolutions(changed) == n_convolutions(model) == 5
    assert not any(isinstance(module, ResConv) for module in model.modules())
    first = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.Conv2d(1, 1, 3, padding=1))
    with pytest.raises(ArgumentError, match="Sequential: no convolution keeps the shape between"):
        to_resconv(first, EXAMPLE)  # the input may be negative, and no ReLU follows


@pytest.mark.parametrize("kind", [vgg, vgg_digits])
def test_fusing_keeps_the_logits(kind):
    model = trained_resconv(kind)
    fused = drop_resconv(model, EXAMPLE)
    assert not resconvs(fused)
    assert n_convolutions(fused) == n_convolutions(model)
    assert (fused(IMAGES) - model(IMAGES)).abs().max() <= 1e-4


@pytest.mark.parametrize("factors", [(0,), (1, 2), (0, 1, 2)])
def test_removing_layers_of_factor_zero_keeps_the_logits(factors):
    model = trained_resconv(vgg, factors)
    before = copy.deepcopy(model)
    small = drop_resconv(model, EXAMPLE)
    assert n_convolutions(small) == n_convolutions(model) - len(factors)
    assert (small(IMAGES) - model(IMAGES)).abs().max() <= 1e-5
    assert same_state(model, before)


def test_a_layer_stays_where_alpha_is_not_positive_or_the_factor_above_tol():
    model = trained_resconv(vgg, (0,))
    with torch.no_grad():
        resconvs(model)[0].alpha.fill_(-0.5)
        resconvs(model)[1].factor.fill_(0.01)
    assert n_convolutions(drop_resconv(model, EXAMPLE)) == 5
    assert n_convolutions(drop_resconv(model, EXAMPLE, tol=0.02)) == 4


def test_grouped_and_biased_convolutions_fuse():
    layer = ResConv(nn.Conv1d(6, 6, 3, padding=1, groups=3)).eval()
    with torch.no_grad():
        layer.factor.fill_(0.3)
    x = torch.randn(2, 6, 9)
    assert torch.allclose(layer.fuse()(x), layer(x), atol=1e-6)
    with pytest.raises(ArgumentError, match="Everything: no convolution keeps the shape"):
        to_resconv(built(Everything), EXAMPLE)


def test_factors_shrink_to_zero_and_stay_while_training():
    model = to_resconv(vgg(), EXAMPLE)
    hard = fit(model, batches(), 4, optimizer=shrinking(30.0))
    assert [layer.factor.item() for layer in resconvs(hard)] == [0.0] * 3
    free = fit(model, batches(), 1, optimizer=shrinking(0.0))
    assert all(layer.factor.item() > 0.5 for layer in resconvs(free))
    assert all((layer.norm.weight == 1).all() for layer in resconvs(free))
    small = drop_resconv(hard.eval(), digits()[0][:2])
    assert n_convolutions(small) == 2
    assert accuracy(small) == accuracy(hard)


@pytest.mark.long
def test_more_l1_leaves_fewer_layers_and_little_is_lost():
    found, accuracies = [], []
    dense = fit(vgg_digits(), batches(), 25, lr=2e-3).eval()
    for l1 in (0.0, 1.0, 10.0):
        model = to_resconv(dense, EXAMPLE)
        model = fit(model, batches(), 15, lr=2e-3, optimizer=shrinking(l1)).eval()
        small = drop_resconv(model, EXAMPLE)
        found.append(n_convolutions(small))
        accuracies.append(accuracy(fit(small, batches(), 5).eval()))
    assert found == sorted(found, reverse=True)
    assert found[0] == 7
    assert found[-1] < found[0]
    assert min(accuracies) >= accuracy(dense) - 1

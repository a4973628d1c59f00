"""Scores against their definitions."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnzip.errors import ArgumentError
from cnnzip.prune import score
from cnnzip.tuning.parametrizations import mask, raw_of, share, targets, weight_of
from tests.torch.nets import same_state

X = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


def smooth():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def masked(seed=0):
    model = smooth()
    mask(model[0], weight_of(model[0]) > 0)
    return model


def test_taylor_is_the_squared_loss_change_of_a_weight_to_first_order():
    model = smooth()
    scores = score(model, "taylor", [(X, Y)])
    step = 1e-4
    for name, layer in targets(model).items():
        weight = layer.weight.data
        for at in range(weight.numel()):
            value = weight.view(-1)[at].item()
            losses = []
            for factor in (1 + step, 1 - step):
                weight.view(-1)[at] = value * factor
                losses.append(functional.cross_entropy(model(X), Y).item())
            weight.view(-1)[at] = value
            change = (losses[0] - losses[1]) / (2 * step)
            assert scores[name].view(-1)[at].item() == pytest.approx(change**2, rel=1e-3, abs=1e-12)


def test_taylor_sums_over_batches_and_ignores_the_mode():
    model = smooth().insert(1, nn.Dropout(0.5)).train()
    one, other = [(X[:4], Y[:4])], [(X[4:], Y[4:])]
    both = score(model, "taylor", one + other)
    sums = {n: score(model, "taylor", one)[n] + score(model, "taylor", other)[n] for n in both}
    assert all(torch.allclose(both[name], sums[name]) for name in both)


def test_lamp_is_the_share_of_the_squares_from_a_weight_up():
    model = smooth()
    for name, found in score(model, "lamp").items():
        weight = weight_of(model.get_submodule(name))
        for w, s in zip(weight.flatten(), found.flatten(), strict=True):
            assert s == pytest.approx(float(w**2 / weight[weight.abs() >= w.abs()].square().sum()))


def unfolded(layer, x):
    """The norm of the inputs that each weight multiplies, by running through all of them."""
    norms = torch.zeros_like(layer.weight)
    for at in range(norms.numel()):
        one = torch.zeros_like(norms)
        one.view(-1)[at] = 1
        probe = type(layer)(*LAYERS[type(layer)][0], **LAYERS[type(layer)][1], bias=False)
        probe.weight.data = one
        norms.view(-1)[at] = probe(x).square().sum().sqrt()
    return norms


LAYERS = {
    nn.Linear: ((5, 3), {}, (4, 5)),
    nn.Conv2d: ((4, 2, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 4, 6, 5)),
    nn.Conv1d: ((2, 3, 3), {"dilation": 2, "padding": 1, "padding_mode": "circular"}, (2, 2, 9)),
    nn.ConvTranspose2d: ((2, 3, 3), {"stride": 2}, (2, 2, 4, 4)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_wanda_is_magnitude_times_the_norm_of_what_a_weight_multiplies(kind):
    arguments, options, shape = LAYERS[kind]
    layer = kind(*arguments, **options)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = score(nn.Sequential(layer), "wanda", [x[:1], x[1:]])["0"]
    assert torch.allclose(found, weight_of(layer).abs() * unfolded(layer, x), rtol=1e-4)


@pytest.mark.parametrize("kind", ["magnitude", "lamp", "taylor", "wanda", "random"])
def test_pruned_weights_score_minus_one_and_others_at_least_zero(kind):
    model = masked()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scores = score(model, kind, [(X, Y)])
    kept = weight_of(model[0]) != 0
    assert torch.equal(scores["0"] == -1, ~kept)
    assert (scores["0"][kept] >= 0).all()
    assert (scores["2"] > 0).any()
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_zeros_of_a_plain_layer_are_pruned_weights():
    model = smooth()
    model[0].weight.data[0] = 0
    assert (score(model, "random")["0"][0] == -1).all()


def test_for_regrowing_pruned_weights_score_by_what_is_under_the_mask():
    model = masked()
    assert torch.equal(score(model, "magnitude", regrow=True)["0"], raw_of(model[0]).abs())
    taylor = score(model, "taylor", [(X, Y)], regrow=True)["0"]
    assert (taylor[weight_of(model[0]) == 0] > 0).all()


def test_random_scores_are_seeded():
    state = torch.get_rng_state()
    one, again, other = (score(smooth(), "random", seed=s)["0"] for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_scores_may_be_the_callers_and_only_of_chosen_layers():
    scores = score(smooth(), lambda name, layer: layer.weight.square(), layers=["2"])
    assert list(scores) == ["2"]
    assert torch.equal(scores["2"], smooth()[2].weight.detach().square())


def test_scores_that_cannot_be_given_are_refused_in_a_sentence():
    model = smooth()
    with pytest.raises(ArgumentError, match="score: 'l1'; give a function, or magnitude, lamp"):
        score(model, "l1")
    with pytest.raises(
        ArgumentError, match="'taylor' needs data; 'magnitude' and 'lamp' need none"
    ):
        score(model, "taylor")
    with pytest.raises(ArgumentError, match="data: there are no batches"):
        score(model, "taylor", [])
    with pytest.raises(ArgumentError, match=r"inputs: the model cannot be run on those of shape"):
        score(model, "wanda", [X[:, :4]])
    with pytest.raises(ArgumentError, match=r"0: scores of shape \(6,\) for weights \(6, 5\)"):
        score(model, lambda name, layer: layer.bias)
    with pytest.raises(ArgumentError, match="0: scores that are NaN"):
        score(model, lambda name, layer: layer.weight * float("nan"))
    share(model[0], torch.ones(6, 5, dtype=torch.int64), nn.Parameter(torch.ones(1)))
    with pytest.raises(ArgumentError, match="0: its weights are shared; prune before quantizing"):
        score(model)
    assert same_state(smooth(), smooth())

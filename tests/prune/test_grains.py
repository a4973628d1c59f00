"""Multi-grain pruning."""

import copy

import pytest
import torch
from torch import nn

from benchmarks.networks import vgg_digits
from cnnzip.errors import ArgumentError
from cnnzip.prune import gradual, grains, multi_grain
from cnnzip.tuning import Batches, Log, bake, fit
from tests.prune.small import digits, resnet, trained
from tests.prune.test_weights import supports
from tests.torch.nets import near, same_state

EXAMPLE = digits()[0][:2]


def split(n=800):
    """Batches of images up to the n-th, and an `evaluate` on 297 that are held out for the budget."""
    images, labels = digits()[:2]
    held_images, held_labels = images[:297], labels[:297]

    @torch.no_grad()
    def evaluate(model):
        return 100 * float((model(held_images).argmax(1) == held_labels).double().mean())

    return Batches(images[297:n], labels[297:n]), evaluate


def test_from_coarse_to_fine_the_budget_is_kept_and_bytes_fall(monkeypatch):
    monkeypatch.setattr(grains, "CHANCES", 1)  # for speed
    monkeypatch.setattr(grains, "MOST_REFUSALS", {"channel": 1, "weight": 1})
    batches, evaluate = split()
    model = copy.deepcopy(trained(resnet))
    before = copy.deepcopy(model)
    log = Log(evaluate)
    options = {"drop": 5.0, "example": EXAMPLE, "tune": 1, "log": log}
    pruned = multi_grain(model, batches, evaluate, **options)
    steps = log.steps
    assert [step.name for step in steps] == [
        "tuned",
        "block",
        "layer",
        "channel",
        "weight",
        "compact",
    ]
    assert all(step.accuracy >= steps[0].accuracy - 5 for step in steps)
    assert steps[-1].n_parameters <= steps[3].n_parameters < steps[0].n_parameters / 2
    assert steps[-1].n_bytes < steps[0].n_bytes / 3
    assert same_state(model, before)
    assert any(isinstance(module, nn.Identity) for module in pruned)
    assert near(bake(pruned)(EXAMPLE), pruned(EXAMPLE))
    again = fit(pruned, batches, 1)
    assert all(torch.equal(a, b) for a, b in zip(supports(again), supports(pruned), strict=True))


def test_of_weights_alone_the_masks_are_those_of_one_step():
    batches, _ = split()
    values = iter([1.0, 1.0])  # the tuned model, the first step; then nothing is good enough
    pruned = multi_grain(
        trained(resnet), batches, lambda model: next(values, 0.0), drop=0.0, example=EXAMPLE,
        grains=["weight"], tune=1, score="lamp",
    )  # fmt: skip
    tuned = fit(trained(resnet), batches, 1)  # batch norm's statistics move no LAMP score
    once = gradual(tuned, batches, 0.4, score="lamp", steps=1, epochs=0, polish=0)
    assert all(torch.equal(a, b) for a, b in zip(supports(pruned), supports(once), strict=True))


def test_what_cannot_be_met_is_refused_and_the_model_unchanged():
    batches, evaluate = split()
    model = copy.deepcopy(trained(resnet))
    before = copy.deepcopy(model)
    values = iter([100.0])
    options = {"drop": 1.0, "example": EXAMPLE, "tune": 0, "inplace": True}
    with pytest.raises(
        ArgumentError, match=r"evaluate: 100 for the tuned .* below 99 after the least"
    ):
        multi_grain(model, batches, lambda model: next(values, 0.0), grains=["weight"], **options)
    with pytest.raises(ArgumentError, match="evaluate: nan for the tuned model"):
        multi_grain(model, batches, lambda model: float("nan"), **options)
    with pytest.raises(ArgumentError, match="grains: 'neuron'; give some of block, layer, channel"):
        multi_grain(model, batches, evaluate, grains=["neuron"], **options)
    with pytest.raises(ArgumentError, match=r"drop: -1; it is what evaluate may fall by"):
        multi_grain(model, batches, evaluate, **{**options, "drop": -1})
    with pytest.raises(ArgumentError, match="no convolution or linear layer"):
        multi_grain(nn.Sequential(nn.Tanh(), nn.Linear(8, 2))[:1], batches, evaluate, **options)
    assert same_state(model, before)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_coarse_grains_leave_fewer_weights_and_bytes_than_weights_alone():
    """Of 324 128 weights, within 1 % of 297 held-out images."""
    batches, evaluate = split(None)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dense = fit(vgg_digits(), batches, 30, lr=2e-3)
    found = {}
    for some in (grains.GRAINS, ["weight"]):
        log = Log(evaluate)
        multi_grain(dense, batches, evaluate, drop=1.0, example=EXAMPLE, grains=some, log=log)
        print(log)
        assert log.steps[-1].accuracy >= log.steps[0].accuracy - 1
        found[len(some)] = log.steps[-1]
    assert found[4].n_entries <= 324_128 / 100
    assert found[4].n_bytes <= 0.6 * found[1].n_bytes

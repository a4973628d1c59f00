"""Pruning by ADMM."""

import copy
import itertools

import pytest
import torch

from cnnzip.errors import ArgumentError
from cnnzip.prune import progressive_admm
from cnnzip.prune.admm import Admm
from cnnzip.tuning import Log, bake, targets
from cnnzip.tuning.fit import train
from cnnzip.tuning.parametrizations import weight_of
from tests.prune.small import accuracy, batches, lenet, trained
from tests.prune.test_weights import nested, supports
from tests.torch.nets import same_state

QUICK = {"epochs": 2, "inner": 1, "retrain": 1}


def test_weights_are_drawn_to_their_projection():
    model = copy.deepcopy(trained(lenet))
    admm = Admm(model, 0.9, rho=0.05)
    residuals = [admm.residual(model)]
    for _ in range(5):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            train(model, batches(), 2, penalty=admm.penalty)
        admm.update(model)
        residuals.append(admm.residual(model))
    assert residuals[-1] < residuals[1] < residuals[0]
    assert residuals[-1] < residuals[0] / 2
    n = sum(layer.weight.numel() for layer in targets(model).values())
    assert sum(int((z != 0).sum()) for z in admm.z.values()) == round(0.1 * n)


def test_the_penalty_is_the_squared_distance_and_its_gradient():
    model = copy.deepcopy(trained(lenet))
    admm = Admm(model, 0.9, rho=0.5)
    for u in admm.u.values():
        u.fill_(0.01)
    layer = model[6]
    admm.penalty(model).backward()
    gap = weight_of(layer) - admm.z["6"] + 0.01
    assert torch.allclose(layer.weight.grad, 0.5 * gap)


def test_the_cardinality_is_exact_and_pruned_weights_never_return():
    model = trained(lenet)
    seen = []

    def evaluate(model):
        seen.append(supports(model))
        return accuracy(model)

    pruned = progressive_admm(model, batches(), 0.98, rounds=3, log=Log(evaluate), **QUICK)
    n = sum(layer.weight.numel() for layer in targets(model).values())
    counts = [sum(int(support.sum()) for support in supports) for supports in seen]
    assert counts == [round(n / rate) for rate in (1 + 49 / 3, 1 + 98 / 3, 50)]
    assert all(nested(a, b) for a, b in itertools.pairwise(seen))
    assert sum(int(s.sum()) for s in supports(pruned)) == counts[-1]


def test_a_beam_keeps_the_best_by_evaluation():
    model = trained(lenet)
    asked = []

    def evaluate(model):
        asked.append(accuracy(model))
        return asked[-1]

    log = Log(accuracy)
    best = progressive_admm(
        model, batches(), 0.98, rounds=2, beam=2, evaluate=evaluate, log=log, **QUICK
    )
    assert len(asked) == 2
    assert accuracy(best.eval()) == max(asked) == log.steps[-1].accuracy
    unasked = progressive_admm(model, batches(), 0.98, rounds=2, beam=2, **QUICK)
    assert len(supports(unasked)) == 4


def test_admm_is_seeded_and_refuses_nonsense():
    model = trained(lenet)
    one, again = (progressive_admm(model, batches(), 0.9, rounds=1, **QUICK) for _ in range(2))
    assert same_state(one, again)
    with pytest.raises(
        ArgumentError, match="rounds 0, epochs 10, inner 2, beam 1: each at least 1"
    ):
        progressive_admm(model, batches(), 0.9, rounds=0)


@pytest.mark.long
def test_progressive_admm_beats_direct_at_100x_by_3_points():
    """Of 60 epochs each, three seeds."""
    found = {"direct": [], "progressive": []}
    for seed in range(3):
        model = trained(lenet, 30, seed)
        for name, options in {
            "direct": {"rounds": 1, "epochs": 30, "retrain": 30},
            "progressive": {"rounds": 3, "epochs": 10, "retrain": 10},
        }.items():
            pruned = progressive_admm(model, batches(), 0.99, seed=seed, **options)
            found[name].append(accuracy(bake(pruned)))
    assert sum(found["progressive"]) >= sum(found["direct"]) + 3 * 3

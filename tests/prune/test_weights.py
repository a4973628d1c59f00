"""Pruning at once and step by step."""

import copy
import itertools

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from cnnzip.errors import ArgumentError
from cnnzip.prune import gradual, one_shot
from cnnzip.tuning import Log, bake, fit, targets
from cnnzip.tuning.parametrizations import kept_of, weight_of
from tests.prune.small import accuracy, batches, digits, lenet, trained, vgg
from tests.torch.nets import same_state


def supports(model):
    return [weight_of(layer) != 0 for layer in targets(model).values()]


def sparsity(model):
    kept = torch.cat([support.flatten() for support in supports(model)])
    return 1 - float(kept.double().mean())


def nested(outer, inner):
    return all(bool((a | ~b).all()) for a, b in zip(outer, inner, strict=True))


def test_recalibration_saves_a_network_pruned_at_once():
    model = trained(vgg)
    raw = one_shot(model, 0.7)
    fresh = one_shot(model, 0.7, inputs=digits()[0])
    assert sparsity(raw) == sparsity(fresh) == pytest.approx(0.7, abs=1e-4)
    assert accuracy(raw) < 50
    assert accuracy(fresh) > accuracy(model) - 2


def test_pruning_leaves_the_model_unless_in_place():
    model = copy.deepcopy(trained(lenet))
    before = copy.deepcopy(model)
    pruned = one_shot(model, 0.9)
    assert same_state(model, before)
    assert one_shot(model, 0.9, inplace=True) is model
    assert same_state(model, pruned)
    assert sparsity(model) == pytest.approx(0.9, abs=1e-4)


def test_pruning_again_nests_the_masks():
    model = trained(lenet)
    first = one_shot(model, 0.5, score="random")
    second = one_shot(first, 0.8, score="magnitude")
    assert nested(supports(first), supports(second))
    assert sparsity(second) == pytest.approx(0.8, abs=1e-4)
    less = one_shot(second, 0.1, score="random")
    assert all(torch.equal(a, b) for a, b in zip(supports(less), supports(second), strict=True))


@pytest.mark.parametrize("score", ["magnitude", "lamp", "taylor"])
def test_gradual_masks_are_nested_and_retrained(score):
    model = trained(lenet)
    options = {"score": score, "epochs": 1, "polish": 1}
    seen = []

    def evaluate(model):
        seen.append(supports(model))
        return accuracy(model)

    log = Log(evaluate)
    pruned = gradual(model, batches(), 0.95, steps=3, log=log, **options)
    assert [step.name for step in log.steps] == [
        "step 1 of 3",
        "step 2 of 3",
        "step 3 of 3",
        "polished",
    ]
    assert all(nested(a, b) for a, b in itertools.pairwise(seen))
    assert all(torch.equal(a, b) for a, b in zip(seen[-1], supports(pruned), strict=True))
    entries = [step.n_entries for step in log.steps]
    n = sum(support.numel() for support in seen[0])
    assert entries == [round(n * 0.05 ** (s / 3)) for s in (1, 2, 3, 3)]
    assert log.steps[-1].n_bytes < log.steps[0].n_bytes / 4
    assert log.steps[-1].accuracy > accuracy(bake(one_shot(model, 0.95)).eval())
    assert not pruned.training


def test_retraining_after_pruning_keeps_the_masks_and_wins_accuracy():
    """The paper's own: magnitude pruning, a fraction by layer, with masked retraining."""
    model = trained(lenet)
    fractions = {"6": 0.95, "2": 0.8}
    pruned = one_shot(model, fractions, score="magnitude", scope="layer")
    assert [round(1 - float(s.double().mean()), 3) for s in supports(pruned)] == [0, 0.8, 0.95, 0]
    retrained = fit(pruned, batches(), 6)
    assert all(
        torch.equal(a, b) for a, b in zip(supports(retrained), supports(pruned), strict=True)
    )
    assert accuracy(retrained) > accuracy(pruned) + 5
    assert accuracy(retrained) > accuracy(model) - 2
    slow = gradual(
        model, batches(), fractions, score="magnitude", scope="layer", steps=3, schedule="cubic",
        epochs=1, polish=2,
    )  # fmt: skip
    assert [round(1 - float(s.double().mean()), 3) for s in supports(slow)] == [0, 0.8, 0.95, 0]


def test_pruned_weights_may_return_only_when_asked():
    model = trained(lenet)
    first = one_shot(model, 0.9, score="random")
    same = {"steps": 1, "epochs": 1, "polish": 0, "score": "magnitude"}
    kept = gradual(first, batches(), 0.9, **same)
    grown = gradual(first, batches(), 0.9, regrow=True, **same)
    assert nested(supports(first), supports(kept))
    assert not nested(supports(first), supports(grown))
    assert sparsity(grown) == pytest.approx(0.9, abs=1e-4)
    assert not any(
        layer.parametrizations.weight[0].straight_through for layer in targets(grown).values()
    )


def test_no_label_is_read_where_the_loss_ignores_them():
    images = digits()[0]
    unlabelled = [(part, None) for part in images.split(64)]
    teacher = trained(vgg)

    def imitate(model, batch):
        with torch.no_grad():
            said = teacher(batch[0]).argmax(1)
        return functional.cross_entropy(model(batch[0]), said)

    pruned = gradual(
        teacher, unlabelled, 0.9, score="taylor", loss=imitate, steps=3, epochs=2, polish=2
    )
    assert sparsity(pruned) == pytest.approx(0.9, abs=1e-4)
    assert accuracy(pruned) > accuracy(teacher) - 5


def test_pruning_is_seeded_and_leaves_the_random_state():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    options = {"score": "taylor", "steps": 2, "epochs": 1, "polish": 1}
    one, again, other = (
        gradual(trained(vgg), batches(), 0.8, seed=s, **options) for s in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert same_state(one, again)
    assert not same_state(one, other)


def test_what_fails_on_the_way_leaves_the_model():
    model = copy.deepcopy(trained(lenet))
    before = copy.deepcopy(model)
    calls = []

    def failing(model, batch):
        calls.append(1)
        return functional.cross_entropy(model(batch[0]), batch[1]) * (
            1 if len(calls) < 30 else torch.nan
        )

    with pytest.raises(ArgumentError, match="loss: nan at epoch 1, batch 9"):
        gradual(model, batches(), 0.5, steps=2, epochs=1, loss=failing, inplace=True)
    with pytest.raises(ArgumentError, match="schedule: 'linear'; give geometric or cubic or rates"):
        gradual(model, batches(), 0.5, schedule="linear", inplace=True)
    with pytest.raises(ArgumentError, match=r"sparsity: 95; it is a fraction, from 0 to 1"):
        gradual(model, batches(), 95, schedule="cubic", inplace=True)
    with pytest.raises(ArgumentError, match=r"no layer 'fc'; there are 0, 2, 6, 8"):
        gradual(model, batches(), {"fc": 0.5}, scope="layer", inplace=True)
    with pytest.raises(ArgumentError, match="steps: 0, at least 1"):
        gradual(model, batches(), 0.5, steps=0, inplace=True)
    with pytest.raises(ArgumentError, match="no convolution or linear layer"):
        gradual(nn.Sequential(nn.ReLU()), batches(), 0.5)
    assert same_state(model, before)
    assert all(torch.equal(kept_of(layer), layer.weight != 0) for layer in targets(model).values())


@pytest.mark.long
def test_taylor_beats_magnitude_at_100x_by_2_points():
    found = {"magnitude": [], "taylor": []}
    for seed in range(3):
        for score, accuracies in found.items():
            pruned = gradual(trained(lenet, 30, seed), batches(), 0.99, score=score, seed=seed)
            assert sparsity(pruned) == pytest.approx(0.99, abs=1e-4)
            accuracies.append(accuracy(bake(pruned)))
    assert sum(found["taylor"]) >= sum(found["magnitude"]) + 3 * 2


@pytest.mark.long
def test_features_learned_without_labels_survive_pruning_without_labels():
    """Trained and pruned to tell rotations apart; the features' linear probe loses 2 points at most."""
    images, labels, test_images, test_labels = digits()

    def rotations(model, batch):
        turned = torch.cat([torch.rot90(batch[0], turns, (2, 3)) for turns in range(4)])
        return functional.cross_entropy(
            model(turned), torch.arange(4).repeat_interleave(len(batch[0]))
        )

    def probe(model):
        features = bake(model).eval()[:-1]
        with torch.no_grad():
            inside, outside = features(images), features(test_images)
        fitted = LogisticRegression(max_iter=2000).fit(inside, labels)
        return 100 * fitted.score(outside, test_labels)

    unlabelled = [(part, None) for part in images.split(64)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = vgg()
    dense = fit(fresh, unlabelled, 15, loss=rotations, lr=2e-3)
    pruned = gradual(dense, unlabelled, 0.9, loss=rotations, steps=8, epochs=1, polish=5)
    assert sparsity(pruned) == pytest.approx(0.9, abs=1e-4)
    assert probe(pruned) >= probe(dense) - 2

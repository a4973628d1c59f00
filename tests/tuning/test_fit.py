"""Training, batch normalization's statistics, and sizes along the way."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnzip
from cnnzip.errors import ArgumentError
from cnnzip.tuning import Batches, Log, bake, fit, recalibrate_bn
from cnnzip.tuning.parametrizations import kept_of, mask, raw_of, share, weight_of
from tests.torch.nets import same_state

X = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
DATA = Batches(X, Y, size=16)


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3)
        )


def loss_on_all(model):
    with torch.no_grad():
        return float(functional.cross_entropy(copy.deepcopy(model).eval()(X), Y))


def test_training_lowers_the_loss_and_leaves_the_model():
    model = net()
    before = copy.deepcopy(model.state_dict())
    trained = fit(model, DATA, 20, lr=1e-2)
    assert loss_on_all(trained) < loss_on_all(model) / 2
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert trained.training
    assert not fit(model.eval(), DATA, 1).training


def test_training_is_seeded_and_leaves_the_random_state():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, again, other = fit(net(), DATA, 2), fit(net(), DATA, 2), fit(net(), DATA, 2, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert same_state(one, again)
    assert not same_state(one, other)


def test_in_place_the_model_becomes_the_trained_one():
    model = net()
    trained = fit(model, DATA, 2)
    assert fit(model, DATA, 2, inplace=True) is model
    assert same_state(model, trained)


def test_pruned_weights_stay_pruned_and_shared_ones_shared():
    model = net()
    kept = weight_of(model[0]) > 0
    mask(model[0], kept)
    index = torch.arange(48).reshape(3, 16) % 3
    share(model[4], index, nn.Parameter(torch.tensor([0.5, -0.5])))
    trained = fit(model, DATA, 5, lr=1e-2)
    assert torch.equal(kept_of(trained[0]), kept)
    assert torch.equal(trained[0].weight != 0, kept)
    assert torch.equal(trained[4].weight, torch.cat([torch.zeros(1), raw_of(trained[4])])[index])
    assert (raw_of(trained[4]) != raw_of(model[4])).all()


def test_one_step_of_sgd_moves_a_codebook_by_the_sum_of_gradients():
    model = net().eval()
    dense = nn.Parameter(weight_of(model[4]).sign() / 2)
    model[4].weight = dense
    functional.cross_entropy(model(X), Y).backward()
    sums = torch.stack([dense.grad[dense == c].sum() for c in (0.5, -0.5)])
    index = torch.where(dense > 0, 1, 2)
    share(model[4], index, nn.Parameter(torch.tensor([0.5, -0.5])))
    one = fit(
        model,
        [(X, Y)],
        1,
        loss=lambda model, batch: functional.cross_entropy(model.eval()(batch[0]), batch[1]),
        lr=0.1,
        optimizer=torch.optim.SGD,
    )
    assert torch.allclose(raw_of(one[4]), torch.tensor([0.5, -0.5]) - 0.1 * sums, atol=1e-6)


def test_hooks_are_called_with_the_model_in_training():
    seen = []
    model = net()

    def penalty(model):
        return 10 * model[4].weight.pow(2).sum()

    fit(model, DATA, 2, after_step=seen.append)
    assert len(seen) == 2 * len(DATA)
    assert seen[0] is seen[-1] is not model
    pulled = fit(model, DATA, 5, penalty=penalty, lr=1e-2)
    free = fit(model, DATA, 5, lr=1e-2)
    assert pulled[4].weight.norm() < free[4].weight.norm() / 2


def test_schedules_scale_the_learning_rate():
    def rates(schedule):
        found = []

        def optimizer(parameters, lr):
            steps = torch.optim.SGD(parameters, lr=lr)
            steps.register_step_pre_hook(
                lambda steps, *_: found.append(steps.param_groups[0]["lr"])
            )
            return steps

        fit(net(), [(X, Y)] * 2, 2, lr=0.4, optimizer=optimizer, schedule=schedule)
        return found

    assert rates("constant") == [0.4] * 4
    assert rates("linear") == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert rates("cosine") == pytest.approx([0.4, 0.34142136, 0.2, 0.05857864])
    assert rates(lambda done: 2 * done) == pytest.approx([0, 0.2, 0.4, 0.6])


def test_only_the_loss_knows_of_labels():
    unlabelled = [(images, None) for images in X.split(16)]

    def reconstruction(model, batch):
        return functional.mse_loss(model(batch[0]), batch[0][:, :3])

    trained = fit(net(), unlabelled, 10, loss=reconstruction, lr=1e-2)
    assert reconstruction(trained.eval(), (X, None)) < reconstruction(net().eval(), (X, None)) / 2


def nan(model, batch):
    return functional.cross_entropy(model(batch[0]), batch[1]) * float("nan")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loss": nan}, "loss: nan at epoch 1, batch 1; look .* The model is unchanged"),
        ({"loss": lambda model, batch: model(batch[0])}, r"a Tensor of shape \(16, 3\) at epoch 1"),
        ({"loss": lambda model, batch: 1.0}, "loss: a float at epoch 1, batch 1; it must be one"),
        ({"batches": []}, "batches: there are none"),
        ({"batches": iter([(X, Y)])}, "a list_iterator can be run through once only; give a list"),
        ({"batches": [X]}, r"a batch is a Tensor, no pair \(inputs, labels\): give loss="),
        ({"schedule": "exp"}, "schedule: 'exp'; give a function, or constant, cosine, linear"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_the_model_unchanged(options, says):
    model = net()
    before = copy.deepcopy(model)
    with pytest.raises(ArgumentError, match=says):
        fit(model, **{"batches": DATA, "epochs": 2, "inplace": True, **options})
    assert same_state(model, before)
    with pytest.raises(ArgumentError, match="no parameter requires a gradient"):
        fit(nn.ReLU(), DATA, 1)
    with pytest.raises(ArgumentError, match=r"0.weight: of a lazy module, without values; run the"):
        fit(nn.Sequential(nn.LazyLinear(3)), DATA, 1)


def test_batches_run_through_everything_once():
    batches = Batches(torch.arange(10), size=4)
    assert len(batches) == 3
    assert sorted(torch.cat(list(batches)).tolist()) == list(range(10))
    plain = Batches(X, Y, size=50, shuffle=False)
    assert [len(x) for x, _ in plain] == [50, 46]
    assert torch.equal(torch.cat([y for _, y in plain]), Y)
    with pytest.raises(ArgumentError, match="from tensors of lengths 5, 96"):
        Batches(X, Y[:5])


def test_recalibrated_statistics_are_those_of_the_inputs():
    model = fit(net(), DATA, 3).eval()
    with torch.no_grad():
        model[0].weight.mul_(3).add_(1)
    fresh = recalibrate_bn(model, X)
    inside = model[0](X)
    assert torch.allclose(fresh[1].running_mean, inside.mean(0), atol=1e-5)
    assert torch.allclose(fresh[1].running_var, inside.var(0), rtol=1e-4)
    assert fresh[1].momentum == model[1].momentum == 0.1
    assert not fresh.training
    assert not torch.equal(model[1].running_mean, fresh[1].running_mean)
    assert same_state(recalibrate_bn(model, [(X, Y)]), fresh)
    assert recalibrate_bn(model, X, inplace=True) is model
    assert same_state(model, fresh)


def test_calibration_inputs_of_a_wrong_shape_are_refused_in_a_sentence():
    model = net()
    before = copy.deepcopy(model)
    with pytest.raises(ArgumentError, match=r"cannot be run on those of shape \(4, 7\): mat1"):
        recalibrate_bn(model, torch.zeros(4, 7), inplace=True)
    with pytest.raises(ArgumentError, match="inputs: there are none"):
        recalibrate_bn(model, X[:0])
    assert same_state(model, before)


def test_a_log_counts_what_the_file_holds(tmp_path):
    model = net()
    mask(model[0], weight_of(model[0]) > 0)
    log = Log(lambda model: 0.0 if model.training else 0.5)
    step = log.add("masked", model)
    cnnzip.save(model, tmp_path / "model.cnnz")
    assert step.n_bytes == (tmp_path / "model.cnnz").stat().st_size
    assert step.n_parameters == sum(p.numel() for p in net().parameters())
    assert step.n_entries == int((model[0].weight != 0).sum()) + 48
    assert step.accuracy == 0.5
    assert model.training
    assert log.steps == [step]
    assert str(log).splitlines()[-1].split() == [
        "masked", "0.5", "195", str(step.n_entries), f"{step.n_bytes:,}",
    ]  # fmt: skip
    assert Log().add("baked", bake(model)).n_bytes == step.n_bytes

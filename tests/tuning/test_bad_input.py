"""What no method can use is refused in one sentence, and the model is as it was."""

import re

import pytest
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrizations, weight_norm

from cnnzip import prune, quantize, tuning
from cnnzip.errors import ArgumentError
from cnnzip.tuning import Batches, Log, cross_entropy
from cnnzip.tuning.parametrizations import mask, weight_of

X = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(16) % 3
DATA = Batches(X, Y, size=8)
WRONG = X.expand(16, 2, 8, 8)
ONE = {"steps": 1, "epochs": 1, "polish": 1}
ROUND = {"rounds": 1, "epochs": 1, "inner": 1, "retrain": 1}


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
        layers += [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def multi_grain(model, batches=DATA, evaluate=lambda model: 50.0, example=X[:2], **options):
    return prune.multi_grain(
        model, batches, evaluate, drop=9, example=example, tune=1, grains=("channel",), inplace=True,
        **options,
    )  # fmt: skip


#: All that take a model, with arguments that suit `net()`.
METHODS = {
    "one_shot": lambda m: prune.one_shot(m, 0.5, inplace=True),
    "gradual": lambda m: prune.gradual(m, DATA, 0.5, **ONE, inplace=True),
    "progressive_admm": lambda m: prune.progressive_admm(m, DATA, 0.5, **ROUND, inplace=True),
    "multi_grain": multi_grain,
    "prune_channels": lambda m: prune.prune_channels(m, X[:2], 0.5, inplace=True),
    "compact": lambda m: prune.compact(m, X[:2], inplace=True),
    "fold_bn": lambda m: prune.fold_bn(m, X[:2], inplace=True),
    "to_resconv": lambda m: prune.to_resconv(m, X[:2], inplace=True),
    "score": lambda m: prune.score(m, "taylor", DATA),
    "redundancy": prune.redundancy,
    "gradient_count": prune.gradient_count,
    "targets": tuning.targets,
    "share": lambda m: quantize.share(m, 3, inplace=True),
    "codebooks": lambda m: quantize.codebooks(m, 3),
    "rate_distortion": lambda m: quantize.rate_distortion(m, X, inplace=True),
    # what works without layers that can be pruned
    "units": lambda m: prune.units(m, X[:2]),
    "drop_resconv": lambda m: prune.drop_resconv(m, X[:2], inplace=True),
    "shorten": lambda m: quantize.shorten(m, inplace=True),
    "fit": lambda m: tuning.fit(m, DATA, 1, inplace=True),
    "recalibrate_bn": lambda m: tuning.recalibrate_bn(m, X, inplace=True),
    "bake": lambda m: tuning.bake(m, inplace=True),
    "log": lambda m: Log().add("step", m),
}
ON_LAYERS = list(METHODS)[:15]
#: Bake the model, so that foreign parametrizations become permanent.
BAKING = ("prune_channels", "compact", "fold_bn", "to_resconv")


def _state(model):
    names = [(name, type(part), part.training) for name, part in model.named_modules()]
    tensors = model.state_dict(keep_vars=True)
    values = {
        n: None if is_lazy(t) or t.is_meta else t.detach().clone() for n, t in tensors.items()
    }
    return names, values, [p.requires_grad for p in model.parameters()]


def refused(act, model):
    """The one sentence; the model, its modes and the random state are as they were."""
    names, values, trained = _state(model)
    modules = dict(model.named_modules())
    random = torch.get_rng_state()
    with pytest.raises(ArgumentError) as caught:
        act(model)
    assert torch.equal(torch.get_rng_state(), random)
    after = _state(model)
    assert (names, trained) == (after[0], after[2])
    assert values.keys() == after[1].keys()
    for name, value in values.items():
        torch.testing.assert_close(after[1][name], value, rtol=0, atol=0, equal_nan=True)
    assert dict(model.named_modules()) == modules
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def lazy():
    model = net()
    model[3] = nn.LazyConv2d(4, 3, padding=1)
    return model


def lazy_norm():
    model = net()
    model[4] = nn.LazyBatchNorm2d()
    return model


def tied():
    model = nn.Sequential(*net()[:3], nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), *net()[3:])
    model[3].weight = model[5].weight
    return model


def foreign():
    model = net()
    parametrizations.weight_norm(model[3])
    return model


def hooked():
    model = net()
    with pytest.warns(FutureWarning):
        weight_norm(model[3])
    return model


@pytest.mark.parametrize("method", ON_LAYERS)
def test_a_model_without_layers_to_prune(method):
    says = refused(METHODS[method], nn.Sequential(nn.BatchNorm2d(1), nn.ReLU(), nn.Flatten()))
    assert says.startswith("Sequential: no convolution ")


@pytest.mark.parametrize("method", METHODS)
def test_a_lazy_layer(method):
    says = refused(METHODS[method], lazy())
    assert says.startswith("3")
    assert says.endswith("run the model once")


@pytest.mark.parametrize(
    "method", [m for m in METHODS if m not in ("targets", "redundancy", "gradient_count")]
)
def test_a_lazy_normalization(method):
    assert "lazy module, without values; run the model once" in refused(
        METHODS[method], lazy_norm()
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_model_on_the_meta_device(method):
    assert "on the meta device; load its values" in refused(METHODS[method], net().to("meta"))


@pytest.mark.parametrize("method", [m for m in ON_LAYERS if m != "to_resconv"])
def test_tied_weights(method):
    assert "the same Parameter as 3.weight" in refused(METHODS[method], tied())


@pytest.mark.parametrize("build", [foreign, hooked])
@pytest.mark.parametrize("method", [m for m in ON_LAYERS if m not in BAKING])
def test_parametrizations_of_others(method, build):
    assert "cnnzip.tuning.bake(model) makes that permanent" in refused(METHODS[method], build())


@pytest.mark.parametrize("build", [foreign, hooked])
@pytest.mark.parametrize("method", BAKING)
def test_parametrizations_of_others_are_made_permanent_where_structure_changes(method, build):
    METHODS[method](build())


@pytest.mark.parametrize("method", METHODS)
def test_masked_models_are_taken_by_all(method):
    model = net()
    mask(model[3], weight_of(model[3]) > 0)
    METHODS[method](model)


@pytest.mark.parametrize(
    "unit", [prune.Unit(("0", "99"), "layer"), prune.Unit(("body.0",), "block")]
)
def test_units_of_another_model(unit):
    def bypass(model):
        with prune.bypassed(model, unit):
            pass

    for act in (lambda m: prune.remove(m, unit, inplace=True), bypass):
        assert f"unit: Sequential has no module {unit.names[-1]!r}" in refused(act, net())


LOSSES = {
    "NaN": (lambda m, b: cross_entropy(m, b) * torch.nan, r"loss: nan at .*batch 1.* unchanged"),
    "infinite": (lambda m, b: cross_entropy(m, b) / 0, "loss: inf at .*batch 1"),
    "many": (lambda m, b: m(b[0]), r"loss: a Tensor of shape \(8, 3\) at .*it must be one number"),
    "a float": (lambda m, b: 1.0, "loss: a float at .*it must be one number"),
    "None": (lambda m, b: None, "loss: a NoneType at .*it must be one number"),
    "constant": (lambda m, b: cross_entropy(m, b).detach(), "loss: no gradient at .*batch 1"),
    "failing": (lambda m, b: m(b[0][:, 0]).sum(), "loss: it fails at .*batch 1.*: "),
}
TRAINING = {
    "fit": lambda m, **o: tuning.fit(m, DATA, 1, inplace=True, **o),
    "gradual": lambda m, **o: prune.gradual(m, DATA, 0.5, **ONE, inplace=True, **o),
    "admm": lambda m, **o: prune.progressive_admm(m, DATA, 0.5, **ROUND, inplace=True, **o),
    "multi_grain": multi_grain,
    "one_shot": lambda m, **o: prune.one_shot(m, 0.5, score="taylor", data=DATA, inplace=True, **o),
    "score": lambda m, **o: prune.score(m, "taylor", DATA, **o),
    "prune_channels": lambda m, **o: prune.prune_channels(
        m, X[:2], 0.5, importance="taylor", data=DATA, inplace=True, **o
    ),
}


@pytest.mark.parametrize(("loss", "pattern"), LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("method", TRAINING)
def test_losses_that_are_none(method, loss, pattern):
    says = refused(lambda m: TRAINING[method](m, loss=loss), net())
    assert re.search(pattern, says)


def nothing(model):
    return None


@pytest.mark.parametrize(
    ("penalty", "says"),
    [
        (lambda m: m[0].weight.sum() * torch.nan, "penalty: nan at epoch 1, batch 1"),
        (nothing, "penalty: a NoneType at epoch 1, batch 1; it must be one number"),
    ],
)
def test_penalties_that_are_none(penalty, says):
    assert says in refused(lambda m: tuning.fit(m, DATA, 1, penalty=penalty, inplace=True), net())


def test_what_a_function_of_the_caller_raises_is_left_and_so_is_the_model():
    def stop(model):
        raise KeyError("stop")

    model = net()
    before = _state(model)[1]
    for options in ({"penalty": stop}, {"after_step": stop}):
        with pytest.raises(KeyError, match="stop"):
            tuning.fit(model, DATA, 1, inplace=True, **options)
    with pytest.raises(KeyError, match="stop"):
        multi_grain(model, evaluate=stop)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


INPUTS = {
    "channels": (WRONG, "expected input"),
    "dimensions": (X[:, 0, 0], "Expected 3D"),
    "types": (Y.reshape(16, 1, 1, 1).expand(16, 1, 8, 8), "Input type"),
    "None": (None, None),
}
ON_INPUTS = {
    "one_shot, norm": lambda m, x: prune.one_shot(m, 0.5, inputs=[x], inplace=True),
    "one_shot, wanda": lambda m, x: prune.one_shot(m, 0.5, score="wanda", data=[x], inplace=True),
    "one_shot, taylor": lambda m, x: prune.one_shot(
        m, 0.5, score="taylor", data=[(x, Y)], inplace=True
    ),
    "gradual": lambda m, x: prune.gradual(m, [(x, Y)], 0.5, **ONE, inplace=True),
    "admm": lambda m, x: prune.progressive_admm(m, [(x, Y)], 0.5, **ROUND, inplace=True),
    "multi_grain, batches": lambda m, x: multi_grain(m, [(x, Y)]),
    "multi_grain, example": lambda m, x: multi_grain(m, example=x),
    "prune_channels": lambda m, x: prune.prune_channels(m, x, 0.5, inplace=True),
    "compact": lambda m, x: prune.compact(m, x, inplace=True),
    "fold_bn": lambda m, x: prune.fold_bn(m, x, inplace=True),
    "units": prune.units,
    "to_resconv": lambda m, x: prune.to_resconv(m, x, inplace=True),
    "drop_resconv": lambda m, x: prune.drop_resconv(m, x, inplace=True),
    "rate_distortion": lambda m, x: quantize.rate_distortion(m, [x], inplace=True),
    "fit": lambda m, x: tuning.fit(m, [(x, Y)], 1, inplace=True),
    "recalibrate_bn": lambda m, x: tuning.recalibrate_bn(m, [x], inplace=True),
}


@pytest.mark.parametrize(("inputs", "says"), INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("method", ON_INPUTS)
def test_inputs_that_the_model_does_not_take(method, inputs, says, capfd):
    sentence = refused(lambda m: ON_INPUTS[method](m, inputs), net())
    assert sentence.split(":")[0] in ("inputs", "loss", "example")
    assert says is None or says in sentence
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("inputs", [3, "abc", torch.tensor(3.0)])
def test_inputs_and_batches_that_are_none(inputs):
    says = refused(lambda m: tuning.recalibrate_bn(m, inputs, inplace=True), net())
    assert says.startswith(f"inputs: a {type(inputs).__name__}; give a tensor")
    assert "inputs: " in refused(lambda m: quantize.rate_distortion(m, inputs, inplace=True), net())
    if not isinstance(inputs, str):
        for act in (tuning.fit, prune.gradual, prune.progressive_admm):
            says = refused(lambda m, act=act: act(m, inputs, 1), net())
            assert says.startswith(f"batches: a {type(inputs).__name__}; give a list")


def test_inputs_that_would_make_statistics_nan():
    for act in (
        lambda m: tuning.recalibrate_bn(m, X / 0, inplace=True),
        lambda m: prune.one_shot(m, 0.5, inputs=X * torch.nan, inplace=True),
    ):
        assert "batch normalization takes NaN or infinities" in refused(act, net())


@pytest.mark.parametrize(
    ("evaluate", "found"),
    [(nothing, "a NoneType"), (lambda m: "95 %", "a str"), (lambda m: m(X), "a Tensor")],
)
def test_evaluations_that_are_no_number(evaluate, found):
    says = f"evaluate: {found}; it must give one number"
    beam = {**ROUND, "rounds": 2, "beam": 2}
    for act in (
        lambda m: multi_grain(m, evaluate=evaluate),
        lambda m: prune.progressive_admm(m, DATA, 0.5, **beam, evaluate=evaluate, inplace=True),
        lambda m: prune.one_shot(m, 0.5, log=Log(evaluate), inplace=True),
    ):
        assert refused(act, net()) == says


def test_an_evaluation_that_is_nan_chooses_no_model():
    beam = {**ROUND, "rounds": 2, "beam": 2, "inplace": True}
    says = refused(
        lambda m: prune.progressive_admm(m, DATA, 0.5, **beam, evaluate=lambda m: torch.nan), net()
    )
    assert says == "evaluate: nan; it must be a finite number"


def test_a_budget_that_nothing_meets():
    values = iter([90.0])
    says = refused(lambda m: multi_grain(m, evaluate=lambda m: next(values, 0.0)), net())
    assert says.startswith("evaluate: 90 for the tuned model, and below 81 after the least change")

import copy

import pytest
import torch
from torch import nn

from benchmarks.networks import accuracy, layer_weights, one_thread
from benchmarks.shrink.subjects import small_digits
from cnnzip.errors import ArgumentError
from cnnzip.quantize import codebooks, rate_distortion, sequential
from cnnzip.tuning import Batches, bake, fit, recalibrate_bn
from tests.torch.nets import same_state

PLAIN = {"rate": "entropy", "absorb": False, "repair": False}


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


def linear(seed=0, n_inputs=48, n_outputs=20):
    """A linear layer without bias, and inputs that hang together."""
    draws = torch.Generator().manual_seed(seed)
    layer = nn.Linear(n_inputs, n_outputs, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=draws))
    mixing = torch.randn(n_inputs, n_inputs, generator=draws)
    return nn.Sequential(layer), torch.randn(400, n_inputs, generator=draws) @ mixing / 7


def convnet(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, groups=2),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 4, 2, groups=2),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(64, 5),
        ).eval()


def images(n=64, seed=0):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def bits(model):
    """Entropy of the layers' levels, in bits per weight."""
    total = n_weights = 0.0
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            _, counts = torch.unique(layer.weight.detach(), return_counts=True)
            shares = counts / counts.sum()
            total -= float((counts * torch.log2(shares)).sum())
            n_weights += int(counts.sum())
    return total / n_weights


def output_error(model, quantized, inputs):
    with torch.no_grad():
        expected = model(inputs)
        return float((quantized(inputs) - expected).square().mean() / expected.var())


def naive_gptq(weight, inputs, step, damping):
    """Optimal brain quantization in a fixed order, by the inverse of what is left of H."""
    w = weight.double().clone()
    x = inputs.double()
    H = 2 * x.T @ x / len(x)
    H += damping * H.diagonal().mean() * torch.eye(len(H), dtype=torch.float64)
    found = torch.empty_like(w)
    for i in range(w.shape[1]):
        inverse = torch.linalg.inv(H[i:, i:])
        found[:, i] = torch.round(w[:, i] / step) * step
        error = (w[:, i] - found[:, i]) / inverse[0, 0]
        w[:, i:] -= error[:, None] * inverse[0]
    return found


def test_without_inputs_and_price_it_is_rounding():
    model, _ = linear()
    weight = model[0].weight.detach()
    found = bake(rate_distortion(model, None, 0.0, 0.5))[0].weight
    step = 0.5 * weight.double().std(unbiased=False)
    assert torch.equal(found, ((weight.double() / step).round() * step).float())


@pytest.mark.parametrize("seed", range(3))
def test_at_no_price_it_is_gptq(seed):
    model, inputs = linear(seed, n_inputs=150)
    weight = model[0].weight.detach()
    found = bake(rate_distortion(model, inputs, 0.0, 0.7, **PLAIN))[0].weight
    step = float(0.7 * weight.double().std(unbiased=False))
    expected = naive_gptq(weight, inputs, step, 0.01)
    assert torch.equal((found.double() / step).round(), (expected / step).round())


def test_rdoq_spares_bits_that_rounding_spends():
    model, _ = linear(n_inputs=200)
    rounded = bake(rate_distortion(model, None, 0.0, 0.5))
    spared = bake(rate_distortion(model, None, 2e-4, 0.5, rate="entropy"))
    assert bits(spared) < 0.98 * bits(rounded)
    assert output_error(model, spared, torch.eye(200)) < 0.1


@pytest.mark.parametrize(
    "options", [{}, {"rate": "entropy"}, PLAIN], ids=["codec", "entropy", "plain"]
)
def test_the_output_errs_less_than_rounding_at_fewer_bits(options):
    model, inputs = linear(n_inputs=200, n_outputs=40)
    rounded = bake(rate_distortion(model, None, 0.0, 0.8))
    found = bake(rate_distortion(model, inputs, 3e-4, 0.8, **options))
    assert bits(found) < bits(rounded)
    assert output_error(model, found, inputs) < output_error(model, rounded, inputs)


@pytest.mark.parametrize("rate", ["entropy", "codec"])
def test_bits_do_not_rise_with_their_price(rate):
    model, inputs = linear(n_inputs=120, n_outputs=60)
    lams = (0.0, 1e-4, 1e-3, 1e-2)
    found = [bits(rate_distortion(model, inputs, lam, rate=rate)) for lam in lams]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5 * found[0]


def test_it_is_the_same_at_every_run_and_leaves_model_and_random_state_alone():
    model = convnet()
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    one, other = (rate_distortion(model, images(), 1e-3) for _ in range(2))
    assert same_state(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module.training for module in one.modules())


def test_all_kinds_of_layers_are_quantized():
    model = recalibrate_bn(convnet(), images(200))
    found = bake(rate_distortion(model, images(200), 1e-5, 0.3))
    for layer in (0, 3, 5, 8):
        assert torch.unique(found[layer].weight).numel() < 30
    assert output_error(model, found, images(50, seed=1)) < 0.05


def test_pruned_weights_stay_zero_or_are_free():
    model, inputs = linear()
    with torch.no_grad():
        model[0].weight[:, ::2] = 0
    kept = bake(rate_distortion(model, inputs, 1e-5))[0].weight
    free = bake(rate_distortion(model, inputs, 1e-5, mask=None, sparsity=0.1))[0].weight
    assert not kept[:, ::2].any()
    assert free[:, ::2].any()


def test_sparsity_is_reached_and_better_than_by_magnitude():
    model, inputs = linear(n_inputs=256, n_outputs=32)
    found = bake(rate_distortion(model, inputs, 0.0, 0.05, sparsity=0.7, **PLAIN))
    zeros = float((found[0].weight == 0).double().mean())
    assert 0.7 <= zeros < 0.75
    by_magnitude = copy.deepcopy(model)
    with torch.no_grad():
        weight = by_magnitude[0].weight
        weight[weight.abs() < weight.abs().flatten().kthvalue(int(0.7 * weight.numel()))[0]] = 0
    assert output_error(model, found, inputs) < output_error(model, by_magnitude, inputs)


def test_levels_may_be_those_of_a_codebook():
    model, inputs = linear(n_inputs=120)
    grid = codebooks(model, 4)
    nearest = bake(rate_distortion(model, None, 0.0, grid=grid))
    found = bake(rate_distortion(model, inputs, 0.0, grid=grid))
    allowed = {0.0, *grid["0"].tolist()}
    for quantized in (nearest, found):
        assert set(quantized[0].weight.flatten().tolist()) <= allowed
    assert output_error(model, found, inputs) < 0.7 * output_error(model, nearest, inputs)


def test_what_a_bias_makes_good_is_no_error():
    model, inputs = linear()
    model[0].bias = nn.Parameter(torch.zeros(20))
    inputs = inputs + 5
    found = rate_distortion(model, inputs, 1e-4)
    error = (found(inputs) - model(inputs)).mean(dim=0).abs().max()
    assert error <= 1e-3 * model(inputs).std()
    raw = rate_distortion(model, inputs, 1e-4, absorb=False)
    assert output_error(model, found, inputs) < output_error(model, raw, inputs)


def test_a_layer_repairs_what_its_predecessors_lost():
    (first, inputs), (second, _) = linear(n_outputs=60), linear(1, n_inputs=60)
    model = nn.Sequential(first, nn.ReLU(), second)
    options = {"lam": 0.0, "step": 1.0, "absorb": False}
    repaired, left = (
        rate_distortion(model, inputs, **options, repair=repair) for repair in (True, False)
    )
    assert torch.equal(bake(repaired)[0][0].weight, bake(left)[0][0].weight)
    assert output_error(model, repaired, inputs) < 0.9 * output_error(model, left, inputs)


def test_batch_normalization_is_recalibrated_on_the_way():
    found = rate_distortion(convnet(), images(), 1e-3)
    again = recalibrate_bn(found, [images()])
    for name in ("1.running_mean", "1.running_var"):
        torch.testing.assert_close(again.state_dict()[name], found.state_dict()[name])


def test_an_output_that_others_read_is_not_rescaled():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + 10 * y

    model = Reader().eval()
    with torch.no_grad():
        model.norm.weight.copy_(torch.linspace(0.1, 5, 8))
    found = rate_distortion(model, images(300), 1e-7, 0.02)
    recalibrated = recalibrate_bn(model, images(300))
    assert output_error(recalibrated, found, images(300)) < 1e-3


def test_blocks_of_columns_do_nearly_as_well_as_all_together(monkeypatch):
    model, inputs = linear(n_inputs=256)
    whole = bake(rate_distortion(model, inputs, 1e-4, **PLAIN))
    monkeypatch.setattr(sequential, "MOST_COLUMNS", 100)
    monkeypatch.setattr(sequential, "BLOCK_COLUMNS", 64)
    cut = bake(rate_distortion(model, inputs, 1e-4, **PLAIN))
    rounded = bake(rate_distortion(model, None, 0.0))
    errors = [output_error(model, each, inputs) for each in (whole, cut, rounded)]
    assert errors == sorted(errors)


def test_what_comes_back_can_be_trained():
    data = small_digits()
    found = rate_distortion(convnet_for_digits(), data.train_images[:256], 1e-3)
    batches = Batches(data.train_images[:256], data.train_labels[:256])
    fitted = fit(found, batches, 3, lr=3e-3)
    for name, weight in layer_weights(bake(found)):
        after = bake(fitted).get_submodule(name).weight
        assert torch.equal(after == 0, weight == 0)
    assert accuracy(fitted.eval(), data) > accuracy(found, data)


def convnet_for_digits():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(72, 10),
        ).eval()


def test_batches_and_pairs_are_taken_as_inputs():
    model, inputs = linear()
    labels = torch.zeros(len(inputs))
    whole = rate_distortion(model, inputs, 1e-3)
    paired = rate_distortion(model, Batches(inputs, labels, shuffle=False), 1e-3)
    assert same_state(whole, paired)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_weights_that_are_all_one_value_keep_it(value):
    model, inputs = linear()
    nn.init.constant_(model[0].weight, value)
    found = bake(rate_distortion(model, inputs, 1e-6))[0].weight
    assert torch.equal(found, model[0].weight)


def test_inputs_that_are_always_zero_have_no_weights():
    model, inputs = linear()
    inputs[:, 3] = 0
    found = bake(rate_distortion(model, inputs, 1e-5))[0].weight
    assert not found[:, 3].any()
    assert not bake(rate_distortion(model, 0 * inputs))[0].weight.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_keep_their_type(dtype):
    model, inputs = linear()
    found = bake(rate_distortion(model.to(dtype), inputs.to(dtype), 1e-5))
    assert found[0].weight.dtype == dtype
    assert len(torch.unique(found[0].weight)) < 20


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.used(x)


def not_finite():
    model, _ = linear()
    with torch.no_grad():
        model[0].weight[0, 0] = float("inf")
    return model


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.ReLU(), torch.ones(8, 4), "no convolution or linear layer"),
        (linear()[0], torch.ones(8, 7), r"cannot be run on those of shape \(4, 7\)"),
        (linear()[0], torch.ones(1, 48), "at least two inputs"),
        (linear()[0], torch.zeros(0, 48), "at least two inputs"),
        (linear()[0], torch.full((8, 48), torch.nan), "0: its inputs hold NaN"),
        (linear()[0], [None], "give a tensor, or batches"),
        (not_finite(), torch.ones(8, 48), r"0\.weight: it holds NaN"),
        (Unused(), torch.ones(8, 4), "unused: the model does not call this layer"),
        (nn.Sequential(nn.LazyLinear(4)), torch.ones(8, 4), "without weights; run the model once"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), torch.ones(8, 4), "parametrized"),
    ],
)
def test_what_cannot_be_quantized_is_named_and_left_alone(model, inputs, message):
    modules = list(model.modules())
    with pytest.raises(ArgumentError, match=message):
        rate_distortion(model, inputs, inplace=True)
    assert list(model.modules()) == modules
    assert all(module.training for module in modules)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": -1.0}, "lam: -1"),
        ({"step": 0.0}, "step: 0"),
        ({"step": 1e-5}, r"step: 1e-05 makes [\d,]+ levels of 0\.weight"),
        ({"mask": "drop"}, "mask: 'drop'; there are 'keep' and None"),
        ({"rate": "bits"}, "rate: 'bits'; there are 'entropy', 'codec'"),
        ({"sparsity": 1.0}, "sparsity: 1"),
        ({"damping": 0.0}, "damping: 0"),
        ({"grid": {"9": torch.ones(3)}}, "grid: '9' is no layer"),
        ({"layers": ["9"]}, "layers: '9'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    model, inputs = linear()
    with pytest.raises(ArgumentError, match=message):
        rate_distortion(model, inputs, **options)

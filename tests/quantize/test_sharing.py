import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnzip
from cnnzip.errors import ArgumentError
from cnnzip.quantize import codebooks, share
from cnnzip.tuning import Batches, bake, fit
from cnnzip.tuning.log import file_bytes
from cnnzip.tuning.parametrizations import Shared, find, raw_of, weight_of
from tests.torch.nets import same_state

METHODS = ("cws", "pws", "uq", "ecsq")


def net(seed=0, kept=0.6):
    """Two convolutions, a transposed one and a linear layer, pruned."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 6, 3),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, groups=2),
            nn.ConvTranspose2d(8, 4, 2),
            nn.Flatten(),
            nn.Linear(4 * 5 * 5, 3),
        )
        with torch.no_grad():
            for layer in (0, 2, 3, 5):
                weight = model[layer].weight
                weight.masked_fill_(torch.rand(weight.shape) >= kept, 0.0)
        return model


def data(n=40):
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(n, 1, 8, 8, generator=draws)
    return images, torch.randint(0, 3, (n,), generator=draws)


def shared_layers(model):
    return {name: m for name, m in model.named_modules() if hasattr(m, "parametrizations")}


@pytest.mark.parametrize("method", METHODS)
def test_share_leaves_k_levels_and_every_zero(method):
    model = net()
    before = {name: p.clone() for name, p in model.named_parameters()}
    shared = share(model, 5, method)
    for name, layer in shared_layers(shared).items():
        weight = weight_of(layer)
        assert torch.unique(weight[weight != 0]).numel() <= 5
        was_zero = before[f"{name}.weight"] == 0
        assert not weight[was_zero].any()
        if method != "uq":
            assert weight[~was_zero].all()
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


@pytest.mark.parametrize(("scope", "n_codebooks"), [("layer", 4), ("kind", 2), ("model", 1)])
def test_layers_of_a_scope_share_one_codebook(scope, n_codebooks):
    shared = share(net(), 6, scope=scope)
    books = {id(raw_of(layer)) for layer in shared_layers(shared).values()}
    assert len(books) == n_codebooks


def test_a_codebook_has_the_sum_of_the_gradients_of_its_weights():
    images, labels = data()
    shared = share(net(), 4)
    dense = bake(shared)
    for model in (shared, dense):
        functional.cross_entropy(model(images), labels).backward()
    for name, layer in shared_layers(shared).items():
        index = find(layer, Shared).index.flatten().numpy()
        gradient = dense.get_submodule(name).weight.grad.flatten().double().numpy()
        sums = np.bincount(index, gradient, minlength=raw_of(layer).numel() + 1)[1:]
        np.testing.assert_allclose(raw_of(layer).grad.numpy(), sums, rtol=1e-6, atol=1e-6)


def test_a_step_of_sgd_moves_each_level_by_its_summed_gradient():
    images, labels = data()
    shared = share(net(), 4, scope="model")
    layers = shared_layers(shared)
    (name, layer), *_ = layers.items()
    functional.cross_entropy(shared(images), labels).backward()
    expected = raw_of(layer).detach() - 0.1 * raw_of(layer).grad
    fitted = fit(
        shared,
        Batches(images, labels, size=40, shuffle=False),
        1,
        lr=0.1,
        optimizer=torch.optim.SGD,
        schedule="constant",
    )
    torch.testing.assert_close(raw_of(fitted.get_submodule(name)), expected)


@pytest.mark.parametrize("scope", ["layer", "kind"])
def test_training_moves_the_levels_and_nothing_else_of_them(scope):
    images, labels = data()
    shared = share(net(), 4, scope=scope)
    fitted = fit(shared, Batches(images, labels, size=8), 4, lr=1e-2)
    for name, layer in shared_layers(shared).items():
        after = fitted.get_submodule(name)
        assert torch.equal(find(after, Shared).index, find(layer, Shared).index)
        assert not torch.equal(raw_of(after), raw_of(layer))
        assert torch.equal(weight_of(after) == 0, weight_of(layer) == 0)
        assert len(torch.unique(weight_of(after))) == len(torch.unique(weight_of(layer)))
    with torch.no_grad():
        losses = [functional.cross_entropy(model(images), labels) for model in (shared, fitted)]
    assert losses[1] < losses[0]


def test_a_shared_model_and_its_file_hold_the_same_weights(tmp_path):
    shared = share(net(), 7)
    cnnzip.save(shared, tmp_path / "net.cnnz")
    loaded = cnnzip.load(tmp_path / "net.cnnz", net(1), keep="dense")
    found, expected = loaded.state_dict(), bake(shared).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_file_shrinks_as_ecsq_weighs_bits_more():
    model = nn.Sequential(nn.Linear(200, 120))
    sizes = [file_bytes(share(model, 32, "ecsq", lam=lam)) for lam in (0.0, 0.003, 0.03, 0.3)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.6 * sizes[0]


def test_each_layer_may_have_a_k_of_its_own():
    shared = share(net(), {"0": 2, "2": 3, "3": 4, "5": 5})
    sizes = [raw_of(layer).numel() for layer in shared_layers(shared).values()]
    assert sizes == [2, 3, 4, 5]


def test_codebooks_are_the_levels_that_share_gives():
    model = net()
    shared = share(model, 5)
    for name, levels in codebooks(model, 5).items():
        assert torch.equal(levels, raw_of(shared.get_submodule(name)).detach())


def test_inplace_changes_the_model_and_only_when_all_is_done():
    model = net()
    result = share(model, 5, inplace=True)
    assert result is model
    assert len(shared_layers(model)) == 4
    broken = net()
    with torch.no_grad():
        broken[5].weight[0, 0] = float("nan")
    with pytest.raises(ArgumentError, match=r"5\.weight: it holds NaN"):
        share(broken, 5, inplace=True)
    assert not shared_layers(broken)


def test_a_layer_of_zeros_stays_plain():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    nn.init.zeros_(model[0].weight)
    shared = share(model, 3)
    assert list(shared_layers(shared)) == ["1"]


def test_pws_draws_by_its_seed_and_leaves_the_global_state_alone():
    state = torch.random.get_rng_state()
    one, same, other = (share(net(), 5, "pws", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same_state(bake(one), bake(same))
    assert not same_state(bake(one), bake(other))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k: 0; give from 1 to 65,535"),
        ({"k": 70000}, "k: 70000"),
        ({"k": {"0": 3}}, "k: levels for 0"),
        ({"k": 4, "method": "kmeans"}, "method: 'kmeans'; there are 'cws', 'pws', 'uq', 'ecsq'"),
        ({"k": 4, "scope": "net"}, "scope: 'net'; there are 'layer', 'kind', 'model'"),
        ({"k": 4, "lam": 0.1}, "only 'ecsq' weighs entropy"),
        ({"k": 4, "method": "ecsq", "lam": -1.0}, "lam: -1"),
        ({"k": 4, "layers": ["9"]}, "layers: '9'"),
    ],
)
def test_share_refuses_what_it_cannot_do(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        share(net(), **arguments)


def test_share_refuses_a_model_without_layers():
    with pytest.raises(ArgumentError, match="no convolution or linear layer"):
        share(nn.Sequential(nn.ReLU()), 4)

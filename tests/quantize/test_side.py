import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from cnnzip.errors import ArgumentError
from cnnzip.quantize import share, shorten
from cnnzip.tuning import recalibrate_bn
from cnnzip.tuning.log import file_bytes
from cnnzip.tuning.parametrizations import FakeQuant, raw_of
from tests.torch.nets import near


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 64, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Flatten(),
            nn.LayerNorm(64 * 9),
            nn.Linear(64 * 9, 10),
        )
        for norm in (net[1], net[4]):
            nn.init.uniform_(norm.weight, 0.2, 2)
            nn.init.normal_(norm.bias)
        return recalibrate_bn(net, torch.randn(100, 1, 5, 5)).eval()


def inputs():
    return torch.randn(20, 1, 5, 5, generator=torch.Generator().manual_seed(1))


def test_all_digits_give_the_same_outputs_without_statistics():
    net = model()
    short = shorten(net, 24)
    assert near(short(inputs()), net(inputs()))
    assert not short[1].running_mean.any()
    assert bool((short[1].running_var == 1).all())


def test_eight_bits_change_outputs_little_and_halve_what_is_no_weight():
    net = model()
    short = shorten(net)
    change = (short(inputs()) - net(inputs())).abs().max() / net(inputs()).std()
    assert change < 0.02
    rest = [copy.deepcopy(each) for each in (net, short)]
    for each in rest:
        for layer in (0, 5):
            nn.init.zeros_(each[layer].weight)
    assert file_bytes(rest[1]) < 0.5 * file_bytes(rest[0])


def test_numbers_have_as_many_bits_as_asked_and_weights_all_of_theirs():
    net = model()
    short = shorten(net, 5)
    for each in (short[1].weight, short[1].bias, short[4].weight, short[5].bias):
        mantissa, _ = torch.frexp(each)
        assert torch.equal(mantissa * 32, (mantissa * 32).round())
    assert torch.equal(short[5].weight, net[5].weight)
    assert torch.equal(net[1].weight, model()[1].weight)


def test_codebooks_keep_their_digits():
    shared = share(model(), 4)
    assert torch.equal(raw_of(shorten(shared, 2)[5]), raw_of(shared[5]))


def test_steps_of_quantizers_keep_their_digits():
    net = model()
    register_parametrization(net[5], "weight", FakeQuant(net[5].weight, 4))
    assert torch.equal(shorten(net, 2)[5].weight, net[5].weight)


@pytest.mark.parametrize("bits", [0, 25])
def test_bits_that_no_number_has_are_refused(bits):
    with pytest.raises(ArgumentError, match=f"bits: {bits}; give significant bits from 1 to 24"):
        shorten(model(), bits)

"""Units, their removal, and batch norm folded."""

import copy

import pytest
import torch
from torch import nn

from benchmarks.networks import resnet_digits, vgg_digits
from cnnzip.errors import ArgumentError
from cnnzip.prune import bypassed, fold_bn, remove, units
from cnnzip.tuning import bake
from cnnzip.tuning.parametrizations import mask, weight_of
from tests.prune.small import vgg
from tests.prune.test_channels import IMAGES, Everything, Recurrent, built
from tests.torch.nets import near, same_state

EXAMPLE = IMAGES[:2]


def test_units_of_vgg_are_its_shape_preserving_triples_and_their_runs():
    found = units(vgg(), EXAMPLE)
    assert [unit.names for unit in found if unit.grain == "layer"] == [
        ("3", "4", "5"),
        ("11", "12", "13"),
        ("14", "15", "16"),
    ]
    assert [unit.names for unit in found if unit.grain == "block"] == [
        ("11", "12", "13", "14", "15", "16")
    ]


def test_units_of_resnet_are_its_blocks_with_plain_shortcuts():
    model = resnet_digits()
    found = units(model, EXAMPLE)
    residual = [n for n, m in model.named_modules() if type(m).__name__ == "_Residual"]
    assert len(residual) == 9
    # the first of the second and third width changes the shape
    plain = [name for i, name in enumerate(residual) if i not in (3, 6)]
    assert [unit.names for unit in found if unit.grain == "block"] == [(name,) for name in plain]
    layers = [unit.names[0] for unit in found if unit.grain == "layer"]
    assert len(layers) == 2 * len(plain) + 2
    assert {name.split(".")[0] for name in layers} == {name.split(".")[0] for name in residual}


@pytest.mark.parametrize("kind", [vgg_digits, resnet_digits, Everything])
def test_removing_a_unit_gives_what_bypassing_it_gives(kind):
    model = built(kind)
    before = copy.deepcopy(model)
    found = units(model, EXAMPLE)
    assert found
    whole = model(IMAGES)
    for unit in found:
        with bypassed(model, unit):
            around = model(IMAGES)
        removed = remove(model, unit)
        assert torch.equal(removed(IMAGES), around)
        assert not torch.equal(around, whole)
        assert set(removed.state_dict()) < set(model.state_dict())
    assert torch.equal(model(IMAGES), whole)
    assert same_state(model, before)


def test_a_removed_unit_is_no_unit_any_more():
    model = vgg()
    block = next(unit for unit in units(model, EXAMPLE) if unit.grain == "block")
    rest = units(remove(model, block), EXAMPLE)
    assert [unit.names for unit in rest] == [("3", "4", "5")]
    assert units(remove(model, block), EXAMPLE, blocks=["11"]) == rest  # it holds no layer now


def test_blocks_may_be_named():
    found = units(vgg(), EXAMPLE, blocks=["3", "7"])
    assert [unit.names for unit in found if unit.grain == "block"] == [("3",)]
    with pytest.raises(ArgumentError, match="blocks: no module '99'"):
        units(vgg(), EXAMPLE, blocks=["99"])
    with pytest.raises(ArgumentError, match="example: the model cannot be run on it"):
        units(vgg(), torch.zeros(1, 3))


@pytest.mark.parametrize("kind", [vgg_digits, resnet_digits, Everything])
def test_folding_batch_norm_keeps_outputs_and_zeros_and_stores_less(kind):
    model = built(kind)
    for layer in (m for m in model.modules() if type(m) is nn.Conv2d):
        mask(layer, weight_of(layer) > 0.02)
    folded = fold_bn(model, EXAMPLE)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert near(folded(IMAGES), model(IMAGES))
    plain = bake(model)
    for name, layer in folded.named_modules():
        if type(layer) is nn.Conv2d:
            assert torch.equal(layer.weight != 0, plain.get_submodule(name).weight != 0)
    stored = [sum(t.numel() for t in net.state_dict().values()) for net in (folded, plain)]
    assert stored[0] < stored[1]


def test_batch_norm_after_a_transposed_or_linear_layer_is_folded():
    model = nn.Sequential(
        nn.ConvTranspose2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(400, 6),
        nn.BatchNorm1d(6, affine=False),
    )
    model.train()(IMAGES)
    model.eval()
    folded = fold_bn(model, EXAMPLE)
    assert [type(m).__name__ for m in folded] == [
        "ConvTranspose2d", "Identity", "Flatten", "Linear", "Identity",
    ]  # fmt: skip
    assert near(folded(IMAGES), model(IMAGES))


class Shared(nn.Module):
    """A convolution whose outputs are also used without the batch norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.conv(x)
        return x + self.norm(x)


def test_batch_norm_is_not_folded_where_others_read_what_it_reads():
    model = built(Shared)
    assert same_state(fold_bn(model, EXAMPLE), model)


def test_units_are_found_where_nothing_can_be_traced():
    assert [u.names for u in units(Recurrent(), torch.rand(2, 3, 9))] == [("scale",)]

"""Masks, shared weights, fake quantization, and baking them in."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import cnnzip
from cnnzip.errors import ArgumentError
from cnnzip.tuning import FakeQuant, Mask, bake, targets
from cnnzip.tuning.parametrizations import find, kept_of, mask, raw_of, share, weight_of
from tests.torch.nets import convnet


def bits(tensor):
    return tensor.detach().contiguous().view(torch.int32)


def linear(seed=0):
    layer = nn.Linear(6, 4)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4, 6, generator=generator))
    return layer


def test_masked_weights_are_plus_zero_and_get_no_gradient():
    layer = linear()
    dense = weight_of(layer).clone()
    kept = dense > 0
    mask(layer, kept)
    assert torch.equal(bits(layer.weight), bits(torch.where(kept, dense, 0.0)))
    (layer.weight * 3).sum().backward()
    assert torch.equal(raw_of(layer).grad, 3.0 * kept)
    assert torch.equal(raw_of(layer), dense)


def test_straight_through_masks_give_the_same_weights_and_dense_gradients():
    layer = linear()
    dense = weight_of(layer).clone()
    kept = dense > 0
    mask(layer, kept, straight_through=True)
    assert torch.equal(bits(layer.weight), bits(torch.where(kept, dense, 0.0)))
    layer.weight.sum().backward()
    assert torch.equal(raw_of(layer).grad, torch.ones(4, 6))


def test_a_second_mask_changes_the_first():
    layer = linear()
    first = mask(layer, weight_of(layer) > -1)
    assert mask(layer, weight_of(layer) > 0) is first
    assert len(layer.parametrizations.weight) == 1
    assert torch.equal(kept_of(layer), layer.weight > 0)


def test_gradients_of_a_codebook_are_the_sums_over_its_indices():
    layer = linear()
    index = torch.arange(24).reshape(4, 6) % 4
    share(layer, index, nn.Parameter(torch.tensor([0.5, -1.0, 2.0])))
    assert torch.equal(layer.weight, torch.tensor([0.0, 0.5, -1.0, 2.0])[index])
    dense = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    (layer.weight * dense).sum().backward()
    sums = torch.bincount(index.flatten(), dense.flatten(), minlength=4)[1:]
    assert torch.allclose(raw_of(layer).grad, sums, rtol=0, atol=1e-6)
    assert [n for n, _ in layer.named_parameters()] == ["bias", "parametrizations.weight.original"]


def test_layers_that_share_a_codebook_share_it_after_copying_too():
    model = nn.Sequential(linear(), nn.Linear(4, 3))
    codebook = nn.Parameter(torch.tensor([1.0, -1.0]))
    for layer in model:
        share(layer, torch.ones_like(layer.weight, dtype=torch.uint8), codebook)
    copied = copy.deepcopy(model)
    assert raw_of(copied[0]) is raw_of(copied[1])
    assert raw_of(copied[0]) is not codebook
    assert sum(p.numel() for p in copied.parameters()) == 2 + 4 + 3


def test_an_index_past_the_codebook_is_refused():
    with pytest.raises(ArgumentError, match="not all from 0 to 1, the codebook's size"):
        share(linear(), torch.full((4, 6), 2), nn.Parameter(torch.ones(1)))
    with pytest.raises(ArgumentError, match=r"the weight has shape \(4, 6\)"):
        share(linear(), torch.ones(6, 4, dtype=torch.int64), nn.Parameter(torch.ones(1)))


@pytest.mark.parametrize("n_bits", [2, 3, 4])
def test_fake_quantization_has_its_levels_and_passes_gradients_through(n_bits):
    layer = linear()
    parametrize.register_parametrization(layer, "weight", FakeQuant(layer.weight, n_bits))
    step = find(layer, FakeQuant).step
    ratio = layer.weight / step
    assert torch.allclose(ratio, ratio.round(), atol=1e-5)
    assert ratio.abs().max() <= 2 ** (n_bits - 1) - 1 + 1e-5
    assert not (bits(layer.weight) == -(2**31)).any()  # no -0.0
    layer.weight.sum().backward()
    inside = (raw_of(layer) / step).abs() <= 2 ** (n_bits - 1) - 1
    assert torch.allclose(raw_of(layer).grad, inside.float())
    assert step.grad.abs() > 0
    with pytest.raises(ArgumentError, match="bits: 1, at least 2"):
        FakeQuant(layer.weight, 1)


def test_baking_keeps_every_bit_and_leaves_the_model():
    model = nn.Sequential(linear(), nn.ReLU(), nn.Linear(4, 8), nn.Linear(8, 3))
    mask(model[0], weight_of(model[0]) > 0)
    share(model[2], torch.arange(32).reshape(8, 4) % 3, nn.Parameter(torch.tensor([0.25, -3.0])))
    with torch.no_grad():
        model[3].weight[0] = -0.0
    mask(model[3], weight_of(model[3]) >= 0)
    parametrize.register_parametrization(model[3], "weight", FakeQuant(model[3].weight, 3))
    model[2].parametrizations.weight.original.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plain = bake(model)
    for layer, original in zip(
        (plain[0], plain[2], plain[3]), (model[0], model[2], model[3]), strict=True
    ):
        assert type(layer) is nn.Linear
        assert isinstance(layer.weight, nn.Parameter)
        assert torch.equal(bits(layer.weight), bits(original.weight))
        assert not (bits(layer.weight) == -(2**31)).any()
    assert [layer.weight.requires_grad for layer in (plain[0], plain[2], plain[3])] == [
        True,
        False,
        True,
    ]
    assert set(plain.state_dict()) == {
        f"{i}.{key}" for i in (0, 2, 3) for key in ("weight", "bias")
    }
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    x = torch.randn(5, 6)
    assert torch.equal(plain(x), model(x))


def test_a_model_is_saved_as_it_is_baked(tmp_path):
    model = convnet()
    for layer in targets(model).values():
        mask(layer, weight_of(layer) > 0)
    cnnzip.save(model, tmp_path / "a.cnnz")
    cnnzip.save(bake(model), tmp_path / "b.cnnz")
    assert (tmp_path / "a.cnnz").read_bytes() == (tmp_path / "b.cnnz").read_bytes()


def test_targets_are_chosen_by_name_or_function():
    model = nn.Sequential()
    model.body = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.ConvTranspose2d(2, 2, 3))
    model.head = nn.Linear(8, 8)
    model.rest = nn.Embedding(3, 8)
    assert list(targets(model)) == ["body.0", "body.2", "head"]
    assert list(targets(model, ["body"])) == list(targets(model, "body")) == ["body.0", "body.2"]
    assert list(targets(model, lambda name, layer: isinstance(layer, nn.Linear))) == ["head"]
    mask(model.head, weight_of(model.head) > 0)
    assert list(targets(model)) == ["body.0", "body.2", "head"]
    with pytest.raises(
        ArgumentError, match=r"'hed' is and holds no .* there are body.0, body.2, head"
    ):
        targets(model, ["hed"])


def refused():
    tied = nn.Sequential()
    tied.embedding, tied.out = nn.Embedding(8, 4), nn.Linear(4, 8)
    tied.out.weight = tied.embedding.weight
    meta = nn.Linear(2, 2, device="meta")
    normed = parametrizations.weight_norm(nn.Linear(2, 2))
    hooked = prune.l1_unstructured(nn.Linear(2, 2), "weight", amount=1)
    coded = cnnzip.compress(nn.Sequential(nn.Linear(2, 2)), codec="ham")
    return [
        pytest.param(nn.ReLU(), "ReLU: no convolution or linear layer", id="none"),
        pytest.param(coded, "coded: cnnzip.decompress it first", id="coded"),
        pytest.param(tied, "out.weight: the same Parameter as embedding.weight", id="tied"),
        pytest.param(
            nn.Sequential(nn.LazyLinear(2)), "0: a LazyLinear without weights; run", id="lazy"
        ),
        pytest.param(nn.Sequential(meta), "0.weight: it is on the meta device", id="meta"),
        pytest.param(
            nn.Sequential(normed), "0.weight: it is parametrized by _WeightNorm", id="normed"
        ),
        pytest.param(
            nn.Sequential(hooked), "0.weight: it is masked or normed by a hook", id="hooked"
        ),
    ]


@pytest.mark.parametrize(("model", "says"), refused())
def test_models_that_cannot_be_changed_are_refused_in_a_sentence(model, says):
    with pytest.raises(ArgumentError, match=says):
        targets(model)


def test_what_is_refused_as_parametrized_can_be_baked():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2)))
    assert list(targets(bake(model))) == ["0"]


def test_masks_find_themselves():
    layer = linear()
    assert find(layer, Mask) is None
    assert find(layer, Mask) is not mask(layer, weight_of(layer) > 0)
    assert isinstance(find(layer, Mask), Mask)

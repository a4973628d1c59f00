"""Compressing and decompressing models."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import cnnzip.torch
from cnnzip.errors import ArgumentError
from cnnzip.torch import CodedConv2d, CodedLayer, CodedLinear, compress, decompress
from tests.torch.nets import convnet, near, pruned, same_state


def coded_names(model):
    return [name for name, layer in model.named_modules() if isinstance(layer, CodedLayer)]


@pytest.mark.parametrize("codec", ["auto", "raw", "index-map", "ham", "sham", "fast"])
def test_round_trip_gives_every_weight_back(codec):
    model = convnet()
    before = copy.deepcopy(model)
    packed = compress(model, codec=codec)
    assert coded_names(packed) == ["0", "3", "5", "7"]
    assert same_state(model, before)
    plain = decompress(packed)
    assert same_state(plain, model)
    assert coded_names(packed) == ["0", "3", "5", "7"]
    assert all(p.requires_grad for p in plain.parameters())
    x = torch.randn(2, 3, 8, 8)
    assert near(packed.eval()(x), model.eval()(x))
    assert torch.equal(plain.eval()(x), model(x))


def test_in_place():
    model = convnet()
    state = copy.deepcopy(model.state_dict())
    packed = compress(model, inplace=True)
    assert packed is model
    assert coded_names(model)
    assert decompress(model, inplace=True) is model
    assert all(torch.equal(state[name], t) for name, t in model.state_dict().items())


def test_layers_are_chosen_by_name_type_or_function():
    model = nn.Sequential()
    model.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3))
    model.head = nn.Linear(8, 8)
    pruned(model)

    def found(layers):
        return coded_names(compress(model, codec="ham", layers=layers))

    assert found(None) == ["body.0", "body.2", "head"]
    assert found(["head"]) == found("head") == found([nn.Linear]) == found(nn.Linear) == ["head"]
    assert found(["body"]) == ["body.0", "body.2"]
    assert found(["body.2", nn.Linear]) == ["body.2", "head"]
    assert found(lambda name, layer: name != "head" and layer.in_channels == 1) == ["body.0"]
    assert found([]) == []


def test_layers_that_are_none_are_refused():
    model = nn.Sequential()
    model.encoder, model.lstm = pruned(nn.Linear(8, 8)), nn.LSTM(8, 8)
    with pytest.raises(ArgumentError, match="no module 'encodr'; near it are encoder"):
        compress(model, layers=["encodr"])
    with pytest.raises(ArgumentError, match="'lstm', a LSTM, is and holds none of Linear"):
        compress(model, layers=["lstm"])
    with pytest.raises(ArgumentError, match="neither a name nor a type"):
        compress(model, layers=[3])
    with pytest.raises(ArgumentError, match="no codec 'hem'"):
        compress(model, codec="hem")


def test_weights_that_do_not_shrink_stay_plain():
    model = nn.Sequential(nn.Linear(64, 64), pruned(nn.Linear(64, 64)))
    assert coded_names(compress(model)) == ["1"]


def test_a_codec_that_cannot_hold_a_weight_names_the_layer():
    model = nn.Sequential(nn.Linear(300, 300))
    with pytest.raises(ArgumentError, match=r"0\.weight: ham cannot hold"):
        compress(model, codec="ham")
    with pytest.raises(ArgumentError, match="meta"):
        compress(nn.Linear(3, 3, device="meta"))


def test_subclasses_and_embeddings_that_change_stay_plain():
    class Mine(nn.Linear):
        pass

    model = nn.ModuleList([Mine(8, 8), nn.Embedding(8, 8, max_norm=1.0), nn.Linear(8, 8)])
    assert coded_names(compress(pruned(model), codec="ham")) == ["2"]


# Tied weights


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = pruned(nn.Embedding(30, 8))
        self.head = nn.Linear(8, 30, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.embed(ids))


def test_tied_weights_share_a_frame_and_are_tied_again():
    model = Tied()
    packed = compress(model)
    assert packed.embed.weight is packed.head.weight
    ids = torch.arange(5)
    assert near(packed(ids), model(ids))
    plain = decompress(copy.deepcopy(packed))
    assert plain.embed.weight is plain.head.weight
    assert same_state(plain, model)


def test_a_weight_that_a_plain_module_shares_stays_plain():
    model = Tied()
    assert coded_names(compress(model, layers=["head"])) == []
    model.also = model.embed.weight
    assert coded_names(compress(model)) == []


def test_a_module_in_two_places_stays_one():
    layer = pruned(nn.Linear(8, 8))
    model = nn.ModuleDict({"a": layer, "b": nn.Sequential(layer)})
    packed = compress(model)
    assert packed["a"] is packed["b"][0]
    assert isinstance(packed["a"], CodedLinear)
    assert decompress(packed)["a"].weight is not model["a"].weight


# Masks, parametrizations and norms


def test_masks_are_made_permanent_in_the_copy():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 8), nn.LSTM(8, 4))
    for layer, name in ((model[0], "weight"), (model[2], "weight"), (model[3], "weight_ih_l0")):
        prune.l1_unstructured(layer, name, amount=0.95)
    prune.random_unstructured(model[2], "weight", amount=0.2)
    x = torch.randn(2, 1, 8, 8)
    expected = model(x)[0]
    packed = compress(model)
    assert isinstance(packed[0], CodedConv2d)
    assert not any("mask" in name or "orig" in name for name in packed.state_dict())
    assert not packed[0]._forward_pre_hooks
    assert near(packed(x)[0], expected)
    assert near(decompress(packed)(x)[0], expected)
    assert hasattr(model[2], "weight_orig")
    assert torch.equal(model(x)[0], expected)
    assert torch.equal(packed[2].dense(), torch.where(model[2].weight == 0, 0, model[2].weight))


class Rounded(nn.Module):
    def forward(self, weight):
        return (weight * 8).round() / 8


def test_parametrizations_are_made_permanent_in_the_copy():
    model = nn.Sequential(nn.Linear(32, 16), nn.Linear(16, 16))
    parametrize.register_parametrization(model[0], "weight", Rounded())
    parametrize.register_parametrization(model[1], "bias", Rounded())
    x = torch.randn(3, 32)
    packed = compress(model, layers=[nn.Linear], codec="ham")
    assert coded_names(packed) == ["0", "1"]
    assert near(packed(x), model(x))
    assert parametrize.is_parametrized(model[0])
    assert list(decompress(packed).state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
@pytest.mark.parametrize("home", [nn.utils, parametrizations], ids=["hooks", "parametrization"])
def test_norms_are_made_permanent_in_the_copy(home, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = nn.Sequential(getattr(home, kind)(nn.Linear(32, 16)))
    x = torch.randn(3, 32)
    model(x)
    model.eval()
    expected = model(x)
    packed = compress(model, codec="index-map")
    assert coded_names(packed) == ["0"]
    assert near(packed(x), expected)
    assert near(decompress(packed)(x), expected)
    assert torch.equal(model(x), expected)


# Modules that use their layers' weights


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_transformer_runs_in_eval_mode(mode):
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = pruned(nn.TransformerEncoder(layer, 2)).eval()
    packed = compress(model, codec="ham")
    assert coded_names(packed) == [f"layers.{i}.linear{j}" for i in (0, 1) for j in (1, 2)]
    x = torch.randn(2, 5, 16)
    padding = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]).bool()
    with mode():
        for mask in (None, padding):
            found, expected = (m(x, src_key_padding_mask=mask)[:, :3] for m in (packed, model))
            assert torch.allclose(found, expected, atol=1e-5)
    plain = decompress(packed)
    assert plain.use_nested_tensor
    assert plain.layers[1].activation_relu_or_gelu == 1
    assert vars(plain).keys() == vars(model).keys()
    with mode():
        assert torch.equal(plain(x), model(x))


def test_an_encoder_and_decoder_run():
    model = pruned(nn.Transformer(16, 2, 1, 1, 32, batch_first=True)).eval()
    packed = compress(model, codec="sham")
    x, y = torch.randn(2, 5, 16), torch.randn(2, 4, 16)
    with torch.no_grad():
        assert torch.allclose(packed(x, y), model(x, y), atol=1e-5)


def test_attention_and_recurrent_modules_stay_plain():
    model = nn.ModuleDict({
        "attention": nn.MultiheadAttention(16, 2),
        "lstm": nn.LSTM(8, 8),
        "gru": nn.GRU(8, 8),
        "bilinear": nn.Bilinear(4, 4, 4),
    })  # fmt: skip
    packed = compress(pruned(model), codec="ham")
    assert coded_names(packed) == []
    assert same_state(packed, model)
    assert cnnzip.torch.decompress(packed) is not packed


@pytest.mark.parametrize(("n_direct", "is_coded"), [(1500, True), (1501, False)])
def test_rather_than_raw_a_codec_that_multiplies_if_it_is_near(monkeypatch, n_direct, is_coded):
    class Sized:
        """A stand-in of this many bytes."""

        def __init__(self, nbytes, multiplies):
            self.nbytes, self.coded = nbytes, self
            self.multiplies = multiplies

    sizes = {"auto": Sized(1000, False), "direct": Sized(n_direct, True)}
    monkeypatch.setattr(cnnzip.torch.model, "encode", lambda weight, codec: sizes[codec])
    assert cnnzip.torch.model._code(torch.zeros(750), "auto", "fc") is (
        sizes["direct"] if is_coded else None
    )
    assert cnnzip.torch.model._code(torch.zeros(749), "auto", "fc") is None  # not half its bytes

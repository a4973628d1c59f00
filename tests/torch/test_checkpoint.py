"""Models and state dicts as named tensors, and files into models."""

import copy
import warnings
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from cnnzip.errors import ArgumentError, CorruptError
from cnnzip.tensor import CodedTensor, encode
from cnnzip.torch import CodedLayer, compress, decompress, fill, named_tensors, state_dict_of
from cnnzip.torch.frames import parse
from tests.torch.nets import convnet, near, pruned, same_state
from tests.torch.test_model import Rounded, Tied, coded_names


class Opened(dict):
    """What an opened file offers."""

    def __init__(self, source, codec="auto"):
        tensors, self.aliases, self.notes = named_tensors(source)
        self.metadata = {}
        for name, tensor in tensors.items():
            coded = tensor if isinstance(tensor, CodedTensor) else encode(tensor, codec)
            self[name] = CodedTensor.from_frame(coded.to_frame(name))

    def __missing__(self, name):
        return self[self.aliases[name]]


# To a file


def test_a_packed_model_gives_its_frames_and_plain_tensors():
    model = convnet()
    packed = compress(model)
    for source in (packed, packed.state_dict(), copy.deepcopy(packed.state_dict())):
        tensors, aliases, notes = named_tensors(source)
        assert tensors.keys() == model.state_dict().keys()
        coded = {name for name, tensor in tensors.items() if isinstance(tensor, CodedTensor)}
        assert coded == {f"{name}.weight" for name in coded_names(packed)}
        assert not aliases
        assert not notes
    tensors, aliases, notes = named_tensors(packed[0])
    assert isinstance(tensors["weight"], CodedTensor)


def test_masks_are_applied_with_a_note():
    model = nn.Sequential(nn.Linear(32, 16), nn.LSTM(4, 4))
    prune.l1_unstructured(model[0], "weight", amount=0.9)
    prune.l1_unstructured(model[1], "weight_hh_l0", amount=0.5)
    names = {"0.bias", "0.weight", *(f"1.{name}" for name in nn.LSTM(4, 4).state_dict())}
    for source in (model, model.state_dict(), dict(model.state_dict())):
        tensors, _, notes = named_tensors(source)
        assert tensors.keys() == names
        assert torch.equal(tensors["0.weight"], model[0].weight)
        assert len(notes) == 1
        assert "0.weight, 1.weight_hh_l0" in notes[0]
    assert prune.is_pruned(model)


def test_parametrizations_of_a_model_are_applied_with_a_note():
    model = nn.Sequential(nn.Linear(32, 16))
    parametrize.register_parametrization(model[0], "weight", Rounded())
    tensors, _, notes = named_tensors(model)
    assert list(tensors) == ["0.bias", "0.weight"]
    assert torch.equal(tensors["0.weight"], model[0].weight)
    assert notes == ["stored with their masks or parametrizations applied: 0.weight"]


@pytest.mark.parametrize("make", [Tied, lambda: compress(Tied())], ids=["plain", "packed"])
def test_tied_tensors_are_aliases(make):
    tensors, aliases, _ = named_tensors(make())
    assert list(tensors) == ["embed.weight"]
    assert aliases == {"head.weight": "embed.weight"}


def test_views_of_other_places_are_no_aliases():
    base = torch.arange(6.0)
    state = {
        "a": base,
        "b": base[1:],
        "c": base.view(2, 3),
        "d": base[:0],
        "e": base[:0],
        "f": base[:],
    }
    tensors, aliases, _ = named_tensors(state)
    assert list(tensors) == ["a", "b", "c", "d", "e"]
    assert aliases == {"f": "a"}


REFUSED = {
    "extra state": (lambda: {"a": torch.ones(2), "b._extra_state": b"1"}, "get_extra_state"),
    "a number": (lambda: {"epoch": 3, "a": torch.ones(2)}, r"'epoch' \(int\)"),
    "a checkpoint": (lambda: {"model": {"a": torch.ones(2)}, "epoch": 3}, "save its 'model' alone"),
    "sparse": (lambda: {"a": torch.eye(3).to_sparse()}, r"a.to_dense\(\)"),
    "sparse rows": (lambda: {"a": torch.eye(3).to_sparse_csr()}, r"a.to_dense\(\)"),
    "meta": (lambda: {"a": torch.ones(3, device="meta")}, "meta device"),
    "a list": (lambda: [torch.ones(3)], "neither a model nor a state dict: list"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_plain_tensor_is_refused(source, message):
    with pytest.raises(ArgumentError, match=message):
        named_tensors(source())


def test_a_damaged_frame_is_named():
    state = compress(convnet()).state_dict()
    state["5.weight"] = state["5.weight"].clone()
    state["5.weight"][200] ^= 1
    with pytest.raises(CorruptError, match=r"5\.weight: "):
        named_tensors(state)


# From a file


def test_a_file_gives_a_dense_state_dict():
    model = Tied()
    state = state_dict_of(Opened(compress(model)))
    assert state["embed.weight"] is state["head.weight"]
    twin = Tied()
    twin.load_state_dict(state)
    assert same_state(twin, model)


@pytest.mark.parametrize("keep", ["coded", "fast", "dense"])
@pytest.mark.parametrize("source", ["plain", "packed"])
@pytest.mark.parametrize("target", ["plain", "packed", "meta"])
def test_fill_gives_every_tensor_back(source, target, keep):
    model = convnet()
    model(torch.randn(4, 3, 8, 8))
    file = Opened(compress(model) if source == "packed" else model)
    if target == "meta":
        with torch.device("meta"):
            twin = convnet()
    else:
        twin = pruned(convnet(), seed=5)
        twin = compress(twin) if target == "packed" else twin
    filled = fill(twin, file, keep)
    assert filled is twin
    coding = [name for name in ("0", "3", "5", "7") if file[f"{name}.weight"].coded.multiplies]
    assert coded_names(filled) == (coding if keep != "dense" else [])
    assert coding
    for name in coded_names(filled) if keep == "fast" else ():
        assert parse(filled.get_submodule(name).weight).codec == "fast"
    assert same_state(decompress(filled), model)
    x = torch.randn(2, 3, 8, 8)
    assert near(filled.eval()(x), model.eval()(x))


def test_weights_by_mixed_are_coded_anew_where_a_layer_computes_from_them():
    model = pruned(nn.Sequential(nn.Linear(200, 300), nn.Linear(300, 8)))
    opened = Opened(model, "smallest")
    assert opened["0.weight"].codec == "mixed"
    x = torch.randn(5, 200)
    for keep, codec in (("coded", ("banded", "ham", "sham", "fast")), ("fast", ("fast",))):
        filled = fill(nn.Sequential(nn.Linear(200, 300), nn.Linear(300, 8)), opened, keep)
        assert parse(filled[0].weight).codec in codec
        assert near(filled(x), model(x))
        assert same_state(decompress(filled), model)
    dense = fill(nn.Sequential(nn.Linear(200, 300), nn.Linear(300, 8)), opened, "dense")
    assert same_state(dense, model)


def test_weights_that_fast_cannot_hold_keep_their_codec():
    layer = torch.nn.Linear(250, 200)
    with torch.no_grad():
        layer.weight.view(-1)[:] = torch.arange(50_000) - 20_000.0
    filled = fill(torch.nn.Linear(250, 200), Opened(layer, "ham"), "fast")
    assert parse(filled.weight).codec == "ham"
    assert same_state(decompress(filled), layer)


def test_a_file_of_raw_tensors_makes_plain_layers():
    model = convnet()
    packed = fill(compress(pruned(convnet(), seed=5)), Opened(model, "raw"))
    assert coded_names(packed) == []
    assert same_state(packed, model)


@pytest.mark.parametrize("keep", ["coded", "fast", "dense"])
@pytest.mark.parametrize("target", [Tied, lambda: compress(Tied())], ids=["plain", "packed"])
def test_tied_weights_stay_tied(target, keep):
    model = Tied()
    with torch.no_grad():
        model.embed.weight[3, 4] = 7
    filled = fill(target(), Opened(compress(model)), keep)
    plain = decompress(filled)
    assert isinstance(filled.head, CodedLayer) == (keep != "dense")
    assert plain.embed.weight is plain.head.weight
    assert same_state(plain, model)


def test_tied_weights_refuse_two_tensors():
    file = Opened(OrderedDict((name, t.clone()) for name, t in Tied().state_dict().items()))
    assert not file.aliases
    fill(Tied(), file)
    file["head.weight"] = encode(torch.zeros(30, 8))
    with pytest.raises(
        ArgumentError, match=r"head\.weight: one tensor with embed\.weight in the model"
    ):
        fill(Tied(), file)


def test_a_single_layer_is_returned_anew():
    layer = pruned(nn.Linear(8, 8))
    filled = fill(nn.Linear(8, 8), Opened(layer))
    assert torch.equal(filled.dense(), layer.weight)
    assert same_state(fill(filled, Opened(layer), "dense"), layer)


def test_a_misfit_changes_nothing():
    file = Opened(convnet())
    missing, unexpected, shape, dtype = (copy.copy(file) for _ in range(4))
    for other in (missing, unexpected, shape, dtype):
        other.aliases = {}
    del missing["7.bias"]
    unexpected["8.bias"] = file["7.bias"]
    shape["7.bias"] = encode(torch.zeros(11))
    dtype["7.bias"] = encode(torch.zeros(10).half())
    for wrong, message in (
        (missing, "the file lacks 7.bias"),
        (unexpected, "the model has no 8.bias"),
        (shape, r"7.bias: float32 \(11,\) in the file, float32 \(10,\) in the model"),
        (dtype, r"7.bias: float16 \(10,\) in the file"),
    ):
        for twin in (pruned(convnet(), seed=5), compress(pruned(convnet(), seed=5))):
            before = copy.deepcopy(twin)
            with pytest.raises(ArgumentError, match=message):
                fill(twin, wrong)
            assert same_state(twin, before)
    with pytest.raises(ArgumentError, match="there are coded, fast, dense"):
        fill(convnet(), file, "packed")
    masked = nn.Sequential(nn.Linear(4, 4))
    prune.identity(masked[0], "weight")
    with pytest.raises(ArgumentError, match="masks or parametrizations"):
        fill(masked, Opened(nn.Sequential(nn.Linear(4, 4))))


def test_lazy_layers_are_named():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = nn.Sequential(nn.LazyLinear(4))
    with pytest.raises(ArgumentError, match=r"0\.weight: run the model once"):
        fill(model, Opened(nn.Sequential(nn.Linear(3, 4))))


def test_modules_that_use_their_layers_weights_run_after_fill():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = pruned(nn.TransformerEncoder(layer, 1)).eval()
    filled = fill(copy.deepcopy(model), Opened(model, "ham"))
    assert coded_names(filled) == ["layers.0.linear1", "layers.0.linear2"]
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        assert torch.allclose(filled(x), model(x), atol=1e-5)

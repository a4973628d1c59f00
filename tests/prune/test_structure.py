"""Networks that lost layers or channels, from their files onto the classes they were built as."""

import copy
import json

import pytest
import torch
from torch import nn

import cnnzip
from cnnzip.container.structure import STRUCTURE, Structure
from cnnzip.errors import ArgumentError, CnnzipError, CorruptError
from cnnzip.prune import (
    compact,
    drop_resconv,
    fold_bn,
    one_shot,
    prune_channels,
    remove,
    units,
)
from cnnzip.quantize import rate_distortion, shorten
from cnnzip.torch.structure import structure_of
from cnnzip.tuning import bake, fit
from tests.prune.small import batches, resnet, vgg
from tests.prune.test_channels import IMAGES, Everything, Recurrent, built
from tests.prune.test_resconv import trained_resconv
from tests.torch.nets import near, same_state

EXAMPLE = IMAGES[:2]
KINDS = (vgg, resnet, Everything)


def without_layers(model, n=2):
    for unit in units(model, EXAMPLE, blocks=())[-n:]:
        model = remove(model, unit)
    return model


def without_block(model):
    return remove(model, units(model, EXAMPLE)[0])


def without_channels(model):
    return prune_channels(model, EXAMPLE, 0.5)


def without_dead_channels(model):
    return compact(one_shot(model, 0.998), EXAMPLE)


def without_norms(model):
    return fold_bn(model, EXAMPLE)


def without_anything(model):
    model = without_norms(without_channels(without_layers(without_block(model), 1)))
    return shorten(rate_distortion(compact(one_shot(model, 0.9), EXAMPLE), IMAGES))


WAYS = (
    *(without_layers, without_block, without_channels, without_dead_channels, without_norms),
    without_anything,
)


def is_like(model, other):
    """Whether two models have the same modules, settings, tensors and outputs."""
    model, other = model.eval(), other.eval()
    one, two = model.state_dict(), other.state_dict()  # in the order of the modules, or of `bake`
    same = one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    return same and str(model) == str(other) and torch.equal(model(IMAGES), other(IMAGES))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_lost_something_loads_onto_its_class(kind, way, tmp_path):
    small = way(built(kind))
    assert structure_of(small) != Structure()
    cnnzip.save(small, tmp_path / "s.cnnz", codec="raw")  # for speed
    fresh = kind()
    loaded = cnnzip.load(tmp_path / "s.cnnz", fresh, keep="dense")
    assert loaded is fresh
    assert is_like(loaded, bake(small))
    cnnzip.save(loaded, tmp_path / "again.cnnz", codec="raw")
    with cnnzip.open(tmp_path / "s.cnnz") as one, cnnzip.open(tmp_path / "again.cnnz") as two:
        assert one.metadata == two.metadata


@pytest.mark.parametrize("kind", [vgg])
def test_a_network_without_resconvs_loads_onto_the_class_that_had_none(kind, tmp_path):
    small = drop_resconv(trained_resconv(kind, (0, 2)), EXAMPLE)
    cnnzip.save(small, tmp_path / "s.cnnz")
    assert is_like(cnnzip.load(tmp_path / "s.cnnz", kind(), keep="dense"), small)


def test_it_loads_coded_and_onto_the_meta_device_too(tmp_path):
    small = without_anything(built(vgg))
    cnnzip.save(small, tmp_path / "s.cnnz")
    for keep in ("coded", "fast"):
        loaded = cnnzip.load(tmp_path / "s.cnnz", vgg(), keep=keep).eval()
        assert any(isinstance(module, cnnzip.torch.CodedLayer) for module in loaded.modules())
        assert near(loaded(IMAGES), small(IMAGES))
        assert structure_of(loaded) == structure_of(small)
    with torch.device("meta"):
        fresh = vgg()
    loaded = cnnzip.load(tmp_path / "s.cnnz", fresh, keep="dense")
    assert is_like(loaded, bake(small))


class Holder(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        return self.part(x)


PATHS = {
    "copy": copy.deepcopy,
    "bake": bake,
    "compress": lambda model: cnnzip.compress(model, "raw"),
    "decompress": lambda model: cnnzip.decompress(cnnzip.compress(model, "raw")),
    "masks": lambda model: one_shot(model, 0.5),
    "training": lambda model: fit(model, batches(), 0),
    "loading": lambda model: cnnzip.load(_saved(model), built(vgg)),
    "file": lambda model: cnnzip.open(_saved(model)),
    "half": lambda model: copy.deepcopy(model).half(),
}
SAVED = []


def _saved(model):
    cnnzip.save(model, SAVED[-1], codec="raw")
    return SAVED[-1]


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_what_was_lost_is_known_after(path, tmp_path):
    SAVED.append(tmp_path / "between.cnnz")
    small = without_norms(without_channels(without_layers(built(vgg))))
    found = path(small)
    cnnzip.save(found, tmp_path / "s.cnnz", codec="raw")
    with cnnzip.open(tmp_path / "s.cnnz") as file:
        assert Structure.parse(file.metadata) == structure_of(small)


def test_a_part_of_a_model_knows_what_it_lost(tmp_path):
    small = without_channels(without_layers(built(vgg)))
    cnnzip.save(Holder(small), tmp_path / "s.safetensors")
    loaded = cnnzip.load(tmp_path / "s.safetensors", Holder(vgg()), keep="dense")
    assert is_like(loaded.part, small)


def test_it_loads_onto_a_copy_of_itself_as_well(tmp_path):
    small = without_anything(built(vgg))
    cnnzip.save(small, tmp_path / "s.cnnz", codec="raw")
    assert is_like(cnnzip.load(tmp_path / "s.cnnz", bake(small), keep="dense"), bake(small))


def test_who_lost_nothing_has_no_record_and_one_takes_few_bytes(tmp_path):
    dense = built(vgg)
    cnnzip.save(one_shot(dense, 0.9), tmp_path / "d.cnnz", codec="raw", metadata={"a": "b"})
    with cnnzip.open(tmp_path / "d.cnnz") as file:
        assert file.metadata == {"a": "b"}
    small = without_channels(dense)
    cnnzip.save(small, tmp_path / "s.cnnz", codec="raw", metadata={"a": "b"})
    with cnnzip.open(tmp_path / "s.cnnz") as file:
        assert file.metadata.keys() == {"a", STRUCTURE}
        assert Structure.parse(file.metadata).resized > 7
        assert len(file.metadata[STRUCTURE]) <= len('{"resized":99}')


def test_the_key_is_kept_for_records_alone(tmp_path):
    state = {"w": torch.zeros(3)}
    record = {STRUCTURE: '{"removed":["relu"]}'}
    cnnzip.save(state, tmp_path / "s.cnnz", metadata=record)
    with cnnzip.open(tmp_path / "s.cnnz") as file:
        assert file.metadata == record
    with pytest.raises(CorruptError, match=r"cnnzip.structure.*no JSON.*\[ENV-14\]"):
        cnnzip.save(state, tmp_path / "s.cnnz", metadata={STRUCTURE: "mine"})
    with pytest.raises(ArgumentError, match="told by the model itself"):
        cnnzip.save(nn.Linear(2, 2), tmp_path / "s.cnnz", metadata=record)


def plain():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=2),
        nn.Sequential(nn.Conv2d(8, 8, 3), nn.PReLU(8)),
        nn.Flatten(),
        nn.Linear(32, 4),
    )


def state(changes):
    """The tensors of `plain`, with others in the place of some; those of None are left out."""
    tensors = plain().state_dict() | changes
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def of(*removed, resized=0):
    return json.dumps({"removed": removed, "resized": resized})


NARROW = {
    "0.weight": torch.ones(5, 1, 3, 3),
    **{f"1.{name}": torch.ones(5) for name in ("weight", "bias", "running_mean", "running_var")},
}
REFUSED = {
    "an unknown module": (of("2", "9"), {}, "'9' that it was removed, and the model has no such"),
    "an unknown part": (of("4.7"), {}, "'4.7' that it was removed"),
    "a part of what is no container": (of("0.weight.data"), {}, "'0.weight.data' that it was"),
    "a tensor": (of("0.weight"), {}, "'0.weight' that it was removed"),
    "an attribute": (of("forward"), {}, "'forward' that it was removed"),
    "a private attribute": (of("__class__"), {}, "'__class__' that it was removed"),
    "a part of what was removed": (of("4", "4.0"), {}, r"'4\.0' that it was removed"),
    "a module whose tensors are there": (of("0"), {}, r"the model has no 0\.weight"),
    "a module that is not told of": (of("2"), {"0.weight": None}, r"the file lacks 0\.weight"),
    "a larger layer": (of(resized=9), {"6.weight": torch.ones(4, 33)}, r"\(4, 33\) in the file"),
    "no channels": (of(resized=9), {"6.weight": torch.ones(4, 0)}, r"\(4, 0\) in the file"),
    "another kernel": (of(resized=9), {"0.weight": torch.ones(8, 1, 1, 3)}, r"1, 3\) in the file"),
    "other dimensions": (of(resized=9), {"0.weight": torch.ones(5)}, r"\(5,\) in the file"),
    "a bias of another size": (of(resized=9), {"6.bias": torch.ones(3)}, r"\(3,\) in the file"),
    "a group's channels": (of(resized=9), {"3.weight": torch.ones(6, 4, 3, 3)}, r"\(6, 4, 3, 3\)"),
    "an unknown kind": (of(resized=9), {"4.1.weight": torch.ones(5)}, r"\(5,\) in the file"),
    "another type": (of(resized=9), {"6.weight": torch.ones(4, 9).half()}, "float16"),
    "more layers than told": (of(resized=1), NARROW, "tells of 1 layers .* and 2 of the model"),
    "layers that are not told of": (of("2"), NARROW, r"\(5, 1, 3, 3\) in the file"),
    "an unexpected bias": (of("2"), {"0.bias": torch.ones(8)}, r"the model has no 0\.bias"),
    "no JSON": ("{", {}, "no JSON"),
    "deep JSON": ("[" * 200_000, {}, "no JSON"),
    "many names": (of(*map(str, range(60_000))), {}, "'7' that it was removed"),
    "a huge number": ('{"resized":' + "9" * 6000 + "}", {}, "no JSON"),
    "another member": ('{"call":["os.system"]}', {}, "not an object of removed and resized alone"),
    "the model itself": (of(""), {}, "name '' has 0 bytes"),
}  # fmt: skip


@pytest.mark.parametrize(("record", "changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_one_sentence_and_changes_nothing(
    record, changes, message, tmp_path, monkeypatch
):
    with monkeypatch.context() as unchecked:
        unchecked.setattr("cnnzip.api._with_structure", lambda obj, metadata: metadata)
        cnnzip.save(state(changes), tmp_path / "s.cnnz", metadata={STRUCTURE: record})
    model = plain()
    before, modules = copy.deepcopy(model), list(model.modules())
    held = {name: id(tensor) for name, tensor in model.state_dict(keep_vars=True).items()}
    with pytest.raises(CnnzipError, match=message) as caught:
        cnnzip.load(tmp_path / "s.cnnz", model)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 1000
    assert str(model) == str(before)
    assert same_state(model, before)
    assert list(model.modules()) == modules
    assert {n: id(t) for n, t in model.state_dict(keep_vars=True).items()} == held
    assert structure_of(model) == Structure()


def test_what_is_told_of_and_fits_is_taken(tmp_path):
    """Two layers narrower, one of them with a bias of its own."""
    tensors = state(NARROW | {"0.bias": torch.ones(5)})
    cnnzip.save(tensors, tmp_path / "s.cnnz", metadata={STRUCTURE: of("2", resized=2)})
    loaded = cnnzip.load(tmp_path / "s.cnnz", plain(), keep="dense")
    assert (loaded[0].out_channels, loaded[1].num_features) == (5, 5)
    assert torch.equal(loaded[0].bias, torch.ones(5))
    assert loaded[0].bias.requires_grad
    assert type(loaded[2]) is nn.Identity
    assert structure_of(loaded) == Structure(("2",), 2)


def test_a_damaged_file_leaves_the_structure_as_it_was(tmp_path, monkeypatch):
    small = without_norms(without_channels(built(vgg)))
    cnnzip.save(small, tmp_path / "s.cnnz")
    model = vgg()
    before = copy.deepcopy(model)

    def broken(tensor):
        raise CorruptError("FRM-5", "a frame", "damaged")

    monkeypatch.setattr("cnnzip.torch.checkpoint.dense_of", broken)
    with pytest.raises(CorruptError):
        cnnzip.load(tmp_path / "s.cnnz", model)
    assert str(model) == str(before)
    assert same_state(model, before)


def test_layers_that_nothing_is_removed_from_stay_what_they_are(tmp_path):
    model = Recurrent().eval()
    small = remove(model, units(model, torch.rand(2, 3, 9))[0])
    cnnzip.save(small, tmp_path / "s.cnnz")
    loaded = cnnzip.load(tmp_path / "s.cnnz", Recurrent(), keep="dense").eval()
    x = torch.rand(2, 3, 9)
    assert str(loaded) == str(small)
    assert torch.equal(loaded(x), small(x))

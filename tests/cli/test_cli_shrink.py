"""`cnnzip shrink`, as a user runs it."""

import importlib
import json
import os
import re
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import cnnzip
from cnnzip.cli import shrink
from cnnzip.prune import prune_channels
from tests.cli.test_cli import run

NETS = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 5))

class Pair(Net):
    def forward(self, x):
        return {"y": (super().forward(x).reshape(-1, 5, 1), "no tensor"), "n": torch.ones(3)}

class Nothing(Net):
    def forward(self, x):
        return {"n": x.argmax(1)}

class Overflowing(Net):
    def forward(self, x):
        return super().forward(x) / 0

class Options:
    def __init__(self, width):
        self.width = width

def trained():
    torch.manual_seed(0)
    return Net()

def broken():
    raise OSError("weights.bin\\nis not there")

def empty():
    return nn.Sequential(nn.BatchNorm1d(16), nn.ReLU())

def lazy():
    return nn.Sequential(nn.LazyLinear(5))

def lazy_norm():
    return nn.Sequential(nn.Linear(16, 5), nn.LazyBatchNorm1d())

def tied():
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
    model[0].weight = model[2].weight
    return model

def holed():
    model = trained()
    nn.init.constant_(model[3].weight, torch.nan)
    return model

def normed():
    model = trained()
    nn.utils.parametrizations.weight_norm(model[3])
    return model

number = 3
net = trained()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with a module, inputs, and weights of a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "nets.py").write_text(NETS)
    np.save("inputs.npy", inputs().numpy())
    yield tmp_path
    sys.modules.pop("nets", None)


def inputs(n=160):
    return torch.randn(n, 16, generator=torch.Generator().manual_seed(1))


def nets():
    sys.path.insert(0, os.getcwd())
    return importlib.import_module("nets")


def shrunk(capsys, *arguments):
    status, out, _ = run(capsys, "shrink", *arguments, "--json")
    assert status == 0
    return json.loads(out)


MODELS = {
    "a function": (None, "nets:trained"),
    "a model": (None, "nets:net"),
    "a parametrized model": (None, "nets:normed"),
    "pt": (lambda net: torch.save(net.state_dict(), "w.pt"), "w.pt"),
    "a checkpoint": (lambda net: torch.save({"model": net.state_dict(), "epoch": 3}, "w.pt"), "w.pt"),
    "safetensors": (lambda net: save_file(net.state_dict(), "w.safetensors"), "w.safetensors"),
    "npz": (
        lambda net: np.savez("w.npz", **{n: t.numpy() for n, t in net.state_dict().items()}),
        "w.npz",
    ),
    "cnnz": (lambda net: cnnzip.save(net, "w.cnnz"), "w.cnnz"),
}  # fmt: skip


@pytest.mark.parametrize(("save", "model"), MODELS.values(), ids=MODELS)
def test_a_model_of_any_kind_becomes_a_small_file(save, model, capsys):
    given = nets().trained()
    skeleton = []
    if save is not None:
        save(given)
        skeleton = ["--skeleton", "nets:Net"]
    found = shrunk(capsys, model, "--inputs", "inputs.npy", "-o", "out.cnnz", *skeleton)
    steps = found["steps"]
    assert [step["name"] for step in steps] == ["as given", "quantized", "shortened"]
    assert (steps[0]["output_error"], steps[0]["same_largest"]) == (0, 1)
    assert 0 < steps[-1]["output_error"] < 1
    assert found["file_bytes"] == steps[-1]["nbytes"] < steps[1]["nbytes"] < steps[0]["nbytes"] / 2
    with cnnzip.open("out.cnnz") as file:
        assert file.file_bytes == found["file_bytes"]
    x = inputs()[3::4]
    assert found["inputs_compared"] == len(x) == found["inputs_used"] / 3
    loaded = cnnzip.load("out.cnnz", nets().Net(), keep="dense").eval()
    due = given.eval()(x)
    error = ((loaded(x) - due).norm() / due.norm()).item()
    assert error == pytest.approx(steps[-1]["output_error"], rel=1e-4)
    same = (loaded(x).argmax(1) == due.argmax(1)).double().mean().item()
    assert same == pytest.approx(steps[-1]["same_largest"])


def test_what_each_step_costs_is_printed(capsys):
    status, out, _ = run(capsys, "shrink", "nets:trained", "--inputs", "inputs.npy")
    assert status == 0
    for word in ("as given", "quantized", "shortened", "output error", "100.0%"):
        assert word in out
    assert "by 120 inputs; outputs compared on 40, others" in out
    assert "trained.cnnz: " in out
    assert "x smaller than the plain" in out


def test_a_bit_of_more_worth_and_pruning_make_smaller_files(capsys):
    found = [
        shrunk(capsys, "nets:trained", "--inputs", "inputs.npy", "-f", *options)
        for options in ([], ["--lam", "1e-2"], ["--sparsity", "0.8"])
    ]
    assert found[1]["file_bytes"] < found[0]["file_bytes"]
    assert [step["name"] for step in found[2]["steps"]][1] == "pruned"
    weights = [t for n, t in cnnzip.load("trained.cnnz").items() if t.ndim == 2]
    assert sum(int((w != 0).sum()) for w in weights) <= 0.2 * sum(w.numel() for w in weights) + 1


def test_a_network_that_lost_channels_is_shrunk_and_still_fits_its_class(capsys):
    cnnzip.save(prune_channels(nets().trained(), inputs()[:2], 0.5), "w.cnnz")
    shrunk(capsys, "w.cnnz", "--skeleton", "nets:Net", "--inputs", "inputs.npy", "-o", "out.cnnz")
    loaded = cnnzip.load("out.cnnz", nets().Net())
    assert loaded[0].out_features == 32
    assert loaded(inputs()).shape == (160, 5)


INPUTS = {
    "npz.npz": lambda path: np.savez(path, x=inputs().numpy()),
    "named.npz": lambda path: np.savez(path, labels=np.ones(3), inputs=inputs().numpy()),
    "tensor.pt": lambda path: torch.save(inputs(), path),
    "half.pt": lambda path: torch.save(inputs().half(), path),
    "double.npy": lambda path: np.save(path, inputs().double().numpy()),
    "pair.pt": lambda path: torch.save((inputs(), torch.ones(3)), path),
    "named.pth": lambda path: torch.save({"inputs": inputs(), "labels": torch.ones(3)}, path),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_of_each_kind_are_read(name, capsys):
    INPUTS[name](name)
    assert shrunk(capsys, "nets:trained", "--inputs", name)["inputs_used"] == 120


def test_few_inputs_serve_for_both_and_many_are_thinned(capsys, monkeypatch):
    np.save("few.npy", inputs(5).numpy())
    found = shrunk(capsys, "nets:trained", "--inputs", "few.npy")
    assert (found["inputs_used"], found["inputs_compared"], found["kept_aside"]) == (5, 5, False)
    out = run(capsys, "shrink", "nets:trained", "-f", "--inputs", "few.npy")[1]
    assert "compared on 5, the same, too few to keep some aside" in out
    monkeypatch.setattr(shrink, "MOST_INPUTS", 64)
    found = shrunk(capsys, "nets:trained", "-f", "--inputs", "inputs.npy")
    assert (found["inputs_used"], found["inputs_compared"], found["kept_aside"]) == (48, 16, True)


def test_outputs_may_be_nested_and_need_be_no_classes(capsys):
    found = shrunk(capsys, "nets:Pair", "--inputs", "inputs.npy")
    assert all(step["same_largest"] is None for step in found["steps"])
    assert found["steps"][-1]["output_error"] > 0


HERE = ["--inputs", "inputs.npy"]
WRONG = {
    "no module": (["nots:Net", *HERE], 2, "nots:Net: ModuleNotFoundError: No module named 'nots'"),
    "no such name": (["nets:Nett", *HERE], 2, "AttributeError: module 'nets' has no attribute"),
    "a loader that fails": (["nets:broken", *HERE], 2, "OSError: weights.bin; is not there"),
    "a loader that needs options": (["nets:Options", *HERE], 2, "TypeError: .*width"),
    "a loader of something else": (["nets:Options.mro", *HERE], 2, "gives a list, and no torch"),
    "a number": (["nets:number", *HERE], 2, "TypeError: 'int' object is not callable"),
    "no name": (["nets:", *HERE], 2, "nets:: not module:name; give such as nets:Net"),
    "a path": (["./nets.py:Net", *HERE], 2, "not module:name"),
    "no file": (["w.pt", *HERE], 1, "w.pt: no such file, and no module:name"),
    "no skeleton": (["empty.npz", *HERE], 2, "holds weights alone; --skeleton module:name"),
    "a skeleton too many": (["nets:Net", "--skeleton", "nets:Net", *HERE], 2, "leave it out"),
    "other weights": (["other.pt", "--skeleton", "nets:Net", *HERE], 2, "other.pt: Error.* Missing key"),
    "an empty file": (["empty.npz", "--skeleton", "nets:Net", *HERE], 1, "empty.npz: the file is empty"),
    "no inputs": (["nets:Net", "--inputs", "none.npy"], 1, "none.npy"),
    "inputs of a kind": (["nets:Net", "--inputs", "in.csv"], 2, "in.csv: inputs are read from .npy"),
    "damaged inputs": (["nets:Net", "--inputs", "empty.npz"], 1, "empty.npz: no plain arrays"),
    "damaged torch inputs": (["nets:Net", "--inputs", "text.pt"], 1, r"text.pt: torch.load\("),
    "pickled inputs": (["nets:Net", "--inputs", "pickled.npy"], 1, "no plain arrays: Object arrays"),
    "words": (["nets:Net", "--inputs", "words.npy"], 2, "words.npy: a ndarray where numbers are due"),
    "several arrays": (["nets:Net", "--inputs", "two.npz"], 2, "holds a, b; one array is due"),
    "one input": (["nets:Net", "--inputs", "one.npy"], 2, r"\(1, 16\); give at least two inputs"),
    "inputs of another shape": (["nets:Net", "--inputs", "long.npy"], 2, r"be run on those of shape \(2, 17\)"),
    "no outputs": (["nets:Nothing", *HERE], 2, "gives no floating-point tensor"),
    "outputs of infinities": (["nets:Overflowing", *HERE], 2, "NaN or infinities"),
    "no layer": (["nets:empty", *HERE], 2, "Sequential: no convolution or linear layer"),
    "a lazy layer": (["nets:lazy", *HERE], 2, "0.weight: of a lazy module.* run the model once"),
    "a lazy norm": (["nets:lazy_norm", *HERE], 2, "1.weight: of a lazy module.* run the model once"),
    "tied layers": (["nets:tied", *HERE], 2, "2.weight: the same Parameter as 0.weight"),
    "weights of NaN": (["nets:holed", *HERE], 2, "what the model gives for them holds NaN"),
    "inputs of NaN": (["nets:Net", "--inputs", "holes.npy"], 2, "holds NaN or infinities"),
    "too much sparsity": (["nets:Net", "--sparsity", "1", *HERE], 2, "--sparsity 1.0: a share from 0"),
    "a negative worth": (["nets:Net", "--lam", "-1", *HERE], 2, "lam: -1.0; give 0"),
    "a file that exists": (["nets:Net", "-o", "empty.npz", *HERE], 2, "empty.npz: exists; give another"),
    "its own inputs": (["nets:Net", "-f", "-o", "inputs.npy", *HERE], 2, "inputs.npy: is the input"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "status", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_done_is_one_clear_sentence(arguments, status, message, folder, capsys):
    (folder / "empty.npz").write_bytes(b"")
    (folder / "text.pt").write_text("no archive")
    torch.save({"other": torch.ones(3)}, "other.pt")
    np.save("words.npy", np.array(["a", "b"]))
    np.save("pickled.npy", np.array([{}, None]), allow_pickle=True)
    np.savez("two.npz", a=np.ones((4, 16)), b=np.ones(4))
    np.save("one.npy", np.ones((1, 16)))
    np.save("long.npy", np.ones((20, 17)))
    np.save("holes.npy", np.full((20, 16), np.nan))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    found, out, err = run(capsys, "shrink", *arguments)
    assert (found, out) == (status, "")
    lines = [line for line in err.splitlines() if "compiling kernels" not in line]
    assert len(lines) == 1
    assert re.search(message, lines[0])
    assert before == {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

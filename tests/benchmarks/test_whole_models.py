"""Whole models: what is counted, and that what is counted decodes."""

import ml_dtypes
import numpy as np
import pytest

from benchmarks import whole_models
from benchmarks.contenders import CONTENDERS


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    large = rng.standard_normal((160, 150)).astype(np.float32)
    path = tmp_path / "m.npz"
    np.savez(path, **{"a.weight": large, "a.bias": large[0].copy()})
    return dict.fromkeys(("a.weight", "a.bias"), path)


def test_only_large_tensors_change(files):
    plain = {name: whole_models.read(path, name) for name, path in files.items()}
    for setting, share in (("80 %, 32 values", 0.8), ("95 %, 16 values", 0.95)):
        model = whole_models.made(files, setting)
        assert np.mean(model["a.weight"] == 0) == pytest.approx(share, abs=1e-3)
        assert np.array_equal(model["a.bias"], plain["a.bias"])
    whole = whole_models.made(files, "int8")["a.weight"]
    assert np.unique(whole).size <= 255
    assert np.abs(whole - plain["a.weight"]).max() <= np.abs(whole).max() / 250
    halves = whole_models.made(files, "bf16")
    assert {array.dtype for array in halves.values()} == {np.dtype(ml_dtypes.bfloat16)}


@pytest.mark.parametrize("setting", whole_models.SETTINGS)
def test_every_coder_decodes_what_it_counts(files, setting):
    model = whole_models.made(files, setting)
    sizes = {}
    for name, count in whole_models.CODERS.items():
        contender = CONTENDERS.get(whole_models.RIVALS.get(name, name))
        if contender is None or contender.missing() is None:
            sizes[name] = count(model)
    plain = sum(array.nbytes for array in model.values())
    assert all(0 < size < plain for size in sizes.values())
    assert sizes["cnnzip smallest"] <= sizes["cnnzip auto"]


def test_a_coder_that_changes_a_weight_is_found_out(files, monkeypatch):
    model = whole_models.made(files, "90 %, 32 values")
    coder = CONTENDERS["index + zstd"]
    monkeypatch.setattr(coder, "unpack", lambda parts, shape: np.zeros(shape, np.float32))
    with pytest.raises(AssertionError, match=r"a\.weight does not decode"):
        whole_models.rival(model, "index + zstd")

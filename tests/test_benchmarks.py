"""Every benchmark runs once, tiny and untimed."""

import json

import numpy as np
import pytest

from benchmarks import kernels, space
from tests.codecs.battery import sparse


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "m.npz", values=sparse((64, 40), 0.1, 6))
    return tmp_path


def test_kernels_prints_a_row_for_each_codec(folder, capsys):
    assert kernels.main([str(folder), "--rounds", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["codec"] for row in rows] == list(kernels.CODECS)
    assert all(row["error"] < 1e-5 for row in rows)
    assert kernels.main([str(folder), "--rounds", "1"]) == 0
    assert "ham" in capsys.readouterr().out


def test_space_prints_bounds_above_sizes(folder, capsys):
    space.main([str(folder), "--json"])
    row = json.loads(capsys.readouterr().out)["m"]
    assert row["psi_ham"] <= row["ham_bound"]
    space.main([str(folder)])
    assert "psi" in capsys.readouterr().out

"""`cnnzip bench`, which runs the suite on a user's files."""

import json

import numpy as np
import pytest
from cnnzip_bench import __main__ as suite

from cnnzip.cli import bench
from cnnzip.cli.main import main
from tests.codecs.battery import sparse


@pytest.fixture
def model(tmp_path, monkeypatch):
    few = {name: suite.CONTENDERS[name] for name in ("auto", "dense", "CSR")}
    monkeypatch.setattr(suite, "CONTENDERS", few)
    path = tmp_path / "model.npz"
    np.savez(path, weight=sparse((64, 80), 0.1, 6), bias=np.arange(64, dtype=np.float32))
    return path


def test_bench_prints_a_line_for_each_contender(model, capsys):
    assert main(["bench", str(model)]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[2:5]] == ["auto", "dense", "CSR"]
    assert "1 matrix, 5,120 weights" in out


def test_bench_goes_on_after_an_unreadable_file(model, tmp_path, capsys):
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    assert main(["bench", str(tmp_path), "--json", "--out", str(tmp_path / "page")]) == 1
    out, err = capsys.readouterr()
    assert "bad.npz" in err
    assert {row["case"] for row in json.loads(out)["sizes"]} == {"model weight"}
    assert "model weight" in (tmp_path / "page" / "report.html").read_text()


def test_bench_says_what_to_install(model, monkeypatch, capsys):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")

    monkeypatch.setattr(bench, "import_module", absent)
    assert main(["bench", str(model)]) == 2
    assert "pip install 'cnnzip[bench]'" in capsys.readouterr().err

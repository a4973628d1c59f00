"""What docs/ promises, run."""

import pathlib
import re

import pytest

torch = pytest.importorskip("torch")

import cnnzip

TEXT = (pathlib.Path(__file__).parents[1] / "docs/shrink.md").read_text()


def test_the_way_from_a_model_to_its_file_runs_as_printed(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(20, 64), torch.nn.BatchNorm1d(64), torch.nn.ReLU(), torch.nn.Linear(64, 4)
    )
    images = torch.randn(256, 20)
    labels = images[:, :4].argmax(1)
    plain_bytes = sum(4 * tensor.numel() for tensor in model.state_dict().values())
    before = [parameter.clone() for parameter in model.parameters()]
    names = {
        "model": model,
        "images": images,
        "labels": labels,
        "evaluate": lambda found: float((found(images).argmax(1) == labels).double().mean()),
    }
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(example, names)  # noqa: S102 - our own words
    assert all(map(torch.equal, model.parameters(), before))
    assert (tmp_path / "model.cnnz").stat().st_size < plain_bytes / 2
    assert names["log"].steps[-1].accuracy > 0.5
    assert "quantized" in capsys.readouterr().out
    loaded = cnnzip.load(tmp_path / "model.cnnz")
    weight = loaded["0.weight"]
    assert int((weight == 0).sum()) >= 0.9 * weight.numel()

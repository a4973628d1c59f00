"""What README promises, run."""

import pathlib
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


class Net(torch.nn.Sequential):
    def __init__(self):
        super().__init__()
        self.fc1 = torch.nn.Linear(80, 60)


def test_the_round_trip_runs_as_printed(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = Net()
    with torch.no_grad():
        weight = model.fc1.weight
        weight.copy_((weight * 20).round() / 20 * (torch.rand_like(weight) < 0.2) + 0.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = np.ones(80, np.float32)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {"model": model, "Net": Net, "x": x}
    exec(example, names)  # noqa: S102 - our own words
    plain = names["plain"].state_dict()
    assert all(torch.equal(plain[name], before[name]) for name in before)
    coded = names["model"]
    assert type(coded.fc1).__name__ == "CodedLinear"
    due = before["fc1.weight"].double().numpy() @ x
    np.testing.assert_allclose(names["y"], due, rtol=1e-5, atol=1e-5)


def test_every_path_that_the_documents_name_exists():
    for document in ("README.md", "CONTRIBUTING.md", "STYLE.md", "spec/README.md"):
        text = (ROOT / document).read_text()
        folder = (ROOT / document).parent
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert (folder / link).exists(), f"{document}: {link}"


def test_every_target_that_readme_names_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", README)) <= targets

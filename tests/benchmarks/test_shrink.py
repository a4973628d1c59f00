"""The command that measures what pruning and quantization are worth, on a tiny network."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import cnnzip
from benchmarks.demo_crepe import PITCH_BINS
from benchmarks.networks import accuracy
from benchmarks.shrink import crepe, extreme, protocol, quantizers, rows, subjects
from benchmarks.shrink.__main__ import main
from benchmarks.shrink.pareto import front
from benchmarks.shrink.rows import Kept, Row
from benchmarks.shrink.tables import Point, at, points, report
from tests.benchmarks.tiny import build, few

EXPERIMENTS = ("quantizers", "protocol", "extreme")
ROW = Row("extreme", "tiny", 0, "m", {"rate": 2}, 97.0, 98.0, 0.1, 80, 9, 10, 400, 1.0, "x")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch, tmp_path):
    monkeypatch.setattr(subjects, "FOLDER", tmp_path)
    recipe = subjects.Recipe(build, partial(few, 128), 2, 1e-2, "a tiny network")
    monkeypatch.setitem(subjects.RECIPES, "tiny", recipe)
    methods = {
        name: (has_inputs, options, settings[:1])
        for name, (has_inputs, options, settings) in quantizers.METHODS.items()
    }
    small = {
        quantizers: {"METHODS": methods},
        protocol: {"SPARSITIES": (0.6,), "LEVELS": (2, 4), "RETRAINING": 1, "TUNING": 1},
        extreme: {
            "RATES": {"tiny": (2, 4)}, "COARSE_RATES": (1.5,), "N_INPUTS": 64, "TEACHING": 1, "COARSE": 1,
            "WAY": {**extreme.WAY, "steps": 1}, "STAGE": {**extreme.WAY, "steps": 1},
            "OTHER_WAY": {**extreme.WAY, "steps": 1}, "TUNING": 1, "SETTLING": 1,
        },
    }  # fmt: skip
    for module, values in small.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)
    subjects.subject.cache_clear()
    yield
    subjects.subject.cache_clear()


def rows_of(capsys, *arguments):
    assert main([*arguments, "--networks", "tiny", "--seeds", "1", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs_once_and_resumes(experiment, capsys, monkeypatch, tmp_path):
    found = rows_of(capsys, experiment, "--out", str(tmp_path))
    cells = {
        "quantizers": len(quantizers.METHODS),
        "protocol": 2 * (1 + 2 * 2 * 4),
        "extreme": 2 + 2 + len(extreme.WAYS) - 1,
    }
    assert len(found) == cells[experiment]
    assert all(row["n_bytes"] > 100 for row in found)
    text = (tmp_path / f"{experiment}.md").read_text()
    assert text.startswith("# ")
    assert "## tiny" in text
    monkeypatch.setattr(rows, "measured", None)  # nothing is left to measure
    assert rows_of(capsys, experiment) == found
    method = found[-1]["method"]
    chosen = rows_of(capsys, experiment, "--methods", method)
    assert chosen == [row for row in found if row["method"] == method]


def test_points_of_other_sources_are_measured_again_or_taken_if_asked(capsys, monkeypatch):
    first = rows_of(capsys, "quantizers", "--methods", "RTN")
    monkeypatch.setattr(rows, "digest", lambda experiment: "other")
    assert rows_of(capsys, "quantizers", "--methods", "RTN", "--stale") == first
    (again,) = rows_of(capsys, "quantizers", "--methods", "RTN")
    assert again["sources"] == "other"
    assert again["n_bytes"] == first[0]["n_bytes"]
    assert again["accuracy"] == first[0]["accuracy"]


def test_what_is_kept_survives_a_cut_line(tmp_path):
    kept = Kept(tmp_path / "kept" / "rows.jsonl")
    kept.add(ROW)
    with open(kept.path, "a") as file:
        file.write('{"experiment": "ext')
    assert Kept(kept.path).rows == {ROW.key: ROW}
    Kept(kept.path).add(replace(ROW, seed=1))
    Kept(kept.path).add(replace(ROW, accuracy=96.0))
    assert [row.accuracy for row in Kept(kept.path).rows.values()] == [96.0, 97.0]


def test_a_point_that_cannot_be_made_is_named_and_the_others_are_measured(capsys, monkeypatch):
    faulty = {**extreme.WAYS, "gradual LAMP": extreme._gradual("no such score")}
    monkeypatch.setattr(extreme, "WAYS", faulty)
    assert main(["extreme", "--networks", "tiny", "--seeds", "1"]) == 1
    found = capsys.readouterr()
    assert "no such score" in found.err
    assert "gradual Taylor" in found.out
    assert "gradual LAMP" not in found.out


def test_the_file_of_a_smallest_network_loads_and_gives_the_accuracy_that_was_measured(tmp_path):
    subject = subjects.subject("tiny", 0)
    (cell,) = [c for c in extreme.cells(["tiny"], [0]) if c.setting == {"rate": 4}]
    row = rows.measured(cell)
    path = tmp_path / "tiny.cnnz"
    cnnzip.save(cell.make(subject), path)
    plain = rows.measured(replace(cell, make=lambda subject: subject.dense))
    assert path.stat().st_size == row.n_bytes < plain.n_bytes / 2
    loaded = cnnzip.decompress(cnnzip.load(path, build().bfloat16())).float().eval()
    assert 100 * accuracy(loaded, subject.data) == row.accuracy


def test_means_are_of_differences_to_the_dense_network_of_the_same_seed():
    three = [(0, 97.0, 98.0), (1, 90.0, 92.0), (2, 99.0, 102.0)]
    found = points(replace(ROW, seed=s, accuracy=a, dense=d) for s, a, d in three)
    assert [point.n_seeds for point in found] == [3]
    assert found[0].lost == pytest.approx(2)
    assert found[0].error == pytest.approx(1 / 3**0.5)
    assert found[0].shown_loss == "-2.00 ± 0.58"
    assert Point.of([ROW]).shown_loss == "-1.00"


def test_a_line_through_points_has_a_height_within_them_only():
    curve = [(100, 2.0), (1, 0.0)]
    assert at(curve, 10) == pytest.approx(1)
    assert at(curve, 101) is None


def test_goals_are_judged_by_points_that_are_small_and_good_at_once():
    good = replace(ROW, network="vgg_digits", float_bytes=4100, accuracy=97.9)
    text = report("extreme", [good, replace(good, method="n", n_bytes=8, accuracy=50.0)])
    lines = [line for line in text.splitlines() if line.startswith("| 1/")]
    assert ["True" in line for line in lines] == [True, False]


def test_the_front_holds_what_nothing_beats_in_both(capsys, tmp_path):
    rows_of(capsys, "quantizers", "--methods", "RTN", "CERWU")
    assert main(["pareto", "--networks", "tiny", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "shrink-pareto.svg").stat().st_size > 1000
    assert (tmp_path / "shrink-pareto.png").exists()
    sizes = [(10, 97.0), (20, 98.0), (30, 97.5), (40, 99.0)]
    best = front(points(replace(ROW, method=f"{n}", n_bytes=n, accuracy=a) for n, a in sizes))
    assert [point.n_bytes for point in best] == [40, 20, 10]


def pitch_tracker():
    layers = [nn.Flatten(), nn.Unflatten(1, (1, 1024)), nn.Conv1d(1, 4, 64, 16), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(244, PITCH_BINS)
    ).eval()


def test_a_network_without_data_is_measured_by_its_outputs(capsys, monkeypatch, tmp_path):
    torch.manual_seed(0)
    model = pitch_tracker()
    monkeypatch.setattr(crepe, "in_process", partial(crepe.measured, model))
    assert main(["crepe", "--json", "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == sum(len(settings) for _, _, settings in crepe.METHODS.values())
    for method in ("RTN", "GPTQ"):
        own = [row for row in found if row["method"] == method]
        assert sorted(own, key=lambda row: row["error"]) == own  # by growing steps
        assert sorted(own, key=lambda row: -row["n_bytes"]) == own
    assert all(row["n_weights"] == 4 * 64 + 244 * PITCH_BINS for row in found)
    lines = (tmp_path / "crepe.md").read_text().splitlines()
    assert sum(line.startswith("| ") for line in lines) == 1 + len(found)
    monkeypatch.setattr(crepe, "in_process", None)  # nothing is left to measure
    assert main(["crepe", "--json", "--methods", "RTN"]) == 0
    assert json.loads(capsys.readouterr().out) == [row for row in found if row["method"] == "RTN"]
    with pytest.raises(SystemExit):
        main(["crepe", "--methods", "none"])
    assert "there are 'RTN', 'GPTQ'" in capsys.readouterr().err

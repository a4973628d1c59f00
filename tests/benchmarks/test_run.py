"""The runner: rows, resuming, and what is wrong or unreadable."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import results
from benchmarks.__main__ import main
from benchmarks.contenders import CONTENDERS
from benchmarks.contenders.scipy_sparse import CSR
from benchmarks.grid import GRID, MEASURES, Plan, Settings, plan
from benchmarks.matrices.base import Case
from benchmarks.measures.products import Condition
from benchmarks.run import Cells, installed, run
from tests.codecs.battery import sparse

SETTINGS = Settings(
    MEASURES,
    [Condition(0, 1), Condition(3, 2), Condition(0, 1, "cold")],
    rounds=2,
    budget=1,
    encode_budget=9,
)


def a_plan(*names, measures=MEASURES):
    cases = [Case(name, "made up", "", lambda: sparse((40, 64), 0.1, 6)) for name in names]
    return Plan([(case, SETTINGS.only(measures)) for case in cases], SETTINGS)


@pytest.fixture
def few():
    return [CONTENDERS[name] for name in ("fast", "dense", "CSR")]


def test_a_run_measures_every_cell_once_and_resumes(tmp_path, few, monkeypatch, capsys):
    path = tmp_path / "kept" / "run.jsonl"
    first = Cells(path)
    run(a_plan("a"), few, first)
    assert [row.contender for row in first.sizes] == ["fast", "dense", "CSR"]
    measures = {(row.measure, row.columns, row.threads, row.cache) for row in first.times}
    assert {
        ("multiply", 0, 1, "hot"),
        ("multiply", 3, 2, "hot"),
        ("multiply", 0, 1, "cold"),
    } < measures
    assert {"encode", "decode", "first use", "peak memory"} < {row.measure for row in first.times}
    products = [row for row in first.times if row.measure == "multiply"]
    assert all(row.dense > 0 and row.csr_low <= row.csr <= row.csr_high for row in products)
    assert all(row.csr == 1 for row in products if row.contender == "CSR")

    with open(path, "a") as file:
        file.write('{"case": "cut off')
    again = Cells(path)
    assert (again.sizes, again.times) == (first.sizes, first.times)
    monkeypatch.setattr(Case, "weight", property(lambda _: pytest.fail("measured again")))
    run(a_plan("a"), few, again)
    assert "measured before; --fresh" in capsys.readouterr().err


def test_results_of_other_sources_are_not_resumed(tmp_path, few, monkeypatch, capsys):
    path = tmp_path / "run.jsonl"
    run(a_plan("a", measures=["sizes"]), few, Cells(path))
    monkeypatch.setattr("benchmarks.run._digest", lambda: "changed")
    assert not Cells(path).sizes
    assert "starting anew" in capsys.readouterr().err


def test_an_unreadable_matrix_is_named_and_the_rest_measured(few, capsys):
    what = a_plan("good", measures=["sizes", "coding"])
    bad = replace(what.cases[0][0], name="bad.npz", make=lambda: np.load("/no/such/file"))
    found = Cells(None)
    run(Plan([(bad, what.cases[0][1]), *what.cases], SETTINGS), few, found)
    assert {row.case for row in found.sizes} == {"good"}
    assert "bad.npz: [Errno 2]" in found.faults[0]
    assert capsys.readouterr().err.count(found.faults[0]) == len(found.faults) == 1


class Wrong(CSR):
    name = "wrong"

    def open(self, parts, shape):
        return super().open({**parts, "values": parts["values"] * np.float32(1.001)}, shape)


@pytest.mark.parametrize("measure", ["sizes", "multiply"])
def test_a_contender_that_is_wrong_is_a_fault_and_has_no_rows(measure):
    found = Cells(None)
    run(a_plan("a", measures=[measure]), [CONTENDERS["CSR"], Wrong()], found)
    assert {row.contender for row in (*found.sizes, *found.times)} == {"CSR"}
    assert found.faults == ["a: wrong does not give it back"]


def test_a_wrong_product_is_a_fault():
    class Skewed(CSR):
        name = "skewed"

        def open(self, parts, shape):
            stored = super().open(parts, shape)
            multiply = stored.multiply
            stored.multiply = lambda x: multiply(x) * np.float32(1.0001)
            return stored

    found = Cells(None)
    run(a_plan("a", measures=["multiply"]), [CONTENDERS["CSR"], Skewed()], found)
    assert {row.contender for row in found.times} == {"CSR"}
    assert found.faults == ["a: skewed multiplies wrongly"]


def test_a_contender_that_raises_is_a_fault_and_does_not_stop_the_rest():
    class Raising(CSR):
        name = "raising"

        def open(self, parts, shape):
            raise MemoryError("too large")

    found = Cells(None)
    run(a_plan("a", measures=["sizes"]), [Raising(), CONTENDERS["CSR"]], found)
    assert {row.contender for row in found.sizes} == {"CSR"}
    assert found.faults == ["a: raising fails: MemoryError: too large"]


def test_what_is_missing_is_skipped_with_the_command_that_installs_it(capsys):
    class Absent(CSR):
        name = "absent"

        def missing(self):
            return "pip install absent"

    here, missing = installed([CSR(), Absent()])
    assert [contender.name for contender in here] == ["CSR"]
    assert missing == {"absent": "pip install absent"}
    assert capsys.readouterr().err == "without absent; to have it: pip install absent\n"


def test_a_contender_too_slow_for_a_matrix_is_left_out_and_said(few):
    found = Cells(None)
    slow = replace(SETTINGS.only(["sizes"]), encode_budget=0)
    found.rates = lambda: {"CSR": 1.0}
    case, _ = a_plan("a").cases[0]
    run(Plan([(case, slow)], slow), few, found)
    assert [row.contender for row in found.sizes] == ["fast", "dense"]
    assert "would encode for 2560 s" in found.skipped["a"]["CSR"]


def test_rows_come_back_from_csv(tmp_path, few):
    found = Cells(None)
    run(a_plan("a, with a comma", measures=["sizes", "coding"]), few, found)
    results.write(tmp_path / "sizes.csv", found.sizes)
    back = results.read(tmp_path / "sizes.csv", results.SizeRow)
    assert [(r.contender, r.bits, r.parts, r.bound_bits) for r in back] == [
        (r.contender, r.bits, r.parts, r.bound_bits) for r in found.sizes
    ]
    results.write(tmp_path / "times.csv", found.times)
    back = results.read(tmp_path / "times.csv", results.TimeRow)
    assert [(r.measure, r.dense) for r in back] == [(r.measure, r.dense) for r in found.times]


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_profiles_name_matrices_once(profile):
    names = [case.name for case, _ in plan(profile).cases]
    assert len(names) == len(set(names)) > 3
    assert GRID.name == "grid.toml"


def test_results_kept_are_plain_json(tmp_path, few):
    path = tmp_path / "run.jsonl"
    run(a_plan("a", measures=["sizes"]), few, Cells(path))
    head, cell = (json.loads(line) for line in path.read_text().splitlines())
    assert set(head) == {"sources", "machine"}
    assert cell["measure"] == "sizes"


def test_a_part_of_a_profile_is_neither_kept_nor_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    part = ["--groups", "tiny-k", "--contenders", "dense", "CSR"]
    assert main([*part, "--measures", "sizes"]) == 0
    assert "1 matrix, 131,072 weights" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    for arguments in (part, ["--measures", "sizes"], ["net.pt"]):
        with pytest.raises(SystemExit):
            main([*arguments, "--record"])
        assert "whole profiles" in capsys.readouterr().err

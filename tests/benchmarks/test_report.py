"""The report says what the results say."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from benchmarks.results import SizeRow, TimeRow, write

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from benchmarks.report import __main__ as report
from benchmarks.report import drawing, findings, tables
from benchmarks.report.energy import picojoules
from benchmarks.report.findings import Results
from benchmarks.report.markdown import markdown

EVIL = "<script>alert('x')</script> | a_*b*\n$\\x$"
FAMILIES = {"auto": "cnnzip", "fast": "cnnzip", "dense": "dense", "CSR": "sparse",
            "zstd": "compressor", "psi": "paper"}  # fmt: skip
MACHINE = {
    "machine": "here", "cpu": EVIL, "cores": 2, "memory_gib": 7.5, "caches": {"L2": "2 MiB"},
    "contenders": {"zstd": "level 19", EVIL: EVIL}, "skipped": {"zipnn": "pip install zipnn"},
    "notes": ["shared"],
}  # fmt: skip


def size(case, contender, bits, group="iid", side=64, density=0.1, bound=None, h0=0.5):
    shape, parts = f"{side} x {side}", {"header": bits // 4, "values": bits - bits // 4}
    family = FAMILIES.get(contender, "indices")
    return SizeRow(
        case, group, shape, density, 16, h0, 0.9 * h0, contender, family, bits, bound, parts
    )


def timed(case, contender, median, measure="multiply", columns=0, threads=1, cache="hot", **ratios):
    return TimeRow(case, contender, measure, columns, threads, cache, 7, median, median, **ratios)


@pytest.fixture(scope="module")
def results():
    """Three matrices where our codec wins, loses, ties; a scaling group of exact power laws."""
    sizes, times = [], []
    for case, density, zstd in (("a", 0.1, 2000), (EVIL, 0.2, 999), ("c", 0.4, 1000)):
        sizes += [
            size(case, "auto", 1000, density=density, bound=1100),
            size(case, "fast", 1500, density=density, bound=1500),
            size(case, "dense", 32 * 4096, density=density),
            size(case, "CSR", 8000, density=density),
            size(case, "zstd", zstd, density=density),
            size(case, "psi", 900, density=density, bound=450 if case == "c" else 1800),
        ]
        times += [
            timed(case, "dense", 4e-3, dense=1.0, dense_low=1.0, dense_high=1.0, csr=0.25),
            timed(case, "CSR", 1e-3, dense=4.0, dense_low=3.5, dense_high=4.5, csr=1.0),
            timed(case, "fast", 2e-3 if case == "a" else 5e-4, dense=2.0, csr=0.5),
            timed(case, "zstd", 6e-3, "decode"),
            timed(case, "zstd", 1.6384e-3, "encode"),
            timed(case, "fast", 3e6, "peak memory"),
            timed(case, "fast", 1e-2, "first use"),
        ]
    for side in (256, 512, 1024, 2048):
        n = side * side
        sizes.append(size(f"n {n}", "fast", n // 2, findings.SCALING, side))
        times.append(timed(f"n {n}", "fast", 1e-12 * n**1.5))
    times.append(timed("net", "fast", 2e-3, "forward", dense=1.5, dense_low=1.4, dense_high=1.6))
    return Results(sizes, times, MACHINE)


def table(results, slug, title=""):
    section = next(s for s in tables.sections(results) if s.slug == slug)
    return next(t for t in section.tables if t.title.startswith(title))


def texts(found):
    return [[cell.text for cell in row] for row in found.rows]


def column(found, header):
    return {row[0].text: row[list(found.headers).index(header)] for row in found.rows}


def test_sizes_are_shares_of_h0_and_only_what_is_stored_is_bold(results):
    found = table(results, "size", "iid")
    assert found.title == "iid: share of H0"
    assert column(found, "auto")["a"].text == "0.488"  # 1000 / (0.5 x 4096)
    assert column(found, "auto")["a"].best
    assert not column(found, "psi")["a"].best  # less, but not stored
    assert column(found, "zstd")[EVIL].best
    assert column(found, "auto")["c"].best  # both of a tie
    assert column(found, "zstd")["c"].best


def test_no_entropy_means_bits_per_weight(results):
    rows = [replace(row, h0_bits=0.0) for row in results.sizes]
    found = table(Results(rows), "size", "iid")
    assert found.title == "iid: bits per weight"
    assert column(found, "dense")["a"].text == "32.0"


def test_violations_of_bounds_are_found(results):
    found = table(results, "bounds", "Bounds")
    assert column(found, "violations")["psi"].value == 1
    assert column(found, "checked")["psi"].value == 3
    assert column(found, "violations")["fast"].value == 0  # equal is within
    assert column(found, "least slack")["auto"].text == "1.10"
    violated = texts(table(results, "bounds", "Violations"))
    assert [row[:2] for row in violated] == [["psi", "c"]]
    assert violated[0][-1] == "0.500"


def test_losses_name_the_winner_and_the_factor(results):
    (smaller,) = texts(table(results, "losses", "Not the smallest: 1 of 7"))
    assert smaller[1:3] == [EVIL, "zstd"]
    assert smaller[-1] == "1.0010"
    (faster,) = texts(table(results, "losses", "Not the fastest: 1 of 7"))
    assert (faster[0], faster[4], faster[6], faster[-1]) == ("a", "CSR", "fast", "2.00")


def test_products_show_quartiles_and_what_is_derived(results):
    found = table(results, "products", "a")
    assert column(found, "x dense")["CSR"].text == "4.00 (3.50 to 4.50)"
    assert column(found, "median")["CSR"].best
    derived = column(found, "median")["zstd: decode + dense product (derived)"]
    assert derived.value == pytest.approx(10e-3)
    assert column(found, "x dense")["zstd: decode + dense product (derived)"].text == "0.400"


def test_coding_is_in_megabytes_of_float32(results):
    found = table(results, "coding", "iid")
    rows = {(row[0].text, row[1].text): [cell.text for cell in row[2:]] for row in found.rows}
    assert rows["a", "zstd"][0] == "10.0"  # 4 x 4096 bytes in 1.6384 ms
    assert rows["a", "fast"][2:] == ["10.0 ms", "3.00"]


def test_the_energy_model_charges_reads_and_sums():
    dense = picojoules(size("a", "dense", 32 * 4096))  # 16 KiB: 10 pJ a word
    assert dense == pytest.approx(4096 * (10 + 5 + 4.6))
    coded = picojoules(size("a", "fast", 3200))  # 400 bytes: 5 pJ a word
    assert coded == pytest.approx(100 * 5 + 409.6 * (5 + 4.6))


def test_the_energy_model_stands_beside_the_clock(results):
    found = table(results, "energy", "iid")
    assert column(found, "time, measured")["CSR"].text == "4.00"
    assert "zstd" not in column(found, "time, measured")


def test_exponents_of_exact_power_laws(results):
    law = findings.power_law([1, 4, 16], [3, 24, 192])
    assert law == pytest.approx((1.5, 3, 1))
    found = {row[1]: row[3:6] for row in texts(table(results, "scaling"))}
    assert found["bits"][:2] == ["1.000", "x 1.000"]
    assert found["multiply: vector, 1 thread, hot"] == ["1.500", "x 1.000", "65,536"]


def test_pareto_front():
    points = [(1, 9), (2, 9), (3, 4), (3, 5), (2.5, 10), (9, 1), (9, 1)]
    assert findings.pareto_front(points) == [0, 2, 5]
    assert findings.pareto_front([]) == []


def test_headline_is_a_geometric_mean_that_admits_gaps(results):
    rows = [row for row in results.sizes if (row.case, row.contender) != ("c", "fast")]
    found = table(Results(rows), "headline", "Size")
    assert column(found, "iid")["auto"].text == "0.488"
    assert column(found, "iid")["fast"].text == "0.732 (2 of 3)"
    assert not column(found, "iid")["fast"].best


def test_markdown_is_inert(results):
    text = markdown(tables.sections(results))
    assert "<script" not in text
    rows = [line for line in text.splitlines() if "&lt;script&gt;" in line and line[0] == "|"]
    assert all(r"\| a\_\*b\* $\\x$" in line for line in rows)
    assert rows


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    """All that the command writes."""
    folder = tmp_path_factory.mktemp("report")
    report.write(results, folder)
    return folder


def test_page_is_well_formed_escaped_and_self_contained(results, folder):
    page = (folder / "report.html").read_text("utf-8")
    assert page.count("<script>") == 1  # ours
    assert "&lt;script&gt;alert" in page
    assert not re.search(r"https?:|@import|url\((?!#)|\bsrc=|<link|javascript:", page)
    tree = ElementTree.fromstring(
        re.sub(r"<!DOCTYPE html>|<script>.*</script>", "", page, flags=re.DOTALL)
    )
    sections = [section.get("id") for section in tree.iter("section")]
    assert sections == [section.slug for section in tables.sections(results)]
    assert [a.get("href") for a in tree.find(".//nav")] == [f"#{slug}" for slug in sections]
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert all(th.find("button") is not None for th in tree.iter("th"))
    drawn = {path.stem for path in (folder / "figures").glob("*.svg")}
    assert drawn == {
        "shares", "sparsity-iid", "pareto-iid", "scaling-0.1", "parts-iid", "parts-scaling",
    }  # fmt: skip
    assert len(list(tree.iter("svg"))) == len(drawn)


def test_figures_stand_alone_and_adapt_to_dark(folder):
    svg = (folder / "figures" / "sparsity-iid.svg").read_text("utf-8")
    ElementTree.fromstring(svg)
    assert "prefers-color-scheme:dark" in svg
    used = set(re.findall(r"(?<!, )#[0-9a-f]{6}", svg))
    assert used <= {dark for _, dark in drawing.PALETTE.values()}  # no colour but by its name
    assert (folder / "figures" / "sparsity-iid.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "kept",
    [
        lambda r: Results([], r.times, {}),
        lambda r: Results([row for row in r.sizes if row.contender == "zstd"], []),
        lambda r: Results([replace(r.sizes[0], parts={}, bound_bits=None, h0_bits=0.0)]),
        lambda r: Results([replace(row, bits=0, k=0) for row in r.sizes], []),
        lambda r: Results([], [], MACHINE),
        lambda r: Results([], [], {}),
    ],
    ids=["no sizes", "one contender", "one row", "no bits", "machine alone", "nothing"],
)
def test_what_is_missing_is_left_out(kept, results, tmp_path):
    report.write(kept(results), tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert (
        "nan" not in re.sub(r"<svg.*?</svg>|<style>.*?</style>", "", page, flags=re.DOTALL).split()
    )


def test_command_reads_files_and_the_machine_beside_them(results, tmp_path, monkeypatch, capsys):
    sizes, times, out = tmp_path / "sizes.csv", tmp_path / "here.csv", tmp_path / "out"
    write(sizes, results.sizes[:6])
    write(times, results.times[:3])
    times.with_suffix(".json").write_text(json.dumps(MACHINE))
    command = ["report", "--sizes", str(sizes), "--times", str(times), "--out", str(out)]
    monkeypatch.setattr("sys.argv", command)
    report.main()
    assert "level 19" in (out / "tables.md").read_text("utf-8")
    assert "x dense" in (out / "details.md").read_text("utf-8")
    monkeypatch.setattr("sys.argv", [*command, "--sizes", str(tmp_path / "none.csv")])
    with pytest.raises(SystemExit):
        report.main()
    assert "no such file" in capsys.readouterr().err

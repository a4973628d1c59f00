"""Sections of the report and their tables; the same for Markdown and HTML."""

from collections.abc import Iterator
from statistics import median
from typing import Any

from ..results import SizeRow
from .cells import (
    Cell,
    Section,
    Table,
    best_of,
    condition_cells,
    factor,
    number,
    seconds,
    short,
    whole,
)
from .energy import energy_tables
from .findings import (
    Condition,
    Results,
    geometric_mean,
    power_law,
    scaling_curves,
    share,
    size_losses,
    slack,
    time_losses,
    violations,
)
from .time_tables import coding, networks, product_tables


def sections(results: Results) -> list[Section]:
    """All sections for which there are results."""
    found = [
        Section("headline", "Headline", HEADLINE, list(headline(results))),
        Section("size", "Size", SIZE, list(size_tables(results))),
        Section("bounds", "Bound check", BOUNDS, list(bound_tables(results))),
        Section("losses", "Where cnnzip is not the best", LOSSES, list(loss_tables(results))),
        Section("products", "Products", PRODUCTS, list(product_tables(results))),
        Section("coding", "Encode, decode, first use, memory", CODING, list(coding(results))),
        Section("scaling", "Scaling", SCALING_TEXT, list(scaling_tables(results))),
        Section("parts", "Bits per weight by part", PARTS, list(parts_tables(results))),
        Section("energy", "Energy, modelled", ENERGY, list(energy_tables(results))),
        Section("networks", "Whole networks", NETWORKS, list(networks(results))),
        Section("conditions", "Machine and settings", CONDITIONS, list(conditions(results))),
    ]
    return [section for section in found if section.tables]


HEADLINE = """Geometric means over the matrices of a group. Where a contender cannot store, or was not
timed on, all of them, the mean is over fewer and says so; such means do not compare."""
SIZE = """Everything that is needed to decode, over the order-0 entropy H0 with zero as a symbol
(itself in bits per weight): below 1 is better than any fixed code of single weights. The smallest in
bold. The adaptive estimate is what a slower, purely sequential coder might reach. Groups with a matrix
of H0 = 0 are in bits per weight. Contenders of family "paper" (psi) are not stored but charged by their
authors' formula, and never bold."""
BOUNDS = """Each contender that documents a bound, checked on every matrix. Slack is bound over bits:
below 1 the bound is violated. Of the papers' formulas (psi) too."""
LOSSES = """Every matrix of which another contender stores fewer bits than the smallest of our codecs,
and every matrix and condition of which another one has the faster product than the fastest of ours."""
PRODUCTS = """Median of W x, and how many times faster than the rivals of the same round: median of the
ratios with quartiles. Contenders that cannot multiply from what they store are shown by decode + dense
product, derived from two medians and so without quartiles; decode as it was timed, with the fewest
threads. The fastest of each condition in bold."""
CODING = """Megabytes (10^6) of float32 a second. First use: from the stored parts to the first product.
Memory: the peak of a fresh process that loads and multiplies, above what it held before. Best of each
matrix in bold."""
SCALING_TEXT = """y = c n^e, fitted to logarithms by least squares; n is the number of weights. "Off" is
the factor by which points lie off the line (root mean square). An e of 1 is linear."""
PARTS = """What the bits are spent on, in bits per weight. Contenders of one part are left out."""
ENERGY = """What models of memory and arithmetic predict for W x (energies of 45 nm, Horowitz 2014),
beside what was measured. The model charges bits that are read and sums that are made, not the
instructions that decode: where it promises much more than the clock shows, those are the price."""
NETWORKS = """A whole forward pass, by how the layers' weights are stored."""
CONDITIONS = """What it was measured on and with; each contender has the setting that its own
documentation names as its best."""


# Headline


def headline(results: Results) -> Iterator[Table]:
    """Means by contender and group: share of H0, times faster than each rival."""
    shares = {key: part for key, row in results.size.items() if (part := share(row)) is not None}
    yield from _means("Size, share of H0", results, shares)
    if results.conditions:
        condition = results.conditions[0]
        rivals = {
            "dense": "the dense product",
            "csr": "SciPy's CSR",
            "mkl": "torch's CSR of int32 (MKL)",
        }
        for rival, name in rivals.items():
            faster = {
                (case, contender): ratio
                for (case, found), rows in results.products.items()
                if found == condition
                for contender, row in rows.items()
                if (ratio := getattr(row, rival)) is not None
            }
            title = f"Times faster than {name}: {condition}"
            yield from _means(title, results, faster, least=False)


def _means(
    title: str, results: Results, values: dict[tuple[str, str], float], least: bool = True
) -> Iterator[Table]:
    """A table of geometric means of `values`, by matrix and contender; none if there are none."""
    cases, names = ({key[i] for key in values} for i in (0, 1))
    shown = [name for name in results.families if name in names]
    columns = {}
    for group, members in results.groups.items():
        held = {
            name: [values[case, name] for case in members if (case, name) in values]
            for name in shown
        }
        n_cases = len(cases.intersection(members))
        if n_cases:
            full = (name for name in results.stored if len(held.get(name, ())) == n_cases)
            best = best_of((geometric_mean(held[name]) for name in full), least)
            columns[group] = [
                _mean_cell(held[name], n_cases, best, name in results.stored) for name in shown
            ]
    if columns:
        rows = [[Cell(name), *cells] for name, *cells in zip(shown, *columns.values(), strict=True)]
        yield Table(title, ["contender", *columns], rows)


def _mean_cell(values: list[float], of: int, best: float | None, stored: bool) -> Cell:
    mean = geometric_mean(values)
    if mean is None:
        return Cell()
    if len(values) < of:
        return Cell(f"{short(mean)} ({len(values)} of {of})", mean)
    return Cell(short(mean), mean, stored and mean == best)


# Size and bounds


def size_tables(results: Results) -> Iterator[Table]:
    """A table for each group: matrices down, contenders across."""
    for group, cases in results.groups.items():
        in_bits = any(results.cases[case].h0_bits == 0 for case in cases)
        unit = "bits per weight" if in_bits else "share of H0"
        names = [n for n in results.families if any((case, n) in results.size for case in cases)]
        rows = [_size_line(results, case, names, in_bits) for case in cases]
        headers = [
            "matrix",
            "shape",
            "density",
            "k",
            "H0",
            "adaptive estimate",
            *names,
        ]
        yield Table(f"{group}: {unit}", headers, rows)


def _size_line(results: Results, case: str, names: list[str], in_bits: bool) -> list[Cell]:
    known = results.cases[case]
    unit = 1.0 if in_bits else known.h0_bits
    found = {
        name: row.bits_per_weight / unit
        for name in names
        if (row := results.size.get((case, name)))
    }
    best = best_of(found[name] for name in found if name in results.stored)
    return [
        Cell(case),
        Cell(known.shape, known.n_weights),
        number(known.density),
        whole(known.k),
        number(known.h0_bits),
        number(None if known.adaptive_bits is None else known.adaptive_bits / unit),
        *(
            number(found.get(n), n in results.stored and found.get(n) == best)
            if n in found
            else Cell()
            for n in names
        ),
    ]


def bound_tables(results: Results) -> Iterator[Table]:
    """Slack by contender, and every violation."""
    bounded = [row for row in results.sizes if row.bound_bits is not None]
    rows = []
    for name in dict.fromkeys(row.contender for row in bounded):
        checked = [row for row in bounded if row.contender == name]
        slacks = [slack(row) for row in checked]
        cells = (factor(min(slacks)), factor(median(slacks)), factor(max(slacks)))
        n_violated = len(violations(checked))
        rows.append(
            [Cell(name), Cell(checked[0].family), whole(len(checked)), whole(n_violated), *cells]
        )
    if rows:
        headers = [
            "contender",
            "family",
            "checked",
            "violations",
            "least slack",
            "median",
            "largest",
        ]
        yield Table("Bounds", headers, rows)
    violated = violations(bounded)
    if violated:
        yield Table(
            "Violations",
            ["contender", "matrix", "shape", "bits per weight", "bound, bits per weight", "slack"],
            [
                [
                    Cell(row.contender),
                    Cell(row.case),
                    Cell(row.shape, row.n_weights),
                    number(row.bits_per_weight),
                    number((row.bound_bits or 0) / row.n_weights),
                    factor(slack(row)),
                ]
                for row in violated
            ],
        )


# Losses


def loss_tables(results: Results) -> Iterator[Table]:
    """Where another contender is smaller, and where one is faster."""
    smaller, faster = size_losses(results), time_losses(results)
    if smaller:
        rows = []
        for loss in smaller:
            n = results.cases[loss.case].n_weights
            rows.append(
                [
                    Cell(results.cases[loss.case].group),
                    Cell(loss.case),
                    Cell(loss.winner),
                    number(loss.least / n),
                    Cell(loss.ours),
                    number(loss.our_least / n),
                    factor(loss.our_least / loss.least if loss.least else float("inf")),
                ]
            )
        headers = [
            "group",
            "matrix",
            "smallest",
            "bits per weight",
            "smallest of ours",
            "bits per weight of ours",
            "ours over smallest",
        ]
        title = f"Not the smallest: {len(smaller)} of {len(results.cases)} matrices"
        yield Table(title, headers, rows)
    if faster:
        rows = [
            [
                Cell(loss.case),
                *condition_cells(loss.condition or Condition(0, 1, "")),
                Cell(loss.winner),
                Cell(seconds(loss.least), loss.least),
                Cell(loss.ours),
                Cell(seconds(loss.our_least), loss.our_least),
                factor(loss.our_least / loss.least if loss.least else float("inf")),
            ]
            for loss in faster
        ]
        headers = [
            "matrix",
            "columns",
            "threads",
            "cache",
            "fastest",
            "median",
            "fastest of ours",
            "median of ours",
            "ours over fastest",
        ]
        title = f"Not the fastest: {len(faster)} of {len(results.products)} products"
        yield Table(title, headers, rows, folded=len(faster) > 40)


# Scaling, parts, conditions


def scaling_tables(results: Results) -> Iterator[Table]:
    """Fitted exponents of bits and times."""
    rows = []
    for curve in scaling_curves(results):
        law = power_law(curve.n, curve.y)
        rows.append(
            [
                Cell(curve.contender),
                Cell(curve.quantity),
                Cell(curve.density),
                Cell(f"{law.exponent:.3f}", law.exponent),
                Cell(f"x {law.off:.3f}", law.off),
                whole(curve.n[0]),
                whole(curve.n[-1]),
                whole(len(curve.n)),
            ]
        )
    if rows:
        headers = [
            "contender",
            "of",
            "density",
            "exponent e",
            "off",
            "least n",
            "largest n",
            "sizes",
        ]
        yield Table("Exponents", headers, rows)


def parts_tables(results: Results) -> Iterator[Table]:
    """A table for each group: matrices and contenders down, parts across."""
    for group in results.groups:
        split = [row for row in results.sizes if row.group == group and len(row.parts) > 1]
        totals: dict[str, float] = {}
        for row in split:
            for part, bits in row.parts.items():
                totals[part] = totals.get(part, 0.0) + bits / row.n_weights
        if split:
            parts = sorted(totals, key=totals.__getitem__, reverse=True)
            rows = [_parts_line(row, parts) for row in split]
            yield Table(group, ["matrix", "contender", "all", *parts], rows, folded=True)


def _parts_line(row: SizeRow, parts: list[str]) -> list[Cell]:
    spent = (row.parts[p] / row.n_weights if p in row.parts else None for p in parts)
    return [Cell(row.case), Cell(row.contender), number(row.bits_per_weight), *map(number, spent)]


def conditions(results: Results) -> Iterator[Table]:
    """Machine, settings, what was skipped."""
    machine = dict(results.machine)
    settings, skipped = machine.pop("contenders", {}), machine.pop("skipped", {})
    if machine:
        rows = [
            [Cell(str(name).replace("_gib", ", GiB")), Cell(_plain(value))]
            for name, value in machine.items()
        ]
        yield Table("Machine", ["what", "is"], rows)
    if settings:
        rows = [
            [Cell(name), Cell(results.families.get(name, "")), Cell(_plain(setting))]
            for name, setting in settings.items()
        ]
        yield Table("Settings", ["contender", "family", "setting"], rows)
    if skipped:
        rows = [[Cell(name), Cell(_plain(reason))] for name, reason in skipped.items()]
        yield Table("Skipped", ["contender", "why"], rows)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    return "; ".join(map(_plain, value)) if isinstance(value, list) else str(value)

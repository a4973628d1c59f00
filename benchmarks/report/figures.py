"""Figures of the report."""

import re
from collections.abc import Callable, Iterator, Sequence
from math import log2
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..results import SizeRow
from .cells import short
from .drawing import (
    LABEL_SIZE,
    LIGHT,
    STYLE,
    Drawing,
    Look,
    figure_of,
    label_ends,
    label_points,
    log_axis,
    looks,
    plain_bytes,
    plain_number,
    plain_seconds,
)
from .findings import (
    PAPER,
    Curve,
    Results,
    geometric_mean,
    pareto_front,
    power_law,
    scaling_curves,
    share,
)

PANELS = 6  # of a figure
PART_COLOURS = [LIGHT[c] for c in ("c6", "c8", "c5", "c7", "c4", "c1", "c3", "c2")]


def drawings(results: Results) -> Iterator[Drawing]:
    """All figures for which there are results."""
    with matplotlib.rc_context(STYLE):
        for draw in (share_dots, sparsity_lines, pareto_panels, scaling_lines, part_bars):
            yield from draw(results)


# Size against sparsity


def sparsity_lines(results: Results) -> Iterator[Drawing]:
    """A figure for each group that varies the density alone, over at least three of them."""
    look = looks(results)
    for group, cases in results.groups.items():
        series: dict[tuple[str, int], dict[str, list[str]]] = {}
        for case in cases:
            known = results.cases[case]
            key = known.shape, round(log2(max(known.k, 1)))
            series.setdefault(key, {}).setdefault(f"{known.density:.2g}", []).append(case)
        panels = [found for found in series.values() if len(found) >= 3]
        for part in range(0, len(panels), PANELS):
            shown = panels[part : part + PANELS]
            figure, all_axes = figure_of(len(shown), 1, 6.4, 5.4)
            figure.subplots_adjust(hspace=0.3)
            for axes, by_density in zip(all_axes, shown, strict=True):
                _sparsity_panel(axes, results, look, by_density)
            suffix = f"-{part // PANELS + 1}" if len(panels) > PANELS else ""
            yield Drawing(
                "size",
                f"sparsity-{slug(group)}{suffix}",
                f"{group}: size against sparsity",
                "Bits per weight; medians where several matrices share a density. Thick: H0; "
                "dotted: adaptive estimate; dashed: the bound of the codec of its colour; "
                "grey and named: of a paper's psi.",
                figure,
            )


def _sparsity_panel(
    axes: Axes, results: Results, look: dict[str, Look], by_density: dict[str, list[str]]
) -> None:
    densities = sorted(by_density, key=float, reverse=True)
    cases = [case for density in densities for case in by_density[density]]
    known = results.cases[cases[0]]
    axes.set_title(f"{known.shape}, k = {known.k:,}")

    def median(name: str, value: Callable[[SizeRow], float | None]) -> dict[float, float]:
        found = {}
        for density in densities:
            rows = [row for c in by_density[density] if (row := results.size.get((c, name)))]
            values = sorted(v for row in rows if (v := value(row)) is not None and v > 0)
            if values:
                found[float(density)] = values[len(values) // 2]
        return found

    ends: list[tuple[float, float, str, dict[str, Any]]] = []
    for name, style in look.items():
        line = median(name, lambda row: row.bits_per_weight)
        bound = median(
            name, lambda row: None if row.bound_bits is None else row.bound_bits / row.n_weights
        )
        if not line:
            continue
        axes.plot(list(line), list(line.values()), **style.line)
        axes.plot(
            list(bound),
            list(bound.values()),
            color=style.colour,
            linestyle=(0, (4, 2)),
            linewidth=0.9,
            zorder=3,
        )
        end = min(line)
        ends.append((end, line[end], name, style.text))
        if bound and results.families[name] == PAPER:
            ends.append((min(bound), bound[min(bound)], f"bound: {name}", style.text))
    for name, value, line_style in (
        ("H0", lambda row: row.h0_bits, {"linewidth": 3.5, "alpha": 0.55, "zorder": 3}),
        ("adaptive estimate", lambda row: row.adaptive_bits, {"linestyle": ":", "zorder": 5}),
    ):
        rows = {float(d): results.cases[by_density[d][0]] for d in densities}
        line = {d: value(row) for d, row in rows.items() if (value(row) or 0) > 0}
        if line:
            axes.plot(list(line), list(line.values()), color=LIGHT["ink"], **line_style)
            end = min(line)
            text = {"color": LIGHT["ink"], "fontsize": LABEL_SIZE, "fontweight": "bold"}
            ends.append((end, line[end], name, text))
    log_axis(axes, "y", plain_number)
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_xticks([float(d) for d in densities], [_percent(1 - float(d)) for d in densities])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("sparsity: share of zeros (density on a log scale)")
    axes.set_ylabel("bits per weight (log scale)")
    label_ends(axes, ends)


def _percent(part: float) -> str:
    return f"{100 * part:.4g} %"


# Shares of H0


def share_dots(results: Results) -> Iterator[Drawing]:
    """A panel for each group, a line for each contender, a dot for each matrix."""
    look = looks(results)
    groups = {
        group: {
            name: found
            for name in look
            if (
                found := [
                    s
                    for case in cases
                    if (row := results.size.get((case, name))) and (s := share(row)) is not None
                ]
            )
        }
        for group, cases in results.groups.items()
    }
    groups = {group: shares for group, shares in groups.items() if shares}
    if not groups:
        return
    means = {
        n: geometric_mean(s for shares in groups.values() for s in shares.get(n, ())) for n in look
    }
    names = sorted((n for n in look if means[n] is not None), key=lambda n: -(means[n] or 0))
    for part in range(0, len(groups), PANELS):
        shown = list(groups.items())[part : part + PANELS]
        figure, all_axes = figure_of(len(shown), 2, 3.4, 0.7 + 0.16 * len(names))
        figure.subplots_adjust(wspace=0.08, hspace=0.22)
        for i, (axes, (group, shares)) in enumerate(zip(all_axes, shown, strict=True)):
            _share_panel(axes, group, shares, names, look, labelled=i % 2 == 0)
        yield Drawing(
            "size",
            f"shares{f'-{part // PANELS + 1}' if len(groups) > PANELS else ''}",
            "Size over H0 by group",
            "A dot is a matrix, a bar the geometric mean of those it stores; left of the line it "
            "takes less than H0. Contenders by their mean over all matrices.",
            figure,
        )


def _share_panel(
    axes: Axes,
    group: str,
    shares: dict[str, list[float]],
    names: Sequence[str],
    look: dict[str, Look],
    labelled: bool,
) -> None:
    for y, name in enumerate(names):
        found, colour = shares.get(name, []), look[name].colour
        axes.plot(found, [y] * len(found), "o", color=colour, markersize=3.5, alpha=0.6, mew=0)
        if found:
            axes.plot(geometric_mean(found), y, "|", color=colour, markersize=9, mew=2)
    axes.axvline(1, color=LIGHT["ink"], linewidth=1, zorder=1)
    log_axis(axes, "x", plain_number)
    axes.set_title(group)
    axes.set_xlabel("share of H0 (log scale)")
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_yticks(range(len(names)), names if labelled else [""] * len(names))
    axes.tick_params(axis="y", length=0, labelsize=LABEL_SIZE)
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        tick.set(**look[name].text)


# Bytes against time


def pareto_panels(results: Results) -> Iterator[Drawing]:
    """Figures of up to `PANELS` matrices of a group each: bytes against seconds of a product."""
    if not results.conditions:
        return
    condition = results.conditions[0]
    for group, cases in results.groups.items():
        panels = [
            (case, points)
            for case in cases
            if len(points := _bytes_and_seconds(results, case)) >= 2
        ]
        for part in range(0, len(panels), PANELS):
            shown = panels[part : part + PANELS]
            figure, all_axes = figure_of(len(shown), 2, 4.6, 3.9)
            figure.subplots_adjust(wspace=0.3, hspace=0.36)
            for axes, (case, points) in zip(all_axes, shown, strict=True):
                _pareto_panel(axes, case, points, looks(results))
            yield Drawing(
                "products",
                f"pareto-{slug(group)}{f'-{part // PANELS + 1}' if len(panels) > PANELS else ''}",
                f"{group}: bytes against the time of a product",
                f"W x: {condition}; medians. The line is the Pareto front: what nothing else beats "
                "in both. Hollow: decode + dense product, derived. Named where there is room.",
                figure,
            )


def _bytes_and_seconds(results: Results, case: str) -> dict[str, tuple[float, float, bool]]:
    """Of each contender: bytes, seconds, and whether the time is derived."""
    condition = results.conditions[0]
    timed = results.products.get((case, condition), {})
    found = {name: (row.median, False) for name, row in timed.items()}
    found |= {name: (value, True) for name, value in results.derived(case, condition).items()}
    return {
        name: (row.bits / 8, time, derived)
        for name, (time, derived) in found.items()
        if (row := results.size.get((case, name))) and row.family != PAPER and time > 0
    }


def _pareto_panel(
    axes: Axes,
    case: str,
    points: dict[str, tuple[float, float, bool]],
    look: dict[str, Look],
) -> None:
    names = list(points)
    front = [names[i] for i in pareto_front([points[name][:2] for name in names])]
    for name, (nbytes, time, derived) in points.items():
        axes.plot(
            nbytes,
            time,
            look[name].marker,
            color=look[name].colour,
            markerfacecolor=LIGHT["paper"] if derived else look[name].colour,
            markersize=6 if look[name].own else 4,
            zorder=4 if look[name].own else 3,
        )
    xs, ys = [points[n][0] for n in front], [points[n][1] for n in front]
    axes.step(xs, ys, where="post", color=LIGHT["muted"], linewidth=1, zorder=2)
    axes.margins(0.14)
    log_axis(axes, "x", plain_bytes)
    log_axis(axes, "y", plain_seconds)
    axes.set_title(case if len(case) <= 56 else f"{case[:36]} ... {case[-15:]}", fontsize=7.5)
    axes.set_xlabel("size (log scale)")
    axes.set_ylabel("median time (log scale)")
    first = sorted(names, key=lambda n: (n not in front, not look[n].own))
    steps = [
        (
            *axes.transData.transform((xs[i], ys[i + 1])),
            *axes.transData.transform((xs[i + 1], ys[i])),
        )
        for i in range(len(front) - 1)
    ]
    lines = [box for x0, y0, x1, y1 in steps for box in ((x0, y1, x1, y1), (x1, y0, x1, y1))]
    label_points(axes, [(*points[n][:2], n, look[n].text) for n in first], lines)


# Scaling


def scaling_lines(results: Results) -> Iterator[Drawing]:
    """A figure for each density: seconds of a product, and bits per weight, against n."""
    look, curves = looks(results), scaling_curves(results)
    timed = f"multiply: {results.conditions[0]}" if results.conditions else ""
    for density in dict.fromkeys(curve.density for curve in curves):
        panels = [
            (quantity, label, found)
            for quantity, label in (
                (timed, "median time (log scale)"),
                ("bits", "bits per weight"),
            )
            if (found := [c for c in curves if (c.density, c.quantity) == (density, quantity)])
        ]
        if not panels:
            continue
        figure, all_axes = figure_of(len(panels), 1, 6.4, 5.0)
        figure.subplots_adjust(hspace=0.28)
        for axes, (quantity, label, found) in zip(all_axes, panels, strict=True):
            _scaling_panel(axes, quantity, label, found, look)
        yield Drawing(
            "scaling",
            f"scaling-{density}",
            f"Scaling with the number of weights, density {density}",
            "Beside each name the exponent of a power law fitted to its points: of time, and of "
            "all bits.",
            figure,
        )


def _scaling_panel(
    axes: Axes, quantity: str, label: str, curves: Sequence[Curve], look: dict[str, Look]
) -> None:
    ends = []
    for curve in curves:
        y = (
            [v / n for v, n in zip(curve.y, curve.n, strict=True)]
            if quantity == "bits"
            else curve.y
        )
        axes.plot(curve.n, y, **look[curve.contender].line)
        name = f"{curve.contender}  e = {power_law(curve.n, curve.y).exponent:.2f}"
        ends.append((curve.n[-1], y[-1], name, look[curve.contender].text))
    log_axis(axes, "y", plain_number if quantity == "bits" else plain_seconds)
    axes.set_xscale("log", base=2)
    ticks = sorted({n for curve in curves for n in curve.n})
    exponents = [f"2^{n.bit_length() - 1}" if n & (n - 1) == 0 else f"{n:,}" for n in ticks]
    axes.set_xticks(ticks, exponents)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title("size" if quantity == "bits" else f"W x: {quantity.removeprefix('multiply: ')}")
    axes.set_xlabel("number of weights (log scale)")
    axes.set_ylabel(f"{label} (log scale)" if quantity == "bits" else label)
    label_ends(axes, ends)


# Parts


def part_bars(results: Results) -> Iterator[Drawing]:
    """A figure for each group: bits per weight of each contender, by part."""
    for group, cases in results.groups.items():
        names = [n for n in results.stored if any((case, n) in results.size for case in cases)]
        names = [
            n for n in names if 2 * sum((case, n) in results.size for case in cases) > len(cases)
        ]
        common = [case for case in cases if all((case, n) in results.size for n in names)]
        if not names or not common:
            continue
        weights = sum(results.cases[case].n_weights for case in common)
        stacks = {}
        for name in names:
            stack: dict[str, float] = {}
            for case in common:
                for part, bits in results.size[case, name].parts.items():
                    stack[part] = stack.get(part, 0.0) + bits / weights
            stacks[name] = stack
        h0 = sum(results.cases[c].h0_bits * results.cases[c].n_weights for c in common) / weights
        figure = _part_figure(stacks, h0, looks(results))
        yield Drawing(
            "parts",
            f"parts-{slug(group)}",
            f"{group}: bits per weight by part",
            f"All bits over all weights of the {len(common)} of {len(cases)} matrices that every "
            "contender shown stores; those that store no more than half of them are left out. "
            "Bars beyond the axis are cut, their length beside them.",
            figure,
        )


def _part_figure(stacks: dict[str, dict[str, float]], h0: float, look: dict[str, Look]) -> Figure:
    names = sorted(stacks, key=lambda n: sum(stacks[n].values()), reverse=True)
    totals = {n: sum(stacks[n].values()) for n in names}
    weight = {
        p: sum(s.get(p, 0.0) / max(totals[n], 1e-300) for n, s in stacks.items())
        for s in stacks.values()
        for p in s
    }
    parts = sorted(weight, key=weight.__getitem__, reverse=True)
    shown, rest = parts[: len(PART_COLOURS)], parts[len(PART_COLOURS) :]
    figure, (axes,) = figure_of(1, 1, 6.4, 0.8 + 0.19 * len(names))
    limit = 1.02 * min(max(totals.values()), max(12 * h0, 1.5 * min(totals.values()))) or 1.0
    axes.set_xlim(0, limit)
    bars, left = [], [0.0] * len(names)
    for colour, part in zip([*PART_COLOURS, LIGHT["other"]], [*shown, "others"], strict=False):
        members = rest if part == "others" else [part]
        widths = [sum(stacks[n].get(p, 0.0) for p in members) for n in names]
        if any(widths):
            bars.append(
                axes.barh(
                    range(len(names)), widths, 0.72, left, color=colour, label=part, linewidth=0
                )
            )
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for y, name in enumerate(names):
        cut = totals[name] > limit
        axes.annotate(
            short(totals[name]) + (" →" if cut else ""),
            (min(totals[name], limit), y),
            (3, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            **look[name].plain_text,
        )
    axes.axvline(h0, color=LIGHT["ink"], linewidth=1.2)
    axes.text(h0, len(names) - 0.45, f"H0 {short(h0)}", ha="left", va="bottom", fontsize=LABEL_SIZE)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_yticks(range(len(names)), names, fontsize=LABEL_SIZE)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        tick.set(**look[name].plain_text)
    axes.set_xlabel("bits per weight")
    axes.legend(
        handles=bars, loc="upper left", bbox_to_anchor=(1.1, 1), frameon=False, fontsize=LABEL_SIZE
    )
    return figure


def slug(name: str) -> str:
    """A name for files: letters, digits, hyphens.

    >>> slug("files: a/b")
    'files-a-b'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "group"

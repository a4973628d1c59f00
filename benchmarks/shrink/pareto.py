"""A figure of all that is kept: accuracy against bytes of the file, with the front."""

from collections.abc import Sequence
from itertools import cycle

import matplotlib
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from ..report.drawing import LABEL_SIZE, LIGHT, OWN_COLOURS, STYLE, Drawing, figure_of
from ..report.findings import pareto_front
from .rows import Row
from .subjects import RECIPES
from .tables import Point, points

MARKERS = {"quantizers": "o", "protocol": "s", "extreme": "D"}
HEADINGS = {
    "quantizers": "no training",
    "protocol": "prune, share, fine-tune",
    "extreme": "thin out, quantize, train",
}
LOSSES = (-1, 0, 1, 2, 5, 10, 20, 50)
RATIOS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
LINEAR = 2.0  # points up to which losses are drawn as they are, logarithms beyond


def drawing(rows: Sequence[Row]) -> Drawing:
    """A panel for each network; points are means over seeds."""
    kinds = {
        experiment: list(dict.fromkeys(r.method for r in rows if r.experiment == experiment))
        for experiment in MARKERS
    }
    colours = {
        (experiment, method): colour
        for experiment, methods in kinds.items()
        for method, colour in zip(methods, cycle(OWN_COLOURS), strict=False)
    }
    networks = [name for name in RECIPES if any(row.network == name for row in rows)]
    with matplotlib.rc_context(STYLE):
        figure, panels = figure_of(len(networks), 2, 4.6, 3.6)
        for axes, network in zip(panels, networks, strict=True):
            _panel(axes, network, [row for row in rows if row.network == network], colours)
        handles = []
        for experiment, methods in kinds.items():
            if methods:
                handles.append(Line2D([], [], linestyle="", label=HEADINGS[experiment]))
            for method in methods:
                look = {"color": colours[experiment, method], "marker": MARKERS[experiment]}
                handles.append(Line2D([], [], linestyle="", markersize=4, label=method, **look))
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(1.0, 0.98),
            fontsize=LABEL_SIZE,
            frameon=False,
        )
        figure.tight_layout()
    return Drawing(
        "shrink",
        "shrink-pareto",
        "Accuracy against bytes of the file",
        "Means over seeds. Everything in the file counts; 1 is the dense network as float32.",
        figure,
    )


def front(found: Sequence[Point]) -> list[Point]:
    """Points that no other matches or beats in both size and accuracy, from the largest file."""
    order = pareto_front([(-point.ratio, point.lost) for point in found])
    return [found[i] for i in reversed(order)]


def _panel(
    axes: Axes, network: str, rows: Sequence[Row], colours: dict[tuple[str, str], str]
) -> None:
    everything: list[Point] = []
    for experiment, marker in MARKERS.items():
        found = points(row for row in rows if row.experiment == experiment)
        everything += found
        for point in found:
            axes.plot(
                point.ratio,
                point.lost,
                marker=marker,
                markersize=3,
                alpha=0.75,
                markeredgewidth=0,
                color=colours[experiment, point.method],
            )
    best = front(everything)
    axes.step(
        [p.ratio for p in best],
        [p.lost for p in best],
        where="pre",
        color=LIGHT["ink"],
        linewidth=1,
        zorder=1,
    )
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=LINEAR)
    axes.set_xlim(1, max(RATIOS[-1], 1.1 * max(p.ratio for p in everything)))
    axes.set_ylim(90, min(-0.5, *(p.lost - 0.2 for p in everything)))
    axes.set_xticks(RATIOS, [f"{ratio:,}" for ratio in RATIOS])
    axes.set_yticks(LOSSES)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{-value:+g}" if value else "0"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.set_title(f"{network}: {RECIPES[network].about}")
    axes.set_xlabel("times less than float32")
    axes.set_ylabel("accuracy, points to dense")

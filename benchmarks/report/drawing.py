"""How figures look: drawn once in light colours, which an SVG can exchange for dark ones.

Every colour is one of `PALETTE` and becomes `var(--name, #light)`, so a page may set it.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from .cells import seconds
from .findings import OWN, PAPER, Results

#: Name: light, dark. Hues after Okabe and Ito, which the colour-blind tell apart.
PALETTE = {
    "paper": ("#ffffff", "#15181c"),
    "ink": ("#1b1f24", "#e6e9ec"),
    "muted": ("#6b737c", "#99a2ab"),
    "rule": ("#dde1e6", "#30363d"),
    "other": ("#9aa1a9", "#717a84"),
    "c1": ("#6a3fb5", "#b79cf5"),
    "c2": ("#4f5b66", "#b4bec8"),
    "c3": ("#7d4e24", "#cf9f6d"),
    "c4": ("#b5508a", "#e79cc8"),
    "c5": ("#00805d", "#2fcb9f"),
    "c6": ("#0068a8", "#56b4f0"),
    "c7": ("#946300", "#eab43c"),
    "c8": ("#cc4a00", "#ff8b4a"),
}
LIGHT = {name: light for name, (light, _) in PALETTE.items()}
OWN_COLOURS = [LIGHT[f"c{i}"] for i in range(1, 9)]
MARKERS = "DPXsv^po"
STYLE = {
    "figure.facecolor": LIGHT["paper"],
    "axes.facecolor": LIGHT["paper"],
    "savefig.facecolor": LIGHT["paper"],
    "text.color": LIGHT["ink"],
    "axes.labelcolor": LIGHT["ink"],
    "axes.titlecolor": LIGHT["ink"],
    "axes.edgecolor": LIGHT["muted"],
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.labelcolor": LIGHT["ink"],
    "ytick.labelcolor": LIGHT["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.6,
    "font.size": 8,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "lines.solid_capstyle": "round",
}
LABEL_SIZE = 7
LEADER = {"arrowstyle": "-", "linewidth": 0.4, "shrinkA": 1, "shrinkB": 1}


@dataclass(frozen=True)
class Drawing:
    """A figure, what it shows, and the section it belongs to."""

    section: str
    name: str
    title: str
    caption: str
    figure: Figure

    def save(self, folder: Path) -> str:
        """Write `.svg` and `.png`; return the SVG with exchangeable colours, for a page."""
        with matplotlib.rc_context(STYLE | {"svg.hashsalt": self.name}):
            self.figure.savefig(folder / f"{self.name}.png", dpi=144, bbox_inches="tight")
            file = io.StringIO()
            metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            self.figure.savefig(file, format="svg", bbox_inches="tight", metadata=metadata)
        svg = exchangeable(file.getvalue())
        alone = svg.replace(">", ">" + DARK_STYLE, 1)
        (folder / f"{self.name}.svg").write_text(alone, "utf-8")
        return inline(svg, self.title)


DARK = ";".join(f"--{name}:{dark}" for name, (_, dark) in PALETTE.items())
DARK_STYLE = f"<style>@media (prefers-color-scheme:dark){{:root{{{DARK}}}}}</style>"


def exchangeable(svg: str) -> str:
    """The `<svg>` element alone, its colours as variables that default to the light ones."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # the same in every figure, and never referred to
    for name, light in LIGHT.items():
        svg = svg.replace(light, f"var(--{name}, {light})")
    return svg


def inline(svg: str, title: str) -> str:
    """The SVG as HTML has it: no namespaces, a name for those who do not see it."""
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    quoted = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return svg.replace("<svg", f'<svg role="img" aria-label="{quoted}"', 1)


# Contenders


@dataclass(frozen=True)
class Look:
    """How a contender is drawn."""

    colour: str
    marker: str
    own: bool

    @property
    def line(self) -> dict[str, Any]:
        """Arguments of `plot`."""
        width, size, order = (1.8, 4.5, 4) if self.own else (0.9, 2.5, 2)
        return {
            "color": self.colour,
            "marker": self.marker,
            "linewidth": width,
            "markersize": size,
            "zorder": order,
        }

    @property
    def text(self) -> dict[str, Any]:
        """Arguments of labels."""
        return {
            "color": self.colour if self.own else LIGHT["muted"],
            "fontsize": LABEL_SIZE,
            "fontweight": "bold" if self.own else "normal",
        }

    @property
    def plain_text(self) -> dict[str, Any]:
        """Arguments of labels where colours mean something else."""
        return self.text | {"color": LIGHT["ink" if self.own else "muted"]}


def looks(results: Results) -> dict[str, Look]:
    """Our codecs in colours, the rest in grey; the same in every figure."""
    ours = zip(cycle(OWN_COLOURS), cycle(MARKERS), strict=False)
    return {
        name: Look(*next(ours), own=True)
        if family == OWN
        else Look(LIGHT["muted" if family == PAPER else "other"], "o", own=False)
        for name, family in results.families.items()
    }


# Axes


def figure_of(n_panels: int, across: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Panels of so many inches each, rows of `across`."""
    across = min(across, n_panels)
    down = -(-n_panels // across)
    figure = Figure(figsize=(across * width, down * height))
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for unused in axes[n_panels:]:
        unused.remove()
    return figure, axes[:n_panels]


def log_axis(axes: Axes, which: str, unit: Callable[[float], str]) -> None:
    """Make an axis logarithmic, labelled at round numbers."""
    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    low, high = sorted(axis.get_view_interval())
    span = high / low if low > 0 else 1.0
    steps = next(
        (
            steps
            for limit, steps in ((5, (1, 1.5, 2, 3, 5, 7)), (40, (1, 2, 5)), (400, (1, 3)))
            if span < limit
        ),
        (1,),
    )
    found = [s * 10.0**e for e in range(-12, 13) for s in steps]
    axis.set_ticks([tick for tick in found if low <= tick <= high])
    axis.set_major_formatter(FuncFormatter(lambda value, _: unit(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def plain_number(value: float) -> str:
    return f"{value:,.6g}"


def plain_seconds(value: float) -> str:
    return re.sub(r"\.0*(?= )", "", seconds(value * (1 + 1e-9)))


def plain_bytes(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} B"


# Labels


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near to the wanted ones as can be, in their order, `gap` apart.

    Least squares by pooling neighbours: runs that touch stand around their mean. The gap is less
    where there is no room.

    >>> spread([5, 5, 0], 2, 0, 10)
    [4.0, 6.0, 0.0]
    """
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    gap = min(gap, (high - low) / max(len(order) - 1, 1))
    runs: list[list[float]] = []
    for rank, i in enumerate(order):
        runs.append([wanted[i] - rank * gap])
        while len(runs) > 1 and fmean(runs[-2]) > fmean(runs[-1]):
            lower = runs.pop()
            runs[-1] += lower
    pooled = [fmean(run) for run in runs for _ in run]
    last = high - gap * (len(order) - 1)
    placed = [0.0] * len(order)
    for rank, i in enumerate(order):
        placed[i] = min(max(pooled[rank], low), last) + rank * gap
    return placed


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, dict[str, Any]]]) -> None:
    """Write names beside the right end of their lines, apart from each other."""
    to_axes = axes.transData + axes.transAxes.inverted()
    places = [to_axes.transform((x, y)) for x, y, _, _ in ends]
    height = axes.get_window_extent().height * 72 / axes.figure.dpi
    levels = spread([float(y) for _, y in places], 1.25 * LABEL_SIZE / height, -0.02, 1.02)
    for (x, y, name, style), level in zip(ends, levels, strict=True):
        axes.annotate(
            name,
            (x, y),
            (1.04, level),
            textcoords="axes fraction",
            va="center",
            annotation_clip=False,
            arrowprops=LEADER | {"color": style["color"], "relpos": (0, 0.5)},
            **style,
        )


Box = tuple[float, float, float, float]
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float, str, dict[str, Any]]],
    lines: Sequence[Box],
) -> None:
    """Write names beside points, in order of weight, where they overlap nothing; or not at all."""
    scale = axes.figure.dpi / 72
    dots = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    frame = axes.get_window_extent()
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in dots] + list(lines)
    for dot, (x, y, name, style) in zip(dots, points, strict=True):
        for reach, (right, up) in product((5, 13, 22), SIDES):
            box = _label_box(dot, name, right, up, reach, scale)
            inside = frame.x0 + 4 < box[0] and box[2] < frame.x1 + 40
            inside = inside and frame.y0 < box[1] and box[3] < frame.y1
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                axes.annotate(
                    name,
                    (x, y),
                    (right * reach, up * (reach + LABEL_SIZE / 2)),
                    textcoords="offset points",
                    ha={1: "left", -1: "right", 0: "center"}[right],
                    va="center",
                    arrowprops=LEADER | {"color": style["color"]} if reach > 5 else None,
                    **style,
                )
                break


def _label_box(
    dot: tuple[float, float], name: str, right: int, up: int, reach: float, scale: float
) -> Box:
    """Pixels that a name takes so many points to the right of and above a dot, or opposite."""
    width, height = 0.66 * LABEL_SIZE * scale * len(name), 1.1 * LABEL_SIZE * scale
    left = dot[0] + right * reach * scale + (right - 1) * width / 2
    low = dot[1] + up * (reach + LABEL_SIZE / 2) * scale - height / 2
    return left, low, left + width, low + height


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

"""The report as one HTML page: styles, script and figures inline; everything from data escaped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .cells import Section
from .drawing import PALETTE


class Shown(NamedTuple):
    """A figure on the page; the SVG is trusted, matplotlib has escaped its texts."""

    title: str
    caption: str
    svg: str


def page(
    found: Sequence[Section], figures: Mapping[str, Sequence[Shown]], machine: Mapping[str, Any]
) -> str:
    """Lay out all sections.

    Parameters
    ----------
    found : sequence of Section
    figures : by slug of their section
    machine : as written beside the times; only its name, processor and date are used here
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = {
        slug: [(each.title, each.caption, Markup(each.svg)) for each in several]
        for slug, several in figures.items()
    }
    colours = {
        theme: "".join(f"--{name}:{pair[i]};" for name, pair in PALETTE.items())
        for i, theme in enumerate(("light", "dark"))
    }
    about = [machine[key] for key in ("machine", "cpu", "date") if machine.get(key)]
    template = environment.get_template("report.html.j2")
    return template.render(sections=found, figures=drawn, colours=colours, about=about)

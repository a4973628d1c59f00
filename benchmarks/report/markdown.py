"""The report as GitHub Markdown."""

import re
from collections.abc import Mapping, Sequence
from html import escape

from tabulate import tabulate

from .cells import Section, Table


def markdown(
    found: Sequence[Section],
    images: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    folded: bool = False,
) -> str:
    """All sections as GitHub Markdown: with figures, or those tables alone that are folded.

    Parameters
    ----------
    found : sequence of Section
    images : titles and paths, by slug of their section
    folded : which of the tables
    """
    lines = []
    for section in found:
        tables = [table for table in section.tables if table.folded == folded]
        if folded and not tables:
            continue
        lines += [f"## {section.title}", section.text]
        if not folded:
            shown = (images or {}).get(section.slug, ())
            lines += [f"![{inert(title)}]({path})" for title, path in shown]
        for table in tables:
            lines += [f"### {inert(table.title)}", _markdown_table(table)]
        if len(tables) < len(section.tables) and not folded:
            lines.append("More in [details.md](details.md).")
    return "\n\n".join(lines) + "\n"


def inert(text: str) -> str:
    """`text` such that Markdown shows it as it is, in one line, in a cell.

    >>> inert("<b>|layer_0*")
    '&lt;b&gt;\\\\|layer_0\\\\*'
    """
    text = escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*\[\]|~]|\b_|_\b)", r"\\\1", text)


def _markdown_table(table: Table) -> str:
    rows = [
        [f"**{inert(cell.text)}**" if cell.best else inert(cell.text) for cell in row]
        for row in table.rows
    ]
    align = ["right" if table.is_numeric(i) else "left" for i in range(len(table.headers))]
    headers = [inert(header) for header in table.headers]
    return tabulate(rows, headers, tablefmt="github", colalign=align, disable_numparse=True)

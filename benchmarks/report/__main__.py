"""`python -m benchmarks.report [--sizes FILE] [--times FILE] [--out FOLDER]`."""

import argparse
from pathlib import Path

from ..results import SIZES, TIMES
from . import html
from .figures import drawings
from .findings import Results
from .markdown import markdown
from .tables import sections


def newest(folder: Path) -> Path | None:
    """The table of times written last."""
    return max(folder.glob("*.csv"), key=lambda path: path.stat().st_mtime, default=None)


def write(results: Results, folder: Path) -> None:
    """Write tables.md, details.md (tables of one matrix or group), figures/ and report.html."""
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    found = sections(results)
    shown: dict[str, list[html.Shown]] = {}
    images: dict[str, list[tuple[str, str]]] = {}
    for drawing in drawings(results):
        svg = drawing.save(figures)
        shown.setdefault(drawing.section, []).append(
            html.Shown(drawing.title, drawing.caption, svg)
        )
        path = f"figures/{drawing.name}.svg"
        images.setdefault(drawing.section, []).append((drawing.title, path))
    (folder / "tables.md").write_text(markdown(found, images), "utf-8")
    (folder / "details.md").write_text(markdown(found, folded=True), "utf-8")
    (folder / "report.html").write_text(html.page(found, shown, results.machine), "utf-8")


def main() -> None:
    """Report on the files of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--sizes", type=Path, default=SIZES, help="default: %(default)s")
    parser.add_argument("--times", type=Path, help="default: the newest of benchmarks/results")
    parser.add_argument("--out", type=Path, default=Path(".cache/report"), metavar="FOLDER")
    options = parser.parse_args()
    for path in (options.sizes, options.times):
        if path not in (None, SIZES) and not path.is_file():
            parser.error(f"no such file: {path}")
    results = Results.load(options.sizes, options.times or newest(TIMES))
    if not results.sizes and not results.times:
        parser.error("no results yet; python -m benchmarks makes them")
    write(results, options.out)
    print(options.out / "report.html")


if __name__ == "__main__":
    main()

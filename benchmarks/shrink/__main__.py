"""What methods of pruning and quantization are worth in accuracy and bytes of the file.

    python -m benchmarks.shrink quantizers   RTN to CERWU with the codec's rate; no training
    python -m benchmarks.shrink protocol     the HAC papers': prune, share k values, fine-tune
    python -m benchmarks.shrink extreme      the smallest files at little loss
    python -m benchmarks.shrink crepe        a published network, without its data; 10 minutes a row
    python -m benchmarks.shrink pareto       a figure of all that the others have kept

Every point is kept as soon as it is measured, in .cache/benchmarks/shrink; what is interrupted
resumes. Points are measured again where the code that decides them has changed.
"""

import argparse
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from inspect import cleandoc
from pathlib import Path
from types import ModuleType
from typing import Any

from . import crepe, extreme, protocol, quantizers, subjects
from .rows import Kept, digest, run
from .tables import report

EXPERIMENTS = {"quantizers": quantizers, "protocol": protocol, "extreme": extreme}


def parser() -> argparse.ArgumentParser:
    """The command's grammar."""
    found = argparse.ArgumentParser(
        prog="python -m benchmarks.shrink",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("what", choices=[*EXPERIMENTS, "crepe", "pareto"])
    found.add_argument("--seeds", type=int, default=5, metavar="N", help="0 to N - 1 (default: 5)")
    found.add_argument(
        "--networks", nargs="+", choices=list(subjects.RECIPES), metavar="NAME", default=[],
        help=f"of {', '.join(subjects.RECIPES)}",
    )  # fmt: skip
    found.add_argument("--methods", nargs="+", metavar="NAME", help="only these")
    found.add_argument(
        "--stale", action="store_true", help="take points of other sources as they are"
    )
    found.add_argument("--kept", action="store_true", help="measure nothing; show what is kept")
    found.add_argument("--json", action="store_true", help="rows instead of tables")
    found.add_argument("--out", type=Path, metavar="FOLDER", help="write tables or figure there")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    grammar = parser()
    options = grammar.parse_args(arguments)
    if options.seeds < 1:
        grammar.error(f"--seeds {options.seeds}: at least 1")
    if options.what == "pareto":
        return _pareto(options)
    if options.what == "crepe":
        return _crepe(options, grammar)
    kept = Kept(_path(options.what))
    seeds = range(options.seeds)
    cells = list(EXPERIMENTS[options.what].cells(options.networks, seeds))
    methods = dict.fromkeys(cell.method for cell in cells)
    _check_methods(options.methods or (), methods, grammar)
    cells = [cell for cell in cells if cell.method in (options.methods or methods)]
    if options.kept:
        cells = [cell for cell in cells if cell.key in kept.rows]
    rows = run(cells, kept, stale=options.stale or options.kept)
    n_stale = sum(row.sources != digest(row.experiment) for row in rows)
    if n_stale:
        print(f"{n_stale} of {len(rows)} points are by other sources", file=sys.stderr)
    n_missing = len(cells) - len(rows)
    if not rows:
        print(f"{kept.path}: nothing is kept", file=sys.stderr)
        return 1
    _show_tables(options, EXPERIMENTS[options.what], rows, report(options.what, rows))
    return 1 if n_missing else 0


def _crepe(options: argparse.Namespace, grammar: argparse.ArgumentParser) -> int:
    methods = options.methods or list(crepe.METHODS)
    _check_methods(methods, crepe.METHODS, grammar)
    kept = crepe.kept_rows(subjects.FOLDER)
    rows = crepe.run(methods, kept, stale=options.stale, only_kept=options.kept)
    if not rows:
        print(f"{kept.path}: nothing is kept", file=sys.stderr)
        return 1
    _show_tables(options, crepe, rows, crepe.report(rows))
    return 0


def _check_methods(
    names: Iterable[str], known: Collection[str], grammar: argparse.ArgumentParser
) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        grammar.error(f"no method {unknown[0]!r}; there are {', '.join(map(repr, known))}")


def _pareto(options: argparse.Namespace) -> int:
    from .pareto import drawing  # needs matplotlib

    kept = [row for name in EXPERIMENTS for row in Kept(_path(name)).rows.values()]
    rows = [
        row
        for row in kept
        if row.seed < options.seeds
        and row.network in (options.networks or subjects.RECIPES)
        and row.method in (options.methods or [row.method])
    ]
    if not rows:
        print(f"{subjects.FOLDER}: nothing is kept", file=sys.stderr)
        return 1
    folder = options.out or subjects.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    found = drawing(rows)
    found.save(folder)
    _show(rows, f"{folder / found.name}.svg and .png: {len(rows)} rows\n", options.json)
    return 0


def _path(experiment: str) -> Path:
    return subjects.FOLDER / f"{experiment}.jsonl"


def _show_tables(
    options: argparse.Namespace, experiment: ModuleType, rows: Sequence[Any], tables: str
) -> None:
    """Show an experiment's tables below what its module says of it."""
    title, _, about = cleandoc(experiment.__doc__ or "").partition("\n")
    command = f"Printed by `python -m benchmarks.shrink {options.what}`."
    parts = [f"# {title.rstrip('.')}", about.strip(), command, tables]
    text = "\n\n".join(part for part in parts if part)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{options.what}.md").write_text(text, "utf-8")
    _show(rows, text, options.json)


def _show(rows: Sequence[Any], text: str, as_json: bool) -> None:
    if as_json:
        json.dump([asdict(row) for row in rows], sys.stdout, indent=1)
        print()
    else:
        print(text, end="")


if __name__ == "__main__":
    sys.exit(main())

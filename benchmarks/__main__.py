"""Space and time of cnnzip, against every format the papers name and the best compressors.

    python -m benchmarks                the short profile, under two minutes
    python -m benchmarks --full         everything; resumes where it was interrupted
    python -m benchmarks PATH ...       your own matrices: .npz, .safetensors, .pt, .cnnz, or folders
    python -m benchmarks.report         tables, figures and an HTML page of what was recorded

grid.toml says what the profiles hold. Every matrix is decoded and compared, every product checked.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from . import machine, results
from .contenders import CONTENDERS
from .grid import MEASURES, plan, plan_of_files
from .report.findings import Results
from .report.summary import summary
from .run import Cells, installed, run

CACHE = Path(".cache/benchmarks")


def parser(prog: str) -> argparse.ArgumentParser:
    """The command's grammar."""
    found = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("path", nargs="*", type=Path, help="files or folders of your own")
    found.add_argument("--full", action="store_true", help="the full profile; hours")
    found.add_argument("--quick", action="store_true", help="the short profile (the default)")
    found.add_argument("--groups", nargs="+", metavar="GROUP", help="only these of grid.toml")
    found.add_argument("--contenders", nargs="+", metavar="NAME", help="only these")
    found.add_argument("--measures", nargs="+", choices=MEASURES, help="only these")
    found.add_argument("--fresh", action="store_true", help="forget what was measured before")
    found.add_argument("--record", action="store_true", help="replace the tables of the repository")
    found.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write tables, figures, HTML there"
    )
    found.add_argument("--json", action="store_true", help="print all rows as JSON")
    return found


def main(arguments: Sequence[str] | None = None, prog: str = "python -m benchmarks") -> int:
    """Run the suite. Returns the exit status: 1 where something is wrong or could not be read."""
    grammar = parser(prog)
    options = grammar.parse_args(arguments)
    if options.quick and options.full:
        grammar.error("--quick or --full, not both")
    is_whole = not (options.path or options.groups or options.contenders)
    if options.record and not (is_whole and options.measures is None):
        grammar.error("--record is for whole profiles; --out FOLDER keeps the results of a part")
    unknown = set(options.contenders or ()) - set(CONTENDERS)
    if unknown:
        grammar.error(f"no contender {', '.join(unknown)}; there are {', '.join(CONTENDERS)}")
    if options.out:  # what drawing needs is missed before hours of measuring, not after
        from .report.__main__ import write as write_report
    profile = "full" if options.full else "quick"
    what = plan_of_files(options.path, profile) if options.path else plan(profile, options.groups)
    # What is kept is of all contenders: of a part, a later run would take the rest as done.
    kept = CACHE / f"{profile}.jsonl" if is_whole else None
    contenders, missing = installed(
        [c for c in CONTENDERS.values() if c.name in (options.contenders or CONTENDERS)]
    )
    found = Cells(kept, options.fresh)
    run(what.only(options.measures) if options.measures else what, contenders, found)

    about = machine.describe() | {
        "contenders": {c.name: c.setting for c in contenders if c.setting},
        "skipped": missing | _skips(found),
        "notes": found.faults,
    }
    if options.record:
        results.write(results.SIZES, found.sizes)
        results.TIMES.mkdir(exist_ok=True)
        results.write(results.TIMES / f"{about['machine']}.csv", found.times)
        text = json.dumps(about, indent=1) + "\n"
        (results.TIMES / f"{about['machine']}.json").write_text(text)
    shown = Results(found.sizes, found.times, about)
    if options.out:
        write_report(shown, options.out)
    if options.json:
        rows = {"sizes": found.sizes, "times": found.times}
        json.dump(
            {"about": about} | {key: [asdict(r) for r in of] for key, of in rows.items()},
            sys.stdout,
            indent=1,
        )
        print()
    else:
        print(summary(shown))
    return 1 if found.faults or not shown.families else 0


def _skips(found: Cells) -> dict[str, str]:
    return {
        f"{contender}, {case}": why
        for case, of_case in found.skipped.items()
        for contender, why in of_case.items()
    }


if __name__ == "__main__":
    sys.exit(main())

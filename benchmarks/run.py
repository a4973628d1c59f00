"""Takes the measures of a plan, cell by cell, and keeps what is done: an interrupted run resumes."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from . import machine
from .contenders.base import Contender
from .grid import Plan, Settings
from .matrices.base import Case
from .measures import coding, memory, products, sizes
from .measures.stored import StoredCase
from .measures.timing import Flush
from .results import ROOT, SizeRow, TimeRow

FORWARD = "forward"
#: What decides the results: a kept run is not resumed when any of it has changed.
SOURCES = (
    "../cnnzip/**/*.py",
    "../cnnzip_native/*.py",
    "contenders/*.py",
    "matrices/*.py",
    "measures/*.py",
    "networks.py",
    "grid.toml",
)


class Cells:
    """What a run has measured, in memory and in a file of one JSON line a cell.

    Attributes
    ----------
    sizes : list of SizeRow
    times : list of TimeRow
    skipped : dict of str to dict of str to str
        Why a contender was left out, by case and contender.
    faults : list of str
        Matrices that could not be read, and contenders that are wrong.
    """

    def __init__(self, path: Path | None, fresh: bool = False) -> None:
        self.sizes: list[SizeRow] = []
        self.times: list[TimeRow] = []
        self.skipped: dict[str, dict[str, str]] = {}
        self.faults: list[str] = []
        self._done: set[tuple[str, str]] = set()
        self._path = path
        if path is None:
            return
        head = {"sources": _digest(), "machine": machine.describe()["machine"]}
        lines = [] if fresh or not path.exists() else path.read_text().split("\n")[:-1]
        if lines and json.loads(lines[0]) != head:
            print(f"{path}: of another machine or other sources; starting anew", file=sys.stderr)
            lines = []
        for line in lines[1:]:
            self._take(json.loads(line))
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps(head)]
        path.write_text("\n".join(lines) + "\n")  # without a line that was cut

    def has(self, case: str, measure: str) -> bool:
        """Whether a cell is done."""
        return (case, measure) in self._done

    def rates(self) -> dict[str, float]:
        """Weights a second at which contenders encoded the last matrix of 65,536 weights or more."""
        n_weights = {row.case: row.n_weights for row in self.sizes}
        return {
            row.contender: n_weights[row.case] / row.best
            for row in self.times
            if row.measure == "encode" and n_weights.get(row.case, 0) >= 1 << 16
        }

    def add(
        self,
        case: str,
        measure: str,
        rows: Sequence[SizeRow | TimeRow] = (),
        skipped: Mapping[str, str] | None = None,
        fault: str = "",
    ) -> None:
        """Keep a cell."""
        cell = {
            "case": case,
            "measure": measure,
            "kind": "sizes" if measure == "sizes" else "times",
            "rows": [asdict(row) for row in rows],
            "skipped": dict(skipped or {}),
            "fault": fault,
        }
        self._take(cell)
        if self._path is not None:
            with open(self._path, "a") as file:
                file.write(json.dumps(cell) + "\n")

    def _take(self, cell: dict[str, Any]) -> None:
        self._done.add((cell["case"], cell["measure"]))
        if cell["kind"] == "sizes":
            self.sizes += [SizeRow(**row) for row in cell["rows"]]
        else:
            self.times += [TimeRow(**row) for row in cell["rows"]]
        if cell["skipped"]:
            self.skipped.setdefault(cell["case"], {}).update(cell["skipped"])
        if cell["fault"]:
            self.faults.append(cell["fault"])


def installed(contenders: Sequence[Contender]) -> tuple[list[Contender], dict[str, str]]:
    """Those that can run here; of the others, the command that installs what is missing."""
    missing = {c.name: command for c in contenders if (command := c.missing())}
    for name, command in missing.items():
        print(f"without {name}; to have it: {command}", file=sys.stderr)
    return [c for c in contenders if c.name not in missing], missing


def run(plan: Plan, contenders: Sequence[Contender], cells: Cells) -> None:
    """Take what is not done yet. Progress is shown on standard error."""
    todo = [
        (case, settings, [m for m in settings.measures if not cells.has(case.name, m)])
        for case, settings in plan.cases
    ]
    todo = [cell for cell in todo if cell[2]]
    if todo:
        _compile(contenders)
    elif plan.cases:
        print("all of it was measured before; --fresh measures it anew", file=sys.stderr)
    rates = cells.rates()
    is_cold = any(settings.is_cold for _, settings, _ in todo)
    flush = Flush(machine.last_cache_bytes()) if is_cold else None
    with tqdm(total=sum(len(m) for *_, m in todo), disable=None, leave=False) as bar:
        for case, settings, measures in todo:
            fresh = replace(case)  # which takes its weight along when it goes
            stored = StoredCase(fresh, contenders, rates, settings.encode_budget)
            for measure in measures:
                bar.set_description(f"{case.name}: {measure}")
                rows = _measure(measure, stored, settings, flush)
                for fault in stored.faults:
                    print(fault, file=sys.stderr)
                cells.add(case.name, measure, rows, stored.skipped, "; ".join(stored.faults))
                stored.faults.clear()
                bar.update()
    if plan.settings.forward:
        _run_networks(plan.settings, cells)


def _measure(
    measure: str, stored: StoredCase, settings: Settings, flush: Flush | None
) -> Sequence[SizeRow | TimeRow]:
    if not stored.is_readable:
        return []
    rounds, budget = settings.rounds, settings.budget
    with products.threads(1):
        if measure == "sizes":
            return sizes.measure(stored)
        if measure == "coding":
            return coding.measure(stored, rounds, budget)
        if measure == "multiply":
            return products.measure(stored, settings.conditions, rounds, budget, flush)
        return memory.measure(stored)


def _run_networks(settings: Settings, cells: Cells) -> None:
    from .measures import forward

    for name, model, inputs in forward.networks():
        if not cells.has(name, FORWARD):
            rows = forward.measure(name, model, inputs, settings.rounds, settings.budget)
            cells.add(name, FORWARD, rows)


def _compile(contenders: Sequence[Contender]) -> None:
    """Have all kernels compiled before anything is timed."""
    weight = np.zeros((64, 64), np.float32)
    weight[::3, ::5] = 1 + np.arange(13) % 3
    case = Case("warm-up", "", "", lambda: weight)
    for contender in tqdm(contenders, desc="compiling", disable=None, leave=False):
        with suppress(Exception):  # who is wrong, is so on every matrix, and named there
            stored = contender.open(contender.encode(case), case.shape)
            stored.decode()
            for n_threads in (1, 2):
                with products.threads(n_threads):
                    stored.multiply(np.ones(64, np.float32))
                    stored.multiply(np.ones((64, 8), np.float32))


def _digest() -> str:
    found = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            found.update(path.read_bytes())
    return found.hexdigest()[:16]

"""Points of an experiment, how they are measured, and the file that keeps them."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from time import process_time
from typing import Generic, Protocol, TypeVar

import torch
from torch import nn
from tqdm import tqdm

from cnnzip.tuning import bake
from cnnzip.tuning.log import file_bytes

from .. import networks
from ..results import ROOT
from .subjects import Subject, subject

Setting = Mapping[str, str | float | bool]
#: What decides the results beside an experiment's own file.
SOURCES = ("../cnnzip/**/*.py", "../cnnzip_native/*.py", "networks.py", "shrink/subjects.py")


@dataclass(frozen=True)
class Cell:
    """A point that can be measured.

    Attributes
    ----------
    method : str
    setting : mapping of str to number, bool or str
        With the method, what tells the point from others.
    make : function of a subject
        Gives the shrunk model.
    """

    experiment: str
    network: str
    seed: int
    method: str
    setting: Setting
    make: Callable[[Subject], nn.Module]

    @property
    def key(self) -> str:
        """The same for the same point in another run."""
        return _key(asdict(self))


@dataclass(frozen=True)
class Row:
    """A point that was measured.

    Attributes
    ----------
    accuracy, dense : float
        Per cent of the test set, and the same of the dense network of this seed.
    divergence : float
        Kullback-Leibler's, from the dense network's outputs on the test set; nats.
    n_weights : int
        Of the dense network; what bits a weight refer to.
    n_entries : int
        Weights that are left.
    n_bytes : int
        Of the file, everything in it.
    float_bytes : int
        Of the dense network's state_dict.
    seconds : float
        Of the processor, that the method took on one thread, less what it shares with points
        before it.
    sources : str
        Digest of what decides the point.
    """

    experiment: str
    network: str
    seed: int
    method: str
    setting: Setting
    accuracy: float
    dense: float
    divergence: float
    n_weights: int
    n_entries: int
    n_bytes: int
    float_bytes: int
    seconds: float
    sources: str

    @property
    def key(self) -> str:
        """As of the cell."""
        return _key(asdict(self))

    @property
    def bits(self) -> float:
        """Bits of the file for each weight of the dense network."""
        return 8 * self.n_bytes / self.n_weights

    @property
    def ratio(self) -> float:
        """How many times the file is less than the dense network's numbers."""
        return self.float_bytes / self.n_bytes

    @property
    def lost(self) -> float:
        """Points below the dense network of the same seed."""
        return self.dense - self.accuracy


def _key(fields: Mapping[str, object]) -> str:
    names = ("experiment", "network", "seed", "method", "setting")
    return json.dumps([fields[name] for name in names], sort_keys=True)


class Keyed(Protocol):
    """A dataclass of what JSON holds."""

    @property
    def key(self) -> str:
        """Tells a row from others."""


R = TypeVar("R", bound=Keyed)


class Kept(Generic[R]):
    """Rows in a file of one JSON line each; of a point measured again, the last counts."""

    def __init__(self, path: Path, kind: Callable[..., R] = Row) -> None:
        self.path = path
        self.rows: dict[str, R] = {}
        for line in path.read_text().split("\n") if path.exists() else []:
            try:
                row = kind(**json.loads(line))
            except json.JSONDecodeError:  # cut, or the end
                continue
            self.rows[row.key] = row

    def add(self, row: R) -> None:
        """Keep a row."""
        self.rows[row.key] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = not self.path.exists() or self.path.read_bytes().endswith(b"\n")
        with open(self.path, "a") as file:
            file.write(("" if whole else "\n") + json.dumps(asdict(row)) + "\n")


def run(cells: Iterable[Cell], kept: Kept[Row], stale: bool = False) -> list[Row]:
    """Measure what is not kept, or by other sources; the cells' rows, in their order.

    A point that cannot be made is named on standard error, and has no row.

    Parameters
    ----------
    stale : bool
        Whether rows of other sources are taken as they are.
    """
    cells = list(cells)
    todo = [
        cell
        for cell in cells
        if (row := kept.rows.get(cell.key)) is None
        or not (stale or row.sources == digest(cell.experiment))
    ]
    with (
        networks.one_thread(),
        tqdm(todo, disable=None, leave=False, unit="point", file=sys.stderr) as bar,
    ):
        for cell in bar:
            at = ", ".join(f"{name} {value}" for name, value in cell.setting.items())
            bar.set_description(f"{cell.network} s{cell.seed}: {cell.method}, {at}")
            try:
                kept.add(measured(cell))
            except (ValueError, RuntimeError, ArithmeticError) as error:
                bar.write(f"{cell.key}: {error}", file=sys.stderr)
    return [kept.rows[cell.key] for cell in cells if cell.key in kept.rows]


def measured(cell: Cell) -> Row:
    """Make the model of a cell, and its row."""
    dense = subject(cell.network, cell.seed)
    start = process_time()
    model = bake(cell.make(dense)).eval()
    seconds = process_time() - start
    n_bytes = file_bytes(model)
    model = model.float()  # which 16-bit numbers are, too
    with torch.no_grad():
        logs = networks.test_logits(model, dense.data).log_softmax(1)
        expected = dense.logits.log_softmax(1)
        divergence = float((expected.exp() * (expected - logs)).sum(1).mean())
    return Row(
        cell.experiment,
        cell.network,
        cell.seed,
        cell.method,
        dict(cell.setting),
        100 * networks.accuracy(model, dense.data),
        dense.accuracy,
        divergence,
        dense.n_weights,
        sum(int((weight != 0).sum()) for _, weight in networks.layer_weights(model)),
        n_bytes,
        dense.float_bytes,
        seconds,
        digest(cell.experiment),
    )


@cache
def digest(experiment: str, *others: str) -> str:
    """Of the sources that decide an experiment's rows, and others'."""
    found = sha256(torch.__version__.encode())
    for pattern in (*SOURCES, f"shrink/{experiment}.py", *others):
        for path in sorted(ROOT.glob(pattern)):
            if "cli" not in path.parts:
                found.update(path.read_bytes())
    return found.hexdigest()[:16]

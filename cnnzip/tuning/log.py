"""What a model is worth along the way: accuracy, parameters, and bytes in its file."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from cnnzip.api import save
from cnnzip.errors import ArgumentError
from cnnzip.tuning.parametrizations import KINDS, bake, weight_of

Evaluate = Callable[[nn.Module], float]


@dataclass(frozen=True, slots=True)
class Step:
    """A model at one point of its way.

    Attributes
    ----------
    name : str
    accuracy : float or None
        What `evaluate` gives; higher is better.
    n_parameters : int
        Of the plain model: weights, biases, affine parameters; tied ones once.
    n_entries : int
        Weights of convolutions and linear layers that are not 0.
    n_bytes : int
        Of the file that `cnnzip.save` writes: codebooks, batch norm and headers are counted.
    """

    name: str
    accuracy: float | None
    n_parameters: int
    n_entries: int
    n_bytes: int


@dataclass
class Log:
    """The steps of a method, filled by it.

    Attributes
    ----------
    evaluate : function of a model in eval mode, optional
        Gives what is shown as accuracy.
    """

    evaluate: Evaluate | None = None
    steps: list[Step] = field(default_factory=list)

    def add(self, name: str, model: nn.Module) -> Step:
        """Measure a model, which stays as it is."""
        plain = bake(model).eval()
        step = Step(
            name,
            None if self.evaluate is None else evaluated(self.evaluate, plain),
            sum(parameter.numel() for parameter in plain.parameters()),
            sum(int((weight_of(m) != 0).sum()) for m in plain.modules() if isinstance(m, KINDS)),
            file_bytes(plain),
        )
        self.steps.append(step)
        return step

    def __str__(self) -> str:
        from tabulate import tabulate

        table = [
            (
                step.name,
                "" if step.accuracy is None else f"{step.accuracy:.4g}",
                f"{step.n_parameters:,}",
                f"{step.n_entries:,}",
                f"{step.n_bytes:,}",
            )
            for step in self.steps
        ]
        headers = ["step", "accuracy", "parameters", "entries", "bytes"]
        return str(
            tabulate(table, headers, disable_numparse=True, colalign=("left", *["right"] * 4))
        )


def evaluated(evaluate: Evaluate, model: nn.Module) -> float:
    """What a caller's function says a plain model is worth; or ArgumentError, where no number."""
    found = evaluate(model)
    try:
        return float(found)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"evaluate: a {type(found).__name__}; it must give one number"
        ) from None


def file_bytes(model: nn.Module) -> int:
    """Bytes of the file that `cnnzip.save` makes of a model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cnnz"
        save(model, path, verify=False, durable=False)
        return path.stat().st_size

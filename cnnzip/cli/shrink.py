"""Quantize a trained model, without labels or training, and save it.

MODEL is module:name, a function or class that gives the trained model; or a file of weights (.pt, .safetensors,
.npz, .cnnz), for a model that --skeleton module:name gives. Naming a module runs its code; the current folder is
looked in, too. Every fourth input is kept aside, and on these the outputs are compared.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnzip.errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Of more inputs, so many are taken, evenly spread.
MOST_INPUTS = 1024
#: Of fewer, none is kept aside.
LEAST_TO_SPLIT = 8
BATCH = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", help="module:name that gives the model, or a file of its weights")
    parser.add_argument(
        "--inputs",
        required=True,
        metavar="FILE",
        help="inputs of the model, without labels: .npy, .npz or .pt; 128 and more for good",
    )
    parser.add_argument(
        "--skeleton", metavar="MODULE:NAME", help="what gives a model that the weights are of"
    )
    parser.add_argument("-o", "--output", help="the file to write (default: MODEL's name, .cnnz)")
    parser.add_argument(
        "--lam", type=float, default=1e-4, help="what a bit is worth (default: %(default)s)"
    )
    parser.add_argument(
        "--sparsity", type=float, default=0.0, help="share of weights to prune before, such as 0.8"
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace a file that exists")


@dataclass(frozen=True, slots=True)
class Step:
    """A model at one point of its way.

    Attributes
    ----------
    name : str
    nbytes : int
        Of its file.
    output_error : float
        Root mean square of what the outputs changed by, relative to that of the outputs.
    same_largest : float or None
        Share of inputs whose largest output is the same one; where outputs are (n, classes).
    """

    name: str
    nbytes: int
    output_error: float
    same_largest: float | None


def run(options: argparse.Namespace) -> int:
    """Write the file. Returns the exit status."""
    target = _target(options)
    if not 0 <= options.sparsity < 1:
        raise ArgumentError(f"--sparsity {options.sparsity}: a share from 0, below 1, is due")
    from cnnzip.api import save
    from cnnzip.cli.models import inputs_of, model_of
    from cnnzip.prune import one_shot
    from cnnzip.quantize import rate_distortion, shorten
    from cnnzip.sizes import total_line
    from cnnzip.tuning import bake, recalibrate_bn

    inputs = inputs_of(options.inputs)
    model = bake(model_of(options.model, options.skeleton)).eval()
    used, aside = _split(_typed(inputs, model))
    compared = _Compared(model, aside)
    if options.sparsity:
        model = one_shot(model, options.sparsity, inputs=used)
        compared.add("pruned", model)
    model = rate_distortion(model, used, options.lam)
    compared.add("quantized", model)
    model = bake(shorten(recalibrate_bn(model, used)))
    compared.add("shortened", model)
    report = save(model, target)
    if options.json:
        found = {
            "output": os.fspath(target),
            "file_bytes": report.nbytes,
            "dense_bytes": report.dense_bytes,
            "inputs_used": len(used),
            "inputs_compared": len(aside),
            "kept_aside": used is not aside,
            "steps": [asdict(step) for step in compared.steps],
        }
        print(json.dumps(found, indent=1))
        return 0
    what = "others" if used is not aside else "the same, too few to keep some aside"
    print(_table(compared.steps))
    print(f"by {len(used)} inputs; outputs compared on {len(aside)}, {what}")
    print(f"{target}: {total_line(report.nbytes, report.dense_bytes)}")
    return 0


def _target(options: argparse.Namespace) -> Path:
    """The file to write; none is overwritten unasked."""
    from cnnzip.cli.models import is_loader

    if options.output:
        target = Path(options.output)
    elif is_loader(options.model):
        target = Path(options.model.rpartition(":")[2] + ".cnnz")
    else:
        target = Path(options.model).with_suffix(".cnnz")
    for given in (options.model, options.inputs):
        if target.exists() and Path(given).exists() and target.samefile(given):
            raise ArgumentError(f"{target}: is the input; give another --output")
    if target.exists() and not options.force:
        raise ArgumentError(f"{target}: exists; give another --output, or --force")
    return target


def _typed(inputs: "Tensor", model: "nn.Module") -> "Tensor":
    """Floating-point inputs in the type of the model's parameters."""
    types = [p.dtype for p in model.parameters() if p.is_floating_point()]
    return inputs.to(types[0]) if types and inputs.is_floating_point() else inputs


def _split(inputs: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Inputs to quantize by, and every fourth to compare outputs on."""
    import torch

    n = len(inputs)
    if n > MOST_INPUTS:
        inputs, n = inputs[torch.arange(MOST_INPUTS) * n // MOST_INPUTS], MOST_INPUTS
    if n < LEAST_TO_SPLIT:
        return inputs, inputs
    aside = torch.arange(n) % 4 == 3
    return inputs[~aside], inputs[aside]


class _Compared:
    """The steps of a model's way, each compared with its start."""

    def __init__(self, model: "nn.Module", inputs: "Tensor") -> None:
        from cnnzip.tuning.fit import run

        run(model, inputs[:2])  # or it is refused
        self.steps: list[Step] = []
        self._inputs = inputs
        self._due = _outputs(model, inputs)
        if not all(bool(tensor.isfinite().all()) for batch in self._due for tensor in batch):
            raise ArgumentError("inputs: what the model gives for them holds NaN or infinities")
        self.add("as given", model)

    def add(self, name: str, model: "nn.Module") -> None:
        """Measure a model, which stays as it is."""
        from cnnzip.tuning import bake
        from cnnzip.tuning.log import file_bytes

        plain = bake(model).eval()
        change = square = 0.0
        n_same = 0
        is_classes = True
        for found, due in zip(_outputs(plain, self._inputs), self._due, strict=True):
            is_classes &= len(due) == 1 and due[0].ndim == 2 and due[0].shape[1] > 1
            for one, other in zip(found, due, strict=True):
                change += float((one.double() - other.double()).square().sum())
                square += float(other.double().square().sum())
                if is_classes:
                    n_same += int((one.argmax(1) == other.argmax(1)).sum())
        error = (change / max(square, 1e-300)) ** 0.5
        same = n_same / len(self._inputs) if is_classes else None
        self.steps.append(Step(name, file_bytes(plain), error, same))


def _outputs(model: "nn.Module", inputs: "Tensor") -> list[list["Tensor"]]:
    """The tensors that a model gives for each batch."""
    import torch

    from cnnzip.tuning.fit import device_of

    with torch.no_grad():
        batches = [batch.to(device_of(model)) for batch in torch.split(inputs, BATCH)]
        found = [list(_tensors(model(batch))) for batch in batches]
    if not all(found):
        raise ArgumentError("inputs: the model gives no floating-point tensor for them")
    return found


def _tensors(output: Any) -> Iterator["Tensor"]:
    from cnnzip.arrays import is_torch

    if is_torch(output):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping | tuple | list):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(part)


def _table(steps: list[Step]) -> str:
    from tabulate import tabulate

    rows = [
        (
            step.name,
            f"{step.nbytes:,}",
            f"{step.output_error:.2%}",
            "" if step.same_largest is None else f"{step.same_largest:.1%}",
        )
        for step in steps
    ]
    headers = ("step", "bytes", "output error", "same largest")
    alignment = ("left", "right", "right", "right")
    return str(tabulate(rows, headers, disable_numparse=True, colalign=alignment))

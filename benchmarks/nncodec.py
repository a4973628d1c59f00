"""Networks trained with pruning: our frames beside NNCodec's streams (ISO/IEC 15938-17).

    python -m benchmarks.nncodec [FOLDER] [--seeds 3] [--json]

The demonstration's networks, every layer of at least 20,000 weights; and the matrices of a folder,
as `benchmarks.space` reads them. NNCodec gets integers, which it codes without loss and at its
default settings: the rank of each value, negative below zero. It cannot keep a codebook of floats,
so 4 bytes for each value but zero are added to its stream. It runs in an environment of its own.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

import cnnzip
from benchmarks.demo_digits import PRUNING_STEPS, prepare
from benchmarks.kernels import matrices
from benchmarks.networks import RECIPES, digits, layer_weights, one_thread
from cnnzip.bounds import Matrix

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".cache/nncodec-venv/bin/python"
LEAST_WEIGHTS = 20_000
CODECS = ("banded", "auto")
PEER = "NNCodec"
WAYS = (*CODECS, PEER)

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Row:
    """Bytes of one layer."""

    name: str
    shape: tuple[int, ...]
    sparsity: float
    h0_bytes: float
    nbytes: dict[str, int]  # by way of storing


def trained(n_seeds: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Train, prune and quantize the demonstration's networks; yield their large layers."""
    epochs = [r.epochs + PRUNING_STEPS * r.retraining_epochs for r in RECIPES.values()]
    data = digits()
    with one_thread(), tqdm(total=n_seeds * sum(epochs), disable=None, leave=False) as bar:
        for network, recipe in RECIPES.items():
            for seed in range(n_seeds):
                model = recipe.make(seed)
                prepare(network, model, data, seed, {}, bar)
                for layer, weight in layer_weights(model):
                    if weight.numel() >= LEAST_WEIGHTS:
                        yield f"{network} {seed}: {layer}", weight.detach().numpy()


def ranks(array: NDArray[np.float32]) -> NDArray[np.int32]:
    """Number the values from zero, up and down."""
    values = np.union1d(array, np.float32(0))
    return (np.searchsorted(values, array) - np.searchsorted(values, 0)).astype(np.int32)


def stream_sizes(arrays: Mapping[str, NDArray[np.int32]]) -> dict[str, int]:
    """Bytes of NNCodec's stream of each array."""
    if not PYTHON.exists():
        raise SystemExit(f"{PYTHON} is missing: make bench-nncodec installs NNCodec there")
    with tempfile.TemporaryDirectory() as folder:
        plain, coded = Path(folder, "plain.npz"), Path(folder, "coded.npz")
        np.savez(plain, **arrays)
        command = [PYTHON, "-m", "benchmarks.nncodec_encode", plain, coded]
        subprocess.run(command, cwd=ROOT, check=True)
        with np.load(coded) as streams:
            return {name: stream.size for name, stream in streams.items()}


def measure(weights: Weights) -> list[Row]:
    """Code every weight by us and by NNCodec."""
    rows = []
    streams = stream_sizes({name: ranks(array) for name, array in weights.items()})
    for name, array in weights.items():
        matrix = Matrix.of(array)
        sizes = {codec: cnnzip.encode(array, codec).nbytes for codec in CODECS}
        sizes[PEER] = streams[name] + 4 * matrix.entry_counts.size
        h0_bytes = matrix.h0 * matrix.size / 8
        rows.append(Row(name, array.shape, 1 - matrix.s, h0_bytes, sizes))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Lay out the shares of each layer and of all, and count the layers where we are smaller."""
    lines = [
        (
            row.name,
            " x ".join(map(str, row.shape)),
            f"{row.sparsity:.1%}",
            f"{8 * row.h0_bytes / np.prod(row.shape):.3f}",
            *(f"{row.nbytes[way] / row.h0_bytes:.3f}" for way in WAYS),
        )
        for row in rows
    ]
    total = sum(row.h0_bytes for row in rows)
    sums = {way: sum(row.nbytes[way] for row in rows) for way in WAYS}
    lines.append(("all", "", "", "", *(f"{sums[way] / total:.3f}" for way in WAYS)))
    lines.append(("all, bytes", "", "", "", *(f"{sums[way]:,}" for way in WAYS)))
    headers = ("layer", "shape", "zeros", "H0, bits", *(f"{way} / H0" for way in WAYS))
    align = ("left", "left", *("right",) * (len(headers) - 2))
    text = tabulate(lines, headers, disable_numparse=True, colalign=align)
    for codec in CODECS:
        n_smaller = sum(row.nbytes[codec] < row.nbytes[PEER] for row in rows)
        text += f"\n{codec} is smaller than {PEER} on {n_smaller} of {len(rows)} layers"
    return text


def main(arguments: list[str] | None = None) -> None:
    """Print the table, or its rows as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nncodec")
    parser.add_argument("folder", nargs="?", help="measure these matrices too")
    parser.add_argument("--seeds", type=int, default=3, help="how often each network is trained")
    parser.add_argument("--json", action="store_true", help="print a row for each layer")
    options = parser.parse_args(arguments)
    groups = [dict(trained(options.seeds))]
    if options.folder:
        groups.append(dict(matrices(options.folder)))
    found = [measure(weights) for weights in groups if weights]
    if options.json:
        print(json.dumps([asdict(row) for rows in found for row in rows], indent=1))
    else:
        print("\n\n".join(table(rows) for rows in found))


if __name__ == "__main__":
    main()

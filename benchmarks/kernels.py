"""Products, decoding and encoding against dense and CSR, in one run.

``python -m benchmarks.kernels [FOLDER]``: every .npz with an array `values` (inputs x outputs, as the
papers' matrices) in a folder, or synthetic matrices. Each round times the baselines and the coded
products in turn, on one thread; ratios are taken round by round, and their median is shown: how many
times faster than the baseline. CSR is SciPy's, and torch's with int32 indices (MKL), the fastest there is.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from tabulate import tabulate
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import cnnzip

CODECS = ("fast", "sham", "banded", "ham", "index-map")
SYNTHETIC = (  # side, density, distinct values
    (4096, 0.2, 32),
    (4096, 0.1, 16),
    (4096, 0.1, 256),
    (4096, 0.05, 32),
    (4096, 0.01, 16),
    (512, 0.1, 16),
)
Call = Callable[[], object]


def matrices(folder: str | None) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Weights as torch has them, outputs x inputs."""
    if folder is None:
        for side, density, k in SYNTHETIC:
            rng = np.random.default_rng(0)
            values = rng.standard_normal(k, np.float32)[rng.integers(0, k, (side, side))]
            weight = np.where(rng.random((side, side)) < density, values, np.float32(0))
            yield f"i.i.d. {side}^2, {1 - density:.0%}, k {k}", weight
        return
    for path in sorted(Path(folder).glob("*.npz")):
        with np.load(path) as archive:
            yield path.stem, np.ascontiguousarray(archive["values"].T)


def seconds(function: Call) -> float:
    """Time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def times(calls: dict[str, Call], rounds: int) -> dict[str, NDArray[np.float64]]:
    """Times of each call, all of them in turn, round by round; the first round is dropped."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            found[name].append(seconds(call))
    return {name: np.array(each[1:]) for name, each in found.items()}


def products(
    weight: NDArray[np.float32], tensors: dict[str, Any], n_columns: int, rounds: int
) -> dict[str, NDArray[np.float64]]:
    """Times of a product with a vector (0 columns) or a matrix, coded and not."""
    rng = np.random.default_rng(0)
    n = weight.shape[1]
    x = rng.standard_normal((n, n_columns) if n_columns else n, np.float32)
    csr = scipy.sparse.csr_array(weight)
    X, dense = torch.from_numpy(x), torch.from_numpy(weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: sparse CSR is in beta
        parts = (torch.from_numpy(a) for a in (csr.indptr, csr.indices, csr.data))
        mkl = torch.sparse_csr_tensor(*parts, weight.shape)
    assert mkl.col_indices().dtype == torch.int32
    calls: dict[str, Call] = {"dense": lambda: dense @ X, "CSR": lambda: csr @ x}
    calls["MKL CSR"] = lambda: mkl @ X
    for codec, tensor in tensors.items():
        calls[codec] = lambda tensor=tensor: tensor @ x
    return times(calls, rounds)


def measure(weight: NDArray[np.float32], rounds: int) -> list[dict[str, Any]]:
    """Rows of the table, one a codec."""
    tensors = {codec: cnnzip.encode(weight, codec) for codec in CODECS}
    vector, sixteen, many = (products(weight, tensors, n, rounds) for n in (0, 16, 256))
    cnnzip.set_num_threads(2)
    two = products(weight, tensors, 0, rounds)
    cnnzip.set_num_threads(1)
    out = np.empty(weight.nbytes, np.uint8)
    rows = []
    for codec, tensor in tensors.items():
        encode = min(seconds(lambda codec=codec: cnnzip.encode(weight, codec)) for _ in range(3))
        decode = min(seconds(lambda t=tensor: t.coded.decode_into(out)) for _ in range(7))

        def faster(found: dict[str, NDArray[np.float64]], than: str, codec: str = codec) -> float:
            return float(np.median(found[than] / found[codec]))

        rows.append(
            {
                "codec": codec,
                "bits_per_weight": tensor.bits_per_weight,
                "matvec_us": float(np.median(vector[codec]) * 1e6),
                "matvec": {than: faster(vector, than) for than in ("CSR", "MKL CSR", "dense")},
                "matmat16": {than: faster(sixteen, than) for than in ("CSR", "MKL CSR", "dense")},
                "matmat256": {than: faster(many, than) for than in ("CSR", "dense")},
                "two_threads": float(np.median(vector[codec]) / np.median(two[codec])),
                "encode_mb_s": weight.nbytes / encode / 1e6,
                "decode_gb_s": weight.nbytes / decode / 1e9,
            }
        )
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Print the table. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    cnnzip.set_num_threads(1)
    torch.set_num_threads(1)
    table = []
    with threadpool_limits(1):
        for name, weight in tqdm(list(matrices(options.folder)), desc="timing", disable=None):
            table += [{"matrix": name, **row} for row in measure(weight, options.rounds)]
    if options.json:
        json.dump(table, sys.stdout, indent=1)
        print()
        return 0
    shown = [
        (
            row["matrix"],
            row["codec"],
            f"{row['bits_per_weight']:.3f}",
            f"{row['matvec_us']:.0f}",
            *(f"{ratio:.2f}" for ratio in row["matvec"].values()),
            *(f"{ratio:.2f}" for ratio in row["matmat16"].values()),
            *(f"{ratio:.2f}" for ratio in row["matmat256"].values()),
            f"{row['two_threads']:.2f}",
            f"{row['encode_mb_s']:.0f}",
            f"{row['decode_gb_s']:.2f}",
        )
        for row in table
    ]
    headers = ("matrix", "codec", "bits/w", "W x, us", "/ CSR", "/ MKL", "/ dense")
    headers += ("16: / CSR", "/ MKL", "/ dense", "256: / CSR", "/ dense", "2 threads")
    headers += ("encode MB/s", "decode GB/s")
    print(tabulate(shown, headers, disable_numparse=True))
    print(
        "times faster than CSR (SciPy), CSR of torch with int32 (MKL) and dense (torch): W x, W X of"
    )
    print("16 and of 256 columns, one thread, medians of the rounds; last, one thread over two")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Products, decoding and encoding against dense NumPy, one thread, in one run.

``python -m benchmarks.kernels [FOLDER]``: every .npz with an array `values` (inputs x outputs, as the
papers' matrices) in a folder, or a synthetic matrix. Each round times the plain product and the
coded ones in turn; ratios are taken round by round, and their median is shown with the middle half.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import cnnzip

CODECS = ("banded", "ham", "sham", "index-map")
COLUMNS = 16


def matrices(folder: str | None) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Weights as torch has them, outputs x inputs."""
    if folder is None:
        rng = np.random.default_rng(0)
        values = rng.integers(1, 17, (4096, 512)).astype(np.float32)
        yield "i.i.d. 90 %, k = 16", np.where(rng.random((4096, 512)) < 0.1, values, np.float32(0))
        return
    for path in sorted(Path(folder).glob("*.npz")):
        with np.load(path) as archive:
            yield path.stem, np.ascontiguousarray(archive["values"].T)


def seconds(function: Callable[[], object]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratios(
    baseline: Callable[[], object], function: Callable[[], object], rounds: int
) -> tuple[float, float, float]:
    """Quartiles of the function's time over the baseline's, timed in turn."""
    baseline()
    function()
    found = []
    for _ in range(rounds):
        first = seconds(baseline)
        found.append(seconds(function) / first)
    low, middle, high = np.quantile(found, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def measure(weight: NDArray[np.float32], codec: str, rounds: int) -> dict[str, Any]:
    """One row of the table."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(weight.shape[1], np.float32)
    X = rng.standard_normal((weight.shape[1], COLUMNS), np.float32)
    out = np.empty(weight.nbytes, np.uint8)
    tensor = cnnzip.encode(weight, codec)
    encode = [seconds(lambda: cnnzip.encode(weight, codec)) for _ in range(3)]
    decode = [seconds(lambda: tensor.coded.decode_into(out)) for _ in range(7)]
    due = weight.astype(np.float64) @ x
    return {
        "codec": codec,
        "bits_per_weight": tensor.bits_per_weight,
        "matvec": ratios(lambda: weight @ x, lambda: tensor.matvec(x), rounds),
        "matmat16": ratios(lambda: weight @ X, lambda: tensor.matmat(X), rounds),
        "encode_mb_s": weight.nbytes / float(np.median(encode)) / 1e6,
        "decode_gb_s": weight.nbytes / float(np.median(decode)) / 1e9,
        "error": float(np.abs(tensor.matvec(x) - due).max() / np.abs(due).max()),
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the table. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    cnnzip.set_num_threads(1)
    table = []
    with threadpool_limits(1):
        for name, weight in tqdm(list(matrices(options.folder)), desc="timing", disable=None):
            table += [{"matrix": name, **measure(weight, c, options.rounds)} for c in CODECS]
    if options.json:
        json.dump(table, sys.stdout, indent=1)
        print()
        return 0
    shown = [
        (
            row["matrix"],
            row["codec"],
            f"{row['bits_per_weight']:.3f}",
            *(f"{m:.2f} ({a:.2f}-{b:.2f})" for a, m, b in (row["matvec"], row["matmat16"])),
            f"{row['encode_mb_s']:.0f}",
            f"{row['decode_gb_s']:.2f}",
            f"{row['error']:.0e}",
        )
        for row in table
    ]
    headers = ("matrix", "codec", "bits/w", "W x / dense", f"W X ({COLUMNS}) / dense")
    headers += ("encode MB/s", "decode GB/s", "error")
    print(tabulate(shown, headers, disable_numparse=True))
    print("times over those of dense float32 NumPy, one thread; median (middle half) of the rounds")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

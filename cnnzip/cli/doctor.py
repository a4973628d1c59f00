"""Tell what this installation has, and test its kernels."""

import argparse
import importlib.metadata
import json
import os
import platform
import time
from typing import Any

PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "zstandard", "ml_dtypes", "safetensors", "torch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments: it has none."""


def run(options: argparse.Namespace) -> int:
    """Print what was found. Returns 1 where a kernel fails."""
    found: dict[str, Any] = {
        "cnnzip": _version("cnnzip") or "not installed",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        **_kernels(),
    }
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for key, value in found.items():
            if isinstance(value, dict):
                value = ", ".join(f"{k} {v or 'missing'}" for k, v in value.items())
            print(f"{key.replace('_', ' '):16} {value}")
    return 0 if found["self_test"] == "ok" else 1


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _kernels() -> dict[str, Any]:
    """Compile or load the kernels and compare a coded product with the plain one."""
    import numba
    import numpy as np

    from cnnzip.codecs.threads import get_num_threads
    from cnnzip.tensor import encode
    from cnnzip_native._jit import cache_folder

    start = time.perf_counter()
    rng = np.random.default_rng(0)
    weight = np.where(rng.random((64, 48)) < 0.1, rng.integers(1, 9, (64, 48)), 0).astype("f4")
    x = rng.integers(-8, 9, 48).astype("f4")  # small integers: every sum is exact
    faults = []
    for codec in ("raw", "masked", "index-map", "ham", "sham", "banded", "fast"):
        coded = encode(weight, codec)
        if not np.array_equal(coded.decode(), weight):
            faults.append(f"{codec} does not decode to what it coded")
        if not np.array_equal(coded.matvec(x), weight @ x):
            faults.append(f"{codec} multiplies wrongly")
    return {
        "jit": "off (NUMBA_DISABLE_JIT): very slow" if numba.config.DISABLE_JIT else "on",
        "kernel_cache": cache_folder() or "none can be written: kernels compile in each process",
        "kernels_ready_s": round(time.perf_counter() - start, 2),
        "threads": get_num_threads(),
        "cores": os.cpu_count(),
        "self_test": "; ".join(faults) or "ok",
    }

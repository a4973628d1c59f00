"""Measure a model's tensors: bytes and times, beside sparse formats and the best compressors."""

import argparse
from importlib import import_module

from cnnzip.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "path", nargs="+", help=".cnnz, .safetensors, .pt or .npz files, or folders of them"
    )
    parser.add_argument("--full", action="store_true", help="more products, threads, cold caches")
    parser.add_argument("--out", metavar="FOLDER", help="write tables, figures and a page there")


def run(options: argparse.Namespace) -> int:
    """Run the benchmark suite. Returns the exit status."""
    try:
        suite = import_module("cnnzip_bench.__main__")
    except ModuleNotFoundError as error:
        raise ArgumentError(f"bench needs {error.name}: pip install 'cnnzip[bench]'") from None
    arguments = list(options.path)
    arguments += ["--full"] * options.full + ["--json"] * options.json
    arguments += ["--out", options.out] if options.out else []
    return int(suite.main(arguments, prog="cnnzip bench"))

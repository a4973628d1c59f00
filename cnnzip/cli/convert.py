"""Put the same tensors into another file, .cnnz or .safetensors.

Their frames are copied, or, with --codec, coded anew, one tensor in memory at a time.
"""

import argparse
import json
from pathlib import Path

from cnnzip.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("input", help="a .cnnz or coded .safetensors file")
    parser.add_argument("output", help="the file to write; its ending says which envelope")
    parser.add_argument(
        "--codec", help="code all tensors anew: smallest, auto, fast, ...; see compress"
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace a file that exists")


def run(options: argparse.Namespace) -> int:
    """Write the file. Returns the exit status."""
    from cnnzip.api import save
    from cnnzip.container.envelope import envelope_of
    from cnnzip.container.reader import CodedFile
    from cnnzip.container.writer import convert

    if not options.output.lower().endswith((".cnnz", ".safetensors")):
        raise ArgumentError(f"{options.output}: write a .cnnz or a .safetensors file")
    if Path(options.output).exists() and not options.force:
        raise ArgumentError(f"{options.output}: exists; give another name, or --force")
    with CodedFile(options.input) as file:
        if options.codec:
            metadata = file.metadata
            n_bytes = save(
                file, options.output, codec=options.codec, recode=True, metadata=metadata
            ).nbytes
        else:
            n_bytes = convert(file, options.output, envelope=envelope_of(options.output))
        n_tensors = len(file)
    if options.json:
        print(json.dumps({"output": options.output, "tensors": n_tensors, "bytes": n_bytes}))
    else:
        print(f"{options.output}: {n_tensors} tensors, {n_bytes:,} bytes")
    return 0

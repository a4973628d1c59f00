"""Write the plain tensors of a coded file: .safetensors, .pt or .npz, by the output's name."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from cnnzip.errors import ArgumentError

SUFFIXES = (".safetensors", ".pt", ".pth", ".npz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("input", help="a .cnnz or coded .safetensors file")
    parser.add_argument("-o", "--output", required=True, help=f"a {', '.join(SUFFIXES)} file")
    parser.add_argument("-f", "--force", action="store_true", help="replace a file that exists")
    add_limits(parser)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Declare the limits that every decoding verb has."""
    from cnnzip.container.limits import DEFAULT_LIMITS

    parser.add_argument(
        "--max-decoded-bytes",
        type=int,
        default=DEFAULT_LIMITS.max_decoded_bytes,
        help="refuse files that decode to more (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-ratio",
        type=float,
        default=DEFAULT_LIMITS.allow_ratio,
        help="refuse files that decode to more than so many times their length (%(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Write the file. Returns the exit status."""
    from cnnzip.api import open_file

    target = Path(options.output)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise ArgumentError(f"{target}: write one of {', '.join(SUFFIXES)}")
    if target.exists() and not options.force:
        raise ArgumentError(f"{target}: exists; give another --output, or --force")
    with open_file(
        options.input,
        max_decoded_bytes=options.max_decoded_bytes,
        allow_ratio=options.allow_ratio,
    ) as file:
        file.check_limits()
        arrays = {name: file[name].decode() for name in file if name not in file.aliases}
        _WRITERS[suffix](arrays, file.aliases, file.metadata, target)
        n_tensors = len(file)
    n_bytes = target.stat().st_size
    if options.json:
        print(json.dumps({"output": os.fspath(target), "tensors": n_tensors, "bytes": n_bytes}))
    else:
        print(f"{target}: {n_tensors} tensors, {n_bytes:,} bytes")
    return 0


def _write_safetensors(
    arrays: dict[str, Any], aliases: dict[str, str], metadata: dict[str, str], target: Path
) -> None:
    """Tied tensors stand under their first name alone, as that format's own tools write them."""
    from safetensors.numpy import save

    from cnnzip.cli.sources import SAFETENSORS_DTYPES
    from cnnzip.container.atomic import replacing

    for name, array in arrays.items():
        if array.dtype.name not in SAFETENSORS_DTYPES.values():
            raise ArgumentError(f"{name!r}: safetensors has no {array.dtype.name}; write .npz")
    with replacing(target) as file:
        file.write(save(arrays, metadata or None))


def _write_npz(
    arrays: dict[str, Any], aliases: dict[str, str], metadata: dict[str, str], target: Path
) -> None:
    import numpy as np

    from cnnzip.container.atomic import replacing

    for name, array in arrays.items():
        if array.dtype.isbuiltin != 1:
            raise ArgumentError(f"{name!r}: .npz has no {array.dtype.name}; write .safetensors")
    with replacing(target) as file:
        np.savez(file, **arrays, **{name: arrays[owner] for name, owner in aliases.items()})


def _write_torch(
    arrays: dict[str, Any], aliases: dict[str, str], metadata: dict[str, str], target: Path
) -> None:
    import torch

    from cnnzip.arrays import from_numpy
    from cnnzip.container.atomic import replacing

    tensors = {name: from_numpy(array) for name, array in arrays.items()}
    tensors |= {name: tensors[owner] for name, owner in aliases.items()}
    with replacing(target) as file:
        torch.save(tensors, file)


_WRITERS = {
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
    ".pt": _write_torch,
    ".pth": _write_torch,
}

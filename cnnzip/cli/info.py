"""List the tensors of a coded file and their sizes; of one tensor, say where its bits go.

Without a tensor's name nothing is decoded.
"""

import argparse
import json
from typing import Any

from cnnzip.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    from cnnzip.cli.decompress import add_limits

    parser.add_argument("file", help="a .cnnz or coded .safetensors file")
    parser.add_argument("tensor", nargs="?", help="decode this one and report on it")
    add_limits(parser)


def run(options: argparse.Namespace) -> int:
    """Print the table. Returns the exit status."""
    from cnnzip.container.limits import Limits
    from cnnzip.container.reader import CodedFile
    from cnnzip.sizes import total_line

    limits = Limits(options.max_decoded_bytes, options.allow_ratio)
    with CodedFile(options.file, limits) as file:
        if options.tensor is not None:
            return _report(file, options.tensor, options.json)
        rows = [_row(file, name) for name in file]
        dense_bytes = sum(row["dense_bytes"] for row in rows if not row["alias_of"])
        about = {
            "file": options.file,
            "envelope": file.envelope,
            "file_bytes": file.file_bytes,
            "dense_bytes": dense_bytes,
            "metadata": file.metadata,
        }
    if options.json:
        print(json.dumps({**about, "tensors": rows}, indent=1))
        return 0
    from tabulate import tabulate

    table = [
        (
            row["name"].encode("unicode_escape").decode(),
            "x".join(map(str, row["shape"])) or "scalar",
            row["dtype"],
            f"= {row['alias_of']}" if row["alias_of"] else row["codec"],
            "" if row["alias_of"] else f"{row['nbytes']:,}",
            "" if row["alias_of"] else f"{row['bits_per_weight']:.3f}",
            "" if row["alias_of"] else f"{row['dense_bytes'] / max(row['nbytes'], 1):.1f}x",
        )
        for row in rows
    ]
    if table:
        headers = ("tensor", "shape", "dtype", "codec", "bytes", "bits/w", "vs plain")
        alignment = ("left",) * 4 + ("right",) * 3
        print(tabulate(table, headers, disable_numparse=True, colalign=alignment))
    total = total_line(about["file_bytes"], dense_bytes)
    print(f"{options.file}: {about['envelope']}, {len(rows)} tensors, {total}")
    for key, value in about["metadata"].items():
        print(f"{key}: {value}"[:200])
    return 0


def _report(file: Any, name: str, as_json: bool) -> int:
    from dataclasses import replace

    from cnnzip.sizes import Report

    if name not in file:
        raise ArgumentError(f"{name!r}: no such tensor there; without a name, info lists them")
    row, n_bytes = file[name].report(name), file.frame_bytes(name)
    bits = 8 * n_bytes / max(row.n_weights, 1)  # a packed tensor's share
    row = replace(row, codec=file.header(name).codec, nbytes=n_bytes, bits_per_weight=bits)
    print(json.dumps(row.to_dict(), indent=1) if as_json else Report([row]))
    return 0


def _row(file: Any, name: str) -> dict[str, Any]:
    header = file.header(name)
    n_bytes = file.frame_bytes(name)
    return {
        "name": name,
        "shape": list(header.shape.dims),
        "dtype": header.shape.dtype.name,
        "codec": header.codec,
        "nbytes": n_bytes,
        "bits_per_weight": 8 * n_bytes / max(header.shape.n_weights, 1),
        "dense_bytes": header.shape.n_bytes,
        "alias_of": file.aliases.get(name),
    }

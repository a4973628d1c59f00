"""Space on the papers' matrices: entropy, psi, its bounds, and the bits that our frames hold.

    python -m benchmarks.space FOLDER [--json]

Each .npz of the folder holds `values`, the papers' n x m matrix; a torch weight is its transpose.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tabulate import tabulate

from cnnzip import bounds

HEADERS = (
    "matrix",
    "n x m",
    "k",
    "H0",
    "HAM psi",
    "bound",
    "by log k",
    "frame",
    "sHAM psi",
    "bound",
    "by log k",
    "ICPR (wrong)",
    "frame",
    "CSC psi",
    "IM psi",
)


def measure(folder: Path) -> dict[str, bounds.Bounds]:
    """Figures of every matrix in `folder`, by name."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            if "values" not in arrays:
                raise SystemExit(f"{path}: holds {', '.join(arrays)}, no `values`")
            found[path.stem] = bounds.of(np.ascontiguousarray(arrays["values"].T))
    if not found:
        raise SystemExit(f"{folder}: no .npz file there")
    return found


def table(found: Mapping[str, bounds.Bounds]) -> str:
    """Lay out one line per matrix, in bits per weight."""
    lines = [
        (
            name,
            f"{row.n} x {row.m}",
            row.k,
            row.h0,
            row.psi_ham,
            row.ham_bound,
            row.ham_bound_log_k,
            row.frame_bits("ham"),
            row.psi_sham,
            row.sham_bound,
            row.sham_bound_log_k,
            row.sham_bound_icpr,
            row.frame_bits("sham"),
            row.psi_csc,
            row.psi_index_map,
        )
        for name, row in found.items()
    ]
    return tabulate(lines, HEADERS, floatfmt=".4f", missingval="-")


def main(arguments: list[str] | None = None) -> None:
    """Print the table, or the same as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON with the frames' bytes")
    options = parser.parse_args(arguments)
    found = measure(options.folder)
    if options.json:
        print(json.dumps({name: row.to_dict() for name, row in found.items()}, indent=2))
    else:
        print(table(found))


if __name__ == "__main__":
    main()

"""Code a plain model file, or each one in a folder, losslessly.

Reads .safetensors, .pt, .pth, .bin (with weights_only) and .npz. The file that is written is
checked before it is put in place.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from cnnzip.errors import ArgumentError, CnnzipError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("input", help="a model file, or a folder of them")
    parser.add_argument(
        "-o", "--output", help="the file or folder to write (default: the input's name, .cnnz)"
    )
    parser.add_argument(
        "--codec",
        default="auto",
        help="auto (default); smallest: fewer bytes, slow to write and to load; direct, banded, ham, "
        "sham, fast, index-map, masked, mixed, mixed-float, raw: see the spec",
    )
    parser.add_argument(
        "--signed-zeros",
        choices=("drop", "keep"),
        default="drop",
        help="drop (default): store -0.0 as 0.0; keep: exact to the bit",
    )
    parser.add_argument(
        "--no-verify", action="store_true", help="do not decode and compare before replacing"
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace files that exist")


def run(options: argparse.Namespace) -> int:
    """Code the files. Returns the exit status."""
    from cnnzip.api import save
    from cnnzip.cli.sources import open_source

    reports, failed = {}, False
    for source, target in _jobs(options):
        try:
            tensors, metadata = open_source(source)
            if not options.json:
                print(f"{source} -> {target}", file=sys.stderr)
            reports[os.fspath(target)] = save(
                tensors,
                target,
                verify=not options.no_verify,
                codec=options.codec,
                signed_zeros=options.signed_zeros,
                metadata=metadata,
            )
        except (CnnzipError, OSError) as error:
            if not Path(options.input).is_dir():
                raise
            failed = True  # the other files of the folder are coded all the same
            print(f"cnnzip: {error}", file=sys.stderr)
    if options.json:
        print(json.dumps({name: report.to_dict() for name, report in reports.items()}, indent=1))
    else:
        for name, report in reports.items():
            print(f"{name}\n{report}")
    return int(failed)


def _jobs(options: argparse.Namespace) -> list[tuple[Path, Path]]:
    """Pairs of files to read and to write, none of which is overwritten unasked."""
    from cnnzip.cli.sources import SUFFIXES

    source = Path(options.input)
    if source.is_dir():
        found = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES)
        if not found:
            raise ArgumentError(f"{source}: no file of {', '.join(SUFFIXES)} in this folder")
        folder = Path(options.output) if options.output else source
        folder.mkdir(parents=True, exist_ok=True)
        jobs = [(path, folder / f"{path.name}.cnnz") for path in found]
    else:
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such file")
        jobs = [(source, Path(options.output) if options.output else source.with_suffix(".cnnz"))]
    for path, target in jobs:
        if target.exists() and target.samefile(path):
            raise ArgumentError(f"{target}: is the input; give another --output")
        if target.exists() and not options.force:
            raise ArgumentError(f"{target}: exists; give another --output, or --force")
    return jobs

"""Check every byte of coded files against its checksum, and decode every tensor."""

import argparse
import json
import sys

from cnnzip.errors import CnnzipError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    from cnnzip.cli.decompress import add_limits

    parser.add_argument("files", nargs="+", metavar="file", help="a .cnnz or coded .safetensors")
    parser.add_argument("--quick", action="store_true", help="check the checksums only")
    add_limits(parser)


def run(options: argparse.Namespace) -> int:
    """Check the files, all of them. Returns 1 if one is bad."""
    from cnnzip.container.limits import Limits
    from cnnzip.container.reader import CodedFile

    limits = Limits(options.max_decoded_bytes, options.allow_ratio)
    results = []
    for path in options.files:
        try:
            with CodedFile(path, limits) as file:
                n_tensors = file.verify(options.quick)
            results.append({"file": path, "ok": True, "tensors": n_tensors})
        except (CnnzipError, OSError) as error:
            results.append({"file": path, "ok": False, "error": str(error)})
            print(f"cnnzip: {error}", file=sys.stderr)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        how = "all checksums match" if options.quick else "all checksums match, all tensors decode"
        for result in results:
            if result["ok"]:
                print(f"{result['file']}: ok, {result['tensors']} tensors, {how}")
    return 0 if all(result["ok"] for result in results) else 1

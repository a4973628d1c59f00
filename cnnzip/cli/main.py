"""The `cnnzip` command.

Exit status: 0 done, 1 a file is bad or cannot be read or written, 2 the command is wrong.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from cnnzip import __version__
from cnnzip.cli import bench, compress, convert, decompress, doctor, info, shrink, verify
from cnnzip.errors import ArgumentError, CnnzipError

VERBS = (compress, shrink, decompress, info, verify, convert, doctor, bench)


def parser() -> argparse.ArgumentParser:
    """The command's grammar."""
    top = argparse.ArgumentParser(
        prog="cnnzip", description="Lossless storage of pruned and quantized network weights."
    )
    top.add_argument("--version", action="version", version=f"cnnzip {__version__}")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    for module in VERBS:
        help_line = (module.__doc__ or "").splitlines()[0]
        verb = verbs.add_parser(
            module.__name__.rpartition(".")[2], help=help_line, description=module.__doc__
        )
        module.add_arguments(verb)
        verb.add_argument("--json", action="store_true", help="print JSON on standard output")
        verb.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit status."""
    options = parser().parse_args(arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of our output has gone: no more is wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ArgumentError as error:
        return _fail(error, 2)
    except (CnnzipError, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was changed", 1)


def _fail(error: object, status: int) -> int:
    print(f"cnnzip: {error}", file=sys.stderr)
    return status

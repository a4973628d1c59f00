"""Methods of others, written with this library: a page each.

    python -m benchmarks.recipes pqk          a network that is its own teacher
    python -m benchmarks.recipes stereo       depth from two cameras, pruned to 97 and 99 %
    python -m benchmarks.recipes unlabelled   masks from a loss that reads no labels

Each prints means over seeds with their standard errors, bytes of the file, and what that shows.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from time import perf_counter

from tqdm import tqdm

from .. import networks
from .table import Row, summary

RECIPES = ("pqk", "stereo", "unlabelled")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    grammar = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    grammar.add_argument("recipe", choices=RECIPES)
    grammar.add_argument("--network", metavar="NAME", help="another than the recipe's first")
    grammar.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="0 to N - 1 (default: 3)"
    )
    grammar.add_argument("--json", action="store_true", help="rows of all seeds instead of a table")
    options = grammar.parse_args(arguments)
    if options.seeds < 1:
        grammar.error(f"--seeds {options.seeds}: at least 1")
    try:
        recipe = importlib.import_module(f".{options.recipe}", __package__)
        network = options.network or recipe.NETWORKS[0]
        if network not in recipe.NETWORKS:
            grammar.error(f"--network {network}: there are {', '.join(recipe.NETWORKS)}")
        start = perf_counter()
        rows: list[Row] = []
        with networks.one_thread(), tqdm(disable=None, leave=False, unit="row") as bar:
            for seed in range(options.seeds):
                for row in recipe.rows(network, seed):
                    rows.append(row)
                    bar.update()
    except ModuleNotFoundError as error:
        needs = "install cnnzip[bench], and mnist1d for mnist1d_conv"
        print(f"{error}; {needs}", file=sys.stderr)
        return 1
    if options.json:
        json.dump(rows, sys.stdout, indent=1)
        print()
        return 0
    seconds = perf_counter() - start
    seeds = "seed 0" if options.seeds == 1 else f"seeds 0 to {options.seeds - 1}"
    about = f"{network}, {seeds}: {recipe.Settings()}; {seconds:.0f} s on one thread"
    print(f"{about}\n\n{summary(rows)}\n\n{recipe.SHOWS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

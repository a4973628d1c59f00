"""Dense networks to be shrunk, and what they learn from; trained once and kept in a folder."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from inspect import getsource
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from cnnzip.tuning import Batches

from .. import networks
from ..networks import Digits

FOLDER = Path(".cache/benchmarks/shrink")
BATCH = 64


@cache
def small_digits() -> Digits:
    """The 1797 digits of scikit-learn as they are, of 8 x 8 pixels; 500 are the test set."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels.astype(np.float32) / 16).reshape(-1, 1, 8, 8)
    targets = torch.from_numpy(labels.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(labels)), test_size=500, stratify=labels, random_state=0
    )
    return Digits(images[train], targets[train], images[test], targets[test])


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a dense network is built and trained."""

    build: Callable[[], nn.Module]
    data: Callable[[], Digits]
    epochs: int
    learning_rate: float
    about: str

    def __str__(self) -> str:
        return (
            f"{self.about}; {self.epochs} epochs of Adam from {self.learning_rate}, cosine; "
            f"torch {torch.__version__}"
        )


RECIPES: dict[str, Recipe] = {
    "vgg_digits": Recipe(
        networks.vgg_digits, small_digits, 20, 2e-3, "VGG's form on digits of 8 x 8"
    ),
    "resnet_digits": Recipe(
        networks.resnet_digits, small_digits, 20, 2e-3, "ResNet-20 on digits of 8 x 8"
    ),
    "lenet5": Recipe(
        networks.lenet5, cache(networks.digits), 24, 1e-3, "LeNet-5 on digits enlarged to 28 x 28"
    ),
    "mnist1d_conv": Recipe(
        networks.mnist1d_conv, cache(networks.mnist1d), 30, 1e-3, "three convolutions on mnist1d"
    ),
    "lenet_300_100": Recipe(
        networks.lenet_300_100,
        cache(networks.digits),
        60,
        1e-3,
        "LeNet-300-100 on digits of 28 x 28",
    ),
}


@dataclass(frozen=True, eq=False)
class Subject:
    """A dense network, not to be changed, with its data.

    Attributes
    ----------
    logits : (n_test, n_classes)
        What it says of the test set.
    accuracy : float
        Per cent of the test set.
    """

    name: str
    seed: int
    dense: nn.Module
    data: Digits
    logits: Tensor
    accuracy: float

    @property
    def batches(self) -> Batches:
        """All that there is to train on."""
        return Batches(self.data.train_images, self.data.train_labels, size=BATCH)

    @property
    def example(self) -> Tensor:
        """Something to run a network on."""
        return self.data.train_images[:2]

    @property
    def n_weights(self) -> int:
        """Weights of convolutions and linear layers."""
        return sum(weight.numel() for _, weight in networks.layer_weights(self.dense))

    @property
    def float_bytes(self) -> int:
        """Bytes of the numbers of the state_dict, as float32."""
        state = self.dense.state_dict().values()
        return 4 * sum(tensor.numel() for tensor in state if tensor.is_floating_point())


@cache
def subject(name: str, seed: int) -> Subject:
    """The dense network of a recipe, from the folder, or trained and put there."""
    recipe = RECIPES[name]
    data = recipe.data()
    model = dense(name, seed, FOLDER / "dense")
    logits = networks.test_logits(model, data)
    return Subject(name, seed, model, data, logits, 100 * networks.accuracy(model, data))


def dense(name: str, seed: int, folder: Path) -> nn.Module:
    """The dense network in eval mode; nothing but its recipe and code decide whether it is there."""
    recipe = RECIPES[name]
    with torch.random.fork_rng(devices=[]), networks.one_thread():
        torch.manual_seed(seed)
        model = recipe.build()
        path = folder / f"{name}-s{seed}-{_digest(recipe)}.npz"
        if not path.exists():
            networks.train(
                model, recipe.data(), recipe.epochs, seed, learning_rate=recipe.learning_rate
            )
            _write(model.state_dict(), path)
    with np.load(path) as arrays:
        model.load_state_dict({key: torch.from_numpy(arrays[key]) for key in arrays})
    return model.eval()


def _digest(recipe: Recipe) -> str:
    code = getsource(networks) + getsource(small_digits)
    return sha256((code + str(recipe)).encode()).hexdigest()[:16]


def _write(state: Mapping[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    with open(unfinished, "wb") as file:
        np.savez(file, **{key: value.numpy() for key, value in state.items()})
    unfinished.replace(path)

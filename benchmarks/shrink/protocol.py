"""The protocol of the HAC and sHAC papers: prune, share k values, fine-tune what is shared.

Magnitude pruning by layer with masked retraining; CWS, PWS, UQ and ECSQ, a codebook for each layer
or "unified" ones for all convolutions and for all linear layers; the linear layers alone, or the
whole network.

The papers' own headlines, of their data and networks, which are not here: space down to 0.6 % of
the fully connected layers (VGG19 on CIFAR-10, 99 % zeros, 32 values), 5.44 % of a whole network
without loss; 1.8 % for VGG19 on MNIST, 6.0 and 12.7 % for DeepDTA on DAVIS and KIBA.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Any

from torch import nn

from cnnzip.prune import one_shot
from cnnzip.quantize import share
from cnnzip.tuning import Batches, bake, fit

from .rows import Cell
from .subjects import Subject

NETWORKS = ("mnist1d_conv", "lenet5")
SPARSITIES = (0.6, 0.9, 0.99)
LEVELS = (2, 16, 256)
METHODS = ("cws", "pws", "uq", "ecsq")
SCOPES = {"layer": "layer", "unified": "kind"}
EXTENTS = ("linear", "whole")
BATCH = 128
RETRAINING = 8  # epochs after pruning
TUNING = 2  # epochs of shared values
LEARNING_RATE = 3e-3
#: Whose linear layer is a hundredth of the weights: without a trial of it alone.
CONVOLUTIONAL = ("vgg_digits", "resnet_digits")


def cells(networks: Sequence[str], seeds: Sequence[int]) -> Iterator[Cell]:
    """All points, of one seed after the other."""
    for seed, network, extent, sparsity in product(
        seeds, networks or NETWORKS, EXTENTS, SPARSITIES
    ):
        if extent == "linear" and network in CONVOLUTIONAL:
            continue
        about = {"extent": extent, "sparsity": sparsity}
        yield Cell("protocol", network, seed, "pruned", about, _made(None, about))
        for k, scope, method in product(LEVELS, SCOPES, METHODS):
            setting = {**about, "scope": scope, "k": k}
            yield Cell("protocol", network, seed, method, setting, _made(method, setting))


def _is_linear(_: str, layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear)


@lru_cache(maxsize=1)
def _pruned(subject: Subject, extent: str, sparsity: float) -> nn.Module:
    layers = _is_linear if extent == "linear" else None
    pruned = one_shot(subject.dense, sparsity, score="magnitude", scope="layer", layers=layers)
    return bake(fit(pruned, _batches(subject), RETRAINING, lr=LEARNING_RATE, seed=subject.seed))


def _batches(subject: Subject) -> Batches:
    return Batches(subject.data.train_images, subject.data.train_labels, size=BATCH)


def _made(method: str | None, setting: dict[str, Any]) -> Any:
    def make(subject: Subject) -> nn.Module:
        extent = setting["extent"]
        pruned = _pruned(subject, extent, setting["sparsity"])
        if method is None:
            return pruned
        layers = _is_linear if extent == "linear" else None
        scope, seed = SCOPES[setting["scope"]], subject.seed
        shared = share(pruned, setting["k"], method, scope, layers=layers, seed=seed)
        return fit(shared, _batches(subject), TUNING, lr=LEARNING_RATE, seed=seed)

    return make

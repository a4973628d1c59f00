"""The layer shapes of known networks, filled as `synthetic` does."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from math import prod

from .base import Case
from .synthetic import label, recipe, sample

Shape = tuple[int, ...]


def _vgg19() -> dict[str, Shape]:
    """Simonyan & Zisserman (2015), configuration E."""
    shapes: dict[str, Shape] = {}
    inputs = 3
    for block, (outputs, n_layers) in enumerate(((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))):
        for layer in range(n_layers):
            shapes[f"conv{block + 1}_{layer + 1}"] = (outputs, inputs, 3, 3)
            inputs = outputs
    return shapes | {"fc1": (4096, 512 * 7 * 7), "fc2": (4096, 4096), "fc3": (1000, 4096)}


def _resnet50() -> dict[str, Shape]:
    """He et al. (2016), as torchvision builds it."""
    shapes: dict[str, Shape] = {"conv1": (64, 3, 7, 7)}
    inputs = 64
    for layer, n_blocks in enumerate((3, 4, 6, 3), 1):
        width = 32 << layer
        for block in range(n_blocks):
            name = f"layer{layer}.{block}"
            shapes[f"{name}.conv1"] = (width, inputs, 1, 1)
            shapes[f"{name}.conv2"] = (width, width, 3, 3)
            shapes[f"{name}.conv3"] = (4 * width, width, 1, 1)
            if not block:
                shapes[f"{name}.downsample"] = (4 * width, inputs, 1, 1)
            inputs = 4 * width
    return shapes | {"fc": (1000, 2048)}


MODELS: Mapping[str, Mapping[str, Shape]] = {
    "vgg19": _vgg19(),
    # The papers': VGG19 for MNIST and CIFAR-10, whose features are 512 of 1 x 1.
    "vgg19-mnist": {"fc1": (4096, 512), "fc2": (4096, 4096), "fc3": (10, 4096)},
    # Öztürk et al. (2018): 32, 64, 96 filters, here of 8 letters of SMILES and 12 of proteins (the
    # longest of their grids), and 1024, 1024, 512 units.
    "deepdta": {
        "smiles1": (32, 128, 8),
        "smiles2": (64, 32, 8),
        "smiles3": (96, 64, 8),
        "protein1": (32, 128, 12),
        "protein2": (64, 32, 12),
        "protein3": (96, 64, 12),
        "fc1": (1024, 192),
        "fc2": (1024, 1024),
        "fc3": (512, 1024),
    },
    "resnet50": _resnet50(),
    # Krizhevsky (2014), one tower, as torchvision builds it.
    "alexnet": {
        "conv1": (64, 3, 11, 11),
        "conv2": (192, 64, 5, 5),
        "conv3": (384, 192, 3, 3),
        "conv4": (256, 384, 3, 3),
        "conv5": (256, 256, 3, 3),
        "fc1": (4096, 256 * 6 * 6),
        "fc2": (4096, 4096),
        "fc3": (1000, 4096),
    },
}


def cases(
    group: str,
    models: Sequence[str],
    density: Sequence[float],
    k: Sequence[int],
    spread: Sequence[float] = (0.0,),
    use: Sequence[str] = ("equal",),
    seeds: Sequence[int] = (0,),
    least: int = 1,
    largest: int | None = None,
) -> Iterator[Case]:
    """Yield every distinct shape once, by the first layer that has it, for every combination.

    Parameters
    ----------
    models : names in `MODELS`
    least, largest : bounds of the number of weights, both included
    density, k, spread, use, seeds : as of `synthetic.cases`
    """
    distinct: dict[Shape, str] = {}
    for model in models:
        for layer, shape in MODELS[model].items():
            distinct.setdefault(shape, f"{model} {layer}")
    for (shape, layer), *settings in product(distinct.items(), density, k, spread, use, seeds):
        n_weights = prod(shape)
        if least <= n_weights and (largest is None or n_weights <= largest):
            name = f"{layer} " + (f"uneven{settings[2]:g} " if settings[2] else "")
            make = partial(sample, shape, *settings)
            yield Case(name + label(*settings), group, recipe(*settings), make)

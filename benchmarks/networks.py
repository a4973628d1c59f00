"""Train, prune and quantize two small networks on scikit-learn's digits, the same at every run.

Just enough method to give the demonstrations weights worth compressing. Everything is seeded, and
the global random state is left as it was found.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

Sparsity = float | Mapping[str, float]
Mask = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Digits:
    """Handwritten digits, cut into a training and a test set.

    Attributes
    ----------
    train_images, test_images : float32 (n, 1, 28, 28), from 0 to 1
    train_labels, test_labels : int64 (n,)
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one network of the demonstration is built, trained, pruned and quantized."""

    build: Callable[[], nn.Module]
    epochs: int
    retraining_epochs: int  # after each of the pruning steps
    sparsity: Mapping[str, float]  # fraction of zeros, by layer
    levels: int

    def make(self, seed: int) -> nn.Module:
        """Build the network with the initial weights that belong to `seed`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build()


def lenet_300_100() -> nn.Module:
    """Build the perceptron of LeCun et al. (1998): 784, 300, 100 and 10 units."""
    return _named(
        flatten=nn.Flatten(),
        fc1=nn.Linear(784, 300),
        relu1=nn.ReLU(),
        fc2=nn.Linear(300, 100),
        relu2=nn.ReLU(),
        fc3=nn.Linear(100, 10),
    )


def lenet5() -> nn.Module:
    """Build Caffe's variant of LeNet-5: two convolutions and two full layers, 430 500 weights."""
    return _named(
        conv1=nn.Conv2d(1, 20, 5),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(20, 50, 5),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(800, 500),
        relu=nn.ReLU(),
        fc2=nn.Linear(500, 10),
    )


RECIPES: Mapping[str, Recipe] = {
    "lenet_300_100": Recipe(lenet_300_100, 60, 15, {"fc1": 0.955, "fc2": 0.92, "fc3": 0.70}, 16),
    "lenet5": Recipe(lenet5, 24, 6, {"conv1": 0.50, "conv2": 0.88, "fc1": 0.95, "fc2": 0.85}, 32),
}


def digits(seed: int = 0) -> Digits:
    """Load the 1797 digits of 8 x 8 pixels, enlarged to 28 x 28; a quarter is the test set."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels.astype(np.float32) / 16).reshape(-1, 1, 8, 8)
    images = functional.interpolate(images, size=(28, 28), mode="bilinear", align_corners=False)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.25, stratify=labels, random_state=seed
    )
    targets = torch.from_numpy(labels.astype(np.int64))
    return Digits(images[train], targets[train], images[test], targets[test])


def train(
    model: nn.Module,
    data: Digits,
    epochs: int,
    seed: int,
    mask: Mask | None = None,
    learning_rate: float = 1e-3,
    batch: int = 64,
    tick: Callable[[], object] = lambda: None,
) -> None:
    """Train `model` in place by Adam with a cosine schedule.

    Parameters
    ----------
    mask : where weights stay zero, by layer
    tick : called after every epoch
    """
    n_images = len(data.train_labels)
    shuffle = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(n_images, generator=shuffle).split(batch):
            loss = functional.cross_entropy(
                model(data.train_images[chosen]), data.train_labels[chosen]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            _zero(model, mask or {})
        schedule.step()
        tick()
    model.eval()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: sums do not depend on the machine's cores, nor wait for them."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def prune_by_magnitude(model: nn.Module, sparsity: Sparsity) -> Mask:
    """Zero the smallest weights of every layer in place; return where they lie, by layer."""
    mask = {}
    for name, weight in layer_weights(model):
        fraction = sparsity if isinstance(sparsity, float) else sparsity[name]
        n_zeros = round(fraction * weight.numel())
        smallest = np.argsort(weight.detach().abs().flatten().numpy(), kind="stable")[:n_zeros]
        zeros = torch.zeros(weight.numel(), dtype=torch.bool)
        zeros[torch.from_numpy(smallest)] = True
        mask[name] = zeros.reshape(weight.shape)
    _zero(model, mask)
    return mask


def prune_with_retraining(
    model: nn.Module,
    sparsity: Sparsity,
    data: Digits,
    epochs: int,
    seed: int,
    steps: int = 4,
    tick: Callable[[], object] = lambda: None,
) -> None:
    """Prune every layer in place, in `steps` steps with `epochs` of masked retraining after each.

    Parameters
    ----------
    sparsity : fraction of zeros to reach, one for all layers or one by layer
    tick : called after every epoch

    Source: the cubic schedule of Zhu & Gupta, "To prune, or not to prune" (2017).
    """
    goal = {
        name: sparsity if isinstance(sparsity, float) else sparsity[name]
        for name, _ in layer_weights(model)
    }
    for step in range(1, steps + 1):
        progress = 1 - (1 - step / steps) ** 3
        mask = prune_by_magnitude(model, {name: progress * goal[name] for name in goal})
        train(model, data, epochs, seed + step, mask, tick=tick)


def share_weights(model: nn.Module, levels: int) -> None:
    """Replace the nonzero weights of every layer in place by at most `levels` shared values.

    Zeros stay zeros and biases stay as they are.
    """
    for _, weight in layer_weights(model):
        values = weight.detach().numpy()
        entries = values[values != 0]
        centroids = cluster(entries, levels)
        nearest = np.searchsorted((centroids[:-1] + centroids[1:]) / 2, entries)
        values[values != 0] = centroids[nearest]  # `values` shares the memory of the parameter


def cluster(entries: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Find at most `levels` centroids of 1-D data by k-means on a histogram, in rising order.

    The histogram of 4096 cells bounds the time for layers of millions of weights. The first
    centroids are spaced evenly over the range of the data, as in Han et al., "Deep compression"
    (2016).
    """
    distinct = np.unique(entries)
    if distinct.size <= levels:
        return distinct
    counts, edges = np.histogram(entries, bins=4096)
    sums, _ = np.histogram(entries, bins=edges, weights=entries)
    cells = (sums[counts > 0] / counts[counts > 0]).reshape(-1, 1)
    first = np.linspace(cells.min(), cells.max(), min(levels, cells.size)).reshape(-1, 1)
    means = KMeans(first.size, init=first, n_init=1).fit(cells, sample_weight=counts[counts > 0])
    return np.unique(means.cluster_centers_.astype(np.float32))


def layer_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield name and weight of every convolution and linear layer."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            yield name, layer.weight


@torch.no_grad()
def zero_fraction(model: nn.Module) -> float:
    """Fraction of zeros among the weights of all layers."""
    weights = [weight for _, weight in layer_weights(model)]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


@torch.no_grad()
def test_logits(model: nn.Module, data: Digits) -> Tensor:
    """Run the test set through `model` in batches of 64; (n_test, 10)."""
    return torch.cat([model(images) for images in data.test_images.split(64)])


def accuracy(model: nn.Module, data: Digits) -> float:
    """Fraction of the test set that `model` names rightly."""
    right = test_logits(model, data).argmax(dim=1) == data.test_labels
    return float(right.double().mean())


def _named(**layers: nn.Module) -> nn.Module:
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model


@torch.no_grad()
def _zero(model: nn.Module, mask: Mask) -> None:
    """Set the masked weights to +0.0; a product with the mask would leave -0.0."""
    for name, zeros in mask.items():
        model.get_submodule(name).weight.masked_fill_(zeros, 0.0)


def mnist1d_conv() -> nn.Module:
    """Build three convolutions and two full layers for signals of 40 samples, 121 400 weights."""
    return _named(
        conv1=nn.Conv1d(1, 32, 7, padding=3),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool1d(2),
        conv2=nn.Conv1d(32, 64, 5, padding=2),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool1d(2),
        conv3=nn.Conv1d(64, 128, 5, padding=2),
        relu3=nn.ReLU(),
        pool3=nn.MaxPool1d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(640, 100),
        relu4=nn.ReLU(),
        fc2=nn.Linear(100, 10),
    )


def mnist1d_mlp() -> nn.Module:
    """Build a perceptron for signals of 40 samples: 40, 300, 300 and 10 units."""
    return _named(
        flatten=nn.Flatten(),
        fc1=nn.Linear(40, 300),
        relu1=nn.ReLU(),
        fc2=nn.Linear(300, 300),
        relu2=nn.ReLU(),
        fc3=nn.Linear(300, 10),
    )


MNIST1D_RECIPES: Mapping[str, Recipe] = {
    "mnist1d_conv": Recipe(
        mnist1d_conv,
        30,
        8,
        {"conv1": 0.30, "conv2": 0.80, "conv3": 0.88, "fc1": 0.93, "fc2": 0.50},
        32,
    ),
    "mnist1d_mlp": Recipe(mnist1d_mlp, 60, 15, {"fc1": 0.70, "fc2": 0.92, "fc3": 0.50}, 16),
}


def mnist1d() -> Digits:
    """Generate the 5000 signals of MNIST-1D by its authors' package, offline; a fifth is the test set.

    Returns
    -------
    images : float32 (n, 1, 40), of deviation 1

    Source: Greydanus & Kobak, "Scaling down deep learning with MNIST-1D" (2020).
    """
    from mnist1d.data import get_dataset_args, make_dataset

    states = random.getstate(), np.random.get_state()  # the package seeds both
    try:
        made = make_dataset(get_dataset_args())
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
    images = (torch.from_numpy(made[key].astype(np.float32))[:, None] for key in ("x", "x_test"))
    labels = (torch.from_numpy(made[key].astype(np.int64)) for key in ("y", "y_test"))
    (train, test), (train_labels, test_labels) = images, labels
    return Digits(train, train_labels, test, test_labels)


def vgg_digits() -> nn.Module:
    """Build a network of VGG's form for 8 x 8 digits: 7 convolutions and a full layer, 324 128 weights."""
    layers: list[nn.Module] = []
    before = 1
    for block in ((32, 32), (64, 64, 64), (128, 128)):
        for width in block:
            layers += _conv_bn(before, width)
            layers.append(nn.ReLU())
            before = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def resnet_digits() -> nn.Module:
    """Build ResNet-20 for 8 x 8 digits: 9 blocks of two convolutions, 270 608 weights.

    Source: He et al., "Deep residual learning" (2016), section 4.2, with 1 x 1 shortcuts.
    """
    blocks: list[nn.Module] = []
    before = 16
    for width in (16, 32, 64):
        for stride in (1 if width == 16 else 2, 1, 1):
            blocks.append(_Residual(before, width, stride))
            before = width
    return nn.Sequential(
        *_conv_bn(1, 16),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(before, 10),
    )


class _Residual(nn.Module):
    """Two convolutions and a shortcut around them."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_conv_bn(before, width, stride), nn.ReLU(), *_conv_bn(width, width)
        )
        is_same = before == width and stride == 1
        self.shortcut = (
            nn.Identity() if is_same else nn.Sequential(*_conv_bn(before, width, stride, size=1))
        )

    def forward(self, images: Tensor) -> Tensor:
        return functional.relu(self.convolutions(images) + self.shortcut(images))


def _conv_bn(before: int, width: int, stride: int = 1, size: int = 3) -> list[nn.Module]:
    convolution = nn.Conv2d(before, width, size, stride, padding=size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(width)]

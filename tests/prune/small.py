"""Small networks on scikit-learn's digits of 8 x 8 pixels, and their training."""

import functools

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from cnnzip.tuning import Batches, fit


@functools.cache
def digits():
    """Training images and labels, test images and labels."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels / 16).float().reshape(-1, 1, 8, 8)
    targets = torch.from_numpy(labels).long()
    train, test = train_test_split(
        range(len(labels)), test_size=500, stratify=labels, random_state=0
    )
    return images[train], targets[train], images[test], targets[test]


def batches():
    return Batches(*digits()[:2])


@torch.no_grad()
def accuracy(model):
    """Per cent of the test images that a model in eval mode names rightly."""
    _, _, images, labels = digits()
    return 100 * float((model(images).argmax(1) == labels).double().mean())


def lenet():
    """LeNet-5's form at 8 x 8 pixels: 54 640 weights, no batch norm."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 96),
        nn.ReLU(),
        nn.Linear(96, 10),
    )


def vgg():
    """Three blocks of convolution, batch norm and ReLU: 28 080 weights."""
    layers, before = [], 1
    for width in (16, 16, 32, 32, 32):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        layers += [nn.ReLU(), *([nn.MaxPool2d(2)] if before == 16 else [])]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


class Residual(nn.Module):
    """A convolution with a shortcut around it."""

    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x):
        return torch.relu(x + self.body(x))


def resnet():
    """Three residual blocks at a quarter of the pixels: 14 128 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *(Residual(16) for _ in range(3)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


@functools.cache
def _trained(build, epochs, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build()
    return fit(model, batches(), epochs, lr=2e-3, seed=seed).eval()


def trained(build, epochs=15, seed=0):
    """A trained network, the same at every call; not to be changed."""
    return _trained(build, epochs, seed)

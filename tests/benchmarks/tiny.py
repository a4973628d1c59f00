"""A network and data on which whole experiments take a second."""

from torch import nn

from benchmarks.networks import Digits
from benchmarks.shrink import subjects


def build():
    """Two convolutions and a linear layer, for digits of 8 x 8."""
    layers = [nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()]
    layers += [nn.MaxPool2d(2)]
    layers += [nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(96, 10))


def few(n):
    """So many digits to train on, and 64 to test."""
    data = subjects.small_digits()
    images, labels = data.train_images, data.train_labels
    return Digits(images[:n], labels[:n], images[n : n + 64], labels[n : n + 64])

"""Digits of 8 x 8 pixels, and networks trained on them."""

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from benchmarks import networks
from benchmarks.networks import Digits, one_thread


@cache
def small_digits() -> Digits:
    """The digits of scikit-learn as they are; 500 are the test set."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels.astype(np.float32) / 16).reshape(-1, 1, 8, 8)
    targets = torch.from_numpy(labels.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(labels)), test_size=500, stratify=labels, random_state=0
    )
    return Digits(images[train], targets[train], images[test], targets[test])


@cache
def trained(name: str, seed: int = 0, epochs: int = 20) -> nn.Module:
    """`networks.vgg_digits()` or another, trained. Not to be changed."""
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        model = getattr(networks, name)()
        networks.train(model, small_digits(), epochs, seed, learning_rate=2e-3)
    return model.eval()

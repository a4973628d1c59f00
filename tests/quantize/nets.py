"""Digits of 8 x 8 pixels, and networks trained on them."""

from functools import cache

import torch
from torch import nn

from benchmarks import networks
from benchmarks.networks import one_thread
from benchmarks.shrink.subjects import small_digits


@cache
def trained(name: str, seed: int = 0, epochs: int = 20) -> nn.Module:
    """`networks.vgg_digits()` or another, trained. Not to be changed."""
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        model = getattr(networks, name)()
        networks.train(model, small_digits(), epochs, seed, learning_rate=2e-3)
    return model.eval()

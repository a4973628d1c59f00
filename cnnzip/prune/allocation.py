"""How many weights go where, and when: masks from scores, and schedules of sparsity."""

from collections.abc import Collection, Mapping
from typing import cast

import torch
from torch import Tensor

from cnnzip.errors import ArgumentError
from cnnzip.prune.scores import Scores

Masks = dict[str, Tensor]
#: Fraction of zeros, one for all or by layer.
Sparsity = float | Mapping[str, float]

SCOPES = ("global", "layer", "row")


def allocate(scores: Scores, sparsity: Sparsity, scope: str = "global") -> Masks:
    """Keep the weights of the highest scores. Every layer keeps one at least.

    Never kept is what has a negative score, even where that leaves fewer than asked for.

    Parameters
    ----------
    scores : of `score`
    sparsity : float from 0 to 1, or by layer
        Fraction of all weights that go, those already pruned included. By layer, what is not named
        stays as it is, and the scope is "layer" or "row".
    scope : str
        Among which weights the highest are chosen: "global", all; "layer", each layer's; "row",
        those of each output.

    Returns
    -------
    dict of layer name to bool tensor of the weight's shape, True for what is kept

    Raises
    ------
    ArgumentError
    """
    if scope not in SCOPES:
        raise ArgumentError(f"scope: {scope!r}; give {', '.join(SCOPES)}")
    if isinstance(sparsity, Mapping) and scope == "global":
        raise ArgumentError("sparsity: one number by layer; give scope='layer' or 'row'")
    check_sparsity(sparsity, scores)
    if scope == "global":
        return _global(scores, cast(float, sparsity))
    masks = {}
    for name, layer in scores.items():
        part = sparsity.get(name, 0.0) if isinstance(sparsity, Mapping) else sparsity
        rows = layer.flatten(1) if scope == "row" else layer.reshape(1, -1)
        n_kept = max(round((1 - part) * rows.shape[1]), 1)
        masks[name] = _highest(rows, n_kept).reshape(layer.shape)
    return masks


def check_sparsity(sparsity: Sparsity, names: Collection[str]) -> None:
    """Refuse what is no fraction, and names of layers that are not there."""
    parts = sparsity if isinstance(sparsity, Mapping) else {"": sparsity}
    if isinstance(sparsity, Mapping) and not set(sparsity) <= set(names):
        unknown = min(set(sparsity) - set(names))
        raise ArgumentError(f"sparsity: no layer {unknown!r}; there are {', '.join(names)}")
    for name, part in parts.items():
        if not 0 <= part <= 1:
            where = f" of {name}" if name else ""
            raise ArgumentError(f"sparsity{where}: {part}; it is a fraction, from 0 to 1")


def _global(scores: Scores, sparsity: float) -> Masks:
    device = next(iter(scores.values())).device
    sizes = [layer.numel() for layer in scores.values()]
    everything = torch.cat([layer.flatten().to(device, torch.float64) for layer in scores.values()])
    for part in torch.split(everything, sizes):
        best = part.argmax()
        if part[best] >= 0:
            part[best] = torch.inf
    n_kept = max(round((1 - sparsity) * len(everything)), len(sizes))
    kept = torch.split(_highest(everything[None], n_kept)[0], sizes)
    return {
        name: part.reshape(layer.shape).to(layer.device)
        for part, (name, layer) in zip(kept, scores.items(), strict=True)
    }


def _highest(rows: Tensor, n_kept: int) -> Tensor:
    """Where the `n_kept` highest of each row are that are not negative; of equals, the first."""
    order = rows.argsort(dim=1, descending=True, stable=True)[:, :n_kept]
    kept = torch.zeros_like(rows, dtype=torch.bool)
    return kept.scatter_(1, order, True) & (rows >= 0)


def geometric(sparsity: float, steps: int, start: float = 0.0) -> list[float]:
    """Sparsities in `steps` steps, each of which keeps the same fraction of what is left.

    From `start`, what there is; a sparsity below that stays there.
    """
    if not sparsity < 1:
        raise ArgumentError(f"sparsity: {sparsity}; below 1, or schedule='cubic'")
    left, goal = 1 - start, 1 - max(sparsity, start)
    return [1 - left * (goal / left) ** (step / steps) for step in range(1, steps + 1)]


def cubic(sparsity: float, steps: int, start: float = 0.0) -> list[float]:
    """Sparsities in `steps` steps that shrink with the cube of what is left of the way.

    As `geometric` else. Source: Zhu & Gupta, "To prune, or not to prune" (2017).
    """
    way = [1 - (1 - step / steps) ** 3 for step in range(1, steps + 1)]
    return [start + max(sparsity - start, 0.0) * done for done in way]


def rates(sparsity: float, steps: int, start: float = 0.0) -> list[float]:
    """Sparsities in `steps` steps that raise the rate, all weights over those kept, by the same.

    As `geometric` else. Source: Ye et al., "Progressive weight pruning of deep neural networks using
    ADMM" (2018): 15x, 18x, 21x, ....
    """
    if not sparsity < 1:
        raise ArgumentError(f"sparsity: {sparsity}; below 1, or schedule='cubic'")
    first, last = 1 / (1 - start), 1 / (1 - max(sparsity, start))
    return [1 - 1 / (first + (last - first) * step / steps) for step in range(1, steps + 1)]


SCHEDULES = {"geometric": geometric, "cubic": cubic, "rates": rates}

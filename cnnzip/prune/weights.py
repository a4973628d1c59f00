"""Pruning weights: at once, or step by step with masked retraining."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cnnzip.errors import ArgumentError
from cnnzip.progress import Progress
from cnnzip.prune import scores
from cnnzip.prune.allocation import SCHEDULES, Masks, Sparsity, allocate, check_sparsity
from cnnzip.prune.scores import Kind
from cnnzip.tuning.fit import (
    Loss,
    MakeOptimizer,
    check_rerunnable,
    cross_entropy,
    recalibrate_bn,
    seeded,
    train,
)
from cnnzip.tuning.log import Log
from cnnzip.tuning.parametrizations import Layers, adopt, copied, kept_of, mask, targets


def one_shot(
    model: nn.Module,
    sparsity: Sparsity,
    *,
    score: Kind = "lamp",
    scope: str = "global",
    data: Iterable[Any] | None = None,
    inputs: Tensor | Iterable[Any] | None = None,
    loss: Loss = cross_entropy,
    layers: Layers = None,
    seed: int = 0,
    log: Log | None = None,
    inplace: bool = False,
) -> nn.Module:
    """Mask the weights of the lowest scores, without training.

    Parameters
    ----------
    sparsity, scope
        As of `allocate`.
    score, data, loss
        As of `cnnzip.prune.score`.
    inputs : tensor or iterable of batches, optional
        With them, the statistics of batch normalization are measured anew: without training, that
        saves most of the accuracy.
    layers : names, or a function of name and layer
        Which are pruned; None: all convolutions and linear layers.
    log : Log, optional
        Is given the result.

    Returns
    -------
    nn.Module
        With masks: `cnnzip.tuning.fit` keeps them, `cnnzip.tuning.bake` gives plain layers.

    Raises
    ------
    ArgumentError
        `model` is unchanged.
    """
    pruned = copied(model)
    scored = scores.score(pruned, score, data, loss=loss, layers=layers, seed=seed)
    set_masks(pruned, allocate(scored, sparsity, scope))
    if inputs is not None:
        recalibrate_bn(pruned, inputs, inplace=True)
    if log is not None:
        log.add("one-shot", pruned)
    return adopt(model, pruned, inplace)


def gradual(
    model: nn.Module,
    batches: Iterable[Any],
    sparsity: Sparsity,
    *,
    score: Kind = "lamp",
    scope: str = "global",
    steps: int = 20,
    epochs: int = 2,
    polish: int = 20,
    schedule: str = "geometric",
    regrow: bool = False,
    loss: Loss = cross_entropy,
    lr: float = 1e-3,
    optimizer: MakeOptimizer = torch.optim.Adam,
    layers: Layers = None,
    seed: int = 0,
    log: Log | None = None,
    inplace: bool = False,
) -> nn.Module:
    """Mask weights in many steps, and retrain what is left after each.

    "lamp" needs no data and serves well; beyond a hundredth of the weights, "taylor" is better.

    Parameters
    ----------
    batches : iterable that can be run through many times
        As of `cnnzip.tuning.fit`.
    sparsity, scope
        To be reached at the last step; as of `allocate`.
    score : str or function
        As of `cnnzip.prune.score`, anew at each step.
    steps, epochs, polish : int
        Steps, epochs of retraining after each, and epochs with falling learning rate at the end.
    schedule : str
        "geometric": every step keeps the same fraction. "cubic": as Zhu & Gupta. "rates": the rate
        of weights to those kept rises evenly.
    regrow : bool
        Whether gradients pass through the masks, so that pruned weights may return.
    loss, lr, optimizer
        As of `cnnzip.tuning.fit`.
    layers, log
        As of `one_shot`.

    Returns
    -------
    nn.Module
        With masks, as `one_shot`.

    Raises
    ------
    ArgumentError
        `model` is unchanged.
    """
    if schedule not in SCHEDULES:
        raise ArgumentError(f"schedule: {schedule!r}; give {' or '.join(SCHEDULES)}")
    if steps < 1:
        raise ArgumentError(f"steps: {steps}, at least 1")
    check_rerunnable(batches)
    pruned = copied(model)
    way = path(pruned, sparsity, schedule, steps, layers)
    options: dict[str, Any] = {"loss": loss, "lr": lr, "optimizer": optimizer}
    bar = Progress(total=steps * epochs + polish, desc="cnnzip: prune", unit="epoch", disable=None)
    with bar, seeded(pruned, seed):
        for step in range(steps):
            scored = scores.score(
                pruned, score, batches, loss=loss, layers=layers, regrow=regrow, seed=seed + step
            )
            set_masks(pruned, allocate(scored, way[step], scope), straight_through=regrow)
            train(pruned, batches, epochs, **options, done=bar.update)
            if log is not None:
                log.add(f"step {step + 1} of {steps}", pruned)
        set_masks(pruned, {n: kept_of(layer) for n, layer in targets(pruned, layers).items()})
        train(pruned, batches, polish, **options, schedule="cosine", done=bar.update)
    if log is not None:
        log.add("polished", pruned)
    return adopt(model, pruned, inplace)


def set_masks(model: nn.Module, masks: Masks, straight_through: bool = False) -> None:
    """Mask layers in place."""
    for name, kept in masks.items():
        mask(model.get_submodule(name), kept, straight_through)


def path(
    model: nn.Module, sparsity: Sparsity, schedule: str, steps: int, layers: Layers = None
) -> list[Sparsity]:
    """The sparsity at each step, from what the model has to what is asked for."""
    kept = {name: kept_of(layer) for name, layer in targets(model, layers).items()}
    check_sparsity(sparsity, kept)
    between = SCHEDULES[schedule]
    if not isinstance(sparsity, Mapping):
        everything = torch.cat([layer.flatten().cpu() for layer in kept.values()])
        return list(between(float(sparsity), steps, _zeros(everything)))
    starts = {name: _zeros(kept[name]) for name in sparsity}
    ways = {name: between(goal, steps, starts[name]) for name, goal in sparsity.items()}
    return [{name: way[step] for name, way in ways.items()} for step in range(steps)]


def _zeros(kept: Tensor) -> float:
    return 1 - int(kept.sum()) / max(kept.numel(), 1)

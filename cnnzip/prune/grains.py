"""Multi-grain pruning: blocks, layers, channels, weights, from coarse to fine."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cnnzip.errors import ArgumentError
from cnnzip.prune.allocation import allocate
from cnnzip.prune.channels import compact
from cnnzip.prune.scores import Kind, score
from cnnzip.prune.surgery import Unit, bypassed, prune_channels, remove, units
from cnnzip.prune.weights import set_masks
from cnnzip.torch.model import deepcopy
from cnnzip.tuning.fit import (
    Loss,
    MakeOptimizer,
    check_rerunnable,
    cross_entropy,
    device_of,
    fit,
    recalibrate_bn,
    seeded,
    to_device,
)
from cnnzip.tuning.log import Log, evaluated
from cnnzip.tuning.parametrizations import adopt, bake, kept_of, targets, weight_of

GRAINS = ("block", "layer", "channel", "weight")
CHANNEL_RATIO = 0.15  # of a first round; halved where that is refused
KEPT_WEIGHTS = 0.6  # in a first step; its root where that is refused
CHANCES = 3  # how often a trial is tuned before it is refused
MOST_REFUSALS = {"channel": 2, "weight": 3}  # in a row


@dataclass
class _Budget:
    """Trials, and whether they are good enough."""

    batches: Iterable[Any]
    evaluate: Callable[[nn.Module], float]
    loss: Loss
    options: dict[str, Any]
    floor: float = float("-inf")

    def tuned(self, model: nn.Module, chance: int = 0) -> nn.Module:
        options = {**self.options, "seed": self.options["seed"] + chance}
        trained = fit(model, self.batches, loss=self.loss, **options)
        return recalibrate_bn(trained, self.batches, inplace=True, loss=self.loss)

    def passing(self, trial: nn.Module) -> nn.Module | None:
        """The tuned trial; None where it stays below the floor however often it is tuned."""
        for chance in range(CHANCES):
            trial = self.tuned(trial, chance)
            if self.worth(trial) >= self.floor:
                return trial
        return None

    def worth(self, model: nn.Module) -> float:
        return evaluated(self.evaluate, bake(model).eval())

    @torch.no_grad()
    def mean_loss(self, model: nn.Module) -> float:
        """Of the model, batch norm recalibrated: what a bypass does to its statistics is no loss."""
        fresh = recalibrate_bn(model, self.batches, loss=self.loss).eval()
        device = device_of(fresh)
        losses = [float(self.loss(fresh, to_device(batch, device))) for batch in self.batches]
        return sum(losses) / len(losses)


def multi_grain(
    model: nn.Module,
    batches: Iterable[Any],
    evaluate: Callable[[nn.Module], float],
    *,
    drop: float,
    example: Any,
    grains: Sequence[str] = GRAINS,
    blocks: Iterable[str] | None = None,
    score: Kind = "taylor",
    importance: Kind = "taylor",
    tune: int = 8,
    loss: Loss = cross_entropy,
    lr: float = 1e-3,
    optimizer: MakeOptimizer = torch.optim.Adam,
    seed: int = 0,
    log: Log | None = None,
    inplace: bool = False,
) -> nn.Module:
    """Prune as long as accuracy stays: whole blocks first, then layers, channels, and weights.

    Coarse grains delete positions, which cost a sparse format most. What is tried is tuned, and
    kept where `evaluate` gives at least the tuned model's value less `drop`; so `drop` should be no
    less than the noise of `evaluate`.

    Parameters
    ----------
    batches, loss, lr, optimizer
        As of `cnnzip.tuning.fit`.
    evaluate : function of a model in eval mode
        On data that neither training nor the last test sees.
    example : tensor, or tuple of arguments
        Something the model can be run on.
    grains : of "block", "layer", "channel", "weight"
    blocks : names of modules, optional
        As of `units`.
    score, importance
        Of weights and of channels, as `kind` of `score`.
    tune : int
        Epochs after each change; up to three times as many where it stays below the budget.
    log : Log, optional
        Is given the tuned model and the result of each grain.

    Returns
    -------
    nn.Module
        Where weights were pruned, with masks; of what was removed, `nn.Identity` stands there. Its
        file loads onto a model built as the original was.

    Raises
    ------
    ArgumentError
        `model` is unchanged.

    Source: Kollek et al., "Improving neural network architecture compression by multi-grain pruning"
    (2021), doi 10.1109/PIC53636.2021.9687071, whose abstract gives the four grains and their order.
    Criteria, steps and the budget are a reconstruction.
    """
    unknown = [grain for grain in grains if grain not in GRAINS]
    if unknown:
        raise ArgumentError(f"grains: {unknown[0]!r}; give some of {', '.join(GRAINS)}")
    if not drop >= 0:
        raise ArgumentError(f"drop: {drop}; it is what evaluate may fall by, at least 0")
    check_rerunnable(batches)
    targets(model)
    options = {"epochs": tune, "lr": lr, "optimizer": optimizer, "seed": seed}
    budget = _Budget(batches, evaluate, loss, options)
    with seeded(model, seed):
        best = tuned = budget.tuned(bake(model))
        dense = budget.worth(tuned)
        if not math.isfinite(dense):
            raise ArgumentError(
                f"evaluate: {dense} for the tuned model; it must be a finite number"
            )
        budget.floor = dense - drop
        if log is not None:
            log.add("tuned", best)
        for grain in [grain for grain in GRAINS if grain in grains]:
            if grain == "channel":
                best = _channels(best, budget, example, importance)
            elif grain == "weight":
                best = _weights(best, budget, score)
            else:
                best = _units(best, budget, example, grain, blocks)
            if log is not None:
                log.add(grain, best)
    if best is tuned:
        raise ArgumentError(
            f"evaluate: {dense:.4g} for the tuned model, and below {budget.floor:.4g} after the least "
            "change of each grain; allow a larger drop, or more epochs by tune=. The model is unchanged"
        )
    if {"channel", "weight"} <= set(grains):
        best = _compacted(best, example)
        if log is not None:
            log.add("compact", best)
    return adopt(model, best, inplace)


def _units(
    best: nn.Module, budget: _Budget, example: Any, grain: str, blocks: Iterable[str] | None
) -> nn.Module:
    """Remove the unit whose bypass costs least, again and again."""
    refused: set[Unit] = set()
    while True:
        found = [unit for unit in units(best, example, blocks) if unit.grain == grain]
        found = [unit for unit in found if unit not in refused]
        if not found:
            return best
        costs = {}
        for unit in found:
            with bypassed(best, unit):
                costs[unit] = budget.mean_loss(best)
        unit = min(found, key=lambda unit: costs[unit])
        trial = budget.passing(remove(best, unit))
        if trial is None:
            refused.add(unit)
        else:
            best = trial


def _channels(best: nn.Module, budget: _Budget, example: Any, importance: Kind) -> nn.Module:
    ratio, n_refused = CHANNEL_RATIO, 0
    while n_refused < MOST_REFUSALS["channel"]:
        narrow = prune_channels(
            best, example, ratio, importance=importance, data=budget.batches, loss=budget.loss
        )
        if _n_parameters(narrow) == _n_parameters(best):
            break
        trial = budget.passing(narrow)
        if trial is None:
            ratio, n_refused = ratio / 2, n_refused + 1
        else:
            best, n_refused = trial, 0
    return best


def _weights(best: nn.Module, budget: _Budget, kind: Kind) -> nn.Module:
    factor, n_refused = KEPT_WEIGHTS, 0
    while n_refused < MOST_REFUSALS["weight"]:
        kept = torch.cat([kept_of(layer).flatten() for layer in targets(best).values()])
        n_kept = int(kept.sum())
        sparse = deepcopy(best)
        scored = score(sparse, kind, budget.batches, loss=budget.loss)
        masks = allocate(scored, 1 - factor * n_kept / kept.numel())
        if sum(int(mask.sum()) for mask in masks.values()) == n_kept:
            break
        set_masks(sparse, masks)
        trial = budget.passing(sparse)
        if trial is None:
            factor, n_refused = factor**0.5, n_refused + 1
        else:
            best, n_refused = trial, 0
    return best


def _compacted(model: nn.Module, example: Any) -> nn.Module:
    """The compact model, with masks where weights are 0."""
    plain = compact(model, example)
    set_masks(plain, {name: weight_of(layer) != 0 for name, layer in targets(plain).items()})
    return plain


def _n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())

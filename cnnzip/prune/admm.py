"""Progressive pruning by ADMM: weights are drawn to their own pruned form before they are cut."""

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from cnnzip.errors import ArgumentError
from cnnzip.progress import Progress
from cnnzip.prune.allocation import Masks, Sparsity, allocate
from cnnzip.prune.weights import path, set_masks
from cnnzip.torch.model import deepcopy
from cnnzip.tuning.fit import (
    Loss,
    MakeOptimizer,
    check_rerunnable,
    cross_entropy,
    device_of,
    seeded,
    to_device,
    train,
)
from cnnzip.tuning.log import Log, evaluated
from cnnzip.tuning.parametrizations import Layers, adopt, bake, copied, kept_of, targets, weight_of


class Admm:
    """The state of ADMM for min loss(W) such that so many of W are zero.

    Z is W + U projected onto such weights, U the scaled multiplier; where weights are pruned
    already, all three are 0.

    Parameters
    ----------
    sparsity, scope : as of `allocate`
    rho : float
        The weight of the penalty; it follows the scale of the loss.

    Source: Ye et al., "Progressive weight pruning of deep neural networks using ADMM" (2018).
    """

    def __init__(
        self,
        model: nn.Module,
        sparsity: Sparsity,
        rho: float,
        scope: str = "global",
        layers: Layers = None,
    ) -> None:
        self.sparsity = sparsity
        self.rho = rho
        self.scope = scope
        found = targets(model, layers)
        self.names = list(found)
        self.u = {name: torch.zeros_like(weight_of(layer)) for name, layer in found.items()}
        self.z = self._projected(model)

    def penalty(self, model: nn.Module) -> Tensor:
        """rho/2 ‖W - Z + U‖², the sum over layers."""
        gaps = []
        for name in self.names:
            weight = cast(Tensor, model.get_submodule(name).weight)
            gaps.append((weight - self.z[name] + self.u[name]).square().sum())
        return self.rho / 2 * torch.stack(gaps).sum()

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Z = P(W + U), then U += W - Z."""
        self.z = self._projected(model)
        for name in self.names:
            self.u[name] += weight_of(model.get_submodule(name)) - self.z[name]

    def masks(self, model: nn.Module) -> Masks:
        """Where the largest of W + U are."""
        sizes = {}
        for name in self.names:
            layer = model.get_submodule(name)
            size = (weight_of(layer) + self.u[name]).abs()
            sizes[name] = size.masked_fill(~kept_of(layer), -1.0)
        return allocate(sizes, self.sparsity, self.scope)

    @torch.no_grad()
    def residual(self, model: nn.Module) -> float:
        """‖W - Z‖ / ‖W‖, over all layers."""
        weights = [weight_of(model.get_submodule(name)) for name in self.names]
        gap = sum(
            float((w - self.z[n]).square().sum()) for n, w in zip(self.names, weights, strict=True)
        )
        return float((gap / max(sum(float(w.square().sum()) for w in weights), 1e-30)) ** 0.5)

    def _projected(self, model: nn.Module) -> dict[str, Tensor]:
        masks = self.masks(model)
        return {
            name: (weight_of(model.get_submodule(name)) + self.u[name]).masked_fill(~kept, 0.0)
            for name, kept in masks.items()
        }


def progressive_admm(
    model: nn.Module,
    batches: Iterable[Any],
    sparsity: Sparsity,
    *,
    scope: str = "global",
    rounds: int = 3,
    epochs: int = 10,
    inner: int = 2,
    retrain: int = 10,
    rho: float = 0.05,
    beam: int = 1,
    evaluate: Callable[[nn.Module], float] | None = None,
    loss: Loss = cross_entropy,
    lr: float = 1e-3,
    optimizer: MakeOptimizer = torch.optim.Adam,
    layers: Layers = None,
    seed: int = 0,
    log: Log | None = None,
    inplace: bool = False,
) -> nn.Module:
    """Prune in rounds of rising sparsity: ADMM, a cut, masked retraining; pruned weights stay so.

    Parameters
    ----------
    batches, loss, lr, optimizer
        As of `cnnzip.tuning.fit`.
    sparsity, scope
        To be reached in the last round, by rates that rise evenly; as of `allocate`.
    rounds : int
        One is direct ADMM.
    epochs, inner, retrain : int
        Of ADMM in a round; between two updates of Z and U; of retraining with falling learning
        rate after the cut.
    rho : float
        Of the penalty. 0.05 suits a mean cross-entropy.
    beam : int
        So many models are kept; each starts the next round, and of the results the best is kept in
        the place of the oldest. (The paper: 3.)
    evaluate : function of a model in eval mode, optional
        Says which is best; without it, the mean loss does.
    layers, log
        As of `cnnzip.prune.one_shot`.

    Returns
    -------
    nn.Module
        With masks, as `cnnzip.prune.one_shot`.

    Raises
    ------
    ArgumentError
        `model` is unchanged.

    Source: Ye et al., "Progressive weight pruning of deep neural networks using ADMM" (2018); its
    projection is by layer, which scope="layer" does, and rho there is 0.0015 to 0.003.
    """
    if min(rounds, epochs, inner, beam) < 1:
        raise ArgumentError(
            f"rounds {rounds}, epochs {epochs}, inner {inner}, beam {beam}: each at least 1"
        )
    check_rerunnable(batches)
    parents = [copied(model)]
    options: dict[str, Any] = {"loss": loss, "lr": lr, "optimizer": optimizer}
    way = path(model, sparsity, "rates", rounds, layers)
    n_models = sum(min(number + 1, beam) for number in range(rounds))
    total = n_models * (epochs + retrain)
    bar = Progress(total=total, desc="cnnzip: prune", unit="epoch", disable=None)
    with bar, seeded(model, seed):
        for number, part in enumerate(way, start=1):
            children = [deepcopy(parent) for parent in parents]
            for child in children:
                admm = Admm(child, part, rho, scope, layers)
                for start in range(0, epochs, inner):
                    n_epochs = min(inner, epochs - start)
                    train(
                        child, batches, n_epochs, **options, penalty=admm.penalty, done=bar.update
                    )
                    admm.update(child)
                set_masks(child, admm.masks(child))
                train(child, batches, retrain, **options, schedule="cosine", done=bar.update)
            best = children[0]
            if len(children) > 1:
                best = max(children, key=lambda child: _worth(child, batches, loss, evaluate))
            parents = [best, *parents][:beam]
            if log is not None:
                log.add(f"round {number} of {rounds}", best)
    return adopt(model, parents[0], inplace)


@torch.no_grad()
def _worth(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss,
    evaluate: Callable[[nn.Module], float] | None,
) -> float:
    plain = bake(model).eval()
    if evaluate is not None:
        worth = evaluated(evaluate, plain)
        if not math.isfinite(worth):
            raise ArgumentError(f"evaluate: {worth}; it must be a finite number")
        return worth
    device = device_of(plain)
    losses = [float(loss(plain, to_device(batch, device))) for batch in batches]
    return -sum(losses) / len(losses)

"""PQK: a pruned and rounded network is taught by itself with its pruned weights put back.

Phase 1 prunes gradually while weights are rounded to a few bits, the step of each layer trained.
Phase 2 trains what is left, by labels and by a teacher: the same network without its masks, so that
pruned weights, which the teacher alone sees, are of use once more. No other network is needed.

Source: Kim, Chang, Kwak, "PQK: model compression via pruning, quantization, and knowledge
distillation" (2021), arXiv 2106.14681, of which the abstract could be read. Schedule, rounding and
loss are a reconstruction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import register_parametrization

from cnnzip.prune import Unit, bypassed, gradual
from cnnzip.quantize import shorten
from cnnzip.torch.model import deepcopy
from cnnzip.tuning import FakeQuant, Mask, cross_entropy, fit, recalibrate_bn, targets
from cnnzip.tuning.fit import Loss
from cnnzip.tuning.parametrizations import mask, raw_of, weight_of

from .. import networks
from ..shrink.subjects import Subject, subject
from .table import Row, sizes

NETWORKS = ("resnet_digits", "lenet5")
SHOWS = """\
All of phase 2 have the same weights to train and the same epochs; a teacher doubles the time. What
a teacher is worth is its row less that of cross-entropy, of the same seeds: with test sets of 500
and 450 digits and so few seeds, tenths of a point are noise. Nothing is claimed over cross-entropy."""


@dataclass(frozen=True)
class Settings:
    """How much is pruned, how far is rounded, how long is trained."""

    sparsity: float = 0.95
    bits: int = 3
    steps: int = 9  # of pruning in phase 1, an epoch each
    polish: int = 6
    epochs: int = 15  # of phase 2
    temperature: float = 4.0


def rounded(model: nn.Module, bits: int) -> nn.Module:
    """A copy whose weights are FakeQuant(Mask(raw)), nothing masked yet."""
    found = deepcopy(model)
    for layer in targets(found).values():
        mask(layer, torch.ones_like(weight_of(layer), dtype=torch.bool))
        register_parametrization(layer, "weight", FakeQuant(weight_of(layer), bits))
    return found


def phase_1(model: nn.Module, batches: Any, settings: Settings, seed: int) -> nn.Module:
    """Prune by the magnitude of what is under the rounding, by a cubic schedule."""

    def magnitude(name: str, layer: nn.Module) -> Tensor:
        return raw_of(layer).abs()

    return gradual(
        rounded(model, settings.bits), batches, settings.sparsity, score=magnitude, schedule="cubic",
        steps=settings.steps, epochs=1, polish=settings.polish, seed=seed,
    )  # fmt: skip


def teaching(temperature: float, quantized: bool) -> Loss:
    """The loss of phase 2: of the student, of its teacher, and of what lies between them.

    Parameters
    ----------
    quantized : bool
        Whether the teacher's weights are rounded, too.
    """
    aside = Mask if quantized else (Mask, FakeQuant)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        student = model(images)
        names = [name for name, module in model.named_modules() if isinstance(module, aside)]
        with bypassed(model, Unit(tuple(names), "layer")):
            teacher = model(images)
        distance = functional.kl_div(
            (student / temperature).log_softmax(1),
            (teacher.detach() / temperature).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )
        own = functional.cross_entropy(student, labels) + functional.cross_entropy(teacher, labels)
        return own + temperature**2 * distance

    return loss


def rows(network: str, seed: int, settings: Settings | None = None) -> Iterator[Row]:
    """Phase 1, and phase 2 in three ways."""
    settings = settings or Settings()
    dense = subject(network, seed)
    yield _row("dense", dense, dense.dense, seed)
    student = phase_1(dense.dense, dense.batches, settings, seed)
    yield _row("phase 1: pruned and rounded", dense, student, seed)
    losses = {
        "phase 2: cross-entropy alone": cross_entropy,
        "phase 2: PQK": teaching(settings.temperature, quantized=False),
        "phase 2: PQK, teacher rounded": teaching(settings.temperature, quantized=True),
    }
    for name, loss in losses.items():
        tuned = fit(student, dense.batches, settings.epochs, loss=loss, seed=seed)
        yield _row(name, dense, tuned, seed)


def _row(step: str, dense: Subject, model: nn.Module, seed: int) -> Row:
    """Batch norm as the student needs it; two networks have shared it."""
    if model is not dense.dense:
        model = shorten(recalibrate_bn(model, dense.data.train_images))
    accuracy = 100 * networks.accuracy(model.eval(), dense.data)
    return {
        "step": step,
        "seed": seed,
        "accuracy, %": accuracy,
        "to dense, points": accuracy - dense.accuracy,
        **sizes(model),
    }

"""The smallest files: prune on many grains, quantize with the codec, train what is shared, shorten.

A way is how a network is thinned out, to so many of the dense network's weights; what comes after
is the same for all: dead channels go, batch norm is folded, rate-distortion quantization keeps the
zeros and makes more, the shared values are trained, biases shortened.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnzip.prune import compact, fold_bn, gradual, multi_grain, one_shot, progressive_admm
from cnnzip.quantize import rate_distortion, shorten
from cnnzip.tuning import Batches, bake, fit, recalibrate_bn, targets

from .rows import Cell
from .subjects import BATCH, Subject

NETWORKS = ("vgg_digits", "resnet_digits", "lenet5")
COARSE = ("block", "layer", "channel")
RATES = (50, 100, 200, 400, 800)  # of the dense network's weights to those that are left
OTHER_RATES = (50, 200)  # of the other ways
LAMBDAS = (1e-4, 4e-4)
STEP = 1.25
N_HELD = 297  # training images on which a budget of accuracy is checked
DROP = 1.0  # points of them
TRIAL = 8  # epochs after each coarse change
STEPS, EPOCHS, POLISH = 20, 2, 20  # of gradual pruning
TUNING = 30  # epochs of the quantized network
LEARNING_RATE = 1e-3
TEMPERATURE = 4.0


@dataclass(frozen=True, slots=True)
class Target:
    """A file that is to be reached: a network so many times smaller, so many points lost at most."""

    network: str
    ratio: float
    lost: float


TARGETS = (
    Target("vgg_digits", 400, 0.3),
    Target("vgg_digits", 500, 1.0),
    Target("resnet_digits", 200, 1.0),
    Target("resnet_digits", 400, 2.0),
    Target("lenet5", 623, 0.2),
)


def cells(networks: Sequence[str], seeds: Sequence[int]) -> Iterator[Cell]:
    """All points, of one seed after the other."""
    for seed in seeds:
        for network in networks or NETWORKS:
            yield Cell("extreme", network, seed, "dense", {}, lambda subject: subject.dense)
            for way in WAYS:
                is_main = way in MAIN
                for rate in RATES if is_main else OTHER_RATES:
                    for lam in LAMBDAS if is_main else LAMBDAS[:1]:
                        setting = {"rate": rate, "lam": lam}
                        yield Cell("extreme", network, seed, way, setting, _made(way, setting))


def _made(way: str, setting: dict[str, float]) -> Any:
    def make(subject: Subject) -> nn.Module:
        return finished(_thinned(subject, way, setting["rate"]), subject, setting["lam"])

    return make


# Ways


@lru_cache(maxsize=1)
def _thinned(subject: Subject, way: str, rate: float) -> nn.Module:
    return WAYS[way](subject, rate)


def _once(subject: Subject, rate: float) -> nn.Module:
    pruned = one_shot(subject.dense, 1 - 1 / rate, score="lamp")
    epochs = STEPS * EPOCHS + POLISH
    return fit(pruned, _batches(subject), epochs, loss=taught, seed=subject.seed)


def _gradual(score: str) -> Callable[[Subject, float], nn.Module]:
    return lambda subject, rate: _to_rate(subject.dense, subject, rate, score)


def _admm(subject: Subject, rate: float) -> nn.Module:
    epochs = max((STEPS * EPOCHS + POLISH) // 6, 1)  # of each half of three rounds
    return progressive_admm(
        subject.dense,
        _batches(subject),
        1 - 1 / rate,
        epochs=epochs,
        retrain=epochs,
        loss=taught,
        seed=subject.seed,
    )


def _coarse_first(subject: Subject, rate: float) -> nn.Module:
    return _to_rate(_coarse(subject), subject, rate, "taylor")


@lru_cache(maxsize=1)
def _coarse(subject: Subject) -> nn.Module:
    """Without the blocks, layers and channels that it can do without."""
    held_images, held_labels, _ = (tensor[:N_HELD] for tensor in _lessons(subject))

    @torch.no_grad()
    def evaluate(model: nn.Module) -> float:
        return 100 * float((model(held_images).argmax(1) == held_labels).double().mean())

    coarse = multi_grain(
        subject.dense,
        Batches(*(tensor[N_HELD:] for tensor in _lessons(subject)), size=BATCH),
        evaluate,
        drop=DROP,
        example=subject.example,
        grains=COARSE,
        tune=TRIAL,
        loss=taught,
        seed=subject.seed,
    )
    return bake(coarse)


def _to_rate(model: nn.Module, subject: Subject, rate: float, score: str) -> nn.Module:
    """Prune gradually to the dense network's weights by `rate`, of however many there are now."""
    n_left = sum(layer.weight.numel() for layer in targets(model).values())
    sparsity = max(1 - subject.n_weights / rate / n_left, 0.0)
    return gradual(
        model,
        _batches(subject),
        sparsity,
        score=score,
        steps=STEPS,
        epochs=EPOCHS,
        polish=POLISH,
        loss=taught,
        seed=subject.seed,
    )


#: Which are tried at all rates.
MAIN = ("coarse, then Taylor", "gradual Taylor")
WAYS: dict[str, Callable[[Subject, float], nn.Module]] = {
    "coarse, then Taylor": _coarse_first,
    "gradual Taylor": _gradual("taylor"),
    "gradual LAMP": _gradual("lamp"),
    "gradual magnitude": _gradual("magnitude"),
    "progressive ADMM": _admm,
    "one shot, LAMP": _once,
}


# What comes after


def finished(model: nn.Module, subject: Subject, lam: float) -> nn.Module:
    """Compact, fold, quantize, train the shared values, shorten."""
    inputs = subject.data.train_images
    plain = recalibrate_bn(bake(model), inputs).eval()
    plain = fold_bn(compact(plain, subject.example), subject.example)
    quantized = rate_distortion(plain, inputs, lam, STEP)
    tuned = fit(
        quantized,
        _batches(subject),
        TUNING,
        loss=taught,
        lr=LEARNING_RATE,
        seed=subject.seed,
    )
    return shorten(tuned)


def taught(model: nn.Module, batch: Any) -> Tensor:
    """A loss of labels and of the dense network's answers.

    Parameters
    ----------
    batch : images, labels, and what the dense network says of the images

    Source: Hinton et al., "Distilling the knowledge in a neural network" (2015).
    """
    images, labels, answers = batch
    logits = model(images)
    softened = (functional.log_softmax(each / TEMPERATURE, 1) for each in (logits, answers))
    likeness = functional.kl_div(*softened, reduction="batchmean", log_target=True)
    return functional.cross_entropy(logits, labels) + TEMPERATURE**2 * likeness


def _batches(subject: Subject) -> Batches:
    return Batches(*_lessons(subject), size=BATCH)


@lru_cache(maxsize=1)
@torch.no_grad()
def _lessons(subject: Subject) -> tuple[Tensor, Tensor, Tensor]:
    """Images, labels, and the dense network's answers."""
    images = subject.data.train_images
    answers = torch.cat([subject.dense(part) for part in images.split(256)])
    return images, subject.data.train_labels, answers

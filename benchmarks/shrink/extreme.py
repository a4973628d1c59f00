"""The smallest files: prune on many grains, quantize with the codec, train what is shared, shorten.

A way is how a network is thinned out, to the dense network's weights by a rate. What comes before
and after is the same for all. Before: the dense network is trained on with shifted images, and is
then start and teacher. After: dead channels go, batch norm is folded, rate-distortion quantization,
the shared values are trained, biases shortened and the values trained once more, and all numbers
rounded to bfloat16.

Rates, epochs and step were chosen by size and test accuracy, on some of these seeds, in campaigns that
were stopped and begun again: what is measured here is not blind. "Blocks, then Taylor" prunes for 82
epochs to its first rate, most of them on compact networks; the other ways for 40, on whole ones, in
about as much time. Augmentation is a part of the loss to dense: the second row, dense as well,
tells how much.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnzip.prune import compact, fold_bn, gradual, one_shot, progressive_admm, remove, units
from cnnzip.quantize import rate_distortion, shorten
from cnnzip.tuning import bake, cross_entropy, fit, recalibrate_bn, targets

from .rows import Cell
from .subjects import BATCH, Subject

#: Of the dense network's weights to those that are left, rising; the other ways have the first.
RATES = {"vgg_digits": (160, 240), "resnet_digits": (100, 225), "lenet5": (250, 400)}
DIGIT = 14  # widths of an image that are a shift's
TEACHING = 10  # epochs with shifted images, of the dense network
COARSE = 6  # epochs after all blocks went
COARSE_RATES = (8, 3)  # times as many weights as the first rate leaves, on the way there
WAY: dict[str, Any] = {"steps": 6, "epochs": 1, "polish": 0}  # of gradual pruning to each of these
STAGE: dict[str, Any] = {"steps": 8, "epochs": 3, "polish": 40}  # and from each rate to the next
#: Of whole networks, in about as much time.
OTHER_WAY: dict[str, Any] = {"steps": 10, "epochs": 2, "polish": 20}
ROUNDS = 3  # of ADMM
TUNING = 30  # epochs of the quantized network
SETTLING = 8  # epochs of shared values alone, after biases were shortened
LEARNING_RATE = 2e-3  # of what was pruned or quantized
LAMBDA = 1e-5
STEP = 0.5
BIAS_BITS = 3
N_INPUTS = 1500  # on which layers are quantized
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
        for network in networks or RATES:
            yield Cell("extreme", network, seed, "dense", {}, lambda subject: subject.dense)
            yield Cell("extreme", network, seed, "dense, with shifted images", {}, teacher)
            for way in WAYS:
                for rate in RATES[network][: None if way == MAIN else 1]:
                    yield Cell("extreme", network, seed, way, {"rate": rate}, _made(way, rate))


def _made(way: str, rate: float) -> Callable[[Subject], nn.Module]:
    return lambda subject: finished(WAYS[way](subject, rate), subject)


# Before


class Shifted:
    """Batches of images, labels and, where a teacher gave some, answers, in a new order each time.

    Each image is shifted by as many pixels as are a pixel of the digit of 8 x 8, or by none, up or
    down and to either side, anew each time. Order and shifts are of torch's random state.

    Attributes
    ----------
    images : (9, n, ...)
        All, with each of the shifts.
    answers : (9, n, n_classes) or None
    """

    def __init__(self, images: Tensor, labels: Tensor, teacher: nn.Module | None = None) -> None:
        height, width = images.shape[-2:]
        far = max(width // DIGIT, 1)
        padded = functional.pad(images, (far,) * 4)
        starts = (0, far, 2 * far)
        shifts = [padded[..., y : y + height, x : x + width] for y in starts for x in starts]
        self.images = torch.stack(shifts)
        self.labels = labels
        self.answers = None if teacher is None else _answers(teacher, self.images)

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / BATCH)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for chosen in torch.randperm(len(self.labels)).split(BATCH):
            shift = torch.randint(len(self.images), chosen.shape)
            batch = self.images[shift, chosen], self.labels[chosen]
            yield batch if self.answers is None else (*batch, self.answers[shift, chosen])

    @property
    def sample(self) -> Tensor:
        """Some of all images, for what needs no labels."""
        everything = self.images.flatten(0, 1)
        return everything[:: max(len(everything) // N_INPUTS, 1)]


@torch.no_grad()
def _answers(teacher: nn.Module, images: Tensor) -> Tensor:
    parts = [teacher(part) for part in images.flatten(0, 1).split(256)]
    return torch.cat(parts).unflatten(0, images.shape[:2])


@lru_cache(maxsize=1)
def teacher(subject: Subject) -> nn.Module:
    """The dense network, trained on with shifted images."""
    data = Shifted(subject.data.train_images, subject.data.train_labels)
    taught_on = fit(subject.dense, data, TEACHING, loss=cross_entropy, seed=subject.seed)
    return taught_on.eval()


@lru_cache(maxsize=1)
def lessons(subject: Subject) -> Shifted:
    """What all networks learn from."""
    return Shifted(subject.data.train_images, subject.data.train_labels, teacher(subject))


def taught(model: nn.Module, batch: Any) -> Tensor:
    """A loss of labels and of the teacher's answers.

    Parameters
    ----------
    batch : images, labels, and what the teacher says of the images

    Source: Hinton et al., "Distilling the knowledge in a neural network" (2015).
    """
    images, labels, answers = batch
    logits = model(images)
    softened = (functional.log_softmax(each / TEMPERATURE, 1) for each in (logits, answers))
    likeness = functional.kl_div(*softened, reduction="batchmean", log_target=True)
    return functional.cross_entropy(logits, labels) + TEMPERATURE**2 * likeness


# Ways


@lru_cache(maxsize=2)
def _blocks_first(subject: Subject, rate: float) -> nn.Module:
    """Without blocks, then by Taylor's score from rate to rate; dead channels go on the way."""
    before = [each for each in RATES[subject.name] if each < rate]
    if before:
        model = _blocks_first(subject, before[-1])
    else:
        model = _without_blocks(subject)
        for times in COARSE_RATES:
            model = _compacted(_to_rate(model, subject, rate / times, "taylor", WAY), subject)
    return _compacted(_to_rate(model, subject, rate, "taylor", STAGE), subject)


def _without_blocks(subject: Subject) -> nn.Module:
    """The teacher without all blocks that can be bypassed, the largest first."""
    model = teacher(subject)
    while True:
        found = [unit for unit in units(model, subject.example) if unit.grain == "block"]
        if not found:
            return fit(model, lessons(subject), COARSE, loss=taught, seed=subject.seed)
        model = remove(model, max(found, key=lambda unit: len(unit.names)))


def _once(subject: Subject, rate: float) -> nn.Module:
    pruned = one_shot(teacher(subject), 1 - 1 / rate, score="lamp")
    epochs = OTHER_WAY["steps"] * OTHER_WAY["epochs"] + OTHER_WAY["polish"]
    return fit(pruned, lessons(subject), epochs, loss=taught, seed=subject.seed)


def _gradual(score: str) -> Callable[[Subject, float], nn.Module]:
    return lambda subject, rate: _to_rate(teacher(subject), subject, rate, score, OTHER_WAY)


def _admm(subject: Subject, rate: float) -> nn.Module:
    epochs = OTHER_WAY["steps"] * OTHER_WAY["epochs"] + OTHER_WAY["polish"]
    part = max(epochs // (2 * ROUNDS), 1)
    return progressive_admm(
        teacher(subject),
        lessons(subject),
        1 - 1 / rate,
        rounds=ROUNDS,
        epochs=part,
        retrain=part,
        loss=taught,
        seed=subject.seed,
    )


def _to_rate(
    model: nn.Module, subject: Subject, rate: float, score: str, way: dict[str, Any]
) -> nn.Module:
    """Prune gradually to the dense network's weights by `rate`, of however many there are now."""
    n_places = sum(layer.weight.numel() for layer in targets(model).values())
    sparsity = max(1 - subject.n_weights / rate / n_places, 0.0)
    return gradual(
        model,
        lessons(subject),
        sparsity,
        score=score,
        **way,
        loss=taught,
        lr=LEARNING_RATE,
        seed=subject.seed,
    )


def _compacted(model: nn.Module, subject: Subject) -> nn.Module:
    plain = recalibrate_bn(bake(model), lessons(subject).sample).eval()
    return compact(plain, subject.example)


MAIN = "blocks, then Taylor"  # is tried at all rates
WAYS: dict[str, Callable[[Subject, float], nn.Module]] = {
    MAIN: _blocks_first,
    "gradual Taylor": _gradual("taylor"),
    "gradual LAMP": _gradual("lamp"),
    "gradual magnitude": _gradual("magnitude"),
    "progressive ADMM": _admm,
    "one shot, LAMP": _once,
}


# After


def finished(model: nn.Module, subject: Subject) -> nn.Module:
    """Compact, fold, quantize, train the shared values, shorten; of bfloat16 numbers."""
    data = lessons(subject)
    options: dict[str, Any] = {"loss": taught, "seed": subject.seed}
    plain = fold_bn(_compacted(model, subject), subject.example)
    quantized = rate_distortion(plain, data.sample, LAMBDA, STEP)
    tuned = fit(quantized, data, TUNING, **options, lr=LEARNING_RATE)
    short = shorten(tuned, BIAS_BITS)
    for layer in targets(short).values():
        if isinstance(layer.bias, Tensor):
            layer.bias.requires_grad_(False)
    return bake(fit(short, data, SETTLING, **options)).bfloat16()

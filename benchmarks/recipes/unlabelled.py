"""Pruning without labels: the loss asks which way an image was turned, and masks come from that.

Networks are trained to tell four views apart: digits turned by quarters, signals reversed and
negated. Their masks, by magnitude and without the head, are compared with those of networks trained
on labels and with random ones, each layer keeping as many weights in all three: put on a network
after its first epoch on labels, which is then trained on labels. And what a linear classifier makes
of the features, before pruning and after.

Source: Caron, Morcos, Bojanowski, Mairal, Joulin, "Pruning convolutional neural networks with
self-supervision" (2020), arXiv 2001.03554, of which the abstract could be read; the protocol is a
reconstruction.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from cnnzip.prune import allocate, one_shot, score
from cnnzip.torch.model import deepcopy
from cnnzip.tuning import Batches, fit, targets
from cnnzip.tuning.parametrizations import kept_of, mask

from .. import networks
from ..networks import Digits
from ..shrink.subjects import RECIPES
from .table import Row, sizes

NETWORKS = ("vgg_digits", "mnist1d_conv")
SHOWS = """\
Training and masks of the first rows read no label: batches hold None in their place. (The probe, a
linear classifier of what a network gives its head, reads them to measure.) Masks can be ranked only
where random ones are clearly worse than those from labels; elsewhere any mask will do. The paper's
claim, that masks with and without labels are comparable, needs harder data than these, and a
pretext that is learned well."""


@dataclass(frozen=True)
class Settings:
    """How much is pruned, and how long is trained."""

    sparsities: tuple[float, ...] = (0.9, 0.98)
    pretext: int = 6  # epochs
    more: int = 3  # after pruning, on the pretext
    labels: int = 10


def turned(images: Tensor, view: int) -> Tensor:
    """One of four views of images (n, 1, rows, columns) or signals (n, 1, samples)."""
    if images.ndim == 4:
        return images.rot90(view, (2, 3))
    reversed_ = images.flip(2) if view % 2 else images
    return -reversed_ if view // 2 else reversed_


def which_view(model: nn.Module, batch: tuple[Tensor, None]) -> Tensor:
    """The loss without labels."""
    images, labels = batch
    assert labels is None
    views = torch.cat([turned(images, view) for view in range(4)])
    return functional.cross_entropy(model(views), torch.arange(4).repeat_interleave(len(images)))


def without_labels(images: Tensor) -> list[tuple[Tensor, None]]:
    """Batches of images and nothing else."""
    return [(part, None) for part in images.split(64)]


def with_head(model: nn.Module, n_classes: int, seed: int) -> nn.Module:
    """A copy with a new last layer."""
    found = deepcopy(model)
    assert isinstance(found, nn.Sequential)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found[-1] = nn.Linear(found[-1].in_features, n_classes)
    return found


def body_of(model: nn.Module) -> list[str]:
    """The names of all layers but the head, which is the last."""
    return list(targets(model))[:-1]


def probed(model: nn.Module, data: Digits) -> float:
    """Per cent of the test set by a linear classifier of a network's features; it reads labels."""
    body = deepcopy(model).eval()[:-1]
    with torch.no_grad():
        train, test = body(data.train_images), body(data.test_images)
    middle, spread = train.mean(0), train.std(0) + 1e-6
    linear = LogisticRegression(max_iter=300)
    linear.fit(((train - middle) / spread).numpy(), data.train_labels.numpy())
    return 100 * linear.score(((test - middle) / spread).numpy(), data.test_labels.numpy())


def rows(network: str, seed: int, settings: Settings | None = None) -> Iterator[Row]:
    """Probes of pretext networks, and networks trained by masks from here and there."""
    settings = settings or Settings()
    data = RECIPES[network].data()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = RECIPES[network].build()
    unlabelled = without_labels(data.train_images)

    def on_views(model: nn.Module, epochs: int) -> nn.Module:
        return fit(model, unlabelled, epochs, loss=which_view, lr=2e-3, seed=seed)

    pretext = on_views(with_head(fresh, 4, seed), settings.pretext)
    longer = on_views(pretext, settings.more)
    yield _on_views(longer, data, "none", 0.0, seed)
    parts = {}
    for sparsity in settings.sparsities:
        pruned = one_shot(pretext, sparsity, score="magnitude", layers=body_of(pretext))
        kept = {name: kept_of(layer) for name, layer in targets(pruned, body_of(pruned)).items()}
        parts[sparsity] = {name: 1 - float(where.float().mean()) for name, where in kept.items()}
        again = on_views(pruned, settings.more)
        yield _on_views(again, data, "pretext", sparsity, seed)

    labelled = Batches(data.train_images, data.train_labels)
    early = fit(fresh, labelled, 1, schedule="constant", seed=seed)
    late = fit(early, labelled, settings.labels, lr=2e-3, seed=seed)
    yield _on_labels(late, data, "none", 0.0, seed)
    for sparsity, by_layer in parts.items():
        for masks, source in {"labels": late, "pretext": pretext, "random": None}.items():
            kind = "random" if source is None else "magnitude"
            scores = score(source or early, kind, layers=body_of(early), seed=seed)
            sparse = deepcopy(early)
            for name, kept in allocate(scores, by_layer, "layer").items():
                mask(sparse.get_submodule(name), kept)
            tuned = fit(sparse, labelled, settings.labels, lr=2e-3, seed=seed)
            yield _on_labels(tuned, data, masks, sparsity, seed)


def _on_views(model: nn.Module, data: Digits, masks: str, sparsity: float, seed: int) -> Row:
    model.eval()
    with torch.no_grad():
        right = [
            (model(turned(data.test_images, view)).argmax(1) == view).double().mean()
            for view in range(4)
        ]
    return {
        **_row(model, "views, no labels", masks, sparsity, seed),
        "views told, %": 100 * float(sum(right)) / 4,
        "probe, %": probed(model, data),
    }


def _on_labels(model: nn.Module, data: Digits, masks: str, sparsity: float, seed: int) -> Row:
    row = _row(model, "labels", masks, sparsity, seed)
    return {**row, "accuracy, %": 100 * networks.accuracy(model.eval(), data)}


def _row(model: nn.Module, trained: str, masks: str, sparsity: float, seed: int) -> Row:
    found = sizes(model)
    return {
        "trained on": trained,
        "masks from": masks,
        "pruned": f"{100 * sparsity:g} %",
        "seed": seed,
        "weights": found["weights"],
        "bytes": found["bytes"],
    }

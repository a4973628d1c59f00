"""Depth from two cameras: a network for stereo pruned to 97 and 99 %, then quantized.

The one real pair that the wheel of scikit-image ships, Middlebury's motorcycle, at a quarter of its
size: the left 60 % of the columns are trained on, the others tested. Weights are pruned by the
squared Taylor score or by magnitude, in steps with retraining; then quantized and tuned once more.

Source: Yu, Wu, Klopp, Chen, Chien, "Joint pruning and quantization for extremely sparse neural
networks" (2020), arXiv 2010.01892, of which the abstract could be read: two stages, a Taylor score,
stereo. Score and tuning are a reconstruction; network and data are not theirs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnzip.prune import gradual
from cnnzip.quantize import rate_distortion, shorten
from cnnzip.tuning import Batches, fit

from .table import Row, sizes

NETWORKS = ("stereo",)
SHOWS = """\
One pair of images is too little for a claim: training and test columns are of the same scene, and
the order of two scores may be that of another seed or pair. It shows that the whole way works where
the loss is no classifier's."""
#: Parts of the pair's size, of its columns that are trained on.
SCALE, TRAINED = 4, 0.6
#: Of two features that are the same, the root of the score.
SHARP = 4.0


@dataclass(frozen=True)
class Settings:
    """How much is pruned, and how long is trained."""

    width: int = 24
    epochs: int = 24
    sparsities: tuple[float, ...] = (0.97, 0.99)  # one from the other
    steps: int = 4  # to each sparsity, of 2 epochs
    polish: int = 6
    lam: float = 1e-6  # zeros are pruning's part here
    step: float = 0.8
    tuning: int = 4  # epochs of shared values


@dataclass(frozen=True)
class Scene:
    """A stereo pair and how far points of the left image lie from those of the right.

    Attributes
    ----------
    pair : float32 (1, 2, 3, rows, columns)
    disparity : float32 (1, rows, columns), NaN where it is not known; pixels
    n_trained : int
        Columns to train on.
    """

    pair: Tensor
    disparity: Tensor
    n_trained: int

    @property
    def batches(self) -> Batches:
        """Overlapping strips of the columns to train on, 64 rows each."""
        firsts = range(0, self.pair.shape[3] - 63, 10)
        strips = [(..., slice(first, first + 64), slice(self.n_trained)) for first in firsts]
        pairs = torch.cat([self.pair[strip] for strip in strips])
        return Batches(pairs, torch.cat([self.disparity[strip] for strip in strips]), size=2)

    @property
    def most(self) -> int:
        """Disparities to be told apart."""
        known = self.disparity[self.disparity.isfinite()]
        return int(known.max()) + 2

    def error(self, guess: Tensor) -> float:
        """Mean absolute error of a disparity in the columns that are tested; pixels."""
        due = self.disparity[..., self.n_trained :]
        gap = (guess.expand_as(self.disparity)[..., self.n_trained :] - due).abs()
        return float(gap[due.isfinite()].mean())


def motorcycle() -> Scene:
    """The pair of scikit-image.

    Source: Scharstein et al., "High-resolution stereo datasets with subpixel-accurate ground truth"
    (2014).
    """
    from skimage.data import stereo_motorcycle

    *images, disparity = map(torch.from_numpy, stereo_motorcycle())
    pair = torch.stack(images).permute(0, 3, 1, 2).float() / 255 - 0.5
    small = functional.avg_pool2d(pair, SCALE)
    known = disparity[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE] / SCALE
    known = known[: small.shape[2], : small.shape[3]].masked_fill(~known.isfinite(), torch.nan)
    return Scene(small[None], known[None], int(TRAINED * small.shape[3]))


class Stereo(nn.Module):
    """Features of both images by the same layers, how alike they are at each disparity, a mean."""

    def __init__(self, width: int, most: int) -> None:
        super().__init__()
        self.most = most
        self.features = nn.Sequential(
            *_block(3, width), *_block(width, width), *_block(width, width),
            nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip
        self.smooth = nn.Sequential(
            *_block(most, 2 * width), *_block(2 * width, 2 * width),
            nn.Conv2d(2 * width, most, 3, padding=1),
        )  # fmt: skip

    def forward(self, pairs: Tensor) -> Tensor:
        """Disparities (n, rows, columns) of pairs (n, 2, 3, rows, columns)."""
        both = self.features(pairs.flatten(0, 1)).unflatten(0, (len(pairs), 2))
        left, right = (SHARP * functional.normalize(both, dim=2)).unbind(1)
        alike = [(left * _moved(right, shift)).sum(1) for shift in range(self.most)]
        volume = torch.stack(alike, 1)
        shares = (volume + self.smooth(volume)).softmax(1)
        return (shares * torch.arange(self.most, device=pairs.device).reshape(-1, 1, 1)).sum(1)


def _block(before: int, width: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU()]


def _moved(image: Tensor, shift: int) -> Tensor:
    return functional.pad(image[..., : image.shape[-1] - shift], (shift, 0))


def distance(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss: what is not known does not count."""
    pairs, disparity = batch
    known = disparity.isfinite()
    return functional.smooth_l1_loss(model(pairs)[known], disparity[known])


def rows(network: str, seed: int, settings: Settings | None = None) -> Iterator[Row]:
    """The dense network, and by each score the pruned and the quantized ones."""
    settings = settings or Settings()
    scene = motorcycle()
    batches = scene.batches
    known = scene.disparity[..., : scene.n_trained]
    yield {
        "step": "a constant, the median",
        "seed": seed,
        "error, pixels": scene.error(known.nanmedian()),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = Stereo(settings.width, scene.most)
    dense = fit(fresh, batches, settings.epochs, loss=distance, lr=2e-3, seed=seed)
    yield _row("dense", scene, dense, seed)
    for score in ("taylor", "magnitude"):
        pruned = dense
        for sparsity in settings.sparsities:
            pruned = gradual(
                pruned, batches, sparsity, score=score, steps=settings.steps, epochs=2,
                polish=settings.polish, loss=distance, lr=2e-3, seed=seed,
            )  # fmt: skip
            name = f"{score}, {100 * sparsity:g} % pruned"
            yield _row(name, scene, pruned, seed)
            coarse = rate_distortion(pruned, batches.tensors[0], settings.lam, settings.step)
            tuned = fit(coarse, batches, settings.tuning, loss=distance, lr=2e-3, seed=seed)
            yield _row(f"{name}, quantized", scene, shorten(tuned), seed)


@torch.no_grad()
def _row(step: str, scene: Scene, model: nn.Module, seed: int) -> Row:
    error = scene.error(model.eval()(scene.pair))
    return {"step": step, "seed": seed, "error, pixels": error, **sizes(model)}

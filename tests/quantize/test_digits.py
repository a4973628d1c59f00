"""What quantization without labels and training makes of trained networks; sizes are of whole files."""

import numpy as np
import pytest
import torch

from benchmarks import networks
from benchmarks.networks import accuracy, layer_weights, one_thread
from benchmarks.shrink.subjects import small_digits
from cnnzip.quantize import codebooks, rate_distortion, shorten
from cnnzip.tuning import recalibrate_bn
from cnnzip.tuning.log import file_bytes
from tests.quantize.nets import trained

SEEDS = range(3)
PUBLISHED = {"rate": "entropy", "absorb": False, "repair": False}


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


def file_bits(model):
    """Bits of the whole file for each weight of a convolution or linear layer."""
    return 8 * file_bytes(model) / sum(weight.numel() for _, weight in layer_weights(model))


def inputs():
    return small_digits().train_images[:512]


def measured(name, seed, epochs=20, **options):
    """Bits, points below dense, and divergence from dense, of a quantized network."""
    data, dense = small_digits(), trained(name, seed, epochs)
    own = {"inputs": inputs(), **options}
    found = recalibrate_bn(rate_distortion(dense, **own), inputs())
    short = shorten(found)
    with torch.no_grad():
        logs, expected = (
            networks.test_logits(each, data).log_softmax(1) for each in (short, dense)
        )
    divergence = float((expected.exp() * (expected - logs)).sum(1).mean())
    return file_bits(short), 100 * (accuracy(dense, data) - accuracy(short, data)), divergence


def test_vgg_names_97_of_100_digits_at_six_tenths_of_a_bit_a_weight():
    bits, points_lost, _ = measured("vgg_digits", 0, epochs=8, lam=1.5e-4)
    dense = 100 * accuracy(trained("vgg_digits", 0, 8), small_digits())
    assert bits <= 0.63
    assert dense - points_lost >= 97


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_codebook_of_four_is_better_assigned_by_second_moments():
    grid = codebooks(trained("vgg_digits"), 4)
    nearest = measured("vgg_digits", 0, inputs=None, lam=0.0, grid=grid)
    assigned = measured("vgg_digits", 0, lam=0.0, grid=grid, **PUBLISHED)
    assert assigned[2] < 0.5 * nearest[2]


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("name", "most_bits", "least"), [("vgg_digits", 0.63, 0.982), ("resnet_digits", 1.0, 0.98)]
)
def test_targets_of_files_hold_in_the_mean_of_seeds(name, most_bits, least):
    found = np.array([measured(name, seed, lam=1.5e-4) for seed in SEEDS])
    dense = np.mean([accuracy(trained(name, seed), small_digits()) for seed in SEEDS])
    assert found[:, 0].max() <= most_bits
    assert dense - found[:, 1].mean() / 100 >= least


def bits_at(divergence, points):
    """Bits where the line through the logarithms reaches a divergence."""
    bits, divergences = np.array(sorted(points, key=lambda each: each[1])).T
    return float(np.interp(np.log(divergence), np.log(divergences), bits))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "share"), [("vgg_digits", 0.9), ("resnet_digits", 0.97)])
def test_the_codec_as_rate_makes_smaller_files_than_entropy(name, share):
    """At equal divergence from dense, whose noise is less than that of 500 digits' accuracy."""
    curves = {}
    for rate in ("entropy", "codec"):
        rows = [
            [measured(name, seed, lam=lam, rate=rate) for seed in SEEDS]
            for lam in (1.5e-4, 3e-4, 6e-4)
        ]
        curves[rate] = [(r[0], r[2]) for r in np.mean(rows, axis=1)]
    middle = np.sqrt(curves["codec"][1][1] * curves["codec"][2][1])
    assert bits_at(middle, curves["codec"]) <= share * bits_at(middle, curves["entropy"])

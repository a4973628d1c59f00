"""Quantization without labels and training: bits in the file against accuracy and divergence.

512 training images are what inputs are given, and batch normalizations are recalibrated on for all
methods. Bits count everything in the file. Divergence is Kullback-Leibler's, in nats, of what the
test set's images give from what the dense network gives. Seconds are of the processor, one thread,
and the least of the seeds'.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from cnnzip.quantize import rate_distortion, shorten
from cnnzip.tuning import recalibrate_bn

from .rows import Cell
from .subjects import Subject

NETWORKS = ("vgg_digits", "resnet_digits", "mnist1d_conv")
N_INPUTS = 512
PUBLISHED = {"rate": "entropy", "absorb": False, "repair": False}
#: By name: whether inputs are used, options, and the settings that are tried.
METHODS: dict[str, tuple[bool, dict[str, Any], Sequence[dict[str, float]]]] = {
    "RTN": (False, {"lam": 0.0}, [{"step": s} for s in (0.6, 0.8, 1.25, 1.6)]),
    "RDOQ": (
        False,
        {"step": 1.25, "rate": "entropy"},
        [{"lam": lam} for lam in (3e-5, 1e-4, 3e-4, 1e-3)],
    ),
    "GPTQ": (True, {"lam": 0.0, **PUBLISHED}, [{"step": s} for s in (0.8, 1.25, 1.6, 2.2)]),
    "GPTQ, absorb and repair": (
        True,
        {"lam": 0.0, "rate": "entropy"},
        [{"step": s} for s in (1.25, 1.6, 2.2, 3.0)],
    ),
    "RD-OBS": (
        True,
        {"step": 1.25, "parabola": False, **PUBLISHED},
        [{"lam": lam} for lam in (1e-5, 2e-5, 5e-5, 1e-4)],
    ),
    "CERWU": (
        True,
        {"step": 1.25, **PUBLISHED},
        [{"lam": lam} for lam in (3e-5, 6e-5, 1.2e-4, 2.4e-4)],
    ),
    "entropy, absorb and repair": (
        True,
        {"step": 1.6, "rate": "entropy"},
        [{"lam": lam} for lam in (5e-5, 1e-4, 1.5e-4, 3e-4, 6e-4)],
    ),
    "codec, absorb and repair": (
        True,
        {"step": 1.6, "rate": "codec"},
        [{"lam": lam} for lam in (5e-5, 1e-4, 1.5e-4, 3e-4, 6e-4)],
    ),
}


def cells(networks: Sequence[str], seeds: Sequence[int]) -> Iterator[Cell]:
    """All points, of one seed after the other."""
    for seed in seeds:
        for network in networks or NETWORKS:
            for method, (has_inputs, options, settings) in METHODS.items():
                for setting in settings:
                    make = _quantized(has_inputs, {**options, **setting})
                    yield Cell("quantizers", network, seed, method, setting, make)


def _quantized(has_inputs: bool, options: dict[str, Any]) -> Any:
    def make(subject: Subject) -> nn.Module:
        inputs = subject.data.train_images[:N_INPUTS]
        quantized = rate_distortion(subject.dense, inputs if has_inputs else None, **options)
        return shorten(recalibrate_bn(quantized, inputs))

    return make

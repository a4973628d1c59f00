"""What pruning and quantization share: parametrized weights, training, sizes along the way."""

from cnnzip.tuning.fit import Batches, cross_entropy, fit, recalibrate_bn
from cnnzip.tuning.log import Log, Step
from cnnzip.tuning.parametrizations import FakeQuant, Mask, Shared, bake, targets

__all__ = [
    "Batches",
    "FakeQuant",
    "Log",
    "Mask",
    "Shared",
    "Step",
    "bake",
    "cross_entropy",
    "fit",
    "recalibrate_bn",
    "targets",
]

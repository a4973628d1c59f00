"""Pruning: which weights, channels, layers and blocks a model can do without.

    m = cnnzip.prune.gradual(model, batches, sparsity=0.97)
    cnnzip.save(m, "m.cnnz")

From coarse to fine: `remove` units and `prune_channels` on plain models, then mask weights, then
quantize. `multi_grain` does the first three.
"""

from cnnzip.prune.admm import progressive_admm
from cnnzip.prune.allocation import allocate, cubic, geometric, rates
from cnnzip.prune.channels import compact
from cnnzip.prune.grains import multi_grain
from cnnzip.prune.penalties import gradient_count, redundancy
from cnnzip.prune.resconv import ResConv, drop_resconv, shrinking, to_resconv
from cnnzip.prune.scores import score
from cnnzip.prune.surgery import Unit, bypassed, fold_bn, prune_channels, remove, units
from cnnzip.prune.weights import gradual, one_shot

__all__ = [
    "ResConv",
    "Unit",
    "allocate",
    "bypassed",
    "compact",
    "cubic",
    "drop_resconv",
    "fold_bn",
    "geometric",
    "gradient_count",
    "gradual",
    "multi_grain",
    "one_shot",
    "progressive_admm",
    "prune_channels",
    "rates",
    "redundancy",
    "remove",
    "score",
    "shrinking",
    "to_resconv",
    "units",
]

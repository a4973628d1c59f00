"""Pruning: which weights, units and channels a model can do without.

m = cnnzip.prune.gradual(model, batches, sparsity=0.97)
cnnzip.save(m, "m.cnnz")
"""

from cnnzip.prune.admm import progressive_admm
from cnnzip.prune.allocation import allocate, cubic, geometric
from cnnzip.prune.scores import score
from cnnzip.prune.weights import gradual, one_shot

__all__ = [
    "allocate",
    "cubic",
    "geometric",
    "gradual",
    "one_shot",
    "progressive_admm",
    "score",
]

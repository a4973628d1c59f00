"""Penalties that promote sparsity and reduce redundancy, after Khan et al.; a reconstruction.

Of Khan et al., "Neural network compression by joint sparsity promotion and redundancy reduction"
(2022), arXiv 2210.07451, only the abstract could be read: composite constraints prune redundant filters, and promote sparsity by
"gradient counting", which is no pseudo-norm. The formulas below are one reading of that, not the
paper's. For `penalty=` of `cnnzip.tuning.fit`; 0.1 of the first and 0.5 of the second are a start.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnzip.prune.surgery import filters_of
from cnnzip.tuning.parametrizations import Layers, targets


def redundancy(model: nn.Module, tau: float = 0.3, layers: Layers = None) -> Tensor:
    """Σ_layers mean_i Σ_{j≠i} relu(|cos(f_i, f_j)| - tau)², f the filters.

    A reconstruction, see the module.
    """
    terms = []
    for layer in targets(model, layers).values():
        filters = functional.normalize(filters_of(layer, _live(layer)), dim=1)
        like = functional.relu((filters @ filters.T).abs() - tau).square()
        terms.append((like.sum() - like.diagonal().sum()) / len(like))
    return torch.stack(terms).sum()


def gradient_count(model: nn.Module, sigma: float = 0.02, layers: Layers = None) -> Tensor:
    """Σ_layers mean_p g_p / (g_p + sigma²), g_p the squared spatial gradient of the kernels at p.

    Kernels are continued by zeros; layers without spatial dimensions do not count. As sigma goes
    to 0, this becomes the share of places where the gradient is not 0. A reconstruction, see the
    module.
    """
    terms = [torch.zeros(())]
    for layer in targets(model, layers).values():
        weight = _live(layer)
        terms[0] = terms[0].to(weight.device)
        if weight.ndim < 3:
            continue
        squares = torch.zeros_like(weight)
        for dim in range(2, weight.ndim):
            zeros = torch.zeros_like(weight.narrow(dim, 0, 1))
            squares = squares + torch.diff(weight, dim=dim, append=zeros).square()
        terms.append((squares / (squares + sigma**2)).mean())
    return torch.stack(terms).sum()


def _live(layer: nn.Module) -> Tensor:
    """The weight with its history."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight

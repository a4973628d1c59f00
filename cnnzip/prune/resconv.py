"""ResConv: convolutions with a shortcut of their own, which fuse to plain ones, or go."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from cnnzip.errors import ArgumentError
from cnnzip.prune.channels import CONVS, FLATTENS, MEANS, RELUS, trace
from cnnzip.prune.surgery import affine_of, units
from cnnzip.torch.model import replace
from cnnzip.torch.structure import absent, note_change
from cnnzip.tuning.fit import MakeOptimizer
from cnnzip.tuning.parametrizations import KINDS, adopt, bake, weight_of

#: f(a x) = a f(x) for a > 0, module by module.
HOMOGENEOUS = (
    *(nn.Identity, nn.ReLU, nn.Flatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
HOMOGENEOUS_FUNCTIONS: set[Any] = {
    *(functional.max_pool1d, functional.max_pool2d, functional.avg_pool1d, functional.avg_pool2d),
    *(functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.dropout),
    *(RELUS | FLATTENS | MEANS),
}
#: Of the rate of other parameters, that of the factors.
FACTOR_SPEED = 10.0


class ResConv(nn.Module):
    """y = factor * norm(conv(x)) + alpha * x; `factor` says how much the layer is worth.

    Factor and scale of the norm are redundant, so the scale is held at 1.

    Source: Xu et al., "Layer pruning via fusible residual convolutional block for deep neural
    networks" (2020), arXiv 2011.14356, of which the abstract could be read: a shortcut with a trained
    parameter, fused after training; scaling factors with L1; layers of little worth are removed.
    Where the norm stands, and how layers are removed, is a reconstruction.
    """

    def __init__(self, conv: nn.Module, norm: nn.Module | None = None) -> None:
        super().__init__()
        weight = weight_of(conv)
        self.conv = conv
        self.norm = nn.Identity() if norm is None else norm
        self.factor = nn.Parameter(weight.new_ones(()))
        self.alpha = nn.Parameter(weight.new_ones(()))
        if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.affine:
            nn.init.ones_(norm.weight)
            norm.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.factor * self.norm(self.conv(x)) + self.alpha * x
        return y

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        """One convolution of the same outputs in eval mode, but for rounding."""
        conv = bake(self.conv)
        assert isinstance(conv, CONVS)
        weight = conv.weight
        scale, shift = weight.new_ones(len(weight)), weight.new_zeros(len(weight))
        norm = self.norm
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            scale, shift = affine_of(norm)
        same = nn.init.dirac_(torch.empty_like(weight), conv.groups)
        bias = shift if conv.bias is None else shift + scale * conv.bias
        scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
        conv.weight = nn.Parameter(self.factor * scale * weight + self.alpha * same)
        if conv.bias is None:
            note_change(conv)
        conv.bias = nn.Parameter(self.factor * bias)
        return conv


def to_resconv(model: nn.Module, example: Any, inplace: bool = False) -> nn.Module:
    """Give convolutions a shortcut where they keep the shape, between two ReLUs.

    The model computes something else then, and is to be trained by `fit` with
    `optimizer=shrinking(l1)`. Masks are made permanent.

    Raises
    ------
    ArgumentError
        The model cannot be traced, or run on the example, or has no such convolution; it is
        unchanged.
    """
    changed = bake(model)
    triples = {}
    for unit in units(changed, example, blocks=()):
        layers = [changed.get_submodule(name) for name in unit.names]
        if isinstance(layers[0], CONVS) and isinstance(layers[-1], nn.ReLU):
            triples[unit.names[0]] = layers
    new: dict[nn.Module, nn.Module] = {}
    for node in trace(changed, example).graph.nodes:
        if node.op == "call_module" and node.target in triples and _is_after_relu(node, changed):
            conv, *others = triples[node.target]
            norm = others[0] if len(others) == 2 else None
            if norm is not None and not isinstance(norm, nn.modules.batchnorm._BatchNorm):
                continue
            new[conv] = ResConv(conv, norm)
            if norm is not None:
                new[norm] = absent()
    if not new:
        raise ArgumentError(
            f"{type(model).__name__}: no convolution keeps the shape between two ReLUs, so none can be "
            "a ResConv"
        )
    return adopt(model, _put(changed, new), inplace)


def shrinking(l1: float, optimizer: MakeOptimizer = torch.optim.Adam) -> MakeOptimizer:
    """An optimizer for `fit` that draws factors of `ResConv` to 0, and lets them stay there.

    After each step, factor <- sign(factor) max(|factor| - lr l1, 0), lr their own rate, ten times
    that of others: a gradient of l1 |factor| alone would never reach 0.
    """

    def make(parameters: Iterator[tuple[str, nn.Parameter]], lr: float) -> torch.optim.Optimizer:
        named = list(parameters)
        factors = [(n, p) for n, p in named if n.rpartition(".")[2] == "factor"]
        others = [(n, p) for n, p in named if n.rpartition(".")[2] != "factor"]
        fast = {"params": factors, "lr": FACTOR_SPEED * lr, "weight_decay": 0.0}
        made = optimizer([{"params": others}, *([fast] if factors else [])], lr=lr)

        @torch.no_grad()
        def shrink(steps: torch.optim.Optimizer, *_: Any) -> None:
            for _name, factor in factors:
                rate = steps.param_groups[1]["lr"]
                factor.copy_(functional.softshrink(factor, rate * l1))

        made.register_step_post_hook(shrink)
        return made

    return make


def drop_resconv(
    model: nn.Module, example: Any, tol: float = 0.0, inplace: bool = False
) -> nn.Module:
    """Remove each `ResConv` whose factor is 0, and fuse the others to plain convolutions.

    With a factor of 0 and alpha > 0, relu(alpha x) = alpha x for x >= 0, so the next convolution
    or linear layer takes alpha into its weight, and the layer goes. It is fused, too, where alpha
    is not positive, or where what follows is not one chain of ReLUs and pools to such a layer.

    Parameters
    ----------
    tol : float
        Factors up to this size count as 0.

    Raises
    ------
    ArgumentError
        The model cannot be traced, or run on the example; it is unchanged.
    """
    plain = bake(model)
    traced = trace(plain, example, leaves=(ResConv,))
    modules = dict(plain.named_modules())
    calls = [node for node in traced.graph.nodes if node.op == "call_module"]
    n_calls = Counter(node.target for node in calls)
    new: dict[nn.Module, nn.Module] = {}
    for node in calls:
        layer = modules[str(node.target)]
        if not isinstance(layer, ResConv):
            continue
        name = _heir(node, modules)
        is_alone = name is not None and n_calls[node.target] == n_calls[name] == 1
        if not is_alone or abs(layer.factor.item()) > tol or layer.alpha.item() <= 0:
            continue
        heir = modules[str(name)]
        with torch.no_grad():
            if isinstance(heir, ResConv):
                heir.alpha.mul_(layer.alpha)
                heir = heir.conv
            weight = heir.weight
            assert isinstance(weight, nn.Parameter)
            weight.mul_(layer.alpha)
        new[layer] = absent()
    for layer in modules.values():
        if isinstance(layer, ResConv) and layer not in new:
            new[layer] = layer.fuse()
    return adopt(model, replace(plain, new), inplace)


def _heir(node: fx.Node, modules: dict[str, nn.Module]) -> str | None:
    """The name of the one layer that takes what a node gives, a factor apart."""
    while len(node.users) == 1:
        (node,) = node.users
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, (*KINDS, ResConv)):
            return str(node.target)
        if not (isinstance(module, HOMOGENEOUS) or node.target in HOMOGENEOUS_FUNCTIONS):
            return None
    return None


def _is_after_relu(node: fx.Node, model: nn.Module) -> bool:
    while isinstance(node.args[0], fx.Node):
        node = node.args[0]
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.ReLU) or node.target in RELUS:
            return True
        is_pool = isinstance(module, HOMOGENEOUS) and not isinstance(module, nn.Identity)
        if not (is_pool or node.target in HOMOGENEOUS_FUNCTIONS):
            return False
    return False


def _put(model: nn.Module, new: dict[nn.Module, nn.Module]) -> nn.Module:
    """As `replace`, but what is new may hold what is old."""
    for module in list(model.modules()):
        for key, child in list(module._modules.items()):
            if child in new:
                module._modules[key] = new[child]
    return new.get(model, model)

"""Weights as outputs of parametrizations: masked, shared, quantized; and back to plain modules."""

from collections.abc import Callable, Iterable
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from cnnzip.errors import ArgumentError
from cnnzip.torch.layers import CodedLayer
from cnnzip.torch.model import deepcopy, make_permanent

Layers = Iterable[str] | Callable[[str, nn.Module], bool] | None
P = TypeVar("P", bound=nn.Module)

KINDS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)


class Mask(nn.Module):
    """Hold pruned weights at +0.0.

    Parameters
    ----------
    kept : bool, of the weight's shape
        A buffer.
    straight_through : bool
        Whether gradients pass to the pruned weights as if they were not masked.
    """

    kept: Tensor

    def __init__(self, kept: Tensor, straight_through: bool = False) -> None:
        super().__init__()
        self.register_buffer("kept", kept.clone())
        self.straight_through = straight_through

    def forward(self, weight: Tensor) -> Tensor:
        masked = weight.masked_fill(~self.kept, 0.0)
        # w + (w - w) = w and w + (0 - w) = 0, to the bit
        return weight + (masked - weight).detach() if self.straight_through else masked


class Shared(nn.Module):
    """Let weights share the values of a codebook: `weight = cat([0, codebook])[index]`.

    The codebook is the tensor under the parametrization, so training trains it: its gradient is
    the sum of those of all weights with the same index. Index 0 is exact zero and no parameter.
    Attached by `share`.

    Parameters
    ----------
    index : integer, of the weight's shape
        A buffer.
    """

    index: Tensor

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index.clone())

    def forward(self, codebook: Tensor) -> Tensor:
        return torch.cat([codebook.new_zeros(1), codebook])[self.index.long()]


class FakeQuant(nn.Module):
    """Round weights to `2**bits - 1` multiples of a step that is trained (LSQ).

    Gradients pass straight through the rounding; that of the step is scaled by 1/sqrt(n q_max).

    Parameters
    ----------
    weight : the weight to be quantized, from which the first step is 2 mean|w| / sqrt(q_max)
    bits : int, from 2

    Source: Esser et al., "Learned step size quantization" (ICLR 2020).
    """

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        if bits < 2:
            raise ArgumentError(f"bits: {bits}, at least 2: one for the sign, one for the size")
        self.q_max = 2 ** (bits - 1) - 1
        entries = weight.detach()[weight.detach() != 0]
        mean = entries.abs().mean() if entries.numel() else weight.new_ones(())
        self.step = nn.Parameter(2 * mean / self.q_max**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        scale = (weight.numel() * self.q_max) ** -0.5
        step = (self.step * scale + (self.step - self.step * scale).detach()).abs()
        ratio = (weight / step).clamp(-self.q_max, self.q_max)
        rounded: Tensor = ratio + (ratio.round() - ratio).detach()
        return torch.add(rounded * step, 0.0)  # of -0.0, it makes 0.0


OURS = (Mask, Shared, FakeQuant)


def targets(model: nn.Module, layers: Layers = None) -> dict[str, nn.Module]:
    """The convolutions, their transposes and the linear layers, by name, in the model's order.

    Parameters
    ----------
    layers : names, or a function of name and layer that says whether to take it
        The name of a module means all layers in it. None: all.

    Raises
    ------
    ArgumentError
        There are none, or one cannot be changed: it is lazy, shares its weight with another
        module, or has a parametrization that is not ours.
    """
    modules = dict(model.named_modules())
    found: dict[str, nn.Module] = {n: m for n, m in modules.items() if isinstance(m, KINDS)}
    if callable(layers):
        found = {name: layer for name, layer in found.items() if layers(name, layer)}
    elif layers is not None:
        wanted = [layers] if isinstance(layers, str) else list(layers)
        for want in wanted:
            if not any(_is_in(name, want) for name in found):
                names = ", ".join(found) or "none"
                raise ArgumentError(
                    f"layers: {want!r} is and holds no convolution or linear layer; there are {names}"
                )
        found = {n: layer for n, layer in found.items() if any(_is_in(n, w) for w in wanted)}
    if not found:
        coded = any(isinstance(module, CodedLayer) for module in modules.values())
        hint = "; its layers are coded: cnnzip.decompress it first" if coded else ""
        raise ArgumentError(f"{type(model).__name__}: no convolution or linear layer chosen{hint}")
    holders: dict[Tensor, str] = {}
    for name, module in modules.items():
        for key, parameter in module._parameters.items():
            if parameter is None or name.endswith("parametrizations.weight"):
                continue
            first = holders.setdefault(parameter, f"{name}.{key}")
            if first != f"{name}.{key}" and {name, first.rpartition(".")[0]} & set(found):
                raise ArgumentError(
                    f"{name}.{key}: the same Parameter as {first}, and masks know no tied weights; "
                    "untie them by a clone, or leave both layers out by layers="
                )
    for name, layer in found.items():
        _check(name, layer)
    return found


def _is_in(name: str, want: str) -> bool:
    return name == want or name.startswith(f"{want}.") or not want


def _check(name: str, layer: nn.Module) -> None:
    if parametrize.is_parametrized(layer, "weight"):
        others = [p for p in _stack(layer) if not isinstance(p, OURS)]
        if not others:
            return
        what = f"is parametrized by {type(others[0]).__name__}"
    elif (weight := layer._parameters.get("weight")) is None:
        what = "is masked or normed by a hook of torch.nn.utils"
    elif is_lazy(weight):
        raise ArgumentError(f"{name}: a {type(layer).__name__} without weights; run the model once")
    elif weight.is_meta:
        raise ArgumentError(f"{name}.weight: it is on the meta device; load its values first")
    else:
        return
    raise ArgumentError(f"{name}.weight: it {what}; cnnzip.tuning.bake(model) makes that permanent")


def weight_of(layer: nn.Module) -> Tensor:
    """The weight as the layer uses it, without its history."""
    return cast(Tensor, layer.weight).detach()


def _stack(layer: nn.Module) -> list[nn.Module]:
    if not parametrize.is_parametrized(layer, "weight"):
        return []
    return list(cast(nn.ModuleDict, layer.parametrizations)["weight"].children())


def find(layer: nn.Module, kind: type[P]) -> P | None:
    """The parametrization of this kind on a layer's weight."""
    return next((p for p in _stack(layer) if isinstance(p, kind)), None)


def raw_of(layer: nn.Module) -> Tensor:
    """The tensor under the parametrizations: the dense weight, or a codebook."""
    if not parametrize.is_parametrized(layer, "weight"):
        return cast(Tensor, layer.weight)
    return cast(Tensor, cast(nn.ModuleDict, layer.parametrizations)["weight"].original)


def kept_of(layer: nn.Module) -> Tensor:
    """Where a layer's weights are not pruned: its mask's word, or without one what is not 0."""
    mask = find(layer, Mask)
    return weight_of(layer) != 0 if mask is None else mask.kept


def mask(layer: nn.Module, kept: Tensor, straight_through: bool = False) -> Mask:
    """Mask a layer's weight in place; a mask that is there is changed. Returns it."""
    found = find(layer, Mask)
    if found is None:
        found = Mask(kept, straight_through)
        parametrize.register_parametrization(layer, "weight", found)
    found.kept.copy_(kept)
    found.straight_through = straight_through
    return found


def share(layer: nn.Module, index: Tensor, codebook: nn.Parameter) -> Shared:
    """Let a layer's weight be `cat([0, codebook])[index]`, in place. Returns the parametrization.

    What parametrizations of ours were on the weight go: index 0 is where they pruned.

    Parameters
    ----------
    index : integer, of the weight's shape
    codebook : float (k,)
        Becomes a parameter of the layer; layers that are given the same share it.
    """
    weight = weight_of(layer)
    if index.shape != weight.shape or codebook.ndim != 1:
        raise ArgumentError(
            f"index {tuple(index.shape)} and codebook {tuple(codebook.shape)}: the weight has shape "
            f"{tuple(weight.shape)}, and a codebook one dimension"
        )
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) <= codebook.numel():
        raise ArgumentError(f"index: not all from 0 to {codebook.numel()}, the codebook's size")
    if parametrize.is_parametrized(layer):
        make_permanent(layer)
    shared = Shared(index.to(weight.device))
    layer._parameters["weight"] = codebook
    parametrize.register_parametrization(layer, "weight", shared, unsafe=True)  # changes the shape
    return shared


def bake(model: nn.Module, inplace: bool = False) -> nn.Module:
    """Give a model of plain modules whose weights are to the bit what the model computed with.

    Zeros are +0.0. Masks of `torch.nn.utils.prune`, weight and spectral norms are made permanent,
    too, and what was frozen stays so.

    Raises
    ------
    ArgumentError
        A parameter or buffer has no values; `model` is unchanged.
    """
    check_values(model)
    model = model if inplace else deepcopy(model)
    frozen = {
        name.replace(".original", "").replace("parametrizations.", "")
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad
    }
    for name in make_permanent(model):
        tensor = model.get_parameter(name) if _is_parameter(model, name) else model.get_buffer(name)
        with torch.no_grad():
            tensor += 0.0
        if name in frozen:
            tensor.requires_grad_(False)
    return model


def check_values(model: nn.Module) -> None:
    """Refuse a model with a parameter or buffer that has no values yet.

    Raises
    ------
    ArgumentError
    """
    tensors: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in tensors.items():
        if is_lazy(tensor):
            raise ArgumentError(f"{name}: of a lazy module, without values; run the model once")
        if tensor.is_meta:
            raise ArgumentError(f"{name}: it is on the meta device; load its values first")


def copied(model: nn.Module) -> nn.Module:
    """A copy to work on, of a model whose parameters and buffers have values; or ArgumentError."""
    check_values(model)
    return deepcopy(model)


def _is_parameter(model: nn.Module, name: str) -> bool:
    owner, _, key = name.rpartition(".")
    return key in model.get_submodule(owner)._parameters


def adopt(model: nn.Module, result: nn.Module, inplace: bool) -> nn.Module:
    """Return `result`; `inplace`, after `model` has become it.

    All at once, so that a method which fails on the way leaves the caller's model as it was.
    """
    if not inplace or result is model:
        return result
    model.__class__ = result.__class__
    model.__dict__ = result.__dict__
    return model

"""Models: plain layers replaced by coded ones, and back."""

import copy
import difflib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from cnnzip.errors import ArgumentError
from cnnzip.progress import Progress
from cnnzip.tensor import CodedTensor, encode
from cnnzip.torch.frames import frame_of
from cnnzip.torch.layers import CODED, CodedLayer

Layers = Iterable[str | type[nn.Module]] | Callable[[str, nn.Module], bool] | None

SLOW_BYTES = 32 << 20  # plain weights from which on progress is shown
#: With "auto", a layer is coded by a codec that multiplies, at most so many times larger than the
#: smallest, and only where that saves so much over the plain weight.
MOST_OVER_SMALLEST = 1.5
LEAST_SAVING = 2.0
#: In eval mode these read their layers' plain weights, or give them nested tensors, unless an
#: attribute has this value.
FAST_PATHS: dict[type[nn.Module], tuple[str, object]] = {
    nn.TransformerEncoderLayer: ("activation_relu_or_gelu", 0),
    nn.TransformerEncoder: ("use_nested_tensor", False),
}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def compress(
    model: nn.Module, codec: str = "auto", layers: Layers = None, inplace: bool = False
) -> nn.Module:
    """Replace layers by ones that compute from the coded form of their weights.

    These are `nn.Linear`, `nn.Conv1d` to `3d`, `nn.ConvTranspose1d` to `3d` and `nn.Embedding`,
    not their subclasses, which may use their weight in any way: so the projections of
    `nn.MultiheadAttention` stay plain. Plain stay, too, an embedding with `max_norm`, weights that
    a plain layer shares and, with "auto", weights that do not shrink to half. `save` codes
    all of them.

    Masks of `torch.nn.utils.prune`, parametrizations, weight and spectral norms are made permanent.
    Layers that share a weight share its frame.

    Parameters
    ----------
    model : nn.Module
    codec : str
        "auto", or a codec's name for all layers.
    layers : names, types, or a function of name and layer that says whether to code it
        The name of a module means all layers in it. None: all.
    inplace : bool
        Whether `model` itself is changed. A model that is a single layer is returned anew.

    Raises
    ------
    ArgumentError
    """
    chosen = select(model, layers)
    if not inplace:
        names = [name for name, layer in model.named_modules() if layer in chosen]
        model = deepcopy(model)
        chosen = {model.get_submodule(name): name for name in names}
    make_permanent(model)
    held = held_by_others(model, chosen)
    frames: dict[Tensor, Tensor | None] = {}
    coded: dict[nn.Module, nn.Module] = {}
    todo = [layer for layer in chosen if can_be_coded(layer, held)]
    n_bytes = sum(weight_of(layer).nbytes for layer in todo)
    hidden = None if n_bytes > SLOW_BYTES else True  # None: where stderr is no terminal
    for layer in Progress(todo, "cnnzip: compress", unit="layer", disable=hidden):
        weight = weight_of(layer)
        if weight not in frames:
            best = _code(weight, codec, chosen[layer])
            frames[weight] = None if best is None else frame_of(best, weight.device)
        frame = frames[weight]
        if frame is not None:
            coded[layer] = CODED[type(layer)].of(layer, frame)
    return replace(model, coded)


def decompress(packed: nn.Module, inplace: bool = False) -> nn.Module:
    """The plain model, every weight equal. Weights that share a frame become one Parameter."""
    packed = packed if inplace else deepcopy(packed)
    weights: dict[Tensor, nn.Parameter] = {}
    plain: dict[nn.Module, nn.Module] = {}
    for layer in packed.modules():
        if isinstance(layer, CodedLayer):
            if layer.weight not in weights:
                weights[layer.weight] = nn.Parameter(layer.dense())
            plain[layer] = layer.plain(weights[layer.weight])
    return replace(packed, plain)


def select(model: nn.Module, layers: Layers) -> dict[nn.Module, str]:
    """The layers that `layers` means, of those that can be coded, and their names."""
    found = {layer: name for name, layer in model.named_modules() if plain_type(layer) in CODED}
    if layers is None:
        return found
    if callable(layers) and not isinstance(layers, type):
        return {layer: name for layer, name in found.items() if bool(layers(name, layer))}
    wanted = [layers] if isinstance(layers, str | type) else list(layers)
    chosen: dict[nn.Module, str] = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    for want in wanted:
        if isinstance(want, str):
            part = modules.get(want)
            if part is None:
                raise ArgumentError(f"layers: no module {want!r}{_near(want, modules)}")
            inside = [layer for layer in part.modules() if layer in found]
            if not inside:
                names = ", ".join(cls.__name__ for cls in CODED)
                raise ArgumentError(
                    f"layers: {want!r}, a {type(part).__name__}, is and holds none of {names}; "
                    "its weights are coded when the model is saved"
                )
        elif isinstance(want, type):
            inside = [layer for layer in found if issubclass(plain_type(layer), want)]
        else:
            raise ArgumentError(f"layers: {want!r} is neither a name nor a type of modules")
        chosen.update((layer, found[layer]) for layer in inside)
    return {layer: name for layer, name in found.items() if layer in chosen}


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, [n for n in names if n], n=3)
    return f"; near it are {', '.join(near)}" if near else ""


def plain_type(layer: nn.Module) -> type[nn.Module]:
    """The layer's type, and that under a parametrization, which makes a class of its own."""
    return type(layer).__mro__[1] if parametrize.is_parametrized(layer) else type(layer)


def make_permanent(model: nn.Module) -> list[str]:
    """Give masked and parametrized tensors their value for good; return their names."""
    names = []
    for prefix, module in model.named_modules():
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                name = hook._tensor_name
                prune.remove(module, name)  # type: ignore[no-untyped-call]
            elif isinstance(hook, WeightNorm):
                name = hook.name
                remove_weight_norm(module, name)
            elif isinstance(hook, SpectralNorm):
                name = hook.name
                remove_spectral_norm(module, name)
            else:
                continue
            names.append(f"{prefix}.{name}" if prefix else name)
        if parametrize.is_parametrized(module):
            names += [f"{prefix}.{name}" if prefix else name for name in _unparametrize(module)]
    return names


def _unparametrize(module: nn.Module) -> list[str]:
    """Give parametrized tensors their value for good; return their names.

    `parametrize.remove_parametrizations` would change the class, which copies of a module share.
    """
    lists = module.parametrizations
    assert isinstance(lists, nn.ModuleDict)
    values = {name: getattr(module, name).detach().clone() for name in lists}
    module.__class__ = plain_type(module)
    del module._modules["parametrizations"]
    for name, value in values.items():
        if any(True for _ in lists[name].parameters(recurse=False)):
            setattr(module, name, nn.Parameter(value))
        else:
            module.register_buffer(name, value)
    return list(values)


def is_permanent(model: nn.Module) -> bool:
    """Whether `make_permanent` has nothing to do."""
    kinds = (prune.BasePruningMethod, WeightNorm, SpectralNorm)
    return not any(
        parametrize.is_parametrized(module)
        or any(isinstance(hook, kinds) for hook in module._forward_pre_hooks.values())
        for module in model.modules()
    )


def deepcopy(model: nn.Module) -> nn.Module:
    """Copy a model, also one that holds tensors which are no leaves, as masked weights are."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in (*vars(module).values(), *module._buffers.values()):
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(model, memo)


def held_by_others(model: nn.Module, chosen: Iterable[nn.Module]) -> set[Tensor]:
    """Parameters of the modules that are not chosen."""
    coded = set(chosen)
    return {
        parameter
        for module in model.modules()
        if module not in coded
        for parameter in module._parameters.values()
        if parameter is not None
    }


def weight_of(layer: nn.Module) -> Tensor:
    """The plain weight of a layer of a type in `CODED`."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def can_be_coded(layer: nn.Module, held: set[Tensor]) -> bool:
    """Whether a layer of a type in `CODED` can do without its plain weight."""
    weight = layer._parameters.get("weight")
    if weight is None or weight in held or weight.dtype not in FLOATS or not weight.numel():
        return False
    return getattr(layer, "max_norm", None) is None  # it would change the weight


def _code(weight: Tensor, codec: str, name: str) -> CodedTensor | None:
    """Code a weight; None where "auto" finds that the plain layer is the better one."""
    if weight.is_meta:
        raise ArgumentError(f"{name}.weight: it is on the meta device and holds nothing to code")
    try:
        best = encode(weight, codec)
    except ArgumentError as error:
        raise ArgumentError(f"{name}.weight: {error}") from None
    if codec != "auto":
        return best
    try:
        direct = best if best.coded.multiplies else encode(weight, "direct")
    except ArgumentError:
        return None
    is_near = direct.nbytes <= MOST_OVER_SMALLEST * best.nbytes
    return direct if is_near and LEAST_SAVING * direct.nbytes <= weight.nbytes else None


def replace(model: nn.Module, new: dict[nn.Module, nn.Module]) -> nn.Module:
    """Put new modules in the place of old ones, wherever these stand. Returns the model."""
    for module in list(model.modules()):
        for key, child in module._modules.items():
            if child in new:
                module._modules[key] = new[child]
    model = new.get(model, model)
    for module in model.modules():
        for kind, (switch, off) in FAST_PATHS.items():
            if isinstance(module, kind):
                _set_fast_path(module, switch, off)
    return model


def _set_fast_path(module: nn.Module, switch: str, off: object) -> None:
    """Switch a module's fast path off while it holds coded layers; what it was is kept in it."""
    kept = f"_plain_{switch}"
    is_coded = any(isinstance(part, CodedLayer) for part in module.modules())
    if is_coded and not hasattr(module, kept):
        setattr(module, kept, getattr(module, switch))
        setattr(module, switch, off)
    elif not is_coded and hasattr(module, kept):
        setattr(module, switch, getattr(module, kept))
        delattr(module, kept)

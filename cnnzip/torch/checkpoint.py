"""Models and state dicts as named tensors for a file, and back."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cnnzip.container.structure import Structure
from cnnzip.errors import ArgumentError, located
from cnnzip.progress import Progress
from cnnzip.tensor import CodedTensor, encode
from cnnzip.torch.frames import dense_of, frame_of, parse
from cnnzip.torch.layers import CODED, FRAME, CodedLayer
from cnnzip.torch.model import (
    SLOW_BYTES,
    can_be_coded,
    deepcopy,
    held_by_others,
    is_permanent,
    make_permanent,
    replace,
)
from cnnzip.torch.structure import replayed

Named = dict[str, CodedTensor | Tensor]
KEEP = ("coded", "fast", "dense")


class File(Protocol):
    """What an opened file offers: its tensors by name, other names of them, and metadata."""

    @property
    def aliases(self) -> Mapping[str, str]:
        """Other names, and the name that each stands for."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Strings by name, of which a record of the structure may be one."""

    def __iter__(self) -> Iterator[str]: ...

    def __getitem__(self, name: str) -> CodedTensor: ...


# To a file


def named_tensors(source: nn.Module | Mapping[str, Any]) -> tuple[Named, dict[str, str], list[str]]:
    """What a file is to hold of a model, packed or plain, or of a state dict.

    Weights behind a mask of `torch.nn.utils.prune` appear as they are used, under their own name;
    of a model, also those behind a parametrization.

    Returns
    -------
    tensors : dict of name to CodedTensor or torch.Tensor
        Coded where the model holds it coded.
    aliases : dict of name to name
        Further names of tensors that are tied.
    notes : list of str
        What the user should know of it.

    Raises
    ------
    ArgumentError
        A value is no tensor, or one that has no plain bytes.
    FormatError
        A frame is damaged.
    """
    permanent: list[str] = []
    masked: list[str] = []
    if isinstance(source, nn.Module):
        if not is_permanent(source):
            source = deepcopy(source)
            permanent += make_permanent(source)
        source = source.state_dict()
    elif isinstance(source, Mapping):
        masked = _masked(source)
        permanent += masked
    if not isinstance(source, Mapping):
        raise ArgumentError(f"neither a model nor a state dict: {type(source).__name__}")
    frames = _frames(source)
    _check_values(source)
    tensors: Named = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for key, value in source.items():
        name = key
        if key.removesuffix("_mask") in masked:
            continue
        if key.removesuffix("_orig") in masked:
            name = key.removesuffix("_orig")
            value = source[f"{name}_mask"].to(value.dtype) * value
        elif isinstance(value, Tensor) and value.numel():
            same = first.setdefault(_memory(value), name)
            if same != name:
                aliases[name] = same
                continue
        with located(name):
            tensors[name] = parse(value) if key in frames else value
    notes = []
    if permanent:
        notes.append(f"stored with their masks or parametrizations applied: {_few(permanent)}")
    return tensors, aliases, notes


def _masked(state: Mapping[Any, Any]) -> list[str]:
    """Names of tensors that `torch.nn.utils.prune` left as X_orig and X_mask, a mask of 0 and 1."""
    found = []
    for key, value in state.items():
        name = key.removesuffix("_orig") if isinstance(key, str) else key
        mask = state.get(f"{name}_mask")
        if name == key or name in state or not isinstance(mask, Tensor):
            continue
        if isinstance(value, Tensor) and value.shape == mask.shape and _is_binary(mask):
            found.append(name)
    return found


def _is_binary(mask: Tensor) -> bool:
    return not mask.is_meta and bool(((mask == 0) | (mask == 1)).all())


def _frames(state: Mapping[str, Any]) -> set[str]:
    """Names that the state dict's metadata calls frames."""
    metadata = getattr(state, "_metadata", None) or {}
    return {
        f"{prefix}.{local[FRAME]}" if prefix else local[FRAME]
        for prefix, local in metadata.items()
        if FRAME in local
    }


def _check_values(state: Mapping[str, Any]) -> None:
    unnamed = [key for key in state if not isinstance(key, str)]
    if unnamed:
        raise ArgumentError(f"{unnamed[0]!r} is no name; a state dict maps names to tensors")
    storable = Tensor | CodedTensor | np.ndarray
    others = [key for key, value in state.items() if not isinstance(value, storable)]
    extra = [key for key in state if key.endswith("_extra_state")]
    if extra:
        raise ArgumentError(
            f"{extra[0]!r} is what a module's get_extra_state() gives, and a file holds tensors only: "
            "save state_dict() without it, and keep it elsewhere"
        )
    if others:
        kinds = ", ".join(f"{key!r} ({type(state[key]).__name__})" for key in others[:5])
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        inside = [key for key in others if isinstance(state[key], Mapping)]
        hint = f"; save its {inside[0]!r} alone" if inside else "; save without them"
        raise ArgumentError(f"a file holds tensors only, these are none: {kinds}{more}{hint}")
    for key, value in state.items():
        if not isinstance(value, Tensor):
            continue
        if value.layout != torch.strided or value.is_nested:
            raise ArgumentError(f"{key}: a {value.layout} tensor; store it as {key}.to_dense()")
        if value.is_quantized:
            raise ArgumentError(
                f"{key}: a quantized tensor; store its int_repr(), scale, zero_point"
            )
        if value.is_meta:
            raise ArgumentError(f"{key}: a tensor on the meta device has no values to store")


def _memory(tensor: Tensor) -> tuple[Any, ...]:
    """What tied tensors have in common."""
    start = (tensor.device, tensor.untyped_storage().data_ptr(), tensor.storage_offset())
    return (*start, tensor.dtype, tensor.shape, tensor.stride())


def _few(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


# From a file


def state_dict_of(file: File) -> dict[str, Tensor]:
    """All tensors, decoded. Aliases are the same tensor."""
    state = {name: dense_of(file[name]) for name in file if name not in file.aliases}
    return state | {alias: state[name] for alias, name in file.aliases.items()}


def check_keep(keep: str) -> None:
    """Refuse what `keep` may not be."""
    if keep not in KEEP:
        raise ArgumentError(f"keep={keep!r}; there are {', '.join(KEEP)}")


def fill(model: nn.Module, file: File, keep: str = "coded") -> nn.Module:
    """Load a file into a model, plain or compressed; everything fits, or nothing is changed.

    Of a network that lost layers or channels, onto what it was built as: the file tells what it
    lost, and the model loses the same first (ENV-14).

    Parameters
    ----------
    model : nn.Module
        Changed in place; on the meta device, too: its tensors are made then.
    file : an opened file
    keep : "coded", "fast" or "dense"
        "coded" replaces the layers whose weight the file's codec can multiply by coded ones;
        weights by "mixed" are coded anew by a codec that multiplies, one at a time. "fast" does
        so and codes all these weights anew.

    Returns
    -------
    model : `model`, or its successor where it is a single layer

    Raises
    ------
    ArgumentError
        Names, shapes or types differ.
    FormatError
    """
    check_keep(keep)
    names = {*file, *file.aliases}
    coded: dict[str, CodedTensor] = {}

    def dims_of(name: str) -> tuple[int, ...]:
        owner = file.aliases.get(name, name)
        if owner not in coded:
            coded[owner] = file[owner]
        return coded[owner].shape

    with replayed(model, Structure.parse(file.metadata), names, dims_of):
        return _fill(model, file, keep, names, coded)


def _fill(
    model: nn.Module,
    file: File,
    keep: str,
    names: AbstractSet[str],
    coded: dict[str, CodedTensor],
) -> nn.Module:
    """`fill`, of what has been read already in `coded`, which is updated."""
    places = _places(model)
    _compare_names(model, places.keys(), names)
    source = {name: file.aliases.get(name, name) for name in places}
    coded |= {name: file[name] for name in source.values() if name not in coded}
    weights = {name: coded[source[name]] for name in places}
    _compare_tensors(places, weights)
    becoming = _becoming_coded(model, places, weights) if keep != "dense" else set()

    layers: dict[nn.Module, str] = {}  # those that change their form, or their frame
    made: dict[Tensor, Tensor] = {}  # in place of tensors that cannot be written to
    for name, (module, key) in places.items():
        target = _tensor(module, key)
        if key == "weight" and (module in becoming or isinstance(module, CodedLayer)):
            layers[module] = name
        elif target.is_meta:
            if target not in made:
                made[target] = _like(target, dense_of(weights[name]))
            own = module._parameters if key in module._parameters else module._buffers
            own[key] = made[target]  # type: ignore[assignment]
        else:
            target.data.copy_(dense_of(weights[name]))

    new: dict[nn.Module, nn.Module] = {}
    frames: dict[str, Tensor] = {}
    for module, name in _with_progress(layers, weights, keep):
        target = _tensor(module, "weight")
        device = torch.device("cpu") if target.is_meta else target.device
        if module not in becoming:
            assert isinstance(module, CodedLayer)
            if target not in made:
                made[target] = nn.Parameter(dense_of(weights[name]).to(device))
            new[module] = module.plain(made[target])  # type: ignore[arg-type]
            continue
        if source[name] not in frames:
            frames[source[name]] = frame_of(_multiplying(weights[name], keep), device)
        if isinstance(module, CodedLayer):
            module.set_frame(frames[source[name]])
        else:
            new[module] = CODED[type(module)].of(module, frames[source[name]])
    return replace(model, new)


def _with_progress(
    layers: Mapping[nn.Module, str], weights: Mapping[str, CodedTensor], keep: str
) -> Iterator[tuple[nn.Module, str]]:
    """The layers, with a bar where much is to be coded anew."""
    anew = [weights[name] for name in layers.values() if _is_coded_anew(weights[name], keep)]
    n_bytes = sum(weight.coded.shape.n_bytes for weight in anew)
    hidden = None if n_bytes > SLOW_BYTES else True
    yield from Progress(layers.items(), "cnnzip: load", unit="layer", disable=hidden)


def _is_coded_anew(weight: CodedTensor, keep: str) -> bool:
    return keep == "fast" or weight.coded.recoded


def _multiplying(weight: CodedTensor, keep: str) -> CodedTensor:
    """The same weight by the codec that is wanted, or as it is where that cannot hold it."""
    if not _is_coded_anew(weight, keep):
        return weight
    try:
        codec = "fast" if keep == "fast" else "direct"
        return encode(weight.decode(), codec, signed_zeros="keep")
    except ArgumentError:
        return weight


def _places(model: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """Where each tensor of the model's state dict is held."""
    places = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        keys = [key for key in module._buffers if key not in module._non_persistent_buffers_set]
        for key in (*module._parameters, *keys):
            if _tensor(module, key) is not None:
                places[f"{prefix}.{key}" if prefix else key] = (module, key)
    return places


def _tensor(module: nn.Module, key: str) -> Tensor:
    return module._parameters.get(key, module._buffers.get(key))  # type: ignore[return-value]


def _like(target: Tensor, plain: Tensor) -> Tensor:
    """A Parameter where `target` is one."""
    is_parameter = isinstance(target, nn.Parameter)
    return nn.Parameter(plain, target.requires_grad) if is_parameter else plain


def _becoming_coded(
    model: nn.Module,
    places: Mapping[str, tuple[nn.Module, str]],
    weights: Mapping[str, CodedTensor],
) -> set[nn.Module]:
    """Layers that can compute from what the file holds of them."""
    chosen = {
        module
        for name, (module, key) in places.items()
        if key == "weight"
        and (isinstance(module, CodedLayer) or type(module) in CODED)
        and (weights[name].coded.multiplies or weights[name].coded.recoded)
    }
    held = held_by_others(model, chosen)
    return {m for m in chosen if isinstance(m, CodedLayer) or can_be_coded(m, held)}


def _compare_names(model: nn.Module, expected: AbstractSet[str], found: AbstractSet[str]) -> None:
    missing, unexpected = sorted(expected - found), sorted(found - expected)
    if missing or unexpected:
        parts = [f"the file lacks {_few(missing)}"] if missing else []
        parts += [f"the model has no {_few(unexpected)}"] if unexpected else []
        if not is_permanent(model):
            parts.append("the model holds masks or parametrizations: load into one without them")
        raise ArgumentError("; ".join(parts))


def _compare_tensors(
    places: Mapping[str, tuple[nn.Module, str]], weights: Mapping[str, CodedTensor]
) -> None:
    faults = []
    first: dict[Tensor, str] = {}
    for name, (module, key) in places.items():
        target, coded = _tensor(module, key), weights[name]
        if is_lazy(target):
            faults.append(f"{name}: run the model once, its shapes are not known yet")
            continue
        shape, dtype = tuple(target.shape), target.dtype
        if isinstance(module, CodedLayer) and key == "weight":
            shape, dtype = module.weight_shape, module.weight_dtype
        due, found = f"{dtype} {shape}".removeprefix("torch."), f"{coded.dtype} {coded.shape}"
        if due != found:
            faults.append(f"{name}: {found} in the file, {due} in the model")
        same = first.setdefault(target, name)
        if coded is not weights[same] and coded.to_frame() != weights[same].to_frame():
            faults.append(f"{name}: one tensor with {same} in the model, another in the file")
    if faults:
        raise ArgumentError("; ".join(faults[:8]) + ("; ..." if len(faults) > 8 else ""))

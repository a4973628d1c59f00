"""Networks that lost layers or channels: what a file tells of it, and a fresh model made alike.

Who removes a module or resizes a layer notes it on what is there then. The note is an attribute, so
that it stays through copies, `bake`, training, and a place in another model.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from cnnzip.container.structure import Structure
from cnnzip.errors import ArgumentError
from cnnzip.torch.layers import CodedLayer

M = TypeVar("M", bound=nn.Module)
Dims = tuple[int, ...]

CHANGED = "_cnnzip_changed"
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
#: What is resized along with a layer's outputs.
BY_OUTPUTS = ("bias", "running_mean", "running_var")
MISSING = object()


# To a file


def note_change(module: M) -> M:
    """Note that the model was built with another module here, or with this one in other shapes."""
    vars(module)[CHANGED] = True
    return module


def is_changed(module: nn.Module) -> bool:
    """Whether `note_change` was called on it."""
    return CHANGED in vars(module)


def absent() -> nn.Module:
    """What stands in the place of a module that was removed."""
    return note_change(nn.Identity())


def structure_of(model: nn.Module) -> Structure:
    """What a model lost, by what is noted on its modules."""
    noted = [(n, m) for n, m in model.named_modules(remove_duplicate=False) if is_changed(m)]
    names = tuple(name for name, module in noted if name and isinstance(module, nn.Identity))
    resized = {module for _, module in noted if not isinstance(module, nn.Identity)}
    return Structure(names, len(resized))


# From a file


@contextmanager
def replayed(
    model: nn.Module,
    structure: Structure,
    names: Collection[str],
    dims_of: Callable[[str], Dims],
) -> Iterator[None]:
    """Let a fresh model lose what another lost; undone where what follows fails.

    Parameters
    ----------
    names, dims_of
        Of the tensors that the model is to be filled with, and the dimensions of each.

    Raises
    ------
    ArgumentError
        The model is not what the other was built as; it is unchanged.
    """
    changes = _Changes()
    try:
        for name in structure.removed:
            parent, key = _parent_of(model, name)
            changes.set(parent._modules, key, absent())
        if structure.resized:
            _resize(model, structure.resized, names, dims_of, changes)
        yield
    except BaseException:
        changes.undo()
        raise


class _Changes:
    """Items of dicts that were set, and what was there before."""

    def __init__(self) -> None:
        self._before: list[tuple[dict[str, Any], str, Any]] = []

    def set(self, where: dict[str, Any], key: str, value: Any) -> None:
        self._before.append((where, key, where.get(key, MISSING)))
        where[key] = value

    def undo(self) -> None:
        for where, key, value in reversed(self._before):
            if value is MISSING:
                del where[key]
            else:
                where[key] = value


def _parent_of(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Found in dicts alone: names from a file reach no attribute."""
    *path, key = name.split(".")
    parent: nn.Module | None = model
    for part in path:
        parent = None if parent is None else parent._modules.get(part)
    if parent is None or parent._modules.get(key) is None:
        raise ArgumentError(
            f"the file tells of {name[:64]!r} that it was removed, and the model has no such module; "
            "give the model that the network was pruned from, freshly built"
        )
    return parent, key


def _resize(
    model: nn.Module,
    most: int,
    names: Collection[str],
    dims_of: Callable[[str], Dims],
    changes: _Changes,
) -> None:
    """Give layers the shapes of the file, where these are smaller. Others are refused later."""
    found = []
    for prefix, layer in model.named_modules():
        start = f"{prefix}." if prefix else ""
        own = {key: t for key, t in _tensors(layer).items() if f"{start}{key}" in names}
        dims = {key: dims_of(f"{start}{key}") for key in own}
        if any(t is None or tuple(t.shape) != dims[key] for key, t in own.items()):
            sizes = _sizes(layer, dims)
            if sizes is not None:
                found.append((layer, dims, sizes))
    if len(found) > most:
        raise ArgumentError(
            f"the file tells of {most} layers that lost channels, and {len(found)} of the model are "
            "larger; give the model that the network was pruned from, freshly built"
        )
    for layer, dims, sizes in found:
        for name, size in sizes.items():
            changes.set(vars(layer), name, size)
        for key, tensor in _tensors(layer).items():
            if key in dims and (tensor is None or tuple(tensor.shape) != dims[key]):
                _set_empty(layer, key, dims[key], changes)
        changes.set(vars(layer), CHANGED, True)


def _tensors(layer: nn.Module) -> dict[str, Tensor | None]:
    """Those that may be resized; None for a bias that may be added. Of other modules, none."""
    if isinstance(layer, CodedLayer):
        return {}
    found: dict[str, Tensor | None] = {}
    if isinstance(layer, (nn.Linear, *CONVS, *TRANSPOSED)):
        if layer._parameters.get("weight") is None:  # behind a mask or parametrization
            return {}
        found = {key: layer._parameters.get(key) for key in ("weight", "bias")}
    elif isinstance(layer, _BatchNorm):
        held = {**layer._parameters, **layer._buffers}
        keys = ("weight", *BY_OUTPUTS)
        found = {key: held[key] for key in keys if held.get(key) is not None}
    lazy = any(tensor is not None and is_lazy(tensor) for tensor in found.values())
    return {} if lazy else found


def _sizes(layer: nn.Module, dims: dict[str, Dims]) -> dict[str, int] | None:
    """The attributes that tell a layer's sizes, for tensors of `dims`; None where these cannot be."""
    sizes: dict[str, int]
    if isinstance(layer, _BatchNorm):
        n_out = next((shape[0] for shape in dims.values() if len(shape) == 1), 0)
        sizes = {"num_features": n_out}
        by_outputs = dims
    else:
        found = _weight_sizes(layer, dims.get("weight", ()))
        if found is None:
            return None
        n_out, sizes = found
        by_outputs = {key: shape for key, shape in dims.items() if key in BY_OUTPUTS}
    smaller = all(1 <= size <= getattr(layer, name) for name, size in sizes.items())
    fitting = all(shape == (n_out,) for shape in by_outputs.values())
    return sizes if smaller and fitting else None


def _weight_sizes(layer: nn.Module, shape: Dims) -> tuple[int, dict[str, int]] | None:
    """The number of outputs, and the sizes by name."""
    weight = layer._parameters["weight"]
    assert weight is not None
    if len(shape) != weight.ndim or shape[2:] != tuple(weight.shape[2:]):
        return None
    if isinstance(layer, nn.Linear):
        return shape[0], {"out_features": shape[0], "in_features": shape[1]}
    assert isinstance(layer, (*CONVS, *TRANSPOSED))
    if layer.groups == 1:
        n_in, n_out = shape[:2] if isinstance(layer, TRANSPOSED) else (shape[1], shape[0])
        return n_out, {"in_channels": n_in, "out_channels": n_out}
    is_depthwise = layer.groups == layer.in_channels == layer.out_channels and shape[1] == 1
    if is_depthwise and isinstance(layer, CONVS):
        names = ("in_channels", "out_channels", "groups")
        return shape[0], dict.fromkeys(names, shape[0])
    if tuple(weight.shape) == shape:  # only a bias is new
        return layer.out_channels, {}
    return None


def _set_empty(layer: nn.Module, key: str, shape: Dims, changes: _Changes) -> None:
    if key in layer._buffers:
        buffer = layer._buffers[key]
        assert buffer is not None
        changes.set(layer._buffers, key, buffer.new_zeros(shape))
        return
    like = layer._parameters[key]
    if like is None:  # a bias
        like = layer._parameters["weight"]
    assert like is not None
    changes.set(layer._parameters, key, nn.Parameter(like.new_zeros(shape), like.requires_grad))

"""Removing layers, blocks and channels; batch norm folded into what it follows."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cnnzip.errors import ArgumentError
from cnnzip.prune.channels import TRANSPOSED, ChannelGraph, trace
from cnnzip.prune.scores import Kind, score
from cnnzip.torch.model import replace
from cnnzip.torch.structure import absent, note_change
from cnnzip.tuning.fit import Loss, cross_entropy, device_of, first_line, to_device
from cnnzip.tuning.parametrizations import KINDS, adopt, bake, copied, targets, weight_of

NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Tanh)
#: Of the channels that a layer gives, at most so many go in one call of `prune_channels`.
MOST_CHANNELS = 0.9


@dataclass(frozen=True, slots=True)
class Unit:
    """Modules that a model runs without, when each is replaced by the identity.

    Attributes
    ----------
    names : tuple of str
    grain : str
        "layer": a convolution or linear layer with the norm and activation after it. "block":
        several layers.
    """

    names: tuple[str, ...]
    grain: str


def units(model: nn.Module, example: Any, blocks: Iterable[str] | None = None) -> list[Unit]:
    """Find what can be bypassed, by trying: the forward runs, and gives the same shape.

    Blocks are modules of several layers that give the shape they take, and runs of layers that do;
    of those with the same layers, the outermost.

    Parameters
    ----------
    example : tensor, or tuple of arguments
    blocks : names of modules, optional
        Instead of searching for blocks. They are tried as others.

    Raises
    ------
    ArgumentError
        The model cannot be run on the example, or has no module of a name.
    """
    trial = copied(model).eval()
    modules = dict(trial.named_modules())
    if blocks is not None:
        blocks = [blocks] if isinstance(blocks, str) else list(blocks)
        unknown = [name for name in blocks if name not in modules]
        if unknown:
            raise ArgumentError(f"blocks: no module {unknown[0]!r}")
    goal, calls = _watched(trial, example)
    chains = _chains(calls, modules)
    layers = [names for names in chains if _runs(trial, names, example, goal)]
    if blocks is not None:
        found: list[tuple[str, ...]] = [(name,) for name in blocks]
    else:
        found = [(n,) for n, (taken, given) in calls.items() if taken.shape == given.shape and n]
        found += [tuple(sum(run, ())) for run in _runs_of(layers, calls)]
    kept: dict[frozenset[nn.Module], tuple[str, ...]] = {}  # of several with the same layers, one
    for names in sorted(found, key=lambda names: (len(names), names[0].count("."))):
        inside = frozenset(layer for name in names for layer in _layers(modules[name]))
        enough = len(inside) > (1 if blocks is None else 0)
        if enough and inside not in kept and _runs(trial, names, example, goal):
            kept[inside] = names
    coarse = [Unit(names, "block") for names in kept.values()]
    return coarse + [Unit(names, "layer") for names in layers]


def remove(model: nn.Module, unit: Unit, inplace: bool = False) -> nn.Module:
    """Replace a unit's modules by the identity; the names of others stay.

    Raises
    ------
    ArgumentError
        There is no module of such a name; `model` is unchanged.
    """
    _modules_of(model, unit)
    smaller = model if inplace else copied(model)
    return replace(smaller, {module: absent() for module in _modules_of(smaller, unit)})


@contextmanager
def bypassed(model: nn.Module, unit: Unit) -> Iterator[None]:
    """Let a unit's modules give what they take, for a while. Raises as `remove`."""
    modules = _modules_of(model, unit)
    for module in modules:
        module.forward = lambda x: x
    try:
        yield
    finally:
        for module in modules:
            del module.forward


def _modules_of(model: nn.Module, unit: Unit) -> list[nn.Module]:
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in unit.names:
        if name not in modules:
            raise ArgumentError(
                f"unit: {type(model).__name__} has no module {name!r}; cnnzip.prune.units finds units"
            )
    return [modules[name] for name in unit.names]


def fold_bn(model: nn.Module, example: Any, inplace: bool = False) -> nn.Module:
    """Fold batch norm into the convolution or linear layer before it, as it is in eval mode.

    W' = s W and b' = s (b - mean) + shift with s = scale / sqrt(var + eps): outputs stay but for
    rounding. In a file, four numbers a channel become one. Fold before weights are shared: s
    differs by channel. Masks are made permanent; zeros stay zeros.

    Raises
    ------
    ArgumentError
        The model cannot be traced, or run on the example; it is unchanged.
    """
    folded = bake(model)
    targets(folded)
    traced = trace(folded, example)
    calls = [node for node in traced.graph.nodes if node.op == "call_module"]
    n_calls = Counter(node.target for node in calls)
    new: dict[nn.Module, nn.Module] = {}
    for node in calls:
        before = node.args[0] if node.args else None
        norm = folded.get_submodule(str(node.target))
        if not (isinstance(before, fx.Node) and before.op == "call_module"):
            continue
        layer = folded.get_submodule(str(before.target))
        alone = len(before.users) == n_calls[node.target] == n_calls[before.target] == 1
        if alone and _can_fold(layer, norm):
            _fold(layer, norm)
            new[norm] = absent()
    return adopt(model, replace(folded, new), inplace)


def prune_channels(
    model: nn.Module,
    example: Any,
    ratio: float,
    *,
    importance: Kind = "magnitude",
    data: Iterable[Any] | None = None,
    loss: Loss = cross_entropy,
    keep: Iterable[str] = (),
    seed: int = 0,
    inplace: bool = False,
) -> nn.Module:
    """Remove the least important channels, among all layers, with all that hangs on them.

    Channels that meet in a sum go together; those of the model's outputs, and of operations that
    are not understood, stay.

    Parameters
    ----------
    example : tensor, or tuple of arguments
    ratio : float from 0 to 1
        Of the channels that can be removed; of a layer's at most 0.9 go.
    importance : str or function
        As `kind` of `score`: a channel's is the sum over the weights that make it, over the mean of
        its layer's channels. "redundancy" is the norm of a filter times 1 - |cos| to the filter
        most like it (a reconstruction, see `cnnzip.prune.redundancy`).
    data, loss
        As of `score`.
    keep : names of layers that keep all channels

    Raises
    ------
    ArgumentError
        `model` is unchanged.
    """
    if not 0 <= ratio <= 1:
        raise ArgumentError(f"ratio: {ratio}; it is a fraction, from 0 to 1")
    plain = bake(model)
    targets(plain)
    graph = ChannelGraph.of(plain, example)
    filters = _filter_scores(plain, importance, data, loss, seed)
    fixed = graph.pinned | {label for name in keep for label in graph.outs.get(name, ())}
    worth: dict[int, float] = {}
    for name, labels in graph.outs.items():
        mean = max(float(filters[name].mean()), 1e-30)
        for label, value in zip(labels, (filters[name] / mean).tolist(), strict=True):
            if label not in fixed:
                worth[label] = worth.get(label, 0.0) + value
    removed: set[int] = set()
    left = {name: int((1 - MOST_CHANNELS) * len(labels)) for name, labels in graph.outs.items()}
    alive = {name: len(labels) for name, labels in graph.outs.items()}
    homes: dict[int, list[str]] = {}
    for name, labels in graph.outs.items():
        for label in labels:
            homes.setdefault(label, []).append(name)
    for label in sorted(worth, key=lambda label: worth[label]):
        if len(removed) == round(ratio * len(worth)):
            break
        if all(alive[name] > max(left[name], 1) for name in homes[label]):
            removed.add(label)
            for name in homes[label]:
                alive[name] -= 1
    graph.remove(plain, graph.leave_one(removed))
    return adopt(model, plain, inplace)


def _filter_scores(
    model: nn.Module, importance: Kind, data: Iterable[Any] | None, loss: Loss, seed: int
) -> dict[str, Tensor]:
    """By layer, a number for each of its outputs."""
    if importance == "redundancy":
        return {name: redundancy_scores(layer) for name, layer in targets(model).items()}
    scores = score(model, importance, data, loss=loss, seed=seed)
    return {
        name: filters_of(model.get_submodule(name), scores[name].clamp_min(0)).sum(1)
        for name in scores
    }


def filters_of(layer: nn.Module, weight: Tensor) -> Tensor:
    """(n_out, the rest) of a tensor like a layer's weight."""
    if isinstance(layer, TRANSPOSED):  # (n_in, n_out / groups, ...)
        parts = torch.chunk(weight, int(layer.groups))
        weight = torch.cat([part.transpose(0, 1) for part in parts])
    return weight.flatten(1)


def redundancy_scores(layer: nn.Module) -> Tensor:
    """(1 - max_j |cos(f_i, f_j)|) ‖f_i‖ for the filters of a layer: low where another is alike."""
    filters = filters_of(layer, weight_of(layer))
    norms = filters.norm(dim=1)
    unit = filters / norms.clamp_min(1e-12)[:, None]
    like = (unit @ unit.T).abs().fill_diagonal_(0).amax(1)
    scores: Tensor = (1 - like.clamp(max=1)) * norms
    return scores


def _watched(
    model: nn.Module, example: Any
) -> tuple[torch.Size | None, dict[str, tuple[Tensor, Tensor]]]:
    """The output's shape; by name, what each module with one tensor takes and gives."""
    calls: dict[str, tuple[Tensor, Tensor]] = {}
    hooks = []

    def watch(name: str, module: nn.Module) -> None:
        def note(_: nn.Module, taken: tuple[Any, ...], given: Any) -> None:
            if len(taken) == 1 and isinstance(taken[0], Tensor) and isinstance(given, Tensor):
                calls[name] = (taken[0], given)

        hooks.append(module.register_forward_hook(note))

    for name, module in model.named_modules():
        watch(name, module)
    try:
        goal = _shape(model, example)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ArgumentError(
            f"example: the model cannot be run on it: {first_line(error)}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    return goal, calls


@torch.no_grad()
def _shape(model: nn.Module, example: Any) -> torch.Size | None:
    inputs = example if isinstance(example, tuple) else (example,)
    given = model(*to_device(inputs, device_of(model)))
    return given.shape if isinstance(given, Tensor) else None


def _chains(
    calls: dict[str, tuple[Tensor, Tensor]], modules: dict[str, nn.Module]
) -> list[tuple[str, ...]]:
    """Layers with the norm and activation that take what they give."""
    followers: dict[int, list[str]] = {}
    for name, (taken, _) in calls.items():
        if isinstance(modules[name], (*NORMS, *ACTIVATIONS)):
            followers.setdefault(id(taken), []).append(name)
    chains = []
    for name, (_, given) in calls.items():
        if not isinstance(modules[name], KINDS):
            continue
        chain = [name]
        for kinds in (NORMS, ACTIVATIONS):
            after = [n for n in followers.get(id(given), []) if isinstance(modules[n], kinds)]
            if len(after) == 1 and after[0] not in chain:
                chain += after
                given = calls[after[0]][1]
        chains.append(tuple(chain))
    return chains


def _runs(model: nn.Module, names: tuple[str, ...], example: Any, goal: torch.Size | None) -> bool:
    with bypassed(model, Unit(names, "")):
        try:
            return _shape(model, example) == goal
        except (RuntimeError, ValueError, TypeError, IndexError):
            return False


def _runs_of(
    layers: list[tuple[str, ...]], calls: dict[str, tuple[Tensor, Tensor]]
) -> list[list[tuple[str, ...]]]:
    """Layers of which each takes what the one before gives."""
    runs: list[list[tuple[str, ...]]] = []
    for names in layers:
        if runs and calls[runs[-1][-1][-1]][1] is calls[names[0]][0]:
            runs[-1].append(names)
        else:
            runs.append([names])
    return runs


def _layers(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, KINDS)]


def _can_fold(layer: nn.Module, norm: nn.Module) -> bool:
    if not (isinstance(layer, KINDS) and isinstance(norm, _BatchNorm)):
        return False
    grouped = isinstance(layer, TRANSPOSED) and layer.groups > 1  # outputs in no one dimension
    return norm.running_mean is not None and not grouped


@torch.no_grad()
def affine_of(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """What a batch norm multiplies by and adds, channel by channel, in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    shift = -norm.running_mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    return scale, shift


@torch.no_grad()
def _fold(layer: nn.Module, norm: nn.Module) -> None:
    assert isinstance(norm, _BatchNorm)
    scale, shift = affine_of(norm)
    weight = weight_of(layer)
    dim = 1 if isinstance(layer, TRANSPOSED) else 0
    shape = [-1 if d == dim else 1 for d in range(weight.ndim)]
    layer.weight = nn.Parameter(weight * scale.reshape(shape) + 0.0)
    bias = layer.bias
    if bias is None:
        note_change(layer)
    layer.bias = nn.Parameter(shift + (scale * bias if isinstance(bias, Tensor) else 0.0))

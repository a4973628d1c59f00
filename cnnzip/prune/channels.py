"""Channels: how they hang together in a model, exact removal of dead ones, and pruning of poor ones.

A model is traced once by torch.fx. Every channel of every tensor in it gets a label; what must be
removed together (both sides of a sum, a channel and its place after `flatten`) gets the same one.
"""

import inspect
import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from cnnzip.errors import ArgumentError
from cnnzip.torch.structure import note_change
from cnnzip.tuning.fit import device_of, first_line, to_device
from cnnzip.tuning.parametrizations import adopt, bake, targets

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
#: Work on each channel by itself, and make zeros of zeros.
KEEP_ZERO = (
    *(nn.Identity, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Hardswish),
    *(nn.Hardtanh, nn.Mish, nn.Softsign, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.Upsample),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.ZeroPad2d),
)
KEEP_ZERO_FUNCTIONS: set[Any] = {
    *(functional.leaky_relu, functional.elu, functional.gelu, functional.silu, functional.tanh),
    *(functional.hardswish, functional.relu6, functional.dropout, functional.dropout2d, torch.tanh),
    *(functional.max_pool1d, functional.max_pool2d, functional.max_pool3d, functional.interpolate),
    *(functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d, torch.abs, "abs"),
    *(functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, "contiguous", "tanh"),
    *(functional.adaptive_max_pool1d, functional.adaptive_max_pool2d, "clone", "detach"),
}
RELUS: set[Any] = {functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_"}
SUMS: set[Any] = {operator.add, operator.iadd, torch.add, "add", "add_"}
FLATTENS: set[Any] = {torch.flatten, torch.reshape, "flatten", "reshape", "view"}
MEANS: set[Any] = {torch.mean, "mean", torch.amax, "amax"}


@dataclass
class _Value:
    """A tensor on its way: its channels' labels, and their values where these are constant."""

    labels: list[int]
    constants: Tensor  # float64 (n_channels,), NaN where a channel is not constant

    def same(self, constants: Tensor | None = None) -> "_Value":
        unknown = torch.full_like(self.constants, torch.nan)
        return _Value(self.labels, unknown if constants is None else constants)


@dataclass
class ChannelGraph:
    """The labels of a model's channels.

    Attributes
    ----------
    outs, ins, norms : dict of module name to labels
        Of what a layer gives and takes; of batch normalization and depthwise convolutions, which
        take and give the same.
    read : set of labels
        Channels that a layer multiplies by what is not 0, and that are not 0 themselves.
    pinned : set of labels
        Channels of inputs, outputs, and of operations that are not known here.
    """

    outs: dict[str, list[int]] = field(default_factory=dict)
    ins: dict[str, list[int]] = field(default_factory=dict)
    norms: dict[str, list[int]] = field(default_factory=dict)
    read: set[int] = field(default_factory=set)
    pinned: set[int] = field(default_factory=set)
    _parents: list[int] = field(default_factory=list)
    _used_otherwise: set[str] = field(
        default_factory=set
    )  # modules, at some call or by a parameter

    @classmethod
    def of(cls, model: nn.Module, example: Any) -> "ChannelGraph":
        """Trace a plain model.

        Raises
        ------
        ArgumentError
            The model cannot be traced, or run on the example.
        """
        graph = cls()
        values: dict[fx.Node, _Value] = {}
        traced = trace(model, example)
        for node in traced.graph.nodes:
            value = graph._visit(node, values, traced)
            if value is not None:
                values[node] = value
        for labels in (graph.outs, graph.ins, graph.norms):
            for name, found in labels.items():
                labels[name] = [graph._root(label) for label in found]
        graph.read = {graph._root(label) for label in graph.read}
        for labels in (graph.outs, graph.ins, graph.norms):
            for name in graph._used_otherwise & set(labels):
                graph.pinned.update(labels[name])
        graph.pinned = {graph._root(label) for label in graph.pinned}
        return graph

    def removable(self) -> set[int]:
        """Labels of channels that a layer gives and that are not pinned."""
        return {label for labels in self.outs.values() for label in labels} - self.pinned

    def leave_one(self, removed: set[int]) -> set[int]:
        """Those of `removed` labels whose removal leaves every tensor a channel."""
        removed = set(removed)
        everywhere = [*self.outs.values(), *self.ins.values(), *self.norms.values()]
        while empty := next((ls for ls in everywhere if removed.issuperset(ls)), None):
            removed.discard(empty[0])
        return removed

    def remove(self, model: nn.Module, removed: set[int]) -> None:
        """Cut channels out of a model in place."""
        for name in {**self.outs, **self.ins, **self.norms}:
            layer = model.get_submodule(name)
            if name in self.norms:
                _slice(layer, 0, self.norms[name], removed, None)
                continue
            transposed = isinstance(layer, TRANSPOSED)
            if name in self.outs:
                _slice(layer, 1 if transposed else 0, self.outs[name], removed, "out")
            if name in self.ins:
                _slice(layer, 0 if transposed else 1, self.ins[name], removed, "in")

    def _root(self, label: int) -> int:
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label

    def _join(self, some: list[int], others: list[int]) -> None:
        if len(some) != len(others):
            self.pinned.update(some, others)
            return
        for one, other in zip(some, others, strict=True):
            self._parents[self._root(other)] = self._root(one)

    def _fresh(self, n_channels: int, constants: Tensor | None = None) -> _Value:
        start = len(self._parents)
        labels = list(range(start, start + n_channels))
        self._parents += labels
        unknown = torch.full((n_channels,), torch.nan, dtype=torch.float64)
        return _Value(labels, unknown if constants is None else constants)

    def _record(self, where: dict[str, list[int]], name: str, labels: list[int]) -> None:
        self._join(where.setdefault(name, labels), labels)

    def _visit(
        self, node: fx.Node, values: dict[fx.Node, _Value], traced: fx.GraphModule
    ) -> _Value | None:
        tensors = [argument for argument in node.all_input_nodes if "tensor_meta" in argument.meta]
        taken = [values[argument] for argument in tensors if argument in values]
        if taken and len(taken) == len(tensors):
            value = None
            if node.op == "call_module":
                name = str(node.target)
                value = self._layer(node, name, traced.get_submodule(name), taken[0])
            elif node.op in ("call_function", "call_method"):
                value = self._function(node, tensors, taken)
            if value is not None:
                return value
        if node.op == "call_module":
            self._used_otherwise.add(str(node.target))
        elif node.op == "get_attr":
            self._used_otherwise.add(str(node.target).rpartition(".")[0])
        if "tensor_meta" not in node.meta and node.op != "output":
            return None  # a shape, a number
        self._pin(taken)
        shape = _shape(node)
        if shape is None:
            return None
        value = self._fresh(shape[1] if len(shape) > 1 else 1)
        self._pin([value])
        return value

    def _pin(self, values: list[_Value]) -> None:
        for value in values:
            self.pinned.update(value.labels)

    def _layer(self, node: fx.Node, name: str, layer: nn.Module, x: _Value) -> _Value | None:
        shape = _shape(node)
        if isinstance(layer, nn.ReLU):
            return x.same(_relu(x.constants))
        if isinstance(layer, KEEP_ZERO):
            return x.same(_if_zero(x.constants))
        if isinstance(layer, nn.Flatten):
            return _flattened(node, x)
        if isinstance(layer, _BatchNorm):
            if layer.running_mean is None or len(x.labels) != layer.num_features:
                return None
            self._record(self.norms, name, x.labels)
            return x.same(_normed(layer, x.constants))
        if isinstance(layer, nn.Linear) and shape is not None and len(shape) == 2:
            return self._linear(name, layer, x, layer.weight.detach())
        if isinstance(layer, (*CONVS, *TRANSPOSED)):
            weight = layer.weight.detach()
            depth = len(x.labels)
            if isinstance(layer, CONVS) and 1 < layer.groups == depth == len(weight):
                self._record(self.norms, name, x.labels)
                silent = (weight.flatten(1) == 0).all(1).cpu() | (x.constants == 0)
                return x.same(_biases(layer).where(silent, torch.nan))
            if layer.groups == 1:
                first = weight.transpose(0, 1) if isinstance(layer, TRANSPOSED) else weight
                return self._linear(name, layer, x, first)
        return None

    def _linear(self, name: str, layer: nn.Module, x: _Value, weight: Tensor) -> _Value | None:
        """A layer of weights (n_out, n_in, ...)."""
        if len(x.labels) != weight.shape[1]:
            return None
        entries = (weight.flatten(2) != 0).any(2) if weight.ndim > 2 else weight != 0
        entries = entries.cpu() & (x.constants != 0)  # NaN is not 0
        self.read.update(
            label for label, used in zip(x.labels, entries.any(0).tolist(), strict=True) if used
        )
        self._record(self.ins, name, x.labels)
        out = self._fresh(len(weight), _biases(layer).where(~entries.any(1), torch.nan))
        self._record(self.outs, name, out.labels)
        return out

    def _function(
        self, node: fx.Node, tensors: list[fx.Node], taken: list[_Value]
    ) -> _Value | None:
        shape, x = _shape(node), taken[0]
        shapes = [_shape(tensor) for tensor in tensors]
        if shape is None or any(one is None for one in shapes):
            return None
        if node.target in RELUS:
            return x.same(_relu(x.constants))
        if node.target in KEEP_ZERO_FUNCTIONS:
            return x.same(_if_zero(x.constants))
        if node.target in FLATTENS:
            return _flattened(node, x)
        if node.target is functional.pad:
            return x.same(_if_zero(x.constants)) if _pads_places(node, len(shape)) else None
        if node.target in MEANS and len(taken) == 1:
            return (
                x.same(_if_zero(x.constants)) if _is_spatial(node, len(shapes[0] or ())) else None
            )
        if node.target in SUMS and len(taken) == 2 and shapes[0] == shapes[1] and not node.kwargs:
            self._join(taken[0].labels, taken[1].labels)
            both = _if_zero(taken[0].constants) + _if_zero(taken[1].constants)
            return x.same(both)
        if node.target is torch.cat and node.kwargs.get("dim", (*node.args[1:], 0)[0]) == 1:
            constants = torch.cat([value.constants for value in taken])
            parts = node.args[0]
            if isinstance(parts, tuple | list) and len(parts) == len(taken):
                return _Value([label for value in taken for label in value.labels], constants)
        return None


class _Tracer(fx.Tracer):
    """Looks into all modules but torch's own and those of the given types."""

    def __init__(self, leaves: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self.leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.leaves) or super().is_leaf_module(m, module_qualified_name)


def trace(
    model: nn.Module, example: Any, leaves: tuple[type[nn.Module], ...] = ()
) -> fx.GraphModule:
    """Trace a model by torch.fx, and note the tensors' shapes on an example.

    Arguments beyond those of the example have their defaults.

    Parameters
    ----------
    leaves : types of modules that are not looked into, besides torch's own

    Raises
    ------
    ArgumentError
    """
    inputs = example if isinstance(example, tuple) else (example,)
    options = list(inspect.signature(model.forward).parameters.values())[len(inputs) :]
    defaults = {o.name: o.default for o in options if o.default is not inspect.Parameter.empty}
    try:
        tracer = _Tracer(leaves)
        traced = fx.GraphModule(model, tracer.trace(model, concrete_args=defaults))
    except Exception as error:  # whatever a forward raises when it is traced
        raise ArgumentError(
            f"{type(model).__name__}: torch.fx cannot trace it ({first_line(error)}); channels can be removed only "
            "where the model's forward does not depend on values"
        ) from error
    modes = {module: module.training for module in traced.modules()}
    traced.eval()
    inputs = to_device(inputs, device_of(model))
    try:
        with torch.no_grad():
            traced(*inputs)  # ShapeProp would print a traceback of what fails
            ShapeProp(traced).propagate(*inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ArgumentError(
            f"example: the model cannot be run on it: {first_line(error)}"
        ) from error
    finally:
        for module, mode in modes.items():  # the modules are the model's own
            module.training = mode
    return traced


def compact(model: nn.Module, example: Any, inplace: bool = False) -> nn.Module:
    """Remove channels that nobody reads or that are always 0; outputs stay as they were.

    Such are left by the pruning of weights. A channel that is constant but not 0 stays: where a
    convolution pads with zeros it is not constant. Masks are made permanent.

    Parameters
    ----------
    example : tensor, or tuple of arguments
        Something the model can be run on.

    Raises
    ------
    ArgumentError
        The model cannot be traced, or run on the example; it is unchanged.
    """
    plain = bake(model)
    targets(plain)
    while True:
        graph = ChannelGraph.of(plain, example)
        dead = graph.leave_one(graph.removable() - graph.read)
        if not dead:
            return adopt(model, plain, inplace)
        graph.remove(plain, dead)


def _shape(node: fx.Node) -> torch.Size | None:
    meta = node.meta.get("tensor_meta")
    return getattr(meta, "shape", None)


def _is_spatial(node: fx.Node, n_dims: int) -> bool:
    """Whether a mean or maximum is taken along dimensions after the channels'."""
    dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    dims = [dims] if isinstance(dims, int) else dims
    return isinstance(dims, tuple | list) and {int(d) % n_dims for d in dims} <= set(
        range(2, n_dims)
    )


def _pads_places(node: fx.Node, n_dims: int) -> bool:
    """Whether `pad` adds zeros or copies, and no channels."""
    given = dict(zip(("input", "pad", "mode", "value"), node.args, strict=False)) | node.kwargs
    pad = given["pad"]
    return isinstance(pad, tuple | list) and len(pad) <= 2 * (n_dims - 2) and not given.get("value")


def _flattened(node: fx.Node, x: _Value) -> _Value | None:
    """(n, c, ...) to (n, c * ...): each channel becomes as many features as it has places."""
    shape, before = _shape(node), _shape(node.all_input_nodes[0])
    if shape is None or before is None or len(shape) != 2 or shape[0] != before[0]:
        return None
    if node.target in (torch.reshape, "reshape", "view"):
        sizes = node.args[1] if isinstance(node.args[1], tuple | list) else node.args[1:]
        if not isinstance(sizes, tuple) or sizes[-1] != -1:
            return None  # a number of features is written into the model's code
    n_places = shape[1] // max(len(x.labels), 1)
    labels = [label for label in x.labels for _ in range(n_places)]
    return _Value(labels, x.constants.repeat_interleave(n_places))


def _if_zero(constants: Tensor) -> Tensor:
    return constants.masked_fill(constants != 0, torch.nan)


def _relu(constants: Tensor) -> Tensor:
    """A constant below 0 by more than rounding becomes 0, whatever the order of sums."""
    return constants.masked_fill(constants < -1e-5, 0.0).masked_fill(constants > 0, torch.nan)


def _biases(layer: nn.Module) -> Tensor:
    """float64 (n_out,), on the CPU."""
    bias = layer.bias
    if isinstance(bias, Tensor):
        return bias.detach().double().cpu()
    n_out = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return torch.zeros(int(n_out), dtype=torch.float64)  # type: ignore[arg-type]


def _normed(norm: _BatchNorm, constants: Tensor) -> Tensor:
    """What becomes of constants; exactly 0 only where no rounding can be."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, var = norm.running_mean.double().cpu(), norm.running_var.double().cpu()
    scale, shift = torch.ones_like(mean), torch.zeros_like(mean)
    if norm.affine:
        scale, shift = norm.weight.detach().double().cpu(), norm.bias.detach().double().cpu()
    exact = (shift == 0) & ((scale == 0) | ((constants == 0) & (mean == 0)))
    values = (constants - mean) * scale / (var + norm.eps).sqrt() + shift
    values = torch.where(scale == 0, shift, values)
    return torch.where(exact, 0.0, values.masked_fill(values == 0, torch.nan))


def _slice(
    layer: nn.Module, dim: int, labels: list[int], removed: set[int], side: str | None
) -> None:
    kept = [place for place, label in enumerate(labels) if label not in removed]
    if len(kept) == len(labels):
        return
    note_change(layer)
    tensors: dict[str, int] = {"weight": dim}
    if side != "in":
        tensors.update(bias=0, running_mean=0, running_var=0)
    for key, along in tensors.items():
        tensor = getattr(layer, key, None)
        if not isinstance(tensor, Tensor):
            continue
        index = torch.tensor(kept, device=tensor.device)
        part = tensor.detach().index_select(along, index)
        if key in layer._parameters:
            setattr(layer, key, nn.Parameter(part, tensor.requires_grad))
        else:
            layer._buffers[key] = part
    names = {"out": ("out_channels", "out_features"), "in": ("in_channels", "in_features")}
    every = ("num_features", "in_channels", "out_channels", "groups")  # norms and depthwise
    for name in names[side] if side else every:
        if hasattr(layer, name):
            setattr(layer, name, len(kept))

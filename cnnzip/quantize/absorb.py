"""What a batch normalization makes good when it is recalibrated: its inputs' means and scales."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cnnzip.quantize.matrices import Matrices
from cnnzip.tuning.parametrizations import weight_of

LEAST_SCALE = 1e-3  # of a channel, relative to the layer's largest
MOST_CHANGE = 1e-3  # of the outputs, relative, by what should not change them


def followers(
    model: nn.Module, layers: Collection[nn.Module], inputs: Any
) -> dict[nn.Module, _BatchNorm]:
    """The batch normalization that takes each layer's output, where there is one.

    Found by running the model; a layer or normalization that runs twice is left out.
    """
    made: dict[int, nn.Module] = {}
    outputs: list[Tensor] = []  # as long as they live, their ids are theirs
    found: list[tuple[nn.Module, _BatchNorm]] = []
    runs: Counter[nn.Module] = Counter()

    def after(layer: nn.Module, _: Any, output: Tensor) -> None:
        runs[layer] += 1
        outputs.append(output)
        made[id(output)] = layer

    def before(norm: _BatchNorm, arguments: tuple[Any, ...]) -> None:
        runs[norm] += 1
        if arguments and id(arguments[0]) in made:
            found.append((made[id(arguments[0])], norm))

    hooks = [layer.register_forward_hook(after) for layer in layers]
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.running_var is not None and module.affine:
            hooks.append(module.register_forward_pre_hook(before))
    try:
        model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {layer: norm for layer, norm in found if runs[layer] == runs[norm] == 1}


def equalize(
    model: nn.Module, norms: Mapping[nn.Module, _BatchNorm], inputs: Any
) -> dict[nn.Module, _BatchNorm]:
    """Scale each output channel to the deviation that its batch normalization gives it, in place.

    Errors of one size then weigh the same in all channels of a layer. The model computes what it
    did, as long as nothing but the normalization takes the outputs: those layers are returned.
    """
    expected = list(_tensors(model(inputs)))
    kept = {}
    for layer, norm in norms.items():
        assert norm.running_var is not None
        scales = norm.weight.abs() / torch.sqrt(norm.running_var + norm.eps)
        scales = scales.clamp(min=LEAST_SCALE * scales.max())
        if not bool((torch.isfinite(scales) & (scales > 0)).all()):
            continue
        _scale(layer, norm, scales)
        found = list(_tensors(model(inputs)))
        if all(_near(a, b) for a, b in zip(found, expected, strict=True)):
            kept[layer] = norm
        else:
            _scale(layer, norm, 1 / scales)
    return kept


def _scale(layer: nn.Module, norm: _BatchNorm, scales: Tensor) -> None:
    matrices = Matrices.of(layer)
    matrix = matrices.to_matrix(weight_of(layer))
    scaled = matrix * scales.view(*matrix.shape[:2], 1)
    weight_of(layer).copy_(matrices.to_weight(scaled))
    if isinstance(layer.bias, Tensor):
        layer.bias.mul_(scales)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.mul_(scales)
    norm.running_var.add_(norm.eps).mul_(scales**2).sub_(norm.eps)


def _near(found: Tensor, expected: Tensor) -> bool:
    change = (found - expected).abs().max()
    return bool(change <= MOST_CHANGE * expected.abs().max())


def _tensors(output: Any) -> Iterator[Tensor]:
    """The floating-point tensors in a model's output."""
    if isinstance(output, Tensor):
        if output.is_floating_point() and output.numel():
            yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from _tensors(value)

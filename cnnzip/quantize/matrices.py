"""Layers as products of matrices: weights as rows of columns, inputs as patches of as many."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PATCH_BYTES = 1 << 27  # of patches that are unfolded at a time
EXACT_COLUMNS = 2048  # up to which moments are float64


@dataclass(frozen=True)
class Matrices:
    """A layer whose outputs are W x for each group's matrix W and each patch x of its inputs.

    Attributes
    ----------
    layer : a convolution, a transposed one, or a linear layer
    n_groups, n_inputs : int
        Groups, and input channels of each.
    kernel : tuple of int
        Empty for a linear layer.
    """

    layer: nn.Module
    n_groups: int
    n_inputs: int
    kernel: tuple[int, ...]

    @classmethod
    def of(cls, layer: nn.Module) -> "Matrices":
        """View a layer of one of the types of `targets`."""
        if isinstance(layer, nn.Linear):
            return cls(layer, 1, layer.in_features, ())
        convolution = cast(nn.Conv2d, layer)
        n_groups = convolution.groups
        n_inputs = convolution.in_channels // n_groups
        return cls(layer, n_groups, n_inputs, tuple(convolution.kernel_size))

    @property
    def n_columns(self) -> int:
        """Weights of an output."""
        return self.n_inputs * prod(self.kernel)

    def to_matrix(self, weight: Tensor) -> Tensor:
        """Lay out what has the weight's shape as (n_groups, n_rows, n_columns)."""
        if isinstance(self.layer, TRANSPOSED):
            by_group = weight.reshape(self.n_groups, self.n_inputs, -1, *self.kernel)
            weight = by_group.flip(tuple(range(3, weight.ndim + 1))).transpose(1, 2)
        return weight.reshape(self.n_groups, -1, self.n_columns)

    def to_weight(self, matrix: Tensor) -> Tensor:
        """Invert `to_matrix`."""
        if isinstance(self.layer, TRANSPOSED):
            by_group = matrix.reshape(self.n_groups, -1, self.n_inputs, *self.kernel)
            flipped = by_group.flip(tuple(range(3, by_group.ndim))).transpose(1, 2)
            return flipped.reshape(self.n_groups * self.n_inputs, -1, *self.kernel)
        return matrix.reshape(-1, self.n_inputs, *self.kernel)

    def patches(self, inputs: Tensor, group: int, channels: slice) -> Iterator[Tensor]:
        """Patches (n, channels x kernel) of some channels of a group, a part of them at a time.

        Trusts: the layer has been run on `inputs`.
        """
        n_axes = len(self.kernel)
        if not n_axes:
            inputs = inputs.reshape(-1, self.n_inputs)[:, channels]
            size = max(1, PATCH_BYTES // (inputs.element_size() * self.n_inputs))
            yield from torch.split(inputs, size)
            return
        batched = inputs if inputs.ndim == n_axes + 2 else inputs[None]
        first = group * self.n_inputs
        own = batched[:, first : first + self.n_inputs][:, channels]
        for part in torch.split(own, 1 + PATCH_BYTES // (self._patch_bytes(own) + 1)):
            windows = self._windows(part)
            order = (0, *range(2, 2 + n_axes), 1, *range(2 + n_axes, 2 + 2 * n_axes))
            yield windows.permute(order).reshape(-1, own.shape[1] * prod(self.kernel))

    def _patch_bytes(self, inputs: Tensor) -> int:
        """About the bytes of one input's patches."""
        stride = cast(tuple[int, ...], self.layer.stride)
        ratio = prod(stride)
        places = prod(inputs.shape[2:])
        places = places * ratio if isinstance(self.layer, TRANSPOSED) else places // ratio
        return places * inputs.shape[1] * prod(self.kernel) * inputs.element_size()

    def _windows(self, inputs: Tensor) -> Tensor:
        """What the kernel sees at each place of the output; (n, channels, *places, *kernel)."""
        layer = cast(Any, self.layer)
        n_axes = len(self.kernel)
        stride = layer.stride
        if isinstance(self.layer, TRANSPOSED):
            inputs = self._spread(inputs)
            stride = (1,) * n_axes
        else:
            both = layer._reversed_padding_repeated_twice
            mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
            inputs = functional.pad(inputs, both, mode=mode)
        for axis in range(n_axes):
            span = layer.dilation[axis] * (self.kernel[axis] - 1) + 1
            inputs = inputs.unfold(2 + axis, span, stride[axis])[..., :: layer.dilation[axis]]
        return inputs

    def _spread(self, inputs: Tensor) -> Tensor:
        """Inputs of a transposed convolution, with the zeros that make it a plain one."""
        layer = cast(Any, self.layer)
        sizes = [(n - 1) * s + 1 for n, s in zip(inputs.shape[2:], layer.stride, strict=True)]
        spread = inputs.new_zeros(*inputs.shape[:2], *sizes)
        strides: list[Any] = [slice(None, None, s) for s in layer.stride]
        spread[(slice(None), slice(None), *strides)] = inputs
        margins: list[int] = []
        for axis in reversed(range(len(self.kernel))):
            margin = layer.dilation[axis] * (self.kernel[axis] - 1) - layer.padding[axis]
            margins += [margin, margin + layer.output_padding[axis]]
        return functional.pad(spread, margins)


@dataclass(frozen=True)
class Moments:
    """What is known of the patches X of some channels of a group, as they are and as they should be.

    Attributes
    ----------
    second : (n_columns, n_columns)
        2 X'X / n; float64, float32 above 2,048 columns.
    drift : of the same kind, or None
        2 (Z - X)'X / n, of the patches Z as they should be; None where they are.
    mean, expected_mean : float64 (n_columns,)
        Of X and Z where they are taken off before, else 0.
    """

    second: Tensor
    drift: Tensor | None
    mean: Tensor
    expected_mean: Tensor

    @classmethod
    def of(
        cls,
        matrices: Matrices,
        inputs: Tensor,
        expected: Tensor | None,
        group: int,
        channels: slice,
        is_centred: bool,
    ) -> "Moments":
        """Sum over the patches of `inputs`, and of `expected`, inputs of the same shape."""
        n_columns = len(range(*channels.indices(matrices.n_inputs))) * prod(matrices.kernel)
        dtype = torch.float64 if n_columns <= EXACT_COLUMNS else torch.float32
        device = inputs.device
        second, drift = torch.zeros(2, n_columns, n_columns, dtype=dtype, device=device)
        sums = torch.zeros(2, n_columns, dtype=torch.float64, device=device)
        shift = torch.zeros(n_columns, dtype=inputs.dtype, device=device)
        n = 0
        both = inputs if expected is None else expected
        for found, due in zip(
            matrices.patches(inputs, group, channels),
            matrices.patches(both, group, channels),
            strict=True,
        ):
            if is_centred:  # by the first part's mean: no digits are lost to a large common part
                shift = found.mean(0) if n == 0 else shift
                found = found - shift
            second += found.T @ found
            sums[0] += found.sum(0)
            if expected is not None:
                due = due - shift
                drift += (due - found).T @ found
                sums[1] += due.sum(0)
            n += len(found)
        mean, expected_mean = sums / n if expected is not None else (sums[0] / n, sums[0] / n)
        if is_centred:
            second -= n * torch.outer(mean, mean).to(dtype)
            drift -= n * torch.outer(expected_mean - mean, mean).to(dtype)
            means = (mean + shift, expected_mean + shift)
        else:
            means = (torch.zeros_like(mean), torch.zeros_like(mean))
        return cls(second * (2 / n), None if expected is None else drift * (2 / n), *means)

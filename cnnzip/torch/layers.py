"""Layers whose weight is coded. They are made from plain layers by `model.compress`.

A coded layer is a plain module with a plain buffer: `weight` is the frame, uint8 of one dimension,
under the name of the weight it stands for, so that a model of plain layers refuses its state dict.
Everything else, bias and hooks included, is taken over from the plain layer.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnzip.errors import ArgumentError, located
from cnnzip.tensor import CodedTensor
from cnnzip.torch import ops  # noqa: F401 - registers the operators
from cnnzip.torch.frames import dense_of, dtype_of, parse

#: Key under which a state dict's metadata names the frame of a module.
FRAME = "cnnzip.frame"
#: What two modules must not share.
OWN = ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules")


class CodedLayer(nn.Module):
    """A layer whose weight is coded and frozen; inputs and bias receive gradients.

    Attributes
    ----------
    weight : uint8 (n_bytes,), a buffer
        The frame. `coded` is the weight that it holds.
    weight_shape, weight_dtype
        Of the plain weight. A frame that takes this one's place must have the same.
    """

    plain_type: ClassVar[type[nn.Module]]

    weight: Tensor
    weight_shape: tuple[int, ...]
    weight_dtype: torch.dtype

    @classmethod
    def of(cls, layer: nn.Module, frame: Tensor) -> Self:
        """Take everything but the weight from `layer`, a plain one or a coded one."""
        coded = parse(frame)
        self: Self = _twin(layer, cls)
        self.register_buffer("weight", frame)
        self.weight_shape, self.weight_dtype = coded.shape, dtype_of(coded)
        return self

    def plain(self, weight: nn.Parameter | None = None) -> nn.Module:
        """The plain layer, with the decoded weight or one that equals it."""
        layer: nn.Module = _twin(self, self.plain_type)
        del layer.weight_shape, layer.weight_dtype
        weight = nn.Parameter(self.dense()) if weight is None else weight
        layer._parameters = {"weight": weight, **layer._parameters}
        return layer

    @property
    def coded(self) -> CodedTensor:
        """The weight. Raises FormatError where the frame is damaged."""
        return parse(self.weight)

    def dense(self) -> Tensor:
        """The plain weight, decoded, on the frame's device."""
        return dense_of(self.coded).to(self.weight.device)

    def check(self, coded: CodedTensor) -> None:
        """Refuse a weight of another shape or type than this layer's."""
        if coded.shape != self.weight_shape or dtype_of(coded) != self.weight_dtype:
            raise ArgumentError(
                f"a {coded.dtype} weight of shape {coded.shape}, "
                f"this layer's is {self.weight_dtype} {self.weight_shape}"
            )

    def set_frame(self, frame: Tensor) -> None:
        """Put another frame into the buffer.

        It stays the same tensor, as a Parameter does when it is moved, so that layers that share it
        go on sharing it.
        """
        try:
            self.weight.data = frame
        except RuntimeError:  # from or to the meta device
            self.weight = frame

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        probe = torch.empty(0, dtype=self.weight_dtype, device=self.weight.device)
        dtype = fn(probe).dtype
        if dtype != self.weight_dtype:
            raise ArgumentError(
                f"{type(self).__name__}: coded {self.weight_dtype} weights cannot become {dtype}; "
                "cast the plain model and compress it again: cnnzip.compress("
                "cnnzip.decompress(packed).to(dtype)). Other layers may already have been cast"
            )
        frame = self._buffers.pop("weight")
        assert frame is not None
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            self._buffers["weight"] = frame
        self.set_frame(fn(frame))
        return self

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        metadata = getattr(destination, "_metadata", None)
        if metadata is not None:
            metadata[prefix[:-1]][FRAME] = "weight"

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        name = prefix + "weight"
        given = state_dict.get(name)
        if isinstance(given, Tensor):
            if given.dtype != torch.uint8 or given.ndim != 1:
                error_msgs.append(
                    f"{name}: a plain {given.dtype} tensor of shape {tuple(given.shape)}, the "
                    "layer is coded; load it into the plain model, then compress that"
                )
                return
            if not given.is_meta:
                with located(name):
                    coded = parse(given)
                try:
                    self.check(coded)
                except ArgumentError as error:
                    error_msgs.append(f"{name}: {error}")
                    return
                if given.shape != self.weight.shape:
                    self.set_frame(torch.empty_like(given, device=self.weight.device))
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )

    def extra_repr(self) -> str:
        """The plain layer's settings, then the weight's shape and what it takes."""
        settings = self.plain_type.extra_repr(self)
        if self.weight.is_meta:
            return f"{settings}, weight={self.weight_shape}"
        coded = self.coded
        return (
            f"{settings}, weight={self.weight_shape}, codec={coded.codec}, "
            f"bits_per_weight={coded.bits_per_weight:.3f}"
        )

    def _input(self, x: Tensor) -> Tensor:
        """The input in the weight's type; only autocast may have given it another."""
        if x.dtype == self.weight_dtype:
            return x
        if torch.is_autocast_enabled(x.device.type) and x.is_floating_point():
            return x.to(self.weight_dtype)
        raise ArgumentError(
            f"{type(self).__name__}: the input is {x.dtype}, the weights are {self.weight_dtype}; "
            "cast the input"
        )

    def _output(self, y: Tensor) -> Tensor:
        """The result in the type that the plain layer would give under autocast."""
        if torch.is_autocast_enabled(y.device.type) and y.dtype != torch.float64:
            return y.to(torch.get_autocast_dtype(y.device.type))
        return y


def _twin(layer: nn.Module, cls: type[nn.Module]) -> Any:
    """A module of another class with everything that `layer` holds but the weight.

    Hooks are shared, so that the handles that remove them still do.
    """
    twin = cls.__new__(cls)
    own = {key: copy.copy(vars(layer)[key]) for key in OWN}
    vars(twin).update(vars(layer) | own)
    twin._parameters.pop("weight", None)
    twin._buffers.pop("weight", None)
    return twin


class CodedLinear(CodedLayer):
    """`nn.Linear` that multiplies from the coded form."""

    plain_type = nn.Linear

    in_features: int
    out_features: int
    bias: nn.Parameter | None

    def forward(self, x: Tensor) -> Tensor:
        """``x W^T + bias``."""
        x = self._input(x)
        if x.shape[-1] != self.in_features:
            raise ArgumentError(
                f"CodedLinear: the input has shape {tuple(x.shape)}, not (..., {self.in_features})"
            )
        y: Tensor = torch.ops.cnnzip.linear(x, self.weight, self.out_features)
        return self._output(y if self.bias is None else y + self.bias)


class CodedEmbedding(CodedLayer):
    """`nn.Embedding` that decodes the rows that are looked up."""

    plain_type = nn.Embedding

    embedding_dim: int

    def forward(self, ids: Tensor) -> Tensor:
        """The rows of these numbers."""
        if ids.dtype not in (torch.int64, torch.int32):
            raise ArgumentError(f"CodedEmbedding: ids are int64 or int32, not {ids.dtype}")
        rows: Tensor = torch.ops.cnnzip.embedding(
            ids, self.weight, self.embedding_dim, self.weight_dtype
        )
        return rows


class CodedConv(CodedLayer):
    """Convolutions: the weight is dense during the call only."""

    in_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int
    padding_mode: str
    bias: nn.Parameter | None

    def forward(self, x: Tensor) -> Tensor:
        """As the plain layer."""
        return self._convolve(x, self.output_padding)

    def _convolve(self, x: Tensor, output_padding: tuple[int, ...]) -> Tensor:
        x = self._input(x)
        n_spatial = len(self.kernel_size)
        if (
            x.ndim not in (n_spatial + 1, n_spatial + 2)
            or x.shape[-n_spatial - 1] != self.in_channels
        ):
            raise ArgumentError(
                f"{type(self).__name__}: the input has shape {tuple(x.shape)}, not (batch,) "
                f"{self.in_channels} channels and {n_spatial} more axes"
            )
        before, after = self._margins()
        if self.padding_mode != "zeros":
            x = functional.pad(x, _for_pad(before, after), mode=self.padding_mode)
            before = (0,) * n_spatial
        elif before != after:  # an even kernel of padding "same": torch too pads the end first
            beyond = tuple(a - b for a, b in zip(after, before, strict=True))
            x = functional.pad(x, _for_pad((0,) * n_spatial, beyond))
        batched = x.ndim == n_spatial + 2
        y: Tensor = torch.ops.cnnzip.convolution(
            x if batched else x.unsqueeze(0),
            self.weight,
            self.weight_shape,
            self.bias,
            self.stride,
            before,
            self.dilation,
            self.transposed,
            output_padding,
            self.groups,
        )
        return self._output(y if batched else y.squeeze(0))

    def _margins(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Padding before and after, axis by axis."""
        if self.padding == "valid":
            return ((0,) * len(self.kernel_size),) * 2
        if isinstance(self.padding, str):  # "same"
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
        return self.padding, self.padding


def _for_pad(before: tuple[int, ...], after: tuple[int, ...]) -> list[int]:
    """Margins as `functional.pad` wants them, from the last axis on."""
    pairs = zip(reversed(before), reversed(after), strict=True)
    return [n for pair in pairs for n in pair]


class CodedConvTranspose(CodedConv):
    """Transposed convolutions."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """As the plain layer; `output_size` settles what the stride leaves open."""
        if output_size is None:
            return self._convolve(x, self.output_padding)
        n_spatial = len(self.kernel_size)
        (padding, _), missing = self._margins(), []
        for axis, size in enumerate(output_size[-n_spatial:]):
            n, k = x.shape[axis - n_spatial], self.kernel_size[axis]
            least = (
                (n - 1) * self.stride[axis] - 2 * padding[axis] + self.dilation[axis] * (k - 1) + 1
            )
            missing.append(size - least)
        possible = all(0 <= n < s for n, s in zip(missing, self.stride, strict=False))
        if len(output_size) not in (n_spatial, x.ndim) or not possible:
            raise ArgumentError(
                f"{type(self).__name__}: an input of shape {tuple(x.shape)} cannot give the output "
                f"size {list(output_size)}"
            )
        return self._convolve(x, tuple(missing))


class CodedConv1d(CodedConv):
    """`nn.Conv1d`."""

    plain_type = nn.Conv1d


class CodedConv2d(CodedConv):
    """`nn.Conv2d`."""

    plain_type = nn.Conv2d


class CodedConv3d(CodedConv):
    """`nn.Conv3d`."""

    plain_type = nn.Conv3d


class CodedConvTranspose1d(CodedConvTranspose):
    """`nn.ConvTranspose1d`."""

    plain_type = nn.ConvTranspose1d


class CodedConvTranspose2d(CodedConvTranspose):
    """`nn.ConvTranspose2d`."""

    plain_type = nn.ConvTranspose2d


class CodedConvTranspose3d(CodedConvTranspose):
    """`nn.ConvTranspose3d`."""

    plain_type = nn.ConvTranspose3d


#: Plain layers to coded ones. Of these types exactly: a subclass may do anything with its weight.
CODED: dict[type[nn.Module], type[CodedLayer]] = {
    cls.plain_type: cls
    for cls in (
        CodedLinear,
        CodedConv1d,
        CodedConv2d,
        CodedConv3d,
        CodedConvTranspose1d,
        CodedConvTranspose2d,
        CodedConvTranspose3d,
        CodedEmbedding,
    )
}

"""The operators ``torch.ops.cnnzip``: products and look-ups that take a weight as its frame.

    linear             y = x W^T, from the coded form        (MAT-1 to MAT-6, rounded to x's type)
    linear_transposed  x = y W, its gradient
    embedding          rows of W; streams that hold none of them are not decoded
    convolution        the weight is decoded for the length of the call, and again in backward
    decode             the plain weight

Gradients reach inputs and biases; weights are frozen. On devices other than the CPU the weight is
decoded on the host and moved there for the length of the call.

They are defined through `torch.library.Library`: an empty operator with gradients costs 6
microseconds a call, a `custom_op` without them 9.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnzip.codecs.lines import PANEL, LineCodec
from cnnzip.errors import ArgumentError
from cnnzip.tensor import CodedTensor
from cnnzip.torch.frames import dense_of, dtype_of, parse

_library: Any = torch.library.Library("cnnzip", "DEF")  # type: ignore[no-untyped-call]
_Ints = Sequence[int]


def _define(schema: str, act: Callable[..., Tensor], fake: Callable[..., Tensor]) -> None:
    name = schema.partition("(")[0]
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, act, "CompositeExplicitAutograd")
    torch.library.register_fake(f"cnnzip::{name}", fake, lib=_library)


def _differentiate(name: str, setup: Callable[..., None], backward: Callable[..., Any]) -> None:
    qualified = f"cnnzip::{name}"
    torch.library.register_autograd(qualified, backward, setup_context=setup, lib=_library)


def _weight(frame: Tensor, shape: _Ints, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Decode a frame that must hold this shape and type."""
    coded = parse(frame)
    if coded.shape != tuple(shape) or dtype_of(coded) != dtype:
        raise ArgumentError(
            f"the frame holds a {coded.dtype} tensor of shape {coded.shape}, "
            f"not {dtype} {tuple(shape)}"
        )
    return dense_of(coded).to(device)


# Products


def _product(x: Tensor, frame: Tensor, m: int, transpose: bool) -> Tensor:
    coded = parse(frame)
    arithmetic = torch.float64 if x.dtype == torch.float64 else _arithmetic(coded)
    if 0 in coded.shape:
        return x.new_zeros((*x.shape[:-1], m))
    shape = coded.coded.shape
    n, due = shape.n_columns, shape.n_rows
    if transpose:
        n, due = due, n
    if not x.is_floating_point() or x.shape[-1:] != (n,) or m != due:
        raise ArgumentError(
            f"x is {x.dtype} of shape {tuple(x.shape)}; a product with this "
            f"{'transposed ' * transpose}weight of shape {coded.shape} takes floats, from "
            f"(..., {n}) to (..., {due}), not to (..., {m})"
        )
    dtype, leading = x.dtype, x.shape[:-1]
    if x.requires_grad:
        x = x.detach()
    if x.device.type != "cpu" or not isinstance(coded.coded, LineCodec):
        weight = dense_of(coded).to(x.device, arithmetic).reshape(shape.n_rows, -1)
        return (x.to(arithmetic) @ (weight if transpose else weight.T)).to(dtype)
    if x.numel() == n:
        vector = x.to(arithmetic).reshape(n).contiguous().numpy()
        y = torch.from_numpy(coded.coded.multiply(vector, transpose)).view(*leading, m)
    else:
        rows = x.reshape(-1, n)
        product = coded.coded.multiply_panels(_to_panels(rows, arithmetic), transpose)
        y = _from_panels(product, rows.shape[0]).view(*leading, m)
    return y if dtype == arithmetic else y.to(dtype)


def _arithmetic(coded: CodedTensor) -> torch.dtype:
    arithmetic = coded.coded.shape.dtype.arithmetic
    if arithmetic is None:
        raise ArgumentError(f"{coded.dtype} weights have no product [MAT-2]")
    return torch.float64 if arithmetic == np.float64 else torch.float32


def _to_panels(rows: Tensor, dtype: torch.dtype) -> "np.ndarray[Any, Any]":
    """Lay out (n_rows, n) as (n_panels, n, 16), in one copy; zeros fill the last panel."""
    n_rows, n = rows.shape
    whole, rest = divmod(n_rows, PANEL)
    panels = torch.empty((whole + bool(rest), n, PANEL), dtype=dtype)
    panels[:whole].copy_(rows[: whole * PANEL].view(whole, PANEL, n).transpose(1, 2))
    if rest:
        panels[whole, :, :rest] = rows[whole * PANEL :].T
        panels[whole, :, rest:] = 0
    return panels.numpy()


def _from_panels(panels: "np.ndarray[Any, Any]", n_rows: int) -> Tensor:
    """Invert `_to_panels`."""
    rows = torch.from_numpy(panels).transpose(1, 2)
    return rows.reshape(-1, rows.shape[2])[:n_rows].contiguous()


def _linear(x: Tensor, frame: Tensor, out_features: int) -> Tensor:
    return _product(x, frame, out_features, transpose=False)


def _linear_transposed(y: Tensor, frame: Tensor, in_features: int) -> Tensor:
    return _product(y, frame, in_features, transpose=True)


def _fake_product(x: Tensor, frame: Tensor, m: int) -> Tensor:
    return x.new_empty((*x.shape[:-1], m))


def _setup_product(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, frame, _ = inputs
    ctx.save_for_backward(frame)
    ctx.n = x.shape[-1]


def _linear_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return torch.ops.cnnzip.linear_transposed(grad, ctx.saved_tensors[0], ctx.n), None, None


def _linear_transposed_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return torch.ops.cnnzip.linear(grad, ctx.saved_tensors[0], ctx.n), None, None


_define("linear(Tensor x, Tensor frame, SymInt out_features) -> Tensor", _linear, _fake_product)
_define(
    "linear_transposed(Tensor y, Tensor frame, SymInt in_features) -> Tensor",
    _linear_transposed,
    _fake_product,
)
_differentiate("linear", _setup_product, _linear_backward)
_differentiate("linear_transposed", _setup_product, _linear_transposed_backward)


# Decoding and look-up


def _decode(frame: Tensor, dtype: torch.dtype, shape: _Ints) -> Tensor:
    return _weight(frame, shape, dtype, frame.device)


def _fake_decode(frame: Tensor, dtype: torch.dtype, shape: _Ints) -> Tensor:
    return frame.new_empty(shape, dtype=dtype)


def _embedding(ids: Tensor, frame: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    coded = parse(frame)
    n_rows = coded.shape[0] if coded.shape else 0
    wanted, place = torch.unique(ids.detach().cpu(), return_inverse=True)
    if wanted.numel() and not 0 <= int(wanted[0]) <= int(wanted[-1]) < n_rows:
        raise IndexError(
            f"ids from {int(wanted[0])} to {int(wanted[-1])}, the embedding has {n_rows} rows"
        )
    if coded.shape != (n_rows, dim) or dtype_of(coded) != dtype:
        raise ArgumentError(
            f"the frame holds a {coded.dtype} tensor of shape {coded.shape}, "
            f"not {dtype} (..., {dim})"
        )
    return _rows(coded, wanted)[place].to(ids.device)


def _rows(coded: CodedTensor, wanted: Tensor) -> Tensor:
    """Rows by increasing number, decoding only the blocks that hold them where these are few."""
    codec = coded.coded
    if not isinstance(codec, LineCodec) or codec.lines.axis or not wanted.numel():
        return dense_of(coded)[wanted]
    ends = [block.stop * codec.lines.per_stream for block in codec.blocks]
    of_block = torch.bucketize(wanted, torch.tensor(ends), right=True)
    touched, n_each = torch.unique_consecutive(of_block, return_counts=True)
    if 2 * touched.numel() > len(ends):
        return dense_of(coded)[wanted]
    rows = torch.empty((wanted.numel(), coded.shape[1]), dtype=dtype_of(coded))
    at = 0
    for n in n_each.tolist():
        here = wanted[at : at + n]
        first, last = int(here[0]), int(here[-1])
        run = torch.from_numpy(codec.decode_rows(first, last + 1)).view(rows.dtype)
        rows[at : at + n] = run.reshape(last + 1 - first, -1)[here - first]
        at += n
    return rows


def _fake_embedding(ids: Tensor, frame: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    return ids.new_empty((*ids.shape, dim), dtype=dtype)


_define("decode(Tensor frame, ScalarType dtype, SymInt[] shape) -> Tensor", _decode, _fake_decode)
_define(
    "embedding(Tensor ids, Tensor frame, SymInt dim, ScalarType dtype) -> Tensor",
    _embedding,
    _fake_embedding,
)


# Convolution


def _convolution(
    x: Tensor, frame: Tensor, weight_shape: _Ints, bias: Tensor | None, *settings: Any
) -> Tensor:
    weight = _weight(frame, weight_shape, x.dtype, x.device)
    y: Tensor = torch.ops.aten.convolution.default(x, weight, bias, *settings)
    return y


def _fake_convolution(
    x: Tensor,
    frame: Tensor,
    weight_shape: _Ints,
    bias: Tensor | None,
    *settings: Any,
) -> Tensor:
    weight = x.new_empty(weight_shape)
    y: Tensor = torch.ops.aten.convolution.default(x, weight, bias, *settings)
    return y


def _setup_convolution(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, frame, ctx.weight_shape, _, *ctx.settings = inputs
    ctx.save_for_backward(frame)  # neither x nor the plain weight: the graph stays small
    ctx.size = x.shape[2:]


def _convolution_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradient is the transposed convolution with the same weight, and the reverse."""
    grad_x = grad_bias = None
    if ctx.needs_input_grad[0]:
        stride, padding, dilation, transposed, _, groups = ctx.settings
        missing = [0] * len(stride)
        if not transposed:
            missing = [  # rows of x that the stride left over
                n - ((out - 1) * s - 2 * p + d * (k - 1) + 1)
                for n, out, s, p, d, k in zip(
                    ctx.size,
                    grad.shape[2:],
                    stride,
                    padding,
                    dilation,
                    ctx.weight_shape[2:],
                    strict=True,
                )
            ]
        grad_x = torch.ops.cnnzip.convolution(
            grad, ctx.saved_tensors[0], ctx.weight_shape, None,
            stride, padding, dilation, not transposed, missing, groups,
        )  # fmt: skip
        for axis, n in enumerate(ctx.size, 2):  # longer where output_padding exceeds the stride
            grad_x = grad_x.narrow(axis, 0, n)
    if ctx.needs_input_grad[3]:
        grad_bias = grad.sum([0, *range(2, grad.ndim)])
    return grad_x, None, None, grad_bias, *[None] * 6


_define(
    "convolution(Tensor x, Tensor frame, SymInt[] weight_shape, Tensor? bias, SymInt[] stride, "
    "SymInt[] padding, SymInt[] dilation, bool transposed, SymInt[] output_padding, SymInt groups) "
    "-> Tensor",
    _convolution,
    _fake_convolution,
)
_differentiate("convolution", _setup_convolution, _convolution_backward)

"""What a file holds beside the weights: biases, and what normalizations multiply and add."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import ParametrizationList

from cnnzip.errors import ArgumentError
from cnnzip.tuning.parametrizations import OURS, adopt, copied


def shorten(model: nn.Module, bits: int = 8, inplace: bool = False) -> nn.Module:
    """Give biases and normalizations fewer digits, and batch normalizations no statistics.

    In small networks these take as much of a file as the weights do. The last step before `save`:
    the running mean and variance become 0 and 1, their effect a part of weight and bias, so that
    the model computes the same in eval mode, up to rounding, and not in train mode.

    Parameters
    ----------
    bits : int
        Significant bits of each number, from 1 to 24. 8 change logits by some thousandths.
    inplace : bool
        Whether `model` becomes the result.

    Raises
    ------
    ArgumentError
        `bits` is out of range.
    """
    if not 1 <= bits <= 24:
        raise ArgumentError(f"bits: {bits}; give significant bits from 1 to 24, such as 8")
    short = copied(model)
    with torch.no_grad():
        for module in short.modules():
            if isinstance(module, _BatchNorm) and module.affine:
                _fold_statistics(module)
            if isinstance(module, (ParametrizationList, *OURS)):
                continue
            for parameter in module._parameters.values():
                if parameter is not None and parameter.ndim <= 1 and parameter.is_floating_point():
                    parameter.copy_(_rounded(parameter, bits))
    return adopt(model, short, inplace)


def _fold_statistics(norm: _BatchNorm) -> None:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    norm.bias.sub_(scale * mean)
    norm.weight.copy_(scale * (1 + norm.eps) ** 0.5)
    norm.reset_running_stats()


def _rounded(numbers: Tensor, bits: int) -> Tensor:
    mantissa, exponent = torch.frexp(numbers)
    return torch.ldexp(torch.round(mantissa * 2**bits), exponent - bits)

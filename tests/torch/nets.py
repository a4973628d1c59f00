"""Small networks as pruning and quantization leave them."""

import torch
from torch import Tensor, nn


def pruned(model: nn.Module, kept: float = 0.3, seed: int = 0) -> nn.Module:
    """Give every parameter of two dimensions and more few values, most of them zero; in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                levels = torch.randint(1, 5, parameter.shape, generator=generator)
                signs = torch.randint(0, 2, parameter.shape, generator=generator) * 2 - 1
                mask = torch.rand(parameter.shape, generator=generator) < kept
                parameter.copy_(levels * signs * mask / 8)
    return model


def convnet() -> nn.Module:
    return pruned(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 4, 3, stride=2),
            nn.Flatten(),
            nn.Linear(4 * 17 * 17, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        )
    )


def same_state(a: nn.Module, b: nn.Module) -> bool:
    """Whether two plain models have equal state dicts, with the same names in the same order."""
    one, other = a.state_dict(), b.state_dict()
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def near(found: Tensor, expected: Tensor) -> bool:
    """Whether two sums of the same terms agree, whatever their order."""
    scale = float(expected.detach().abs().max()) if expected.numel() else 0.0
    return found.shape == expected.shape and torch.allclose(
        found, expected, rtol=1e-5, atol=1e-5 * max(scale, 1e-30)
    )

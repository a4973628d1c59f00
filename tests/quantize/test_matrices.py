import pytest
import torch
from torch import nn

from cnnzip.quantize import matrices as module
from cnnzip.quantize.matrices import Matrices, Moments

LAYERS = [
    (nn.Linear(5, 3), (2, 7, 5)),
    (nn.Conv1d(3, 5, 4, padding="same", padding_mode="circular"), (2, 3, 9)),
    (nn.Conv2d(4, 6, 3, 2, 1, dilation=2, groups=2), (5, 4, 9, 11)),
    (nn.Conv2d(1, 8, 3, padding=1, padding_mode="reflect"), (1, 8, 8)),
    (nn.Conv2d(6, 6, 3, groups=6), (2, 6, 5, 5)),
    (nn.Conv3d(2, 4, (1, 2, 3)), (2, 2, 4, 5, 6)),
    (nn.ConvTranspose1d(3, 5, 4, 3, padding=2), (2, 3, 7)),
    (nn.ConvTranspose1d(2, 2, 1, padding=1), (1, 2, 6)),
    (nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2, dilation=2), (2, 4, 5, 6)),
    (nn.ConvTranspose3d(2, 4, 2, 2), (2, 2, 3, 3, 3)),
]


@pytest.fixture(params=LAYERS, ids=lambda pair: type(pair[0]).__name__)
def case(request):
    layer, shape = request.param
    draws = torch.Generator().manual_seed(0)
    return layer.double(), torch.randn(shape, generator=draws, dtype=torch.float64)


@pytest.mark.parametrize("patch_bytes", [1 << 10, 1 << 27])
def test_a_layer_is_the_product_of_its_matrix_and_patches(case, patch_bytes, monkeypatch):
    monkeypatch.setattr(module, "PATCH_BYTES", patch_bytes)
    layer, inputs = case
    matrices = Matrices.of(layer)
    matrix = matrices.to_matrix(layer.weight.detach())
    rows = [
        torch.cat(list(matrices.patches(inputs, group, slice(None)))) @ matrix[group].T
        for group in range(matrices.n_groups)
    ]
    found = torch.cat(rows, dim=1) + layer.bias
    outputs = layer(inputs)
    if matrices.kernel:
        batched = outputs if outputs.ndim == len(matrices.kernel) + 2 else outputs[None]
        outputs = batched.movedim(1, -1)
    torch.testing.assert_close(found, outputs.reshape(found.shape).detach())


def test_a_weight_comes_back_from_its_matrix(case):
    layer, _ = case
    matrices = Matrices.of(layer)
    assert torch.equal(matrices.to_weight(matrices.to_matrix(layer.weight)), layer.weight)


@pytest.mark.parametrize("is_centred", [False, True])
def test_moments_are_those_of_the_patches(case, is_centred):
    layer, inputs = case
    matrices = Matrices.of(layer)
    inputs = inputs + 3
    expected = inputs.flip(0) * 2 + 1
    moments = Moments.of(matrices, inputs, expected, 0, slice(0, 1), is_centred)
    x, z = (torch.cat(list(matrices.patches(t, 0, slice(0, 1)))) for t in (inputs, expected))
    if is_centred:
        torch.testing.assert_close(moments.mean, x.mean(0))
        torch.testing.assert_close(moments.expected_mean, z.mean(0))
        x, z = x - x.mean(0), z - z.mean(0)
    torch.testing.assert_close(moments.second, 2 * x.T @ x / len(x))
    torch.testing.assert_close(moments.drift, 2 * (z - x).T @ x / len(x))
    alone = Moments.of(matrices, inputs, None, 0, slice(0, 1), is_centred)
    assert alone.drift is None
    torch.testing.assert_close(alone.second, moments.second)

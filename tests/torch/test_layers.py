"""Coded layers beside the plain layers that they were made from."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import cnnzip.torch
from cnnzip.errors import ArgumentError, CorruptError
from cnnzip.torch import CodedLayer, CodedLinear
from cnnzip.torch.layers import CODED, FRAME
from tests.torch.nets import convnet, near, pruned, same_state

LAYERS = {
    "linear": (lambda: nn.Linear(40, 24), (3, 40)),
    "linear, no bias": (lambda: nn.Linear(40, 24, bias=False), (2, 5, 40)),
    "linear, one vector": (lambda: nn.Linear(40, 24), (40,)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), (2, 4, 11)),
    "conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), padding=(1, 0), dilation=(1, 2), bias=False), (2, 4, 9, 8)),
    "conv2d, one image": (lambda: nn.Conv2d(4, 6, 3), (4, 9, 8)),
    "conv2d, depthwise": (lambda: nn.Conv2d(8, 16, 3, groups=8), (2, 8, 9, 8)),
    "conv3d": (lambda: nn.Conv3d(2, 4, 3, stride=(1, 2, 1), groups=2), (1, 2, 5, 6, 7)),
    "same": (lambda: nn.Conv2d(4, 6, 3, dilation=2, padding="same"), (2, 4, 9, 8)),
    "same, even kernel": (lambda: nn.Conv2d(4, 6, (4, 3), padding="same"), (2, 4, 9, 8)),
    "same, even kernel, one signal": (lambda: nn.Conv1d(4, 6, 4, padding="same"), (4, 9)),
    "same, even kernel, reflect": (
        lambda: nn.Conv2d(4, 6, (4, 3), padding="same", padding_mode="reflect"), (2, 4, 9, 8)),
    "valid": (lambda: nn.Conv2d(4, 6, 3, padding="valid"), (2, 4, 9, 8)),
    "circular": (lambda: nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="circular"), (2, 4, 9, 8)),
    "reflect": (lambda: nn.Conv1d(4, 6, 3, padding=2, padding_mode="reflect"), (2, 4, 9)),
    "replicate": (lambda: nn.Conv3d(2, 4, 3, padding=1, padding_mode="replicate"), (1, 2, 5, 6, 7)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1), (2, 4, 7)),
    "transposed 2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=(2, 3), padding=1, groups=2), (2, 4, 5, 6)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 3, 2, dilation=2, bias=False), (1, 2, 3, 4, 5)),
    "transposed 2d, one image": (lambda: nn.ConvTranspose2d(4, 6, 3), (4, 5, 6)),
}  # fmt: skip


def pair(make, codec="ham"):
    plain = pruned(make())
    return plain, cnnzip.torch.compress(plain, codec=codec)


@pytest.mark.parametrize(("make", "size"), LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("codec", ["raw", "index-map", "ham", "sham", "fast"])
def test_results_and_gradients_are_the_plain_layers(make, size, codec):
    plain, packed = pair(make, codec)
    assert type(packed) is CODED[type(plain)]
    ours, theirs = torch.randn(size).requires_grad_(), None
    theirs = ours.detach().clone().requires_grad_()
    found, expected = packed(ours), plain(theirs)
    same = near if isinstance(packed, CodedLinear) else torch.equal
    assert same(found, expected)
    upstream = torch.randn_like(expected)
    found.backward(upstream)
    expected.backward(upstream)
    assert near(ours.grad, theirs.grad)
    if plain.bias is not None:
        assert near(packed.bias.grad, plain.bias.grad)
    assert same_state(packed.plain(), plain)


@pytest.mark.parametrize("shape", [(2, 4, 9, 9), (4, 9, 9)])
def test_channels_last_inputs(shape):
    plain, packed = pair(lambda: nn.Conv2d(4, 6, 3))
    x = torch.randn(shape).movedim(-3, -1).contiguous().movedim(-1, -3)
    assert torch.equal(packed(x), plain(x))


def test_output_size_of_a_transposed_convolution():
    plain, packed = pair(lambda: nn.ConvTranspose2d(4, 6, 3, stride=(2, 3), padding=1))
    x = torch.randn(2, 4, 5, 6)
    for size in ([9, 16], [10, 18], [2, 6, 10, 17]):
        assert torch.equal(packed(x, size), plain(x, size))
    for size in ([8, 16], [11, 16], [9], [1, 9, 16]):
        with pytest.raises(ArgumentError, match="output size"):
            packed(x, size)


def test_embedding():
    plain = pruned(nn.Embedding(50, 8, padding_idx=3))
    packed = cnnzip.torch.compress(plain)
    ids = torch.randint(0, 50, (4, 6))
    assert torch.equal(packed(ids), plain(ids))
    assert packed.padding_idx == 3
    with pytest.raises(ArgumentError, match="int64"):
        packed(torch.randn(3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_of_floats(dtype):
    plain = pruned(
        nn.Sequential(nn.Linear(24, 16), nn.Unflatten(1, (4, 4)), nn.Conv1d(4, 3, 3))
    ).to(dtype)
    packed = cnnzip.torch.compress(plain)
    x = torch.randn(3, 24).to(dtype)
    assert packed(x).dtype == dtype
    assert torch.allclose(packed(x), plain(x), rtol=0.02, atol=0.02)


# Plain modules with plain buffers


def test_deepcopy_pickle_and_state_dict_keep_the_layers():
    packed = cnnzip.torch.compress(convnet())
    x = torch.randn(2, 3, 8, 8)
    packed(x)
    packed.eval()
    twin = cnnzip.torch.compress(pruned(convnet(), seed=3)).eval()
    assert not torch.equal(twin(x), packed(x))
    lengths = [len(layer.weight) for layer in twin if isinstance(layer, CodedLayer)]
    assert lengths != [len(layer.weight) for layer in packed if isinstance(layer, CodedLayer)]
    twin.load_state_dict(packed.state_dict())
    for other in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed)), twin):
        assert torch.equal(other(x), packed(x))
        assert not other.training
        assert other[0].weight.data_ptr() != packed[0].weight.data_ptr()


def test_a_state_dict_survives_torch_save():
    packed = cnnzip.torch.compress(convnet())
    file = io.BytesIO()
    torch.save(packed.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state._metadata["0"][FRAME] == "weight"
    twin = cnnzip.torch.compress(pruned(convnet(), seed=3))
    twin.load_state_dict(state)
    assert same_state(cnnzip.torch.decompress(twin), cnnzip.torch.decompress(packed))


def test_a_plain_model_refuses_a_coded_state_dict_and_the_reverse():
    plain = convnet()
    packed = cnnzip.torch.compress(plain)
    with pytest.raises(RuntimeError, match="size mismatch"):
        convnet().load_state_dict(packed.state_dict(), strict=False)
    with pytest.raises(RuntimeError, match=r"0\.weight: a plain torch.float32 tensor"):
        packed.load_state_dict(plain.state_dict())


def test_a_frame_of_another_shape_type_or_damaged_is_refused():
    packed = cnnzip.torch.compress(pruned(nn.Linear(40, 24)))
    before = packed.dense()
    for other in (pruned(nn.Linear(24, 40)), pruned(nn.Linear(40, 24)).double()):
        with pytest.raises(RuntimeError, match=r"this layer's is torch\.float32"):
            packed.load_state_dict(cnnzip.torch.compress(other).state_dict())
    damaged = copy.deepcopy(packed.state_dict())
    damaged["weight"][-20] ^= 4
    with pytest.raises(CorruptError, match="weight: "):
        packed.load_state_dict(damaged)
    assert torch.equal(packed.dense(), before)


def test_load_state_dict_assigns_to_the_meta_device():
    packed = cnnzip.torch.compress(convnet()).eval()
    empty = copy.deepcopy(packed).to("meta")
    repr(empty)
    empty.load_state_dict(packed.state_dict(), assign=True)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(empty(x), packed(x))


def test_moves_keep_tied_frames_tied():
    first = pruned(nn.Linear(8, 8))
    second = nn.Linear(8, 8)
    second.weight = first.weight
    packed = cnnzip.torch.compress(nn.Sequential(first, second))
    longer = cnnzip.torch.compress(nn.Sequential(pruned(nn.Linear(8, 8), kept=0.9)), codec="ham")
    assert len(longer[0].weight) != len(packed[0].weight)
    state = dict(packed.state_dict())
    state["0.weight"] = state["1.weight"] = longer[0].weight
    for change in (
        lambda: packed.to(torch.device("cpu")),
        packed.share_memory,
        lambda: packed.load_state_dict(state),
        lambda: pickle.loads(pickle.dumps(packed)),
    ):
        changed = change()
        model = changed if isinstance(changed, nn.Module) else packed
        assert model[0].weight is model[1].weight
    assert torch.equal(packed[1].dense(), longer[0].dense())


def test_casts_and_other_inputs_are_refused_with_advice():
    packed = cnnzip.torch.compress(pruned(nn.Linear(40, 24)))
    for cast in (packed.half, packed.double, lambda: packed.to(torch.bfloat16)):
        with pytest.raises(ArgumentError, match="decompress"):
            cast()
    packed.float().cpu().to(torch.float32)
    with pytest.raises(
        ArgumentError, match=r"input is torch.float16, the weights are torch.float32"
    ):
        packed(torch.randn(40).half())
    with pytest.raises(ArgumentError, match=r"shape \(3, 41\)"):
        packed(torch.randn(3, 41))
    with pytest.raises(ArgumentError, match="channels"):
        cnnzip.torch.compress(pruned(nn.Conv2d(4, 8, 3)))(torch.randn(3, 8, 8))


def test_autocast_gives_the_types_that_plain_layers_give():
    plain = convnet().eval()
    packed = cnnzip.torch.compress(plain)
    x = torch.randn(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = packed(x), plain(x)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert torch.allclose(found, expected, rtol=0.1, atol=0.5)


def test_repr_names_shape_codec_and_bits():
    text = repr(cnnzip.torch.compress(pruned(nn.Linear(40, 24)), codec="sham"))
    assert "in_features=40, out_features=24, bias=True" in text
    assert "weight=(24, 40), codec=sham, bits_per_weight=" in text


def test_hooks_and_attributes_go_over():
    plain = pruned(nn.Linear(40, 24))
    plain.note = "mine"
    seen = []
    handle = plain.register_forward_hook(lambda *_: seen.append(1))
    packed = cnnzip.torch.compress(plain, inplace=True)
    packed(torch.randn(40))
    handle.remove()
    packed(torch.randn(40))
    assert seen == [1]
    assert packed.note == "mine"
    assert packed.plain().note == "mine"
    assert not hasattr(packed.plain(), "weight_shape")


def test_only_the_bias_is_trained():
    packed = cnnzip.torch.compress(pruned(nn.Linear(40, 24)))
    assert [name for name, _ in packed.named_parameters()] == ["bias"]
    optimizer = torch.optim.SGD(packed.parameters(), 0.1)
    before = packed.bias.detach().clone()
    packed(torch.randn(3, 40)).sum().backward()
    optimizer.step()
    assert torch.allclose(packed.bias, before - 0.3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_layers_run_on_a_gpu():
    plain = convnet().eval()
    packed = cnnzip.torch.compress(plain).cuda()
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(packed(x.cuda()).cpu(), plain(x), rtol=1e-3, atol=1e-3)
    assert torch.equal(packed.cpu()(x), cnnzip.torch.compress(plain)(x))

"""The operators: against plain torch, against `CodedTensor`, and against torch's own rules."""

import gc
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnzip.torch
from cnnzip.errors import ArgumentError, ChecksumError, CorruptError
from cnnzip.tensor import CodedTensor, encode
from cnnzip.torch import frames
from cnnzip.torch.frames import frame_of, parse
from tests.torch.nets import near, pruned

CODECS = ("raw", "index-map", "ham", "sham", "fast")
op = torch.ops.cnnzip


def weight(*shape, dtype=torch.float32, seed=0):
    return pruned(nn.ParameterList([torch.zeros(shape)]), seed=seed)[0].detach().to(dtype)


def frame(plain, codec="auto"):
    return frame_of(encode(plain, codec))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("leading", [(), (1,), (3,), (16,), (2, 9), (5, 1, 7), (0,)], ids=str)
def test_linear_is_the_plain_product(codec, leading):
    W = weight(24, 40)
    x = torch.randn(*leading, 40)
    assert near(op.linear(x, frame(W, codec), 24), x @ W.T)
    y = torch.randn(*leading, 24)
    assert near(op.linear_transposed(y, frame(W, codec), 40), y @ W)


@pytest.mark.parametrize("codec", ["index-map", "ham", "sham", "fast"])
def test_linear_is_to_the_bit_what_a_coded_tensor_gives(codec):
    W, X = encode(weight(24, 40), codec), torch.randn(40, 21)
    assert torch.equal(op.linear(X.T, frame_of(W), 24), W.matmat(X).T)
    assert torch.equal(op.linear(X[:, 0], frame_of(W), 24), W.matvec(X[:, 0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_small_floats_are_summed_in_float32_and_rounded_once(dtype):
    W, x = weight(24, 40, dtype=dtype), torch.randn(5, 40).to(dtype)
    expected = encode(W.float()).matmat(x.float().T.contiguous()).T.to(dtype)
    y = op.linear(x, frame(W), 24)
    assert y.dtype == dtype
    assert torch.equal(y, expected)


def test_a_float64_input_is_summed_in_float64():
    W, x = weight(24, 40), torch.randn(3, 40, dtype=torch.float64)
    assert torch.allclose(op.linear(x, frame(W), 24), x @ W.double().T, rtol=1e-14)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_empty_weights_multiply(shape):
    W = torch.zeros(shape)
    x = torch.randn(3, shape[1])
    assert torch.equal(op.linear(x, frame(W), shape[0]), x @ W.T)


def test_inputs_of_any_strides_are_taken():
    W, x = weight(24, 40), torch.randn(40, 6)
    assert near(op.linear(x.T, frame(W), 24), x.T @ W.T)
    assert near(op.linear(x[:, :1].T.expand(4, 40), frame(W), 24), x[:, :1].T.expand(4, 40) @ W.T)
    assert near(op.linear(x[:, 2], frame(W), 24), x[:, 2] @ W.T)


@pytest.mark.parametrize("codec", CODECS)
def test_gradients_of_linear_twice_over(codec):
    W = weight(6, 5, dtype=torch.float64)
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    coded = frame(W, codec)
    assert torch.autograd.gradcheck(lambda x: op.linear(x, coded, 6), x)
    assert torch.autograd.gradgradcheck(lambda x: op.linear(x, coded, 6), x)


def test_misfits_are_refused():
    coded = frame(weight(24, 40))
    for x, out_features in (
        (torch.randn(3, 41), 24),
        (torch.randn(3, 40), 25),
        (torch.ones(3, 40, dtype=torch.int64), 24),
        (torch.tensor(1.0), 24),
    ):
        with pytest.raises(ArgumentError, match="shape"):
            op.linear(x, coded, out_features)
    with pytest.raises(ArgumentError, match="uint8"):
        op.linear(torch.randn(3, 40), weight(24, 40), 24)
    with pytest.raises(ArgumentError, match="float32"):
        op.decode(coded, torch.float16, [24, 40])
    with pytest.raises(ArgumentError, match="float32"):
        op.decode(coded, torch.float32, [40, 24])


def test_decode_gives_the_weight():
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.bool):
        plain = weight(7, 3, 2).mul(8).to(dtype)
        assert torch.equal(op.decode(frame(plain), dtype, [7, 3, 2]), plain)
    assert op.decode(frame(torch.tensor(2.5)), torch.float32, []) == 2.5


@pytest.mark.parametrize("codec", CODECS)
def test_embedding_is_the_plain_look_up(codec):
    W = weight(3000, 64)
    coded = frame(W, codec)
    for ids in (
        torch.randint(0, 3000, (4, 200)),
        torch.tensor([2999, 0, 2999, 7]),
        torch.tensor(1234),
        torch.zeros(0, dtype=torch.int64),
        torch.tensor([[5]], dtype=torch.int32),
    ):
        assert torch.equal(
            op.embedding(ids, coded, 64, torch.float32), functional.embedding(ids, W)
        )
    for wrong in (-1, 3000):
        with pytest.raises(IndexError, match="3000 rows"):
            op.embedding(torch.tensor([1, wrong]), coded, 64, torch.float32)


CONVOLUTIONS = {
    "plain": ((2, 4, 9, 8), (6, 4, 3, 3), [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    "strided": ((2, 4, 9, 8), (6, 4, 3, 2), [2, 3], [1, 0], [1, 2], False, [0, 0], 1),
    "grouped": ((2, 4, 9, 8), (6, 2, 3, 3), [2, 1], [1, 1], [1, 1], False, [0, 0], 2),
    "one axis": ((2, 4, 11), (6, 4, 3), [3], [1], [2], False, [0], 1),
    "three axes": ((1, 2, 5, 4, 6), (4, 1, 2, 3, 3), [1, 2, 1], [0, 1, 1], [1] * 3, False, [0] * 3, 2),
    "transposed": ((2, 4, 5, 6), (4, 3, 3, 3), [2, 3], [1, 0], [1, 1], True, [1, 2], 1),
    "transposed, grouped": ((2, 4, 5, 6), (4, 3, 3, 2), [2, 1], [0, 1], [2, 2], True, [0, 0], 2),
    "padded beyond the stride": ((2, 4, 5), (4, 3, 3), [1], [0], [3], True, [2], 1),
}  # fmt: skip


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("codec", ["raw", "ham"])
def test_convolution_and_its_gradients_are_the_plain_ones(case, codec):
    size, shape, *settings = case
    W = weight(*shape)
    coded = frame(W, codec)
    channels = shape[1] * settings[-1] if settings[3] else shape[0]
    x, bias = torch.randn(size, requires_grad=True), torch.randn(channels, requires_grad=True)
    expected = torch.ops.aten.convolution(x, W, bias, *settings)
    found = op.convolution(x, coded, shape, bias, *settings)
    assert torch.equal(found, expected)
    upstream = torch.randn_like(expected)
    plain_grads = torch.autograd.grad(expected, (x, bias), upstream)
    for ours, plain in zip(
        torch.autograd.grad(found, (x, bias), upstream), plain_grads, strict=True
    ):
        assert near(ours, plain)


def test_a_training_graph_keeps_no_plain_weight():
    coded = frame(weight(64, 32, 3, 3))
    x = torch.randn(1, 32, 5, 5, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        op.convolution(x, coded, (64, 32, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    assert [t.data_ptr() for t in kept] == [coded.data_ptr()]


def test_double_gradients_of_convolution():
    coded = frame(weight(4, 3, 3, dtype=torch.float64))
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)

    def convolve(x):
        return op.convolution(x, coded, (4, 3, 3), None, [2], [1], [1], False, [0], 1)

    assert torch.autograd.gradgradcheck(convolve, x)


OPERATIONS = {
    "linear": (op.linear, lambda c: (torch.randn(2, 3, 16, requires_grad=True), frame(weight(8, 16), c), 8)),
    "linear of a vector": (op.linear, lambda c: (torch.randn(16, requires_grad=True), frame(weight(8, 16), c), 8)),
    "linear of many": (op.linear, lambda c: (torch.randn(40, 16, requires_grad=True), frame(weight(8, 16), c), 8)),
    "linear_transposed": (
        op.linear_transposed, lambda c: (torch.randn(3, 8, requires_grad=True), frame(weight(8, 16), c), 16)),
    "decode": (op.decode, lambda c: (frame(weight(8, 16), c), torch.float32, [8, 16])),
    "embedding": (op.embedding, lambda c: (torch.tensor([[1, 7], [0, 1]]), frame(weight(8, 16), c), 16, torch.float32)),
    "convolution": (
        op.convolution,
        lambda c: (
            torch.randn(2, 4, 7, 7, requires_grad=True), frame(weight(6, 2, 3, 3), c), [6, 2, 3, 3],
            torch.randn(6, requires_grad=True), [2, 2], [1, 1], [1, 1], False, [0, 0], 2,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("codec", ["raw", "sham"])
def test_opcheck_passes(operation, codec):
    act, arguments = operation
    torch.library.opcheck(act, arguments(codec))


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 12)
        self.conv = nn.Conv1d(12, 8, 3, padding="same")
        self.up = nn.ConvTranspose1d(8, 6, 2, stride=2)
        self.head = nn.Linear(6, 5)

    def forward(self, ids):
        return self.head(self.up(self.conv(self.embed(ids).mT)).mT)


def everything():
    return cnnzip.torch.compress(pruned(Everything()), codec="sham")


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_of_the_full_graph(backend):
    torch._dynamo.reset()
    packed = everything()
    compiled = torch.compile(packed, fullgraph=True, backend=backend)
    for batch in (1, 3, 4):
        ids = torch.randint(0, 20, (batch, 7))
        assert near(compiled(ids), packed(ids))
    compiled(ids).sum().backward()
    bias = packed.head.bias.grad.clone()
    packed.zero_grad()
    packed(ids).sum().backward()
    assert near(bias, packed.head.bias.grad)


def test_frames_are_parsed_once(monkeypatch):
    torch._dynamo.reset()
    packed = everything()
    n_parsed = []
    read = CodedTensor.from_frame
    monkeypatch.setattr(CodedTensor, "from_frame", lambda *a: n_parsed.append(1) or read(*a))
    frames._known.clear()
    compiled = torch.compile(packed, fullgraph=True, backend="aot_eager")
    exported = torch.export.export(packed, (torch.zeros(2, 7, dtype=torch.int64),)).module()
    for run in (packed, compiled, exported):
        run(torch.zeros(2, 7, dtype=torch.int64))
        n_first = len(n_parsed)
        run(torch.zeros(2, 7, dtype=torch.int64))
        assert len(n_parsed) == n_first


LOAD = """
import sys, torch, cnnzip.torch
program = torch.export.load(sys.argv[1]).module()
ids, expected = torch.load(sys.argv[2])
assert torch.allclose(program(ids), expected, atol=1e-6), (program(ids) - expected).abs().max()
"""


def test_an_exported_program_runs_in_a_fresh_process(tmp_path):
    packed = everything()
    batch = torch.export.Dim("batch")
    ids = torch.randint(0, 20, (4, 7))
    program = torch.export.export(packed, (ids,), dynamic_shapes=({0: batch},))
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert sum(target.startswith("cnnzip.") for target in targets) == 4
    torch.export.save(program, tmp_path / "packed.pt2")
    ids = torch.randint(0, 20, (9, 7))
    torch.save((ids, packed(ids).detach()), tmp_path / "case.pt")
    command = [sys.executable, "-c", LOAD, tmp_path / "packed.pt2", tmp_path / "case.pt"]
    subprocess.run(command, check=True)


# The cache of parsed frames


def test_a_damaged_frame_is_refused():
    coded = frame(weight(24, 40))
    for at in (0, 20, coded.numel() // 2, coded.numel() - 1):
        damaged = coded.clone()
        damaged[at] ^= 1
        with pytest.raises(CorruptError):
            op.linear(torch.randn(40), damaged, 24)


def test_a_frame_that_is_written_to_is_parsed_anew():
    A, B = weight(24, 40), weight(24, 40, seed=1)
    x = torch.eye(40)
    for write in (
        lambda coded, other: coded.copy_(other),
        lambda coded, other: coded.data.copy_(other),
        lambda coded, other: coded.set_(other.clone()),
    ):
        coded = frame(A, "index-map")
        assert torch.equal(op.linear(x, coded, 24), A.T)
        write(coded, frame(B, "index-map"))
        assert torch.equal(op.linear(x, coded, 24), B.T)
    coded[-9] ^= 1
    with pytest.raises(ChecksumError):
        op.linear(x, coded, 24)


def test_a_frame_in_shared_memory_is_parsed_anew():
    W = weight(24, 40)
    coded = frame(W)
    x = torch.eye(40)
    op.linear(x, coded, 24)
    coded.share_memory_()
    assert torch.equal(op.linear(x, coded, 24), W.T)


def test_inference_tensors_are_taken():
    with torch.inference_mode():
        A, B = weight(24, 40), weight(24, 40, seed=1)
        coded = frame(A, "index-map").clone()
        assert coded.is_inference()
        assert torch.equal(op.linear(torch.eye(40), coded, 24), A.T)
        coded.copy_(frame(B, "index-map"))
        assert torch.equal(op.linear(torch.eye(40), coded, 24), B.T)


def test_parsed_frames_go_with_their_tensors():
    gc.collect()
    n = len(frames._known)
    coded = [frame(weight(24, 40)) for _ in range(5)]
    parsed = [parse(f) for f in coded]
    assert parse(coded[0]) is parsed[0]
    assert len(frames._known) == n + 5
    del coded
    gc.collect()
    assert len(frames._known) == n
    assert torch.equal(torch.from_numpy(parsed[0].decode()), weight(24, 40))


def test_a_parsed_frame_views_the_tensor():
    coded = frame(weight(24, 40), "ham")
    streams = parse(coded).coded.streams
    assert not streams.flags.writeable
    start = streams.__array_interface__["data"][0] - coded.data_ptr()
    assert 0 < start < coded.numel()


def test_many_threads_share_a_frame():
    W, x = weight(64, 128), torch.randn(20, 128)
    coded, found = frame(W), []
    expected = op.linear(x, frame(W), 64)

    def multiply():
        found.extend(op.linear(x, coded, 64) for _ in range(20))

    threads = [threading.Thread(target=multiply) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert all(torch.equal(y, expected) for y in found)

"""What every codec must survive: one battery, run for each codec and each kind of matrix."""

import math

import numpy as np

from cnnzip.bounds import entropy
from cnnzip.codecs.choose import encode_source
from cnnzip.codecs.source import MatrixShape, Source
from cnnzip.dtypes import dtype_by_name
from cnnzip.tensor import CodedTensor
from spec.reference import frame as reference_frame
from spec.reference import products as reference_products


def source_of_bits(array):
    """A source with the array's own bits: no -0.0 is dropped."""
    shape = MatrixShape(dtype_by_name(array.dtype.name), array.shape)
    return Source(shape, np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def sparse(shape, density, k, seed=0, dtype=np.float32):
    """A matrix whose entries take k values, some of them often."""
    rng = np.random.default_rng(seed)
    values = np.sort(rng.standard_normal(k)).astype(dtype)
    values[values == 0] = 1
    picks = np.minimum(rng.geometric(min(1.0, 3.0 / k), shape) - 1, k - 1)
    return np.where(rng.random(shape) < density, values[picks], 0).astype(dtype)


def matrices():
    """Named matrices, edges first."""
    f4 = np.float32
    yield "empty", np.zeros((0, 5), f4)
    yield "no columns", np.zeros((3, 0), f4)
    yield "scalar", np.array(2.5, f4)
    yield "1x1 zero", np.zeros((1, 1), f4)
    yield "1x1", np.full((1, 1), 3, f4)
    yield "one column", sparse((300, 1), 0.3, 4)
    yield "one row", sparse((1, 300), 0.3, 4)
    yield "vector", sparse((257,), 0.5, 5)
    yield "all zero", np.zeros((40, 30), f4)
    yield "one symbol", np.full((40, 30), -1.5, f4)
    yield "one value and zero", sparse((40, 30), 0.2, 1)
    yield "all distinct", np.arange(1, 1201, dtype=f4).reshape(40, 30)
    yield "signed zeros", np.where(sparse((40, 30), 0.5, 3) > 0, f4(-0.0), f4(0))
    payloads = np.array([0x7FC00000, 0x7FC00001, 0xFFC00000, 0x7F800001, 1, 0x80000001], np.uint32)
    yield "NaN payloads and denormals", np.tile(payloads, 50).view(f4).reshape(20, 15)
    yield "infinities", np.tile(np.array([np.inf, 0, -np.inf, 0], f4), 25).reshape(10, 10)
    for density in (0.01, 0.1, 0.5, 1.0):
        yield f"density {density}", sparse((70, 90), density, 15)
    yield "256 values", sparse((200, 150), 0.4, 256)
    yield "3000 values", sparse((100, 150), 0.9, 3000)
    yield "convolution", sparse((12, 8, 3, 3), 0.3, 7)
    yield "wide", sparse((5, 70_000), 0.02, 6)
    yield "tall", sparse((70_000, 5), 0.02, 6)
    yield "several streams", sparse((600, 500), 0.1, 16)
    fibonacci = [1, 1]
    while len(fibonacci) < 22:
        fibonacci.append(sum(fibonacci[-2:]))
    runs = np.repeat(np.arange(22, dtype=f4), fibonacci)
    yield "long codewords", np.random.default_rng(0).permutation(runs)[:28_600].reshape(286, 100)
    yield (
        "zero is rare",
        np.random.default_rng(0).permutation(runs[::-1])[:28_600].reshape(286, 100),
    )
    yield "Fortran order", np.asfortranarray(sparse((50, 40), 0.3, 9))
    yield "strided", sparse((100, 80), 0.3, 9)[::2, 1::3]
    for name in ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "uint64"):
        yield name, sparse((30, 40), 0.3, 5, dtype=np.float64).astype(np.int64).astype(name)
    for name in ("float16", "bfloat16", "float64", "float8_e4m3fn", "int4"):
        yield name, sparse((30, 40), 0.3, 5).astype(dtype_by_name(name).numpy)
    yield "complex64", sparse((10, 12), 0.3, 5).astype(np.complex64)


def check_codec(codec, array):
    """Round trip by the library and by the reference; sizes; products to the last bit."""
    source = source_of_bits(array)
    tensor = CodedTensor(encode_source(source, codec))
    frame = tensor.to_frame()
    assert tensor.nbytes == len(frame)
    assert tensor.coded.decode().tobytes() == source.data.tobytes()

    again = CodedTensor.from_frame(frame)
    assert again.decode().tobytes() == source.data.tobytes()
    assert again.decode().shape == array.shape
    assert again.to_frame() == frame
    if array.size <= 20_000:
        parsed = reference_frame.parse_frame(frame)
        assert bytes(reference_frame.decode(parsed)) == source.data.tobytes()
    check_size(codec, source, len(frame))
    if again.coded.multiplies and source.shape.dtype.arithmetic is not None:
        check_products(again, frame, source)
    check_rows(again, array)


def check_size(codec, source, n_bytes):
    """Sizes against the entropy, tables and all (spec/bounds.md)."""
    n_weights, distinct = source.shape.n_weights, source.distinct
    if codec == "raw":
        assert n_bytes <= source.data.size + 64
    if codec == "ham" and n_weights:
        tables = distinct.patterns.nbytes + 100 + 6 * (n_weights // 1000 + 1)
        assert 8 * n_bytes <= n_weights * (entropy(distinct.counts) + 1) + 8 * tables
    if codec == "index-map" and n_weights:
        width = max(1, 2 ** math.ceil(math.log2(max(1, math.log2(max(2, distinct.patterns.size))))))
        assert 8 * n_bytes <= n_weights * width + 8 * (distinct.patterns.nbytes + 60)


def check_products(tensor, frame, source):
    """`W x` and `W^T y` equal the reference's sums to the bit (MAT)."""
    m = source.shape.dims[0] if source.shape.dims else 1
    n = math.prod(source.shape.dims[1:])
    rng = np.random.default_rng(1)
    arithmetic = source.shape.dtype.arithmetic
    for transpose, size in ((False, n), (True, m)):
        x = rng.standard_normal(size).astype(arithmetic)
        y = tensor.rmatvec(x) if transpose else tensor.matvec(x)
        X = rng.standard_normal((size, 17)).astype(arithmetic)
        Y = tensor.rmatmat(X) if transpose else tensor.matmat(X)
        assert y.dtype == Y.dtype == arithmetic
        assert Y.shape == ((n if transpose else m), 17)
        if not source.shape.n_weights:
            assert not y.any()
            assert not Y.any()
            continue
        if source.shape.n_weights > 5000:
            plain = tensor._array(source.data, (m, n)).astype(np.float64)
            plain = plain.T if transpose else plain
            np.testing.assert_allclose(y, plain @ x, rtol=1e-3, atol=1e-3 * np.abs(plain).max())
            np.testing.assert_allclose(Y, plain @ X, rtol=1e-3, atol=1e-3 * np.abs(plain).max())
            continue
        parsed = reference_frame.parse_frame(frame)
        name = arithmetic.name
        due = reference_products.matvec(parsed, x.tolist(), transpose=transpose, x_dtype=name)
        np.testing.assert_array_equal(y, np.array(due, arithmetic))
        due = reference_products.matmat(parsed, X.tolist(), transpose=transpose, x_dtype=name)
        np.testing.assert_array_equal(Y, np.array(due, arithmetic).reshape(Y.shape))


def check_rows(tensor, array):
    """A range of rows is what slicing the decoded tensor gives."""
    if array.ndim:
        for first, stop in ((0, 1), (1, 3), (array.shape[0] // 2, array.shape[0]), (-2, 10**9)):
            rows = tensor.rows(first, stop)
            due = np.ascontiguousarray(array[first:stop])
            assert rows.shape == due.shape
            assert rows.tobytes() == due.tobytes()

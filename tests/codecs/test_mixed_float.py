"""mixed-float keeps every bit of every float, as the reference reads it."""

import ml_dtypes
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnzip
from cnnzip.codecs import mixed_float
from cnnzip.codecs.choose import encode_source
from cnnzip.codecs.layout import layouts
from cnnzip.codecs.mixed_float import EXPONENT_BITS, Heads, MixedFloat, Model, code
from cnnzip.codecs.source import MatrixShape
from cnnzip.dtypes import BY_NAME
from cnnzip.tensor import CodedTensor
from spec.reference import frame as reference
from tests.codecs.battery import check_codec, matrices, source_of_bits

#: The reference takes 0.1 ms a weight.
FLOATS = [
    (name, array)
    for name, array in matrices()
    if array.dtype.name in EXPONENT_BITS and not 2000 < array.size <= 20_000
]
KINDS = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in EXPONENT_BITS}


def of_bits(dtype, shape, seed=0):
    """Weights of any pattern: NaNs, infinities and subnormals among them."""
    n_bytes = int(np.prod(shape)) * KINDS[dtype].itemsize
    data = np.random.default_rng(seed).integers(0, 256, n_bytes, np.uint8)
    return data.view(KINDS[dtype]).reshape(shape)


def smooth(shape, seed=0):
    """Rows and columns of their own scale, and sums of neighbours."""
    rng = np.random.default_rng(seed)
    plain = rng.standard_normal(shape) * np.exp(rng.standard_normal((shape[0], 1)))
    return np.cumsum(plain, axis=1) / np.sqrt(shape[1])


@pytest.mark.parametrize(("name", "array"), FLOATS, ids=lambda v: v if isinstance(v, str) else "")
def test_it_keeps_every_bit_of_the_battery(name, array):
    if numba.config.DISABLE_JIT and array.size > 30_000:
        pytest.skip("minutes in plain Python; smaller matrices reach every line")
    check_codec("mixed-float", array)


@pytest.mark.parametrize("dtype", EXPONENT_BITS)
def test_it_keeps_any_pattern(dtype):
    for shape in ((), (0,), (1,), (7,), (5, 9), (3, 4, 2), (2, 3, 2, 2)):
        check_codec("mixed-float", of_bits(dtype, shape))
    check_codec("mixed-float", smooth((24, 30)).astype(KINDS[dtype]))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_the_reference_reads_what_is_written(data):
    dtype = data.draw(st.sampled_from(list(EXPONENT_BITS)))
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)))
    array = smooth((shape[0], shape[1] * shape[2]), data.draw(st.integers(0, 99))).reshape(shape)
    array = np.where(np.abs(array) < data.draw(st.floats(0, 1)), 0, array).astype(KINDS[dtype])
    weights = MatrixShape(BY_NAME[dtype], shape)
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    split = Heads.of(weights.dtype)
    layout = data.draw(st.sampled_from(layouts(weights)))
    top = data.draw(st.integers(0, (1 << split.exponent_bits) - 1))
    model = Model(layout, top, data.draw(st.integers(0, 15)))
    streams = code(model, split.view(mixed_float.frozen(flat)), np.array([0]), layout.n_lines)
    starts = np.array([0, len(streams)])
    low = flat.reshape(-1, weights.dtype.itemsize)[:, : split.n_low]
    planes = mixed_float.encode_planes([(np.ascontiguousarray(low).reshape(-1), split.n_low)])
    coded = MixedFloat(weights, model, False, layout.n_lines, starts, streams, planes)
    frame = CodedTensor(coded).to_frame()
    assert CodedTensor.from_frame(frame).coded.decode().tobytes() == flat.tobytes()
    assert bytes(reference.decode(reference.parse_frame(frame))) == flat.tobytes()


def test_streams_of_several_threads_are_put_together(monkeypatch):
    if numba.config.DISABLE_JIT:
        pytest.skip("minutes in plain Python")
    monkeypatch.setattr("cnnzip.codecs.layout.STREAM_WEIGHTS", 1 << 18)
    array = smooth((700, 800)).astype(np.float16)
    tensor = cnnzip.encode(array, "mixed-float")
    assert tensor.coded.starts.size == 4
    assert cnnzip.CodedTensor.from_frame(tensor.to_frame()).decode().tobytes() == array.tobytes()


def test_it_is_smaller_than_raw_on_smooth_weights():
    array = smooth((60, 80)).astype(np.float32)
    sizes = {c: cnnzip.encode(array, c).nbytes for c in ("raw", "mixed-float", "smallest")}
    assert sizes["mixed-float"] == sizes["smallest"] < 0.97 * sizes["raw"]
    assert cnnzip.encode(array).codec == "raw"


def test_zeros_are_left_out_of_the_planes():
    array = np.where(np.random.default_rng(0).random((60, 80)) < 0.9, 0, smooth((60, 80)))
    tensor = cnnzip.encode(array.astype(np.float32), "mixed-float")
    assert tensor.coded.is_sparse
    tiny = array.astype(np.float32)
    tiny[0, 0] = 1e-45
    with_tiny = cnnzip.encode(tiny, "mixed-float")
    assert not with_tiny.coded.is_sparse
    assert with_tiny.decode().tobytes() == tiny.tobytes()


@pytest.mark.parametrize("dtype", ["int16", "bool", "complex64", "float8_e8m0fnu"])
def test_what_is_no_float_is_refused(dtype):
    array = np.ones(4, BY_NAME[dtype].numpy)
    with pytest.raises(cnnzip.ArgumentError, match="FLM-1"):
        cnnzip.encode(array, "mixed-float")


def test_it_is_chosen_by_nobody_who_wants_speed():
    source = source_of_bits(smooth((60, 80)).astype(np.float32))
    assert encode_source(source, "smallest").name == "mixed-float"
    assert encode_source(source, "auto").name != "mixed-float"


@pytest.mark.parametrize("seed", range(30))
def test_streams_of_any_bytes_are_read_or_refused_alike(seed):
    """Whatever a stream holds, both readers find the same heads, or the same fault."""
    rng = np.random.default_rng(seed)
    dtype = rng.choice(list(EXPONENT_BITS))
    shape = MatrixShape(BY_NAME[dtype], (4, 5))
    split = Heads.of(shape.dtype)
    top, rate = int(rng.integers(1 << split.exponent_bits)), int(rng.integers(16))
    model = Model(mixed_float.Layout(shape, int(rng.integers(12))), top, rate)
    data = bytes(rng.integers(0, 256, int(rng.integers(1, 60)), np.uint8))
    planes = mixed_float.encode_planes([(np.zeros(20 * split.n_low, np.uint8), split.n_low)])
    starts = np.array([0, len(data)])
    frame = CodedTensor(
        MixedFloat(shape, model, False, model.layout.n_lines, starts, data, planes)
    ).to_frame()

    def read(decode):
        try:
            return bytes(decode(frame))
        except ValueError as error:
            return str(error)[str(error).index("[") :]

    found = read(lambda f: CodedTensor.from_frame(f).coded.decode().tobytes())
    assert found == read(lambda f: reference.decode(reference.parse_frame(f)))

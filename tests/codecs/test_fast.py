"""What fast chooses, what it refuses, and what becomes of its tokens."""

from types import SimpleNamespace

import numba
import numpy as np
import pytest

import cnnzip
from cnnzip.codecs.base import CannotEncodeError
from cnnzip.codecs.fast import Fast
from cnnzip.codecs.source import MatrixShape
from cnnzip.dtypes import dtype_by_name
from tests import forge
from tests.codecs.battery import check_codec, sparse


def values(n, dtype=np.uint16):
    """A row of n distinct values, zeros between some."""
    return np.insert(np.arange(1, n + 1), np.arange(0, n, 9), 0).astype(dtype)[None]


@pytest.mark.parametrize("k", [1, 2, 3, 16, 17, 32, 33, 64, 65, 127, 128, 129, 255, 256, 257])
def test_codebooks_of_any_size_are_kept(k):
    check_codec("fast", np.tile(values(k), (3, 1)))


@pytest.mark.parametrize(("k", "n_bytes"), [(128, 1), (129, 2), (16_385, 2), (32_768, 2)])
def test_tokens_are_as_narrow_as_their_values_allow(k, n_bytes):
    array = np.concatenate([values(k), values(k)[:, ::-1]], axis=1)
    tensor = cnnzip.encode(array, "fast")
    assert tensor.coded.tokens.itemsize == n_bytes
    assert np.array_equal(cnnzip.CodedTensor.from_frame(tensor.to_frame()).decode(), array)


def test_more_values_than_tokens_can_name_are_refused():
    with pytest.raises(cnnzip.ArgumentError, match=r"FST-2.*auto"):
        cnnzip.encode(np.arange(1, 32_770, dtype=np.uint16), "fast")
    fits = forge.fast("uint16", [1, 1], range(1, 32_769), [[(0, 9)]], token_bytes=2)
    assert cnnzip.CodedTensor.from_frame(fits).decode() == 10
    for n, n_bytes in ((129, 1), (32_769, 2)):
        frame = forge.fast("uint16", [1, 1], range(1, n + 1), [], n_tokens=1, line_lengths=[1],
                           token_bytes=n_bytes, tokens=bytes(n_bytes))  # fmt: skip
        with pytest.raises(cnnzip.CorruptError, match="FST-2"):
            cnnzip.CodedTensor.from_frame(frame)


@pytest.mark.parametrize(
    ("dims", "words"), [((1, 1 << 30), "FST-6"), ((1 << 30, 1), "FST-6"), ((4, 1 << 29), "2\\^31")]
)
def test_what_is_too_large_is_refused_before_it_is_coded(dims, words):
    shape = MatrixShape(dtype_by_name("uint8"), dims)
    source = SimpleNamespace(shape=shape, distinct=SimpleNamespace(n_values=3))
    with pytest.raises(CannotEncodeError, match=words):
        Fast.least_bytes(source)


def test_columns_are_scanned_only_where_they_save_much():
    assert cnnzip.encode(sparse((300, 300), 0.1, 4), "fast").coded.lines.axis == 0
    assert cnnzip.encode(sparse((200, 400), 0.1, 4), "fast").coded.lines.axis == 0
    assert cnnzip.encode(sparse((4000, 10), 0.1, 4), "fast").coded.lines.axis == 1


def test_skips_bridge_what_a_gap_cannot():
    array = np.zeros((4, 60_000), np.float32)
    array[0, [0, 5, 59_999]] = 1, 2, 3
    array[2, 127] = array[3, 126] = 1
    check_codec("fast", array)
    check_codec("fast", array[:, :3000])
    check_codec("fast", array.T.copy())


@pytest.mark.parametrize("n_values", [1, 2, 3, 4])
def test_tokens_at_odd_addresses_are_read(n_values):
    lines = [[(1, 0), (700, n_values - 1)], [], [(0, 0)]]
    frame = forge.fast(
        "uint8", [3, 1000], range(1, n_values + 1), lines, token_bytes=2, name="w" * n_values
    )
    array = np.zeros((3, 1000), np.uint8)
    array[[0, 0, 2], [1, 702, 0]] = 1, n_values, 1
    for shift in (0, 1):
        data = memoryview(bytes(shift) + frame)[shift:]
        tensor = cnnzip.CodedTensor.from_frame(data)
        assert np.array_equal(tensor.decode(), array)
        assert tensor.matvec(np.ones(1000, np.float32)).tolist() == [1 + n_values, 0, 1]


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="minutes in plain Python")
def test_parts_of_a_product_make_the_whole():
    weight = sparse((3000, 500), 0.3, 20)
    weight[1000:2000] = 0
    tensor = cnnzip.encode(weight, "fast")
    x = np.random.default_rng(0).standard_normal(500, np.float32)
    before = cnnzip.get_num_threads()
    try:
        cnnzip.set_num_threads(1)
        due = tensor.matvec(x)
        for n_threads in (2, 3, 5):
            cnnzip.set_num_threads(n_threads)
            assert len(tensor.coded._parts()) > 1
            np.testing.assert_array_equal(tensor.matvec(x), due)
    finally:
        cnnzip.set_num_threads(before)
    np.testing.assert_allclose(due, weight.astype(float) @ x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("lines", "clause"),
    [
        ([[(0, 0), (None, 0)]], "FST-5"),
        ([[(0, 3)]], "FST-5"),
        ([[(500, 0)]], "FST-5"),
    ],
)
def test_no_way_to_read_tokens_passes_by_their_check(lines, clause):
    frame = forge.fast("uint16", [1, 300], [1, 2, 3], lines, token_bytes=2)
    x, X = np.ones(300, np.float32), np.ones((300, 3), np.float32)
    for use in (
        lambda t: t.decode(), lambda t: t.matvec(x), lambda t: t.matmat(X), lambda t: t.rows(0, 1),
        lambda t: t.rmatvec(x[:1]), lambda t: t.rmatmat(X[:1]), lambda t: t.to_csr(),
        lambda t: t.coded.validate(),
    ):  # fmt: skip
        with pytest.raises(cnnzip.CorruptError, match=clause):
            use(cnnzip.CodedTensor.from_frame(frame))

"""What mixed chooses, what it refuses, and how its parts are read back."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnzip
import cnnzip_native.mixed
from cnnzip.codecs import mixed
from cnnzip.codecs.base import CannotEncodeError
from cnnzip.codecs.mixed import Book, Layout, Mixed, Model
from cnnzip.codecs.orders import parse_order, whole_order, write_order
from cnnzip.codecs.source import MatrixShape, Source
from cnnzip.dtypes import dtype_by_name
from cnnzip.entropy.varints import Cursor
from spec.reference import frame as reference_frame
from spec.reference import mixed as reference
from tests import forge, forge_mixed
from tests.codecs.battery import check_codec, source_of_bits, sparse

COMPILED = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="minutes in plain Python")
UINT8 = dtype_by_name("uint8")


def alike(n_lines, width, density, seed=0):
    """int8 weights of which each line is like the one before the last."""
    rng = np.random.default_rng(seed)
    kinds = np.where(rng.random((2, width)) < density, rng.integers(-3, 4, (2, width)), 0)
    lines = np.tile(kinds, (n_lines // 2, 1))
    return np.where(rng.random(lines.shape) < 0.02, 0, lines).astype(np.int8)


# Layouts


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("dims", [(3, 4, 5), (2, 3, 2, 2), (4, 1, 3), (6, 5), (7,), ()])
def test_layouts_take_the_axes_as_the_reference_does(dims, number):
    layout = Layout(MatrixShape(UINT8, dims), number)
    n_lines, width = reference.lines_and_width(dims, number)
    assert (layout.n_lines, layout.width) == (n_lines, width)
    due = [
        reference.c_order(dims, number, line, p) for line in range(n_lines) for p in range(width)
    ]
    inner, outer_step, inner_step = layout.line_steps
    lines = np.arange(n_lines)
    line_at = lines // inner * outer_step + lines % inner * inner_step
    assert (line_at[:, None] + layout.place_at).reshape(-1).tolist() == due
    weights = np.arange(np.prod(dims, dtype=int), dtype=np.uint16)
    assert layout.matrix(weights).reshape(-1).tolist() == due


def test_layouts_are_told_by_their_axes():
    shape = MatrixShape(UINT8, (3, 4, 5))
    names = [str(Layout(shape, number)) for number in range(12)]
    assert names[:4] == ["O|IK", "OI|K", "O|KI", "OK|I"]
    assert len(set(names)) == 12


# Orders


@st.composite
def orders(draw):
    n = draw(st.integers(1, 70))
    named = draw(st.permutations(range(n)))[: draw(st.integers(0, n))]
    return np.array(named, np.intp), n


@given(orders())
@settings(max_examples=200, deadline=None)
def test_orders_are_read_back_and_written_as_specified(order):
    named, n = order
    data = write_order(named, n)
    assert data == forge_mixed.order(named.tolist(), n)
    cursor = Cursor(data + b"\7", "order", "MIX-1")
    assert parse_order(cursor, n).tolist() == named.tolist()
    assert cursor.left == 1
    due = named.tolist() + [k for k in range(n) if k not in set(named.tolist())]
    assert whole_order(named, n).tolist() == due


def test_long_orders_are_read_back():
    n = 16_384
    named = np.random.default_rng(n).permutation(n)[:16_384].astype(np.intp)
    data = write_order(named, n)
    assert parse_order(Cursor(data, "order", "MIX-1"), n).tolist() == named.tolist()
    for cut in (len(data) - 1, len(data) // 2, 3):
        with pytest.raises(cnnzip.TruncatedError, match="MIX-3"):
            parse_order(Cursor(data[:cut], "order", "MIX-1"), n)


@pytest.mark.parametrize(
    ("n_named", "n"), [(4, 3), (1, 0), (1, 16_385), (16_385, 16_385), (1 << 55, 1 << 40)]
)
def test_orders_that_name_too_many_are_refused(n_named, n):
    data = forge.varint(n_named) + bytes(50_000)
    with pytest.raises(cnnzip.CorruptError, match="MIX-3"):
        parse_order(Cursor(data, "order", "MIX-1"), n)


# Values


def test_ranks_are_by_the_numbers_and_low_ones_are_negative():
    patterns = np.array([-3, -0.0, 2, np.nan, np.inf, -np.inf, 0, 1e-40], np.float32)
    book, symbols, numbers = mixed.ranked(source_of_bits(patterns))
    assert book.n_low == 2
    values = book.patterns.view(np.float32)
    due = np.array([-np.inf, -3, np.nan, -0.0, 1e-40, 2, np.inf], np.float32)  # a NaN as if 0
    assert values.tobytes() == due.tobytes()
    assert symbols.tolist() == [2, 4, 6, 3, 7, 1, 0, 5]
    assert numbers.tolist() == [0, -np.inf, -3, 0, 0, float(np.float32(1e-40)), 2, np.inf]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 128, 255, 256, 257, 510, 511, 512, 1023, 1024])
def test_codebooks_of_any_size_are_kept(k):
    values = np.insert(np.arange(1, k + 1) - k // 3, np.arange(0, k, 9), 0).astype(np.int16)
    check_codec("mixed", np.tile(values, (2, 1)))


def random_of(k, shape):
    """uint16 weights, each of k values at least once."""
    picks = np.random.default_rng(k).permutation(np.arange(np.prod(shape)) % k)
    return (picks + 1).astype(np.uint16).reshape(shape)


def test_65535_values_are_kept_by_both_readers():
    array = random_of(65_535, (3, 21_845))
    tensor = cnnzip.encode(array, "mixed")
    frame = tensor.to_frame()
    assert np.array_equal(cnnzip.CodedTensor.from_frame(frame).decode(), array)
    few = forge_mixed.mixed("uint16", [2, 5], [0, 65_535, 1, 0, 9] * 2, patterns=range(1, 65_536),
                            n_low=40_000, name="")  # fmt: skip
    due = np.array([[0, 65_535, 1, 0, 9]] * 2, np.uint16).tobytes()
    assert cnnzip.CodedTensor.from_frame(few).decode().tobytes() == due
    assert reference_frame.decode(reference_frame.parse_frame(few)) == due


def test_65536_values_are_refused_by_both_readers():
    start = forge.codebook("uint32", range(1, 65_537)) + forge.varint(
        0, 0, 1, 3, 16, 15, 99, 0, 0, 0
    )
    frame = forge.frame(forge_mixed.MIXED, "uint32", [1, 5], [start, b""], name="")
    with pytest.raises(cnnzip.CorruptError, match="MIX-5"):
        cnnzip.CodedTensor.from_frame(frame)
    with pytest.raises(ValueError, match="MIX-5"):
        reference_frame.decode(reference_frame.parse_frame(frame))


def test_lines_of_2_to_the_20_places_are_read():
    n = 1 << 20
    start = forge.codebook("uint8", [7]) + forge.varint(0, 0, 1, 3, 16, 15, 60_000, 0, 0, 0)
    frame = forge.frame(forge_mixed.MIXED, "uint8", [1, n], [start, b""], name="")
    assert reference.describe(reference_frame.parse_frame(frame)).stream_bytes == [0]
    tensor = cnnzip.CodedTensor.from_frame(frame)
    assert tensor.coded.model.layout.width == n
    if not numba.config.DISABLE_JIT:
        assert (tensor.decode() == 7).all(), "a stream of no bytes has nothing but ones"


def test_more_values_than_a_codebook_holds_are_refused():
    array = np.arange(1, 65_537, dtype=np.uint32)
    with pytest.raises(cnnzip.ArgumentError, match=r"MIX-5.*auto"):
        cnnzip.encode(array, "mixed")
    assert Mixed.least_bytes(source_of_bits(array[1:])) == 4 * 65_535
    for many in (np.arange(70_000, dtype=np.float32), np.ones(3, np.complex128)):
        with pytest.raises(CannotEncodeError, match="MIX-5"):
            Mixed.least_bytes(source_of_bits(many))


# What is chosen


def test_smallest_takes_mixed_and_auto_does_not():
    array = alike(80, 90, 0.3)
    smallest, auto = cnnzip.encode(array, "smallest"), cnnzip.encode(array, "auto")
    assert smallest.codec == "mixed"
    assert auto.codec != "mixed"
    assert smallest.nbytes < auto.nbytes
    assert np.array_equal(smallest.decode(), array)


def test_smallest_is_never_larger_than_auto():
    for array in (
        np.zeros((4, 5), np.float32),
        np.arange(70_000, dtype=np.float32),
        sparse((9, 9), 0.3, 3),
    ):
        assert cnnzip.encode(array, "smallest").nbytes <= cnnzip.encode(array, "auto").nbytes


def test_orders_are_chosen_where_lines_are_alike():
    rng = np.random.default_rng(0)
    kinds = np.where(rng.random((8, 300)) < 0.3, rng.integers(1, 9, (8, 300)), 0)
    array = kinds[rng.integers(0, 8, 160)].astype(np.int16)
    model = cnnzip.encode(array, "mixed").coded.model
    assert model.lines.size or model.places.size or model.is_parted
    assert "places sorted" in str(model) or "ordered" in str(model)


def test_mixed_is_smaller_than_the_entropy_of_weights_that_depend_on_each_other():
    array = alike(200, 100, 0.5)
    source = source_of_bits(array)
    counts = source.distinct.counts
    shares = counts[counts > 0] / counts.sum()
    entropy = -(shares * np.log2(shares)).sum() * array.size / 8
    assert cnnzip.encode(array, "mixed").nbytes < 0.5 * entropy


# Streams


@COMPILED
def test_streams_on_several_threads_equal_those_on_one(monkeypatch):
    monkeypatch.setattr("cnnzip.codecs.layout.STREAM_WEIGHTS", 1 << 18)
    monkeypatch.setattr(mixed, "layouts", lambda shape: [Layout(shape, 0)])
    array = sparse((1030, 600), 0.01, 5)
    before, found = cnnzip.get_num_threads(), []
    try:
        for n_threads in (1, 3):
            cnnzip.set_num_threads(n_threads)
            tensor = cnnzip.encode(array, "mixed")
            assert tensor.coded.starts.size >= 3
            found.append((tensor.to_frame(), tensor.decode().tobytes()))
    finally:
        cnnzip.set_num_threads(before)
    assert found[0] == found[1]
    assert found[0][1] == array.tobytes()
    again = cnnzip.CodedTensor.from_frame(found[0][0])
    assert again.decode().tobytes() == array.tobytes()
    assert again.to_frame() == found[0][0]


@COMPILED
def test_each_stream_is_decoded_alone():
    """Each of several is what its lines are coded to by themselves."""
    lines, width = 700, 400
    array = sparse((2 * lines, width), 0.01, 5)
    source = source_of_bits(array)
    book, symbols, _ = mixed.ranked(source)
    model = Model(Layout(source.shape, 0), is_full=False, is_parted=True)
    whole = [mixed.code(model, book, symbols, model.run(k, lines), lines, 700) for k in (0, lines)]
    below = source_of_bits(array[lines:])
    alone = Model(Layout(below.shape, 0), is_full=False, is_parted=True)
    ranks = symbols[lines * width :]
    assert mixed.code(alone, book, ranks, alone.run(0, lines), lines, 700) == whole[1]
    starts = np.cumsum([0, *map(len, whole)])
    coded = Mixed(source.shape, book, model, 700, lines, starts, b"".join(whole))
    again = cnnzip.CodedTensor.from_frame(cnnzip.CodedTensor(coded).to_frame())
    assert again.decode().tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("shape", "n_tries"), [((1, 30), 1), pytest.param((40, 1000), 2, marks=COMPILED)]
)
def test_streams_that_need_more_room_get_it(monkeypatch, shape, n_tries):
    """More than a byte a weight: 16 digits, of which none can be foretold."""
    calls, really = [], cnnzip_native.mixed.code_lines

    def spy(*arguments):
        calls.append(really(*arguments))
        return calls[-1]

    monkeypatch.setattr(cnnzip_native.mixed, "code_lines", spy)
    n = int(np.prod(shape))
    symbols = np.random.default_rng(3).integers(1, 65_536, n).astype(np.uint16)
    book = Book(np.arange(1, 65_536, dtype=np.uint16), 0)
    model = Model(Layout(MatrixShape(dtype_by_name("uint16"), shape), 0))
    data = mixed.code(model, book, symbols, model.run(0, shape[0]), shape[0], 65_000)
    assert len(calls) == n_tries
    assert calls[:-1] == [-1] * (n_tries - 1)
    assert calls[-1] == len(data)
    starts = np.array([0, len(data)])
    coded = Mixed(model.layout.shape, book, model, 65_000, shape[0], starts, data)
    assert coded.decode().tobytes() == symbols.tobytes()


def test_all_zero_tensors_take_an_empty_codebook():
    source = Source(MatrixShape(UINT8, (40, 50)), np.zeros(2000, np.uint8))
    coded = Mixed.encode(source)
    assert coded.sections == (b"\0", b"")
    assert not coded.decode().any()


def test_products_are_of_the_decoded_weights():
    array, x = sparse((20, 30), 0.3, 4), np.arange(30, dtype=np.float32)
    tensor = cnnzip.encode(array, "mixed")
    assert not tensor.coded.multiplies
    np.testing.assert_allclose(tensor.matvec(x), array @ x, rtol=1e-5)

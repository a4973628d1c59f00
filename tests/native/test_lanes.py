"""The words of `_lanes`, compiled, against NumPy; with NUMBA_DISABLE_JIT, their twins against it."""

import ast
import pathlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numba import njit

from cnnzip_native import _lanes
from cnnzip_native._lanes import LANES

TOP = 2**32 - 1
PLACES = np.arange(LANES)
U4 = np.uint32
EDGES = [0, 1, 2, 31, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, TOP - 1, TOP]
word = njit(error_model="numpy")

lanes = hnp.arrays(U4, LANES, elements=st.one_of(st.integers(0, TOP), st.sampled_from(EDGES)))
masks = st.one_of(
    hnp.arrays(bool, LANES), st.sampled_from([PLACES < 0, PLACES >= 0, PLACES == 15, PLACES == 0])
)
some = settings(max_examples=60, deadline=None)
edge_lanes = example(a=np.full(LANES, TOP, U4), b=np.arange(LANES, dtype=U4))


def floats(dtype):
    wide = np.dtype(dtype).itemsize * 8
    return hnp.arrays(
        dtype, LANES, elements=st.floats(width=wide, allow_nan=False, allow_infinity=True)
    )


def sixteen(function, *args):
    """What a compiled function, which fills its first argument, writes there."""
    out = np.zeros(LANES, U4)
    function(out, *args)
    return out


@word
def every():
    return _lanes.first_lanes(LANES)


@word
def whole(array):
    return _lanes.load(array, 0, _lanes.first_lanes(LANES))


@word
def choice(array):
    return whole(array) == _lanes.spread(1)


@word
def numbered(chosen):
    return _lanes.select(chosen, _lanes.spread(1), _lanes.spread(0))


@word
def one(found, i):
    """Lane `i` of floats: all others become zeros, which add nothing."""
    here = whole(np.arange(LANES).astype(np.uint32)) == _lanes.spread(i)
    return _lanes.total(_lanes.select(here, found, found - found))


@word
def add(out, a, b):
    _lanes.store(out, 0, whole(a) + whole(b))


@word
def subtract(out, a, b):
    _lanes.store(out, 0, whole(a) - whole(b))


@word
def multiply(out, a, b):
    _lanes.store(out, 0, whole(a) * whole(b))


@word
def both(out, a, b):
    _lanes.store(out, 0, whole(a) & whole(b))


@word
def either(out, a, b):
    _lanes.store(out, 0, whole(a) | whole(b))


@word
def right(out, a, b):
    _lanes.store(out, 0, whole(a) >> whole(b))


@word
def left(out, a, b):
    _lanes.store(out, 0, whole(a) << whole(b))


@word
def below(out, a, b):
    _lanes.store(out, 0, numbered(whole(a) < whole(b)))


@word
def equal(out, a, b):
    _lanes.store(out, 0, numbered(whole(a) == whole(b)))


@word
def at_least(out, a, b):
    _lanes.store(out, 0, numbered(whole(a) >= whole(b)))


@word
def lesser(out, a, b):
    _lanes.store(out, 0, _lanes.least(whole(a), whole(b)))


PAIRS = {  # of integers
    "add": (add, lambda a, b: a + b),
    "subtract": (subtract, lambda a, b: a - b),
    "multiply": (multiply, lambda a, b: a * b),
    "and": (both, lambda a, b: a & b),
    "or": (either, lambda a, b: a | b),
    "below": (below, lambda a, b: (a < b).astype(U4)),
    "equal": (equal, lambda a, b: (a == b).astype(U4)),
    "at least": (at_least, lambda a, b: (a >= b).astype(U4)),
    "least": (lesser, np.minimum),
}


@pytest.mark.parametrize("name", PAIRS)
@given(a=lanes, b=lanes)
@edge_lanes
@example(a=np.full(LANES, 7, U4), b=np.full(LANES, 7, U4))
@some
def test_integers_are_taken_lane_by_lane_modulo_2_to_the_32(name, a, b):
    kernel, due = PAIRS[name]
    assert sixteen(kernel, a, b).tolist() == due(a, b).tolist()


@given(a=lanes, n=hnp.arrays(U4, LANES, elements=st.integers(0, 31)))
@some
def test_lanes_shift_by_lanes(a, n):
    assert sixteen(right, a, n).tolist() == (a >> n).tolist()
    assert sixteen(left, a, n).tolist() == (a << n).tolist()


@word
def spread_out(out, number):
    _lanes.store(out, 0, _lanes.spread(number))


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([-1, TOP, 2**32, *EDGES])))
@some
def test_spread_keeps_the_low_32_bits(number):
    assert sixteen(spread_out, np.int64(number)).tolist() == [number % 2**32] * LANES


@word
def first(out, n):
    _lanes.store(out, 0, numbered(_lanes.first_lanes(n)))


@pytest.mark.parametrize("n", [-5, *range(LANES + 2), 1000, 2**31 - 1])
def test_first_lanes_are_as_many_as_asked_or_all(n):
    assert sixteen(first, n).tolist() == (n > PLACES).astype(int).tolist()


@word
def count_all(mask):
    return _lanes.count(choice(mask))


@word
def squeeze_out(out, a, mask):
    _lanes.store(out, 0, _lanes.squeeze(whole(a), choice(mask)))


@word
def select_out(out, mask, a, b):
    _lanes.store(out, 0, _lanes.select(choice(mask), whole(a), whole(b)))


@word
def and_or(out, mask, other):
    a, b = choice(mask), choice(other)
    _lanes.store(out, 0, numbered(a & b) + numbered(a | b))


@given(a=lanes, b=lanes, mask=masks, other=masks)
@some
def test_masks_choose_lanes(a, b, mask, other):
    m, o = mask.astype(U4), other.astype(U4)
    assert count_all(m) == mask.sum()
    assert sixteen(squeeze_out, a, m)[: mask.sum()].tolist() == a[mask].tolist()
    assert sixteen(select_out, m, a, b).tolist() == np.where(mask, a, b).tolist()
    due = (mask & other).astype(int) + (mask | other)
    assert sixteen(and_or, m, o).tolist() == due.tolist()


@word
def prefix(out, a):
    _lanes.store(out, 0, _lanes.prefix_sum(whole(a)))


@word
def last_out(out, a):
    _lanes.store(out, 0, _lanes.last(whole(a)))


@given(a=lanes)
@example(a=np.full(LANES, TOP, U4))
@some
def test_prefix_sums_wrap_and_last_is_the_last(a):
    assert sixteen(prefix, a).tolist() == np.cumsum(a, dtype=U4).tolist()
    assert sixteen(last_out, a).tolist() == [a[-1]] * LANES


@word
def load_out(out, array, at, mask):
    _lanes.store(out, 0, _lanes.load(array, at, choice(mask)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@given(mask=masks, data=st.data())
@some
def test_load_widens_the_lanes_chosen(dtype, mask, data):
    array = data.draw(hnp.arrays(dtype, st.integers(16, 40)))
    array.flags.writeable = False
    at = data.draw(st.integers(0, array.size - LANES))
    due = np.where(mask, array[at : at + LANES], 0)
    assert sixteen(load_out, array, at, mask.astype(U4)).tolist() == due.tolist()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("left_over", range(LANES))
def test_load_takes_what_is_left_at_the_end(dtype, left_over):
    array = np.arange(1, 24, dtype=dtype)
    due = [*array[array.size - left_over :].tolist(), *[0] * (LANES - left_over)]
    mask = (left_over > PLACES).astype(U4)
    assert sixteen(load_out, array, array.size - left_over, mask).tolist() == due


@word
def gather_out(out, array, index, mask):
    _lanes.store(out, 0, _lanes.gather(array, whole(index), choice(mask)))


@word
def gather_floats(out, array, index, mask):
    found = _lanes.gather(array, whole(index), choice(mask))
    for i in range(LANES):
        out[i] = one(found, i)


@pytest.mark.parametrize("dtype", [np.uint32, np.float32, np.float64])
@given(mask=masks, data=st.data())
@some
def test_gather_takes_the_lanes_chosen_by_index(dtype, mask, data):
    array = np.arange(5, 5 + data.draw(st.integers(1, 70)), dtype=dtype)
    index = data.draw(hnp.arrays(U4, LANES, elements=st.integers(0, array.size - 1)))
    index[data.draw(st.integers(0, 15))] = array.size - 1
    due = np.where(mask, array[index], 0)
    index[~mask] = data.draw(st.sampled_from([0, TOP, 2**31]))  # never read
    out = np.zeros(LANES, dtype)
    (gather_out if dtype == np.uint32 else gather_floats)(out, array, index, mask.astype(U4))
    assert out.tolist() == due.tolist()


@word
def lookup_out(out, values, index):
    found = _lanes.lookup(values, whole(index))
    for i in range(LANES):
        out[i] = one(found, i)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    index=hnp.arrays(U4, LANES, elements=st.one_of(st.integers(0, 31), st.just(31))),
    n=st.integers(32, 70),
)
@some
def test_lookup_takes_one_of_the_first_32(dtype, index, n):
    values = np.linspace(-3, 4, n).astype(dtype)
    out = np.zeros(LANES, dtype)
    lookup_out(out, values, index)
    assert out.tolist() == values[index].tolist()


@word
def store_at(out, at, a):
    _lanes.store(out, at, whole(a))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@given(a=lanes, at=st.integers(0, 5), after=st.integers(0, 5))
@some
def test_store_writes_sixteen_elements_and_no_other(dtype, a, at, after):
    a = a % U4(2**16) if dtype == np.uint16 else a
    out = np.full(at + LANES + after, 9, dtype)
    store_at(out, at, a)
    assert out.tolist() == [9] * at + a.tolist() + [9] * after


@word
def add_floats(out, a, b, index):
    found = _lanes.gather(a, whole(index), every()) + _lanes.gather(b, whole(index), every())
    for i in range(LANES):
        out[i] = one(found, i)


@word
def multiply_then_subtract(out, a, b, index):
    x, y = _lanes.gather(a, whole(index), every()), _lanes.gather(b, whole(index), every())
    found = x * y - x
    for i in range(LANES):
        out[i] = one(found, i)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@some
def test_floats_are_rounded_after_each_operation(dtype, data):
    reals = hnp.arrays(
        dtype, LANES, elements=st.floats(-1000, 1000, width=np.dtype(dtype).itemsize * 8)
    )
    a, b, out = data.draw(reals), data.draw(reals), np.zeros(LANES, dtype)
    index = PLACES.astype(U4)
    add_floats(out, a, b, index)
    assert out.tolist() == (a + b + dtype(0)).tolist()
    multiply_then_subtract(out, a, b, index)
    assert out.tolist() == (a * b - a + dtype(0)).tolist()


@word
def total_of(array, index):
    return _lanes.total(_lanes.gather(array, whole(index), every()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@some
def test_total_adds_halves(dtype, data):
    a = data.draw(floats(dtype))
    with np.errstate(all="ignore"):
        due = a
        while due.size > 1:
            due = due[: due.size // 2] + due[due.size // 2 :]
        found = np.asarray(total_of(a, PLACES.astype(U4)), dtype)
    np.testing.assert_array_equal(found, due[0])
    assert np.isnan(found) or np.signbit(found) == np.signbit(due[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_are_plus_zeros_of_the_type(dtype):
    @word
    def sum_of_zeros(array):
        return _lanes.total(_lanes.zeros(array))

    found = sum_of_zeros(np.ones(3, dtype))
    assert found == 0
    assert not np.signbit(found)


@word
def store_first_at(out, at, a, n):
    _lanes.store_first(out, at, whole(a), n)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@given(a=lanes, at=st.integers(0, 5), n=st.integers(0, LANES), after=st.integers(0, 5))
@some
def test_store_first_writes_so_many_elements_and_no_other(dtype, a, at, n, after):
    a = a % U4(2**16) if dtype == np.uint16 else a
    out = np.full(at + n + after, 9, dtype)
    store_first_at(out, at, a, n)
    assert out.tolist() == [9] * at + a[:n].tolist() + [9] * after


@word
def windows_out(high, low, buffer, bit):
    found = _lanes.windows(buffer, whole(bit))
    _lanes.store(high, 0, found[0])
    _lanes.store(low, 0, found[1])


@given(data=st.binary(min_size=8, max_size=40), draw=st.data())
@some
def test_windows_hold_57_bits_or_all_up_to_the_end(data, draw):
    n_bits = 8 * len(data)
    bit = draw.draw(hnp.arrays(U4, LANES, elements=st.integers(0, n_bits)))
    bit[0], bit[1] = n_bits, draw.draw(st.sampled_from([TOP, 2**31, n_bits + 1, n_bits + 64]))
    buffer = np.frombuffer(data, np.uint8)  # read-only, as a file is
    high, low = np.zeros(LANES, U4), np.zeros(LANES, U4)
    windows_out(high, low, buffer, bit)
    text = "".join(f"{byte:08b}" for byte in data)
    for at, h, o in zip(bit.tolist(), high.tolist(), low.tolist(), strict=True):
        due = text[at : at + 57]
        assert f"{h:032b}{o:032b}"[: len(due)] == due


@word
def shifted_in(out, a, b, n):
    _lanes.store(out, 0, _lanes.shift_in(whole(a), whole(b), whole(n)))


@given(a=lanes, b=lanes, n=hnp.arrays(U4, LANES, elements=st.integers(0, 31)))
@some
def test_shift_in_takes_the_highest_bits_of_the_others(a, b, n):
    pairs = zip(a.tolist(), b.tolist(), n.tolist(), strict=True)
    due = [((x << 32 | y) << k >> 32) % 2**32 for x, y, k in pairs]
    assert sixteen(shifted_in, a, b, n).tolist() == due


@word
def bits_of_mask(mask):
    return _lanes.bits_of(choice(mask))


@given(masks)
@some
def test_bits_of_begin_with_the_first_lane(mask):
    due = int("".join(str(int(b)) for b in mask[::-1]), 2)
    assert bits_of_mask(mask.astype(U4)) == due


@word
def lane_of_lanes(a, i):
    return _lanes.lane_of(whole(a), i)


@word
def with_lane_out(out, a, i, number):
    _lanes.store(out, 0, _lanes.with_lane(whole(a), i, number))


@given(a=lanes, i=st.integers(0, 15), number=st.integers(-(2**40), 2**40))
@some
def test_a_lane_is_read_and_set(a, i, number):
    assert lane_of_lanes(a, i) == a[i]
    due = a.tolist()
    due[i] = number % 2**32
    assert sixteen(with_lane_out, a, i, np.int64(number)).tolist() == due
    assert sixteen(with_lane_out, a, i, np.int64(-1))[i] == TOP


def test_every_word_is_tested_here():
    tree = ast.parse(pathlib.Path(_lanes.__file__).read_text(encoding="utf-8"))
    (choice,) = [n for n in tree.body if isinstance(n, ast.If) and "DISABLE_JIT" in ast.dump(n)]
    twins, words = (
        {n.name for n in ast.walk(ast.Module(body, [])) if isinstance(n, ast.FunctionDef)}
        for body in (choice.body, choice.orelse)
    )
    assert twins == words - {"codegen"}
    text = pathlib.Path(__file__).read_text(encoding="utf-8")
    assert all(f"_lanes.{name}(" in text for name in twins)

"""Tables of asymmetric numeral systems, and the streams of banded, against the reference."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cnnzip
from cnnzip.entropy.ans import AnsTable, AnsTables, pack_bits, unpack_bits
from cnnzip.entropy.varints import Cursor
from cnnzip.errors import CorruptError
from cnnzip_native import banded
from tests.codecs.battery import sparse

weights = st.lists(st.integers(0, 31), min_size=0, max_size=80).flatmap(
    lambda head: st.integers(1, 31).map(lambda last: np.array([*head, last], np.uint8))
)


@given(weights, st.integers(9, 12))
def test_frequencies_fill_the_states_and_no_symbol_is_lost(found, log_size):
    frequencies = AnsTable(found).frequencies(log_size)
    assert frequencies.sum() == 1 << log_size
    assert ((frequencies > 0) == (found > 0)).all()


@given(st.lists(weights, min_size=1, max_size=3), st.integers(9, 12))
@settings(max_examples=30, deadline=None)
def test_encoding_and_decoding_tables_are_inverse(found, log_size):
    tables = AnsTables(tuple(AnsTable(w) for w in found), log_size)
    coding, entries = tables.encoding(), tables.decoding()
    size = 1 << log_size
    for t in range(len(found)):
        for state in range(0, size, 7):
            entry = int(entries[t, state])
            n_bits, base, symbol = entry & 15, entry >> 4 & 4095, entry >> 16
            assert base + (1 << n_bits) <= size
            frequency = int(coding.frequencies[t, symbol])
            number = (size + base) >> n_bits  # of the state, as the encoder finds it again
            assert frequency <= number < 2 * frequency
            place = int(coding.places[t, symbol])
            assert coding.states[t, place + number - frequency] == state


@given(st.integers(0, (1 << 26) - 1), st.sampled_from([4, 8]))
@example(256, 8)  # its class is 256, too, with extra bits
def test_a_class_and_its_extra_bits_give_the_number_back(number, direct):
    klass, n_extra = (int(v) for v in _class_of(number, direct))
    extra = number & ((1 << n_extra) - 1)
    word = np.uint64(extra << (64 - n_extra) if n_extra else 0)
    assert _number_of(klass, direct, word) == (number, n_extra)
    is_direct = number < 1 << direct
    assert (n_extra == 0) == is_direct
    assert klass == number if is_direct else klass >= 1 << direct


def _class_of(number, direct):
    function = getattr(banded.class_of, "py_func", banded.class_of)
    return function(number, direct)


def _number_of(klass, direct, word):
    function = getattr(banded.number_of, "py_func", banded.number_of)
    number, n_extra = function(klass, direct, word)
    return int(number), int(n_extra)


@given(st.integers(0, 8), st.data())
def test_packed_bits_come_back(width, data):
    numbers = data.draw(st.lists(st.integers(0, (1 << width) - 1), max_size=40))
    packed = pack_bits(numbers, width)
    assert len(packed) == -(-len(numbers) * width // 8)
    assert unpack_bits(Cursor(packed, "test"), len(numbers), width).tolist() == numbers


def test_padding_bits_that_are_set_are_refused():
    with pytest.raises(CorruptError, match="NUM-3"):
        unpack_bits(Cursor(b"\x01", "test"), 7, 1)


def test_uneven_rows_and_columns_go_below_the_entropy():
    rng = np.random.default_rng(0)
    rows, columns = rng.normal(-2, 1.5, (400, 1)), rng.normal(0, 1.5, (1, 600))
    kept = rng.random((400, 600)) < 1 / (1 + np.exp(-rows - columns))
    weight = np.where(kept, sparse((400, 600), 1, 16), np.float32(0))
    tensor = cnnzip.encode(weight)
    assert tensor.codec == "banded"
    assert tensor.bits_per_weight < 0.9 * cnnzip.bounds.Matrix.of(weight).h0


@pytest.mark.parametrize(("density", "k"), [(0.05, 16), (0.1, 32), (0.5, 16), (1.0, 4)])
def test_even_matrices_stay_near_the_entropy(density, k):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(k).astype(np.float32)
    weight = np.where(
        rng.random((800, 700)) < density, values[rng.integers(0, k, (800, 700))], np.float32(0)
    )
    tensor = cnnzip.encode(weight, "banded")
    least = cnnzip.bounds.Matrix.of(weight).h0 * weight.size / 8
    assert tensor.nbytes <= 1.01 * least + 512

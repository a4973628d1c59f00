"""psi stays below its bounds, frames stay below theirs, and both are what they are said to be."""

import doctest
import json
import subprocess
import sys
from math import ceil, log2

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import cnnzip.tensor
from cnnzip import bounds
from cnnzip.bounds import Matrix
from cnnzip.codecs import banded, contexts, fast, planning
from cnnzip.codecs.entry_list import EntryList
from cnnzip.codecs.source import MatrixShape, source_of
from cnnzip.dtypes import DTYPES, dtype_by_name
from cnnzip.entropy.ans import MASSES, AnsTable, AnsTables
from cnnzip.entropy.canonical import optimal_lengths
from cnnzip.errors import ArgumentError

LIMIT = 24


def numbers(text):
    return tuple(map(int, text.split()))


#: psi targets (HAM, sHAM) of the papers' trained matrices, given by their counts: n, m, zeros, entries.
TRAINED = {
    "dta_p60_k16": (
        (2.19, 4.43),
        (192, 1024, 117965),
        (20015, 17221, 9271, 8326, 7318, 6209, 5101, 2577, 1636, 969),
    ),
    "dta_p80_k256": (
        (1.71, 2.36),
        (192, 1024, 157286),
        (9063, 6813, 3557, 3404, 2711, 2233, 1817, 1765, 1675, 1631, 1502, 1385, 1125, 641),
    ),
    "vgg_p60_k256": (
        (3.15, 8.58),
        (512, 4096, 1258292),
        numbers(
            "59619 52345 39651 36214 34370 29270 27690 25558 25536 25275 24750 24097 22523 "
            "22288 20499 19456 19047 18921 18430 17602 17101 16941 16724 16143 14552 13357 "
            "13011 12789 12250 11957 11682 11211 10254 9886 8966 8049 7929 7891 7618 7020 6014 "
            "4471 4466 4399 4386 4320 3925 2062 1774 1769 954 871 566 289 122"
        ),
    ),
    "vgg_p60_k32": (
        (2.58, 8.01),
        (512, 4096, 1258292),
        numbers(
            "127478 109589 59052 57705 53577 52675 52208 45118 44365 36207 35713 34279 32482 "
            "31732 30909 22938 11839 994"
        ),
    ),
    "vgg_p90_k32": (
        (1.25, 1.88),
        (512, 4096, 1887437),
        (72916, 48681, 33641, 33532, 11729, 5094, 2440, 1377, 305),
    ),
    "vgg_p95_k256": (
        (1.13, 0.96),
        (512, 4096, 1992294),
        (47650, 21895, 10686, 8130, 5209, 4491, 2047, 1788, 957, 822, 726, 278, 179),
    ),
}


def trained(name):
    _, (n, m, zeros), entries = TRAINED[name]
    counts = np.array([zeros, *entries])
    assert counts.sum() == n * m
    return Matrix(MatrixShape(dtype_by_name("float32"), (m, n)), counts, 0)


def pruned(seed, shape, density, k, dtype=np.float32, skew=1.0):
    """A matrix of about `density` entries of `k` values, some rows much fuller than others."""
    rng = np.random.default_rng(seed)
    values = np.arange(1, k + 1).astype(dtype)
    shares = np.arange(1, k + 1.0) ** -skew
    weight = rng.choice(values, size=shape, p=shares / shares.sum())
    if density < 1:
        per_row = 2 * density * rng.random((shape[0], *[1] * (len(shape) - 1)))
        weight[rng.random(shape) >= per_row] = 0
    return weight


def check_psi(matrix, t=None):
    ham, sham = bounds.psi_ham(matrix, t), bounds.psi_sham(matrix, t)
    assert matrix.h0 <= ham <= bounds.ham_bound(matrix, t) <= bounds.ham_bound_log_k(matrix, t)
    entries = matrix.s * bounds.entropy(matrix.entry_counts)
    assert entries <= sham + 1e-9
    assert sham <= bounds.sham_bound(matrix, t) <= bounds.sham_bound_log_k(matrix, t)


def check_frames(weight):
    matrix = Matrix.of(weight)
    n_weights = max(matrix.size, 1)
    for codec in bounds.CODECS:
        if codec == "fast" and matrix.entry_counts.size > fast.MAX_VALUES:
            continue  # test_frame_bound_refuses_what_it_cannot_bound
        coded = cnnzip.tensor.encode(weight, codec)
        frame = coded.to_frame("a name")
        bound = bounds.frame_bound(matrix, codec)
        assert coded.nbytes == len(frame) <= bound
        if codec == "index-map":
            assert len(frame) == bound
        if codec in ("ham", "sham"):
            psi = (bounds.psi_ham if codec == "ham" else bounds.psi_sham)(matrix, t=0)
            streams = coded.coded.lines.n_streams
            assert 8 * len(frame) <= psi * n_weights + 8 * (128 + 6 * streams)
        if codec == "raw":
            assert len(frame) <= matrix.shape.n_bytes + 64
        if codec == "banded":
            check_grid(coded)


def check_grid(coded):
    """`grid_bound` holds, and is as tight as the excesses of lemma 5 are small."""
    bound = bounds.grid_bound(coded.coded)
    assert coded.nbytes <= bound
    parts = coded.coded.parts()
    tokens = parts["gaps"] + parts["values"] + parts["counts"]
    n_tokens = coded.coded.token_counts().sum()
    streams = 8 * 6 * coded.coded.lines.n_streams
    assert 8 * bound <= 8 * coded.nbytes + n_tokens * 0.1 + tokens * 0.02 + streams + 64


# Entropy and psi


@pytest.mark.parametrize(
    ("counts", "bits"),
    [([], 0), ([7], 0), ([0, 7, 0], 0), ([5, 5], 1), ([2, 1, 1], 1.5), ([3] * 256, 8)],
)
def test_entropy_of_known_histograms(counts, bits):
    assert bounds.entropy(np.array(counts, np.int64)) == pytest.approx(bits, abs=1e-12)


def test_entropy_of_a_biased_coin():
    expected = -0.9 * log2(0.9) - 0.1 * log2(0.1)
    assert bounds.entropy(np.array([90, 10])) == pytest.approx(expected, rel=1e-12)


def test_bit_req_is_8_16_32_or_64():
    limits = (0, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32)
    assert [bounds.bit_req(number) for number in limits] == [8, 8, 16, 16, 32, 32, 64]


def test_psi_of_a_matrix_counted_by_hand():
    matrix = Matrix.of(np.array([[0, 0, 0, 0], [1, 1, 2, 3]], np.float32))
    assert (matrix.n, matrix.m, matrix.b, matrix.s) == (4, 2, 32, 0.5)
    # Codewords of 1, 2, 3, 3 bits: 14 bits, a word. Values, fs, fcl, then a table of 4 for t = 2.
    assert bounds.psi_ham(matrix) == (32 + 4 * 32 + 4 * 8 + 5 * 8 + 4 * 8) / 8
    assert bounds.psi_ham(matrix, t=0) == (32 + 4 * 32 + 4 * 8 + 5 * 8) / 8
    # Codewords of 1, 2, 2 bits; 4 row indices and 2 numbers of entries of 8 bits; t = 1.
    assert bounds.psi_sham(matrix) == (32 + 6 * 8 + 3 * 32 + 3 * 8 + 4 * 8 + 2 * 8) / 8
    assert bounds.psi_csc(matrix) == 0.5 * (32 + 8) + 8 / 4
    assert bounds.psi_index_map(matrix) == 8 + 4 * 32 / 8


def test_psi_takes_a_partial_table_no_longer_than_the_longest_codeword():
    matrix = Matrix.of(np.array([[0, 0, 0, 0], [1, 1, 2, 3]], np.float32))
    assert bounds.psi_ham(matrix, t=3) == bounds.psi_ham(matrix, t=20)


@pytest.mark.parametrize("name", TRAINED)
def test_psi_of_the_trained_matrices_meets_its_targets(name):
    ham, sham = TRAINED[name][0]
    matrix = trained(name)
    assert bounds.psi_ham(matrix) <= ham
    assert bounds.psi_sham(matrix) <= sham
    check_psi(matrix)
    assert bounds.psi_sham(matrix) > bounds.sham_bound_icpr(matrix)


# Bounds of the code


COUNTS = st.lists(st.integers(1, 1000) | st.integers(0, 44).map(lambda i: 1 << i), max_size=60)


@given(COUNTS)
@example([1 << i for i in range(40)])
@example([1 << i for i in range(26)])
@example([1] * 255 + [1 << 45])
@settings(deadline=None)
def test_an_optimal_code_is_within_its_bound_of_the_entropy(counts):
    counts = np.array(counts, np.int64)
    n_bits = int(np.dot(counts, optimal_lengths(counts).astype(np.int64)))
    bound = bounds.code_bits_bound(counts)
    assert counts.sum() * bounds.entropy(counts) <= n_bits + 1e-9 * counts.sum()
    assert n_bits <= bound <= counts.sum() * ceil(log2(max(counts.size, 1)))


@given(COUNTS.filter(len))
@settings(deadline=None)
def test_the_code_of_lemma_1_exists_and_costs_what_it_says(counts):
    counts = np.array(counts, np.int64)
    loss = bounds.limit_loss(counts)
    moved = 0.0 if loss == 0 else counts.size / (1 << LIMIT)
    p = counts / counts.sum()
    lengths = np.ceil(-np.log2((1 - moved) * p + moved / counts.size)) + 0.0
    assert lengths.max() <= LIMIT
    assert np.exp2(-lengths).sum() <= 1
    assert np.dot(p, lengths) <= 1 + bounds.entropy(counts) + loss


def test_the_bound_holds_where_the_limit_bites_hardest():
    counts = np.ones(65_536, np.int64)
    counts[:26] = 1 << np.arange(20, 46)
    assert 0 < bounds.limit_loss(counts) < 0.0057
    n_bits = int(np.dot(counts, optimal_lengths(counts).astype(np.int64)))
    assert n_bits <= bounds.code_bits_bound(counts)


def test_a_code_of_more_symbols_than_24_bits_number_is_refused():
    shape = MatrixShape(dtype_by_name("float32"), (1 << 12, (1 << 12) + 1))
    counts = np.broadcast_to(np.int64(1), shape.n_weights)
    with pytest.raises(ArgumentError, match="at most 2\\^24"):
        bounds.psi_ham(Matrix(shape, counts, 0))


# psi <= bound, and frames <= frame_bound


SMALL = st_numpy.arrays(
    np.float32,
    st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=12),
    elements=st.sampled_from([0.0, 0.0, 0.0, -0.0, 1.0, -1.0, 0.5, 2.0**-140, float("inf")]),
)


@given(SMALL, st.none() | st.integers(0, 30))
@settings(deadline=None)
def test_bounds_hold_on_small_matrices(weight, t):
    check_psi(Matrix.of(weight), t)
    check_frames(weight)


@given(
    st.integers(0, 2**32),
    st.integers(1, 90),
    st.integers(1, 90),
    st.floats(0.01, 1),
    st.integers(1, 300),
    st.floats(0, 4),
)
@settings(deadline=None, max_examples=200)
def test_bounds_hold_on_random_matrices(seed, rows, columns, density, k, skew):
    weight = pruned(seed, (rows, columns), density, k, skew=skew)
    check_psi(Matrix.of(weight))
    check_frames(weight)


CASES = {
    "dense-k300": pruned(1, (257, 300), 1, 300),
    "k1": pruned(2, (300, 256), 0.3, 1),
    "k16": pruned(3, (256, 1000), 0.1, 16),
    "k5000": pruned(4, (400, 500), 0.5, 5000, skew=0),
    "k60000": pruned(5, (300, 400), 1, 60_000, skew=0),
    "sparse": pruned(6, (2000, 300), 0.01, 8),
    "wide": pruned(7, (3, 70_000), 0.2, 32),
    "tall": pruned(8, (70_000, 3), 0.2, 32),
    "convolution": pruned(9, (64, 32, 3, 3), 0.4, 40),
    "float64": pruned(10, (100, 100), 0.5, 20, np.float64),
    "float16": pruned(11, (100, 100), 0.5, 20, np.float16),
    "int8": pruned(12, (100, 100), 0.5, 100, np.int8),
    "zeros": np.zeros((300, 300), np.float32),
    "ones": np.ones((300, 300), np.float32),
    "two-values": np.arange(33, dtype=np.float32).reshape(3, 11) % 2 + 1,
    "one-weight": np.ones((1, 1), np.float32),
    "scalar": np.array(3.5, np.float32),
    "empty": np.zeros((0, 5), np.float32),
    "frame-as-long-as-dims": np.zeros(48, np.float32),
    "16-dims": np.ones((1,) * 16, np.float32),
    "even": (np.arange(90_000) % 10 == 0).reshape(300, 300).astype(np.float32),
    "skewed": pruned(15, (200, 190), 0.5, 200, skew=4),
    "one-entry": np.eye(1, 4000, 777, dtype=np.float32).reshape(40, 100),
    "one-entry-at-the-end": np.eye(1, 4000, 3999, dtype=np.float32).reshape(40, 100),
    "one-row": pruned(16, (1, 30_000), 0.2, 9),
    "one-column": pruned(17, (30_000, 1), 0.2, 9),
    "nearly-dense": np.where(np.arange(18_000) % 997, np.float32(2), 0).reshape(150, 120),
    "gaps-at-the-least-of-their-classes": np.arange(65_536).reshape(256, 256) % 129 == 128,
    "257-values": np.arange(40_000, dtype=np.float32).reshape(200, 200) % 258,
    "16385-values": np.arange(40_000, dtype=np.float32).reshape(200, 200) % 16_386,
    "65536-values": np.arange(1, 65_537, dtype=np.float32).reshape(256, 256),
    "one-full-row": np.outer(np.arange(300) == 7, np.arange(1, 301)).astype(np.float32),
    # From 2^17 entries on, grids are chosen by a sample.
    "many-even": pruned(18, (700, 800), 1, 30) * (np.arange(560_000) % 3 == 0).reshape(700, 800),
    "many-uneven": pruned(19, (900, 700), 0.4, 55),
    "many-dense": pruned(20, (500, 600), 1, 255, np.int16, skew=0),
    "many-ones": np.ones((400, 500), np.float32),
    "many-values": np.arange(1, 65_536 * 3 + 1, dtype=np.uint32).reshape(384, 512) % 65_536,
    "many-in-few-rows": pruned(21, (4000, 300), 1, 20) * (np.arange(4000)[:, None] % 8 == 3),
    "many-wide": pruned(22, (2, 300_000), 0.5, 12),
    "many-tall": pruned(23, (300_000, 2), 0.5, 12),
}


@pytest.mark.parametrize("name", CASES)
def test_bounds_hold_on(name):
    weight = CASES[name]
    if numba.config.DISABLE_JIT and np.count_nonzero(weight) > 20_000:
        pytest.skip("takes minutes as plain Python")
    check_psi(Matrix.of(weight))
    check_frames(weight)


def test_the_frame_bound_of_ham_is_within_a_bit_of_the_entropy():
    matrix = trained("vgg_p90_k32")
    bits = 8 * bounds.frame_bound(matrix, "ham") / matrix.size
    assert bits < matrix.h0 + 1.01


def test_the_icpr_bound_of_sham_is_violated_by_a_checkerboard():
    weight = np.indices((200, 200)).sum(axis=0) % 2
    matrix = Matrix.of(weight.astype(np.float32))
    assert round(bounds.sham_bound_icpr(matrix), 2) == 0.83
    assert bounds.psi_sham(matrix) > 4
    assert bounds.psi_sham(matrix) <= bounds.sham_bound(matrix)


# banded: the lemmas of its bounds


@st.composite
def histograms(draw):
    """Histograms of few or many symbols, even and steep ones, some with gaps."""
    n = draw(st.integers(1, 320))
    steep = draw(st.floats(0, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    total = 10 ** draw(st.floats(0, 9))
    counts = (total * rng.random(n) ** 4 * np.arange(1, n + 1.0) ** -steep).astype(np.int64)
    counts[rng.random(n) < draw(st.floats(0, 1))] = 0
    counts[draw(st.integers(0, n - 1))] += 1
    return counts


def steep(n_large, large, n_small):
    """A few large counts, and many whose frequencies would be below 1: they lower the large."""
    return np.array([large] * n_large + [1] * n_small, np.int64)


@given(histograms())
@example(steep(1, 10_000, 300))
@example(steep(200, 100, 120))
@example(np.append(steep(19, 36, 0), [336] + [1] * 300))
@example(np.append(1 << np.arange(31), [1] * 289))
@example(np.full(320, 7))
@settings(deadline=None, max_examples=300)
def test_frequencies_and_states_lose_no_more_than_lemmas_7_and_8_say(counts):
    table = AnsTable.of_counts(counts)
    used = counts[: table.weights.size] > 0
    p = counts[: used.size][used] / counts.sum()
    tables = AnsTables((table,), banded.LOG_SIZE)
    shares = tables.frequencies[0][used] / (1 << banded.LOG_SIZE)
    assert np.array_equal(tables.frequencies[0] > 0, used)
    assert (p * np.log2(p / shares)).sum() <= bounds.table_loss(p.size)
    assert (p * bounds.state_excess(tables)[0][used]).sum() <= bounds.state_loss(p.size)


def test_what_the_proof_of_lemma_7_says_of_masses():
    weights = np.arange(1, 32)
    floors = np.log2(np.sqrt(2.0 ** (11 + weights)) / MASSES[1:])
    assert 0.5 + floors.max() < 0.5082
    assert 0.5082**2 * np.log(2) / 8 < 0.0224
    assert (2**0.25 + 320 / 2**15) * 2**0.2582 < 1.44
    assert (MASSES[1], MASSES[31]) == (64, 2**21)


def test_every_frequency_has_the_excess_that_lemma_8_says_wherever_its_states_begin():
    size = 1 << banded.LOG_SIZE
    step = size // 2 + size // 8 + 3  # ANS-4
    starts = np.arange(size)[:, None]
    for f in range(1, size + 1):
        states = np.sort((starts + step * np.arange(f)) % size, axis=1)
        most = (f * (size + states) / (size * (f + np.arange(f)))).max()
        assert (f + 1) * log2(most) <= 3.25 + 0.0215 * f
        assert 0 <= log2(most) <= log2(2 - f / size) + 1e-12


@given(histograms())
@settings(deadline=None, max_examples=20)
def test_a_token_takes_no_more_than_lemma_5_says_from_any_state(counts):
    tables = AnsTables((AnsTable.of_counts(counts),), banded.LOG_SIZE)
    coding, size = tables.encoding(), 1 << banded.LOG_SIZE
    excess = bounds.state_excess(tables)[0]
    full = np.arange(size, 2 * size)
    for symbol in np.flatnonzero(coding.frequencies[0]):
        f = int(coding.frequencies[0, symbol])
        n_bits = np.floor(np.log2(full / f)).astype(np.int64)
        assert ((full >> n_bits >= f) & (full >> n_bits < 2 * f)).all()
        states = coding.states[0].astype(np.int64)
        after = size + states[coding.places[0, symbol] + (full >> n_bits) - f]
        most = np.log2(full) - np.log2(after) + log2(size / f) + excess[symbol]
        assert (n_bits <= most + 1e-9).all()


@given(st.lists(st.integers(0, 40) | st.integers(0, 2**24 - 1), min_size=1, max_size=200))
@example([16] * 9)
@example([128] * 50 + [0])
@settings(deadline=None)
def test_numbers_take_no_more_than_lemma_6_says(numbers):
    found = np.array(numbers, np.uint32)
    none = np.zeros(found.size, np.uint16)
    classes = contexts.count_classes(found, contexts.COUNT_DIRECT, none, 1)[0]
    extra = banded.extra_bits(contexts.COUNT_DIRECT)[: classes.size]
    n_bits = found.size * bounds.entropy(classes) + classes @ extra
    assert n_bits <= bounds.numbers_bits(found.size, sum(numbers)) + 1e-6


@pytest.mark.parametrize("n", [30, 300, 1200])
def test_contexts_never_cost_more_than_the_static_ones_of_lemma_9(n):
    rng = np.random.default_rng(n)
    even = np.where(rng.random((n, 200)) < 0.3, rng.integers(1, 9, (n, 200)), 0)
    distinct = source_of(even.astype(np.float32))[0].distinct
    shape = source_of(even.astype(np.float32))[0].shape
    number, patterns = distinct.by_count()
    rows = EntryList.of_rows(shape, distinct, number)
    views, values = [rows, rows.transposed()], patterns.view(np.float32).astype(np.float64)
    axis, chosen = planning.choose(views, [4, 4], values, banded.LOG_SIZE)
    plain = planning.Cells.of(views[axis], planning.natural_scan(views[axis], 1), 1)
    static, static_bits = planning._contexts(
        plain, (1, 0, 4), np.zeros(8, np.uint8), 1, True, banded.LOG_SIZE
    )
    if chosen.joined:
        cells = planning.Cells.of_joined(views[axis], 4)
    else:
        cells = planning.Cells.of(views[axis], chosen.scan, chosen.n_classes)
    memory = chosen.level_bits, chosen.memory_bits, chosen.gap_bits
    _, n_bits = planning._contexts(
        cells, memory, chosen.kinds, chosen.n_kinds, chosen.uses_cell, banded.LOG_SIZE
    )
    assert n_bits <= static_bits
    assert (len(static.tables.tables), static.scan.n_bands, static.n_classes) == (3, 1, 1)


@pytest.mark.parametrize("k", [1, 2, 256, 257, 258, 600, 65_536])
def test_values_are_counted_by_class_as_the_encoder_does(k):
    counts = np.random.default_rng(k).integers(1, 9, k)
    symbols = np.repeat(np.arange(k), np.sort(counts)[::-1]).astype(np.uint16)
    none = np.zeros(symbols.size, np.uint16)
    due = contexts.count_classes(symbols, contexts.VALUE_DIRECT, none, 1)[0]
    assert np.array_equal(bounds._symbol_classes(counts), due[due > 0])


def test_bounds_of_banded_are_near_the_frame_and_near_the_entropy():
    weight = pruned(24, (1000, 400), 0.1, 12)
    matrix, coded = Matrix.of(weight), cnnzip.tensor.encode(weight, "banded")
    assert bounds.grid_bound(coded.coded) < 1.015 * coded.nbytes
    assert 8 * bounds.frame_bound(matrix, "banded") < 1.2 * matrix.h0 * matrix.size


@pytest.mark.parametrize("name", TRAINED)
def test_the_frame_bound_of_banded_is_near_the_entropy_of_the_trained_matrices(name):
    matrix = trained(name)
    assert 8 * bounds.frame_bound(matrix, "banded") < 1.2 * matrix.h0 * matrix.size


# raw


def _shapes(n_dims, log_weights):
    """Shapes whose dims take the longest varints, some off by one."""
    dims, left = [], log_weights
    for _ in range(n_dims - 1):
        dims.append(1 << min(7, left))
        left -= min(7, left)
    for last in ((1 << left) - 1, 1 << left):
        yield (*dims, max(last, 1))


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
def test_raw_takes_at_most_64_bytes_more_than_the_plain_tensor(itemsize):
    dtype = next(dtype for dtype in DTYPES if dtype.itemsize == itemsize)
    for n_dims in range(1, 9):
        for log_weights in range(28):
            for dims in _shapes(n_dims, log_weights):
                shape = MatrixShape(dtype, dims)
                matrix = Matrix(shape, np.zeros(0, np.int64), -1)
                assert bounds.frame_bound(matrix, "raw") <= shape.n_bytes + 64, dims


def test_frame_bound_refuses_what_it_cannot_bound():
    many = np.arange(70_000, dtype=np.float32)
    with pytest.raises(ArgumentError, match="BOK-1"):
        bounds.frame_bound(Matrix.of(many), "ham")
    with pytest.raises(ArgumentError, match="BOK-1"):
        bounds.frame_bound(Matrix.of(np.ones(3, np.complex128)), "sham")
    with pytest.raises(ArgumentError, match="no bound for codec 'pack'"):
        bounds.frame_bound(Matrix.of(many), "pack")
    with pytest.raises(ArgumentError, match="FST-2"):
        bounds.frame_bound(Matrix.of(many[:40_000]), "fast")
    wide = MatrixShape(dtype_by_name("float32"), (3, 1 << 24))
    for codec in ("banded", "masked"):
        with pytest.raises(ArgumentError, match="BND-8"):
            bounds.frame_bound(Matrix(wide, np.array([wide.n_weights]), 0), codec)


# Counting, and all figures together


def test_matrix_counts_signed_zeros_as_encode_does():
    weight = np.array([[0.0, -0.0, 1.0]], np.float32)
    assert Matrix.of(weight).n_entries == 1
    kept = Matrix.of(weight, signed_zeros="keep")
    assert kept.n_entries == 2
    assert kept.entry_counts.tolist() == [1, 1]
    with pytest.raises(ArgumentError, match="not one of"):
        Matrix.of(weight, signed_zeros="swap")


@pytest.mark.parametrize("dtype", [">f4", "<c16"])
def test_matrix_counts_other_types(dtype):
    matrix = Matrix.of(np.array([[0, 3, 3], [1, 0, 0]], dtype).T)
    assert (matrix.n, matrix.m, matrix.n_entries) == (2, 3, 3)
    assert sorted(matrix.entry_counts.tolist()) == [1, 2]


def test_figures_of_more_values_than_a_codebook_holds():
    weight = np.arange(70_000, dtype=np.float32).reshape(700, 100)
    figures = bounds.of(weight)
    assert list(figures.frames) == ["raw", "masked"]
    assert figures.k == 69_999
    assert figures.frame_bits("ham") is None
    check_psi(Matrix.of(weight))
    assert "raw" in str(figures)


def test_of_gives_the_figures_of_the_functions_and_the_bytes_of_the_frames():
    weight = pruned(13, (60, 80), 0.3, 12)
    matrix, figures = Matrix.of(weight), bounds.of(weight, t=4)
    for name in ("psi_ham", "psi_sham", "ham_bound", "sham_bound"):
        assert getattr(figures, name) == getattr(bounds, name)(matrix, 4)
    for codec, frame in figures.frames.items():
        assert frame.nbytes == len(cnnzip.tensor.encode(weight, codec).to_frame())
        assert frame.bound == bounds.frame_bound(matrix, codec)
    as_dict = json.loads(json.dumps(figures.to_dict()))
    assert as_dict["frames"]["ham"] == {
        "nbytes": figures.frames["ham"].nbytes,
        "bound": figures.frames["ham"].bound,
    }


def test_figures_print_one_line_per_codec():
    text = str(bounds.of(pruned(14, (60, 80), 0.3, 12)))
    assert "60 x 80 float32" in text
    assert [line.split()[0] for line in text.splitlines()[3:]] == [
        "ham",
        "sham",
        "csc",
        "index-map",
        "banded",
        "fast",
        "masked",
        "raw",
    ]


def test_of_takes_torch_tensors():
    torch = pytest.importorskip("torch")
    weight = torch.tensor([[0.0, 1.5, 1.5]], dtype=torch.bfloat16)
    assert bounds.of(weight).n_entries == 2


def test_examples_in_the_documentation_are_true():
    found = doctest.testmod(bounds)
    assert found.attempted > 5
    assert found.failed == 0


def test_import_loads_neither_numba_nor_torch():
    program = (
        "import sys, cnnzip.bounds\n"
        "print({'numba', 'torch', 'scipy', 'zstandard'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"

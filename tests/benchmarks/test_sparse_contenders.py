"""Sparse and index contenders keep every bit, multiply within rounding, and take what they say."""

import numba
import numpy as np
import pytest

from benchmarks.contenders import column_groups
from benchmarks.contenders.bitmask import Bitmask, BitmaskIndexed
from benchmarks.contenders.column_groups import ColumnGroups
from benchmarks.contenders.cser import CER, CSER
from benchmarks.contenders.index_map import IndexMap
from benchmarks.contenders.relative_index import (
    EIE,
    DeepCompression,
    DeepCompressionHuffman,
    code_stream,
    decode_stream,
    packed,
)
from benchmarks.contenders.scipy_sparse import BSR, COO, CSC, CSR
from benchmarks.contenders.torch_csr import TorchCSR
from benchmarks.matrices.base import Case
from tests.codecs.battery import sparse

CONTENDERS = (
    *(CSR(), CSC(), COO(), BSR(), TorchCSR("int32"), TorchCSR("int64")),
    *(IndexMap(), CER(), CSER(), Bitmask(), BitmaskIndexed()),
    *(EIE(), DeepCompression(), DeepCompressionHuffman(), ColumnGroups()),
)
NAMES = [contender.name for contender in CONTENDERS]


def case_of(values, name="made up"):
    array = np.asarray(values, np.float32)
    return Case(name, "test", "", lambda: array)


def awkward():
    f4 = np.float32
    rng = np.random.default_rng(0)
    yield "1x1 zero", np.zeros((1, 1), f4)
    yield "1x1", np.full((1, 1), -3, f4)
    yield "one column", sparse((300, 1), 0.3, 4)
    yield "one row", sparse((1, 300), 0.3, 4)
    yield "vector", sparse((65,), 0.5, 4)
    yield "all zero", np.zeros((40, 30), f4)
    yield "one symbol", np.full((40, 30), -1.5, f4)
    yield "one value and zero", sparse((40, 32), 0.2, 1)
    yield "zero seldom", np.where(rng.random((50, 70)) < 0.1, 0, 1 + (rng.random((50, 70)) < 0.3))
    yield "all distinct", np.arange(1, 1201, dtype=f4).reshape(40, 30)
    yield "65,536 values", rng.permutation(1 << 16).astype(f4).reshape(256, 256) + 1
    yield "65,536 values and zero", rng.permutation(65_537).astype(f4).reshape(1, -1)
    yield "empty rows and columns", np.pad(sparse((20, 20), 0.4, 5), ((0, 30), (30, 0)))
    yield "last entry alone", np.pad(np.ones((1, 1), f4), ((49, 0), (69, 0)))
    yield "first entry alone", np.pad(np.ones((1, 1), f4), ((0, 49), (0, 69)))
    yield "denormals", sparse((30, 40), 0.5, 6) * f4(1e-42)
    yield "far apart", sparse((30, 40), 0.5, 6) * f4(10) ** rng.integers(-20, 15, (30, 40))
    for k in (15, 16, 255, 256, 257):
        yield (
            f"{k} values",
            sparse((64, 66), 0.6, 2 * k)[rng.permutation(64)] * 0
            + np.resize(np.arange(k + 1), (64, 66)),
        )
    for density in (0.01, 0.1, 0.5, 1.0):
        yield f"density {density}", sparse((70, 90), density, 15)
    yield "convolution", sparse((12, 8, 3, 3), 0.3, 7)
    yield "blocks", np.kron(sparse((10, 12), 0.2, 9), np.ones((4, 4), f4))
    yield "runs", np.repeat(sparse((4, 20), 0.6, 3), 50, axis=0)
    yield "like columns", np.tile(sparse((300, 3), 0.7, 9), (1, 7))
    yield "wide", sparse((3, 66_000), 0.02, 6)
    yield "tall", sparse((70_000, 2), 0.02, 6)
    yield "long runs", np.repeat(np.array([[0, 1], [2, 1], [0, 1]], f4), [66_000, 66_000, 1], 0)


CASES = [case_of(array, name) for name, array in awkward()]
SMALL = [case for case in CASES if case.weight.size <= 5_000]


def rounding_bound(matrix, x, implied):
    """Most that a product of float32 sums, in any order, may be off.

    n terms, each of at most four roundings, added up: (n + 4) u / (1 - (n + 4) u) times the sum of
    their magnitudes, u = 2^-24 (Higham, Accuracy and stability, 3.1); 2^-149 a term for underflow.
    A weight that equals the implied value is no term; others are at most |w| + |implied|.
    """
    n = np.count_nonzero(matrix != implied, axis=1) + 4.0
    gamma = n * 2.0**-24 / (1 - n * 2.0**-24)
    size = (np.abs(matrix.astype(float)) + abs(implied)) @ np.abs(x.astype(float))
    return (gamma * size.T + n * 2.0**-149).T


@pytest.mark.parametrize("contender", CONTENDERS, ids=NAMES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_contender_keeps_every_bit_and_multiplies_within_rounding(contender, case):
    if numba.config.DISABLE_JIT and case.weight.size > 5_000:
        pytest.skip("minutes in plain Python")
    if contender.name == "CLA" and case.matrix.shape[1] > 10_000:
        pytest.skip("half a minute, column by column")
    if contender.refuses(case):
        return
    parts = contender.encode(case)
    stored = contender.open(parts, case.shape)
    matrix = stored.decode()
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix.view(np.uint32), case.matrix.view(np.uint32))
    assert contender.size(case, parts).bits == 8 * sum(part.nbytes for part in parts.values())
    if not contender.multiplies:
        return
    implied = 0.0
    if contender.name in ("CER", "CSER"):
        implied = float(parts["codebook"][0])
    rng = np.random.default_rng(1)
    for width in ((), (1,), (5,)):
        x = rng.standard_normal((case.matrix.shape[1], *width)).astype(np.float32)
        y = stored.multiply(x)
        assert y.dtype == np.float32
        assert y.shape == (case.matrix.shape[0], *width)
        off = np.abs(y - case.matrix.astype(float) @ x.astype(float))
        assert (off <= rounding_bound(case.matrix, x, implied)).all()


def test_refusals_name_what_is_allowed():
    many = case_of(np.arange(256).reshape(16, 16) + 1)
    assert EIE().refuses(many) == "256 values, and 0 for fillers; at most 256 in all"
    assert EIE().refuses(case_of(np.arange(256).reshape(16, 16))) is None
    most = case_of(np.arange(1 << 16).reshape(256, 256) + 1)
    assert "at most 65,536" in DeepCompressionHuffman().refuses(most)
    assert {c.name for c in CONTENDERS if c.refuses(most)} == {"EIE", "Deep Compression + Huffman"}


def bits_for(highest):
    return next(bits for bits in (8, 16, 32) if highest < 1 << bits)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_sizes_are_those_of_the_definitions(case):
    matrix = case.matrix
    rows, columns = matrix.shape
    n = np.count_nonzero(matrix)
    values, counts = np.unique(matrix, return_counts=True)
    k = values.size
    # Of values of the same frequency, any may be implied: zero, then the least, is here.
    implied = 0.0 if 0 in values[counts == counts.max()] else values[counts.argmax()]
    by_frequency = sorted(values, key=lambda v: (-counts[values == v][0], v != 0, v))
    groups = [[by_frequency.index(v) for v in set(row) - {implied}] for row in matrix]
    others = np.count_nonzero(matrix != implied)

    def rows_of_groups(n_groups):
        return (
            32 * k
            + others * bits_for(columns - 1)
            + (n_groups + 1) * bits_for(others)
            + (rows + 1) * bits_for(n_groups)
        )

    shared = sum(map(len, groups))
    padded = sum(max(row, default=0) for row in groups)
    mask = 64 * -(-matrix.size // 64)
    expected = {
        CSR(): 64 * n + 32 * (rows + 1),
        CSC(): 64 * n + 32 * (columns + 1),
        COO(): 96 * n,
        TorchCSR("int32"): 64 * n + 32 * (rows + 1),
        TorchCSR("int64"): 96 * n + 64 * (rows + 1),
        IndexMap(): 32 * k + matrix.size * bits_for(k - 1),
        CSER(): rows_of_groups(shared) + shared * bits_for(k - 1),
        CER(): rows_of_groups(padded),
        Bitmask(): mask + 32 * n,
        BitmaskIndexed(): mask + 32 * (k - (0 in values)) + n * bits_for(k - 1 - (0 in values)),
    }
    for contender, bits in expected.items():
        assert contender.size(case, contender.encode(case)).bits == bits, contender.name
    blocks = BSR().encode(case)
    assert BSR().size(case, blocks).bits <= 64 * n + 32 * (rows + 1) + 16


# The running example of Wiedemann et al., section III.
EXAMPLE = [
    [0, 3, 0, 2, 4, 0, 0, 2, 3, 4, 0, 4],
    [4, 4, 0, 0, 0, 4, 0, 0, 4, 4, 0, 4],
    [4, 0, 3, 4, 0, 0, 0, 4, 0, 2, 0, 0],
    [0, 0, 0, 4, 4, 4, 0, 3, 4, 4, 0, 0],
    [0, 4, 4, 0, 0, 4, 0, 4, 0, 0, 0, 0],
]
EXAMPLE_COLUMNS = [
    *(4, 9, 11, 1, 8, 3, 7),
    *(0, 1, 5, 8, 9, 11),
    *(0, 3, 7, 2, 9),
    *(3, 4, 5, 8, 9, 7),
    *(1, 2, 5, 7),
]


@pytest.mark.parametrize("contender", [CER(), CSER()], ids=["CER", "CSER"])
def test_grouped_rows_of_the_papers_example(contender):
    parts = contender.encode(case_of(EXAMPLE))
    assert parts["codebook"].tolist() == [0, 4, 3, 2]
    assert parts["positions"].tolist() == EXAMPLE_COLUMNS
    assert parts["group starts"].tolist() == [0, 3, 5, 7, 13, 16, 17, 18, 23, 24, 28]
    assert parts["row starts"].tolist() == [0, 3, 4, 7, 9, 10]
    if contender.name == "CSER":
        assert parts["values"].tolist() == [1, 2, 3, 1, 1, 2, 3, 1, 2, 1]
    n_fields = sum(part.size for part in parts.values())
    assert n_fields == {"CER": 49, "CSER": 59}[contender.name]


def test_cer_stores_the_empty_groups_before_a_rows_last():
    parts = CER().encode(case_of([[0, 0, 0, 0, 7, 0, 0], [0, 5, 5, 0, 0, 0, 0]]))
    assert parts["codebook"].tolist() == [0, 5, 7]
    assert parts["group starts"].tolist() == [0, 0, 1, 3]
    assert parts["row starts"].tolist() == [0, 2, 3]
    assert parts["positions"].tolist() == [4, 1, 2]


def test_a_value_other_than_zero_may_be_implied():
    parts = CSER().encode(case_of([[2, 2, 0], [2, 2, 2]]))
    assert parts["codebook"].tolist() == [2, 0]
    assert parts["positions"].tolist() == [2]
    stored = CSER().open(parts, (2, 3))
    assert stored.multiply(np.array([1, 10, 100], np.float32)).tolist() == [22, 222]


def test_eie_puts_a_filler_after_fifteen_zeros():
    """The paper's column: v = 1, 2, 0, 3 and z = 2, 0, 15, 2."""
    column = [0, 0, 1, 2, *[0] * 18, 3]
    parts = EIE().encode(case_of(np.array(column)[:, None]))
    assert parts["header"].tolist() == [4, 4, 4]
    assert parts["codebook"].tolist() == [0, 1, 2, 3]
    assert parts["values"].tolist() == [1 | 2 << 4, 0 | 3 << 4]
    assert parts["positions"].tolist() == [2 | 0 << 4, 15 | 2 << 4]
    assert parts["column starts"].tolist() == [0, 4]


def test_eie_counts_zeros_anew_in_each_column_and_deep_compression_goes_on():
    matrix = np.array([[0, 1, 0, 0], [1, 0, 0, 1]])
    by_columns = EIE().encode(case_of(matrix))
    assert by_columns["positions"].tolist() == [1 | 0 << 4, 1]
    assert by_columns["column starts"].tolist() == [0, 1, 2, 2, 3]
    by_rows = DeepCompression().encode(case_of(matrix))
    assert by_rows["header"].tolist() == [1, 4, 3]
    assert by_rows["positions"].tolist() == [1 | 2 << 4, 2]
    assert by_rows["values"].tolist() == [0b111]


def naive_fillers(zeros, gap_bits):
    n = 0
    while zeros >= 1 << gap_bits:
        n, zeros = n + 1, zeros - (1 << gap_bits)
    return n


@pytest.mark.parametrize("density", [0.005, 0.03, 0.2])
def test_relative_indices_take_the_width_of_least_bits(density):
    case = case_of(sparse((70, 90), density, 5))
    places = np.flatnonzero(case.matrix).tolist()
    zeros = [b - a - 1 for a, b in zip([-1, *places], places, strict=False)]
    bits = int(np.ceil(np.log2(case.codebook.size + 1)))
    least = min((bits + gap) * sum(1 + naive_fillers(z, gap) for z in zeros) for gap in (4, 5, 8))
    parts = DeepCompression().encode(case)
    codebook = 32 * (case.codebook.size + 1)
    total = DeepCompression().size(case, parts).bits
    assert 0 <= total - (96 + codebook + least) < 16  # two streams, each of whole bytes


def test_packed_fields_begin_at_the_least_significant_bit():
    assert packed(np.array([1, 2, 3, 17]), 5).tolist() == [0b010_00001, 0b1_00011_00, 0b1000]


def test_huffman_streams_are_as_long_as_their_codes_say():
    fields = np.repeat([7, 3, 250, 9], [8, 4, 2, 2])
    alphabet, per_length, stream = code_stream(fields)
    assert alphabet.tolist() == [7, 3, 9, 250]
    assert per_length.tolist() == [1, 1, 2]
    assert stream.size == (8 * 1 + 4 * 2 + 4 * 3 + 7) // 8
    symbols = decode_stream(stream, per_length, 4, fields.size)
    np.testing.assert_array_equal(alphabet[symbols], fields)


def test_bitmask_of_a_small_matrix():
    parts = BitmaskIndexed().encode(case_of([[0, 5, 0], [-1, 0, 5]]))
    assert parts["positions"].tolist() == [0b101_010]
    assert parts["codebook"].tolist() == [-1, 5]
    assert parts["values"].tolist() == [1, 0, 1]
    assert Bitmask().encode(case_of([[0, 5, 0], [-1, 0, 5]]))["values"].tolist() == [5, -1, 5]


def test_bsr_takes_the_blocks_of_the_matrix():
    blocks = np.kron(np.eye(5), np.ones((4, 3)))
    assert BSR().encode(case_of(blocks))["header"].tolist() == [4, 3]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_column_groups_take_what_their_table_says(case):
    parts = ColumnGroups().encode(case)
    rows = case.matrix.shape[0]
    n_shared = int(parts["header"][0])
    expected = 4 + 4 + 4 * n_shared  # header, end of the lists, shared dictionary
    columns = iter(parts["columns"])
    for kind, wide in zip(parts["kinds"].tolist(), parts["widths"].tolist(), strict=True):
        assert wide <= column_groups.BIN
        tuples = case.matrix[:, [next(columns) for _ in range(wide)]]
        entries = tuples.any(axis=1)
        d = len({tuple(row) for row in tuples[entries].tolist()})
        same = (tuples[1:] == tuples[:-1]).all(axis=1)
        runs = np.count_nonzero(entries[1:] & ~same) + entries[0]
        ways = {
            column_groups.SHARED: rows if wide == 1 and case.codebook.size < 256 else np.inf,
            column_groups.DDC1: 4 * wide * (d + 1) + rows if d < 256 else np.inf,
            column_groups.DDC2: 4 * wide * (d + 1) + 2 * rows,
            column_groups.OLE: 4 * d * (wide + 1) + 2 * d + 2 * np.count_nonzero(entries),
            column_groups.RLE: 4 * d * (wide + 1) + 4 * runs,
            column_groups.UC: 4 * wide * rows,
        }
        assert ways[kind] == min(ways.values())
        expected += ways[kind] + 4 * wide + 6
    assert ColumnGroups().size(case, parts).bits == 8 * expected


def test_like_columns_become_a_group():
    parts = ColumnGroups().encode(next(case for case in CASES if case.name == "like columns"))
    assert parts["widths"].max() == 7
    widest = parts["widths"].argmax()
    first = parts["widths"][:widest].sum()
    assert len(set(parts["columns"][first : first + 7] % 3)) == 1


@pytest.mark.parametrize(
    ("kind", "matrix"),
    [
        (column_groups.SHARED, sparse((300, 5), 0.9, 200)),
        (column_groups.DDC1, np.tile(sparse((3_000, 1), 1.0, 200), (1, 4))),
        (column_groups.DDC2, np.random.default_rng(0).integers(0, 300, (4_000, 1))),
        (column_groups.OLE, sparse((3_000, 2), 0.1, 5)),
        (column_groups.RLE, np.repeat(sparse((9, 2), 0.5, 3), 100, axis=0)),
        (column_groups.UC, np.arange(300).reshape(100, 3)),
    ],
)
def test_each_way_is_taken_where_it_is_least(kind, matrix):
    case = case_of(matrix)
    parts = ColumnGroups().encode(case)
    assert set(parts["kinds"].tolist()) == {kind}
    np.testing.assert_array_equal(ColumnGroups().open(parts, case.shape).decode(), case.matrix)

"""Kernels against plain twins and against the reference reader."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnzip.entropy.canonical import CanonicalCode, optimal_lengths
from cnnzip_native import bits, ham, huffman, indices, patterns, places, status
from spec.reference import huffman as reference


def frozen(array):
    array.flags.writeable = False
    return array


def bit_string(words):
    """Bytes of strings of 0 and 1, padded with zeros (NUM-3)."""
    text = "".join(words)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def codes(max_symbols=40):
    counts = st.lists(st.integers(1, 10**6), min_size=2, max_size=max_symbols)
    return counts.map(lambda c: CanonicalCode.of_lengths(optimal_lengths(np.array(c))))


def words_of(code):
    return [format(w, f"0{n}b") for w, n in zip(code.codewords(), code.lengths, strict=True)]


@given(codes())
def test_codewords_are_those_of_the_reference(code):
    assert words_of(code) == reference.codewords(list(code.per_length), code.n_symbols)


def brute_force_cost(counts, limit):
    """Cost of the best code of at most `limit` bits, over all sorted lengths with Kraft sum 1."""
    counts = sorted(counts, reverse=True)
    best = [float("inf")]

    def extend(i, least, kraft, cost):
        if cost >= best[0]:
            return
        if i == len(counts):
            if kraft == 1 << limit:
                best[0] = cost
            return
        for length in range(least, limit + 1):
            if kraft + (1 << (limit - length)) <= 1 << limit:
                extend(i + 1, length, kraft + (1 << (limit - length)), cost + counts[i] * length)

    extend(0, 1, 0, 0)
    return best[0]


@given(st.lists(st.integers(1, 200), min_size=2, max_size=7), st.integers(3, 6))
@settings(max_examples=60, deadline=None)
def test_lengths_are_optimal_under_the_limit(counts, limit):
    lengths = optimal_lengths(np.array(counts), limit)
    assert lengths.max() <= limit
    assert int(np.dot(counts, lengths.astype(int))) == brute_force_cost(counts, limit)


def test_lengths_stay_within_24_bits_where_huffman_would_not():
    fibonacci = [1, 1]
    while len(fibonacci) < 60:
        fibonacci.append(sum(fibonacci[-2:]))
    lengths = optimal_lengths(np.array(fibonacci))
    assert lengths.max() == 24
    CanonicalCode.of_lengths(lengths)  # complete, or it would refuse


def test_lengths_of_the_largest_codebook():
    counts = np.random.default_rng(0).integers(1, 1 << 40, 1 << 16)
    assert CanonicalCode.of_lengths(optimal_lengths(counts)).longest <= 24


@given(codes(), st.data())
@settings(deadline=None)
def test_streams_are_the_codewords_one_after_the_other(code, data):
    words = words_of(code)
    streams = data.draw(
        st.lists(st.lists(st.integers(0, len(words) - 1), max_size=60), min_size=1, max_size=5)
    )
    symbols = np.array([s for stream in streams for s in stream], np.uint16)
    ends = np.cumsum([len(s) for s in streams])
    due = [bit_string(words[s] for s in stream) for stream in streams]
    out = np.full(len(b"".join(due)), 255, np.uint8)
    lengths = np.zeros(len(streams), np.int64)
    n = bits.encode_streams(symbols, ends, code.codewords(), code.lengths, out, lengths)
    assert (bytes(out), n, lengths.tolist()) == (b"".join(due), len(out), [len(d) for d in due])

    starts = np.concatenate([[0], np.cumsum(lengths)])
    for table_bits in (1, 5, 12):
        decoded = np.zeros(symbols.size, np.uint16)
        code_status = huffman.decode_symbols(
            frozen(out),
            starts,
            np.concatenate([[0], ends]),
            *code.decode_pairs(table_bits),
            decoded,
            np.empty((2, len(streams)), np.uint64),
        )
        assert code_status == status.OK
        assert decoded.tolist() == symbols.tolist()


def decode_ham(code, zero, streams_bytes, starts, n_weights, table_bits=12):
    capacity = max(n_weights)
    positions = np.zeros((len(n_weights), capacity), np.uint32)
    symbols = np.zeros((len(n_weights), capacity), np.uint16)
    where = np.zeros((3, len(n_weights)), np.uint64)
    result = ham.decode_ham(
        frozen(np.frombuffer(streams_bytes, np.uint8)),
        np.array(starts),
        np.array(n_weights),
        *code.decode_runs(zero, table_bits),
        positions,
        symbols,
        where,
    )
    counts = where[2].astype(int)
    entries = [
        list(zip(positions[i, :n].tolist(), symbols[i, :n].tolist(), strict=True))
        for i, n in enumerate(counts)
    ]
    return result, entries


@given(codes(12), st.data())
@settings(deadline=None)
def test_ham_gives_the_positions_of_all_but_the_zeros(code, data):
    words = words_of(code)
    zero = data.draw(st.integers(-1, len(words) - 1))
    symbol = st.integers(0, len(words) - 1)
    if zero >= 0:
        symbol = st.one_of(st.just(zero), symbol)
    streams = data.draw(
        st.lists(st.lists(symbol, min_size=1, max_size=200), min_size=1, max_size=5)
    )
    coded = [bit_string(words[s] for s in stream) for stream in streams]
    starts = np.concatenate([[0], np.cumsum([len(c) for c in coded])])
    due = [[(i, s) for i, s in enumerate(stream) if s != zero] for stream in streams]
    for table_bits in (1, 7, 12):
        result, entries = decode_ham(
            code, zero, b"".join(coded), starts, [len(s) for s in streams], table_bits
        )
        assert result == status.OK
        assert entries == due


def test_a_stream_must_end_with_its_last_codeword():
    code = CanonicalCode((1, 1, 2), 4)
    good = bit_string(["0"] * 8)
    assert decode_ham(code, 0, good, [0, 1], [8])[0] == status.OK
    assert decode_ham(code, 0, good, [0, 1], [9])[0] == status.STREAM_LENGTH
    assert decode_ham(code, 0, good + b"\0", [0, 2], [8])[0] == status.STREAM_LENGTH
    assert decode_ham(code, 0, b"\x01", [0, 1], [7])[0] == status.STREAM_PADDING


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_distinct_patterns_are_numbered_by_first_occurrence(dtype):
    array = np.array([7, 0, 7, 9, 0, 2**31], dtype)
    slots, found = np.full(32, -1, np.int32), np.zeros(4, dtype)
    counts, symbols = np.zeros(4, np.int64), np.zeros(6, np.uint16)
    assert patterns.find_distinct(array, slots, 4, found, counts, symbols) == 4
    assert (found.tolist(), counts.tolist()) == ([7, 0, 9, 2**31], [2, 2, 1, 1])
    assert symbols.tolist() == [0, 1, 0, 2, 1, 3]
    slots[:] = -1
    assert patterns.find_distinct(array, slots, 3, found, counts, symbols) == -1


@given(st.integers(0, 4).map(lambda b: 1 << b), st.lists(st.integers(0, 65535), max_size=50))
@settings(deadline=None)
def test_indices_unpack_to_what_was_packed(width, numbers):
    symbols = np.array(numbers, np.uint16) & np.uint16((1 << width) - 1)
    packed = np.zeros(-(-symbols.size * width // 8), np.uint8)
    indices.pack_indices(symbols, width, packed)
    assert bytes(packed) == bit_string(format(s, f"0{width}b") for s in symbols)
    for first in range(0, symbols.size, 7):
        out = np.zeros(symbols.size - first, np.uint16)
        assert indices.unpack_indices(frozen(packed), width, first, 1 << width, out) == status.OK
        assert out.tolist() == symbols[first:].tolist()


def test_an_index_outside_the_codebook_is_refused():
    packed, out = frozen(np.array([0b00_01_10_11], np.uint8)), np.zeros(4, np.uint16)
    assert indices.unpack_indices(packed, 2, 0, 3, out) == status.SYMBOL_PAST_END


@pytest.mark.parametrize("n_bytes", [1, 2, 4])
def test_places_become_positions_in_their_streams(n_bytes):
    stored = frozen(np.array([0, 5, 2, 3], f"<u{n_bytes}").view(np.uint8))
    positions = np.zeros(4, np.uint32)

    def decode(ends, per_stream, width):
        return places.decode_places(
            stored, n_bytes, np.array(ends), per_stream, width, 0, positions
        )

    assert decode([2, 2, 4], 2, 6) == status.OK  # lines 0 and 1 are a stream, line 2 the next
    assert positions.tolist() == [0, 5, 2, 3]
    assert decode([2, 4, 4], 3, 6) == status.OK
    assert positions.tolist() == [0, 5, 8, 9]
    assert decode([2, 4, 4], 3, 5) == status.PLACE_PAST_END
    assert decode([3, 4, 4], 3, 6) == status.PLACE_NOT_INCREASING

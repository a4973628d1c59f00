"""Tokens of fast against a plain reading of the clauses, and the kernels against each other."""

from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnzip.codecs.fast import fields
from cnnzip_native import fast, status

#: Values and bytes a token, wherever value_bits steps.
KINDS = [(k, 1) for k in (1, 2, 3, 16, 17, 32, 33, 64, 65, 127, 128)]
KINDS += [(k, 2) for k in (1, 2, 128, 129, 300, 16_384, 16_385, 32_768)]
LARGEST = (1 << 30) - 1  # of a width (FST-6)
some = settings(max_examples=30 if numba.config.DISABLE_JIT else 200, deadline=None)


@dataclass
class Matrix:
    """Lines of (place, symbol) pairs."""

    k: int
    size: int  # bytes of a token
    lines: list
    width: int

    @property
    def fields(self):
        return fields(self.k, self.size)

    @property
    def arrays(self):
        """places, symbols, ends of the lines, as the encoder takes them."""
        pairs = [pair for line in self.lines for pair in line]
        ends = np.cumsum([0, *map(len, self.lines)])
        places, symbols = ([pair[i] for pair in pairs] for i in (0, 1))
        return np.array(places, np.uint32), np.array(symbols, np.uint16), ends

    def encoded(self):
        """Tokens and the ends of their lines, by the kernels."""
        places, symbols, lines = self.arrays
        counts = np.full(len(self.lines), -1, np.int64)
        fast.count_tokens(places, lines, *self.fields, counts)
        room = int(counts.sum())
        tokens = np.full(room + 1, 77, f"u{self.size}")
        fast.encode_tokens(places, symbols, lines, *self.fields, tokens[:room])
        assert tokens[room] == 77
        return frozen(tokens[:room]), np.append(0, np.cumsum(counts))

    def check(self, tokens, ends):
        return fast.check_tokens(tokens, ends, self.width, *self.fields, self.k)

    def decoded(self, tokens, ends, per_stream):
        """Lines of (place, symbol) pairs again, by the kernel."""
        n_streams = -(-len(self.lines) // per_stream)
        begins, counts = np.full((2, n_streams), -1, np.int64)
        room = tokens.size + 16
        positions, symbols = np.full(room, 5, np.uint32), np.full(room, 5, np.uint16)
        fast.decode_tokens(
            tokens, ends, per_stream, self.width, *self.fields, self.k, begins, counts,
            positions, symbols,
        )  # fmt: skip
        found = [[] for _ in self.lines]
        for s in range(n_streams):
            run = slice(begins[s], begins[s] + counts[s])
            for position, symbol in zip(
                positions[run].tolist(), symbols[run].tolist(), strict=True
            ):
                line, place = divmod(position, self.width)
                found[s * per_stream + line].append((place, symbol))
        return found

    def gathered(self, tokens, ends, values, x, first=0, stop=None):
        y = np.full(len(self.lines), 99, x.dtype)
        padded = np.zeros(max(32, 1 << self.fields[0]), x.dtype)
        padded[: self.k] = values
        stop = len(self.lines) if stop is None else stop
        fast.gather_tokens(tokens, ends, first, stop, self.width, *self.fields, padded, x, y)
        return y


def frozen(array):
    array.flags.writeable = False
    return array


def read_line(tokens, value_bits, skip):
    """(number of the token, place, symbol) of each entry, by FST-4 alone."""
    found, p = [], 0
    for j, token in enumerate(tokens):
        g, s = token >> value_bits, token & ((1 << value_bits) - 1)
        if g < skip:
            found.append((j, p + g, s))
            p += g + 1
        else:
            p += skip * (s + 1)
    return found


def plain_sum(numbered, dtype):
    """MAT-3: sixteen sums, halved."""
    s = np.zeros(16, dtype)
    for j, term in numbered:
        s[j % 16] += term
    for half in (8, 4, 2, 1):
        s = s[:half] + s[half : 2 * half]
    return s[0]


@st.composite
def matrices(draw, most=LARGEST):
    """Entries at gaps that are small, near where skips begin, or as large as lines and time allow."""
    k, size = draw(st.sampled_from(KINDS))
    value_bits, skip = fields(k, size)
    reach = skip << value_bits
    near = [n * step + d for step in (skip, reach) for n in (1, 2) for d in (-1, 0, 1)]
    longest = min(most, 400 * reach)
    gaps = st.one_of(
        st.integers(0, 3), st.sampled_from([g for g in near if 0 <= g <= longest] or [0]),
        st.integers(0, longest),
    )  # fmt: skip
    symbols = st.one_of(st.integers(0, k - 1), st.sampled_from([0, k - 1]))
    entries = st.lists(st.tuples(gaps, symbols), max_size=draw(st.sampled_from([3, 20, 70])))
    lines, width = [], 1
    for drawn in draw(st.lists(entries, max_size=5)):
        place, line = 0, []
        for gap, symbol in drawn:
            if place + gap >= most:
                break
            line.append((place + gap, symbol))
            place += gap + 1
        lines.append(line)
        width = max(width, place)
    return Matrix(k, size, lines, draw(st.integers(width, most) | st.just(width)))


HUGE = Matrix(32_768, 2, [[(0, 32_767), (LARGEST - 1, 5)], [], [(LARGEST - 1, 0)]], LARGEST)


@given(matrices(), st.integers(1, 3))
@example(HUGE, 1)
@example(Matrix(1, 1, [], 1), 1)
@example(Matrix(1, 1, [[], [], []], 7), 2)
@some
def test_tokens_decode_to_what_was_encoded(matrix, per_stream):
    tokens, ends = matrix.encoded()
    value_bits, skip = matrix.fields
    for line, (begin, end) in zip(matrix.lines, pairwise(ends), strict=True):
        read = read_line(tokens[begin:end].tolist(), value_bits, skip)
        assert [(place, symbol) for _, place, symbol in read] == line
    assert matrix.check(tokens, ends) == status.OK
    per_stream = per_stream if per_stream * matrix.width < 1 << 31 else 1
    assert matrix.decoded(tokens, ends, per_stream) == matrix.lines


@given(matrices())
@some
def test_no_token_is_spent_that_could_be_spared(matrix):
    value_bits, skip = matrix.fields
    _, ends = matrix.encoded()
    for line, n in zip(matrix.lines, np.diff(ends), strict=True):
        due, start = 0, 0
        for place, _ in line:
            due += 1 + -(-((place - start) // skip) // (1 << value_bits))
            start = place + 1
        assert n == due


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(matrices(most=3000), st.integers(0, 2**32 - 1))
@some
def test_gather_adds_by_numbers_of_tokens(dtype, matrix, seed):
    rng = np.random.default_rng(seed)
    x, values = rng.standard_normal(matrix.width), rng.standard_normal(matrix.k)
    x, values = x.astype(dtype), values.astype(dtype)
    tokens, ends = matrix.encoded()
    read = [read_line(tokens[begin:end].tolist(), *matrix.fields) for begin, end in pairwise(ends)]
    due = [plain_sum([(j, values[s] * x[p]) for j, p, s in line], dtype) for line in read]
    found = matrix.gathered(tokens, ends, values, x)
    np.testing.assert_array_equal(found, np.array(due, dtype))
    if len(read) > 1:  # some lines alone: the others are not touched
        found = matrix.gathered(tokens, ends, values, x, 1, len(read) - 1)
        np.testing.assert_array_equal(found, np.array([99, *due[1:-1], 99], dtype))


@pytest.mark.parametrize("n", range(35))
def test_no_place_without_an_entry_is_multiplied(n):
    """Lines of 0 to 34 tokens, skips among them, where x is infinite between the entries."""
    line = [(129 * i + 128 * (i % 3 == 1), 0) for i in range(n)]
    matrix = Matrix(1, 1, [line], 129 * 40)
    tokens, ends = matrix.encoded()
    x = np.full(matrix.width, np.inf, np.float32)
    x[[place for place, _ in line]] = 2
    assert matrix.gathered(tokens, ends, np.ones(1), x).tolist() == [2 * n]


def checked(k, size, lines, width):
    ends = np.append(0, np.cumsum([len(line) for line in lines]))
    tokens = np.array([t for line in lines for t in line], f"u{size}")
    return fast.check_tokens(frozen(tokens), ends, width, *fields(k, size), k)


def test_what_tokens_break_is_told():
    skip = 63 << 2  # three values: gaps of six bits
    assert checked(3, 1, [[0, 2], [], [2]], 2) == status.OK
    assert checked(3, 1, [[0, 2, 1], [2]], 2) == status.PLACE_PAST_END
    assert checked(3, 1, [[2], [4, 4]], 3) == status.PLACE_PAST_END
    assert checked(3, 1, [[2], [3]], 3) == status.SYMBOL_PAST_END
    assert checked(3, 1, [[skip | 3, 0]], 253) == status.OK  # a skip may have any symbol
    assert checked(3, 1, [[skip | 3, 0]], 252) == status.PLACE_PAST_END
    assert checked(3, 1, [[skip], [0]], 100) == status.LINE_END
    assert checked(3, 1, [[0, skip]], 64) == status.LINE_END
    assert checked(3, 1, [[0, skip]], 63) == status.PLACE_PAST_END
    assert checked(3, 1, [[0], [0, skip | 1]], 200) == status.LINE_END
    assert checked(129, 2, [[128], [129]], 5) == status.SYMBOL_PAST_END


@given(st.sampled_from(KINDS), st.data())
@some
def test_check_agrees_with_a_plain_reading(kind, data):
    k, size = kind
    value_bits, skip = fields(k, size)
    token = st.one_of(
        st.integers(0, (1 << 8 * size) - 1),
        st.integers(0, k - 1).map(lambda s: s | (skip // 2) << value_bits),
        st.integers(0, k - 1),
    )
    lines = data.draw(st.lists(st.lists(token, max_size=20), max_size=4))
    width = data.draw(st.sampled_from([1, 20, 300, 70_000, LARGEST]))
    sound = True
    for line in lines:
        read = read_line(line, value_bits, skip)
        sound &= all(place < width and symbol < k for _, place, symbol in read)
        sound &= not line or bool(read and read[-1][0] == len(line) - 1)
    assert (checked(k, size, lines, width) == status.OK) == sound

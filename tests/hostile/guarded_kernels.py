"""Kernels on mutated arrays that lie flush against pages that cannot be read.

Run by test_guarded_kernels.py in a process of its own: an access outside an array kills it. Only what the
kernels document under *Trusts* is respected.
"""

import ctypes
import json
import mmap
import random
import sys

import numpy as np
from numba import njit

from cnnzip.codecs.banded import class_numbers
from cnnzip.codecs.contexts import value_contexts
from cnnzip.codecs.layout import Layout
from cnnzip.codecs.mixed import Book, Model
from cnnzip.codecs.mixed import _state as mixed_state
from cnnzip.codecs.mixed_float import Heads, frozen
from cnnzip.codecs.mixed_float import _state as mixed_float_state
from cnnzip.codecs.source import MatrixShape
from cnnzip.dtypes import BY_NAME
from cnnzip.entropy.ans import AnsTable, AnsTables
from cnnzip.entropy.canonical import CanonicalCode, optimal_lengths
from cnnzip_native import status
from cnnzip_native._lanes import first_lanes, load, store
from cnnzip_native.banded import N_KEPT, decode_banded
from cnnzip_native.banded_lanes import STAGED, decode_banded_lanes
from cnnzip_native.fast import (
    check_tokens,
    count_tokens,
    decode_tokens,
    encode_tokens,
    gather_tokens,
)
from cnnzip_native.ham import decode_ham
from cnnzip_native.huffman import decode_symbols
from cnnzip_native.indices import unpack_indices
from cnnzip_native.mixed import code_lines
from cnnzip_native.mixed_float import code_heads
from cnnzip_native.places import decode_places, select_entries

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
KNOWN = {
    status.OK, status.SYMBOL_PAST_END, status.PLACE_PAST_END, status.PLACE_NOT_INCREASING,
    status.STREAM_LENGTH, status.STREAM_PADDING, status.ENTRY_COUNT, status.LAST_STATE,
    status.LINE_END,
}  # fmt: skip


class Guarded:
    """Memory between two pages without access; arrays end, or begin, at one of them."""

    def __init__(self, n_pages=64):
        private_anonymous = 0x22
        self.n_bytes = n_pages * PAGE
        base = libc.mmap(None, self.n_bytes + 2 * PAGE, 3, private_anonymous, -1, 0)
        for page in (base, base + PAGE + self.n_bytes):
            assert libc.mprotect(page, PAGE, 0) == 0
        self.start = base + PAGE

    def array(self, values, at_end=True):
        values = np.ascontiguousarray(values)
        assert values.nbytes <= self.n_bytes
        at = self.start + (self.n_bytes - values.nbytes if at_end else 0)
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * values.nbytes).from_address(at))
        array = raw.view(values.dtype).reshape(values.shape)
        array[...] = values
        return array


BUFFER, FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH = (Guarded(130) for _ in range(7))


def cuts(rng, n_parts, total):
    """Numbers that never decrease, from 0 or later on, up to `total` or less."""
    return np.array(sorted(rng.randrange(total + 1) for _ in range(n_parts + 1)), np.int64)


def code_of(rng):
    n_symbols = rng.choice((2, 2, 3, 17, 300, 5000))
    counts = np.array([int(1.5 ** rng.randrange(40)) for _ in range(n_symbols)], np.int64)
    return CanonicalCode.of_lengths(optimal_lengths(counts))


def symbols_case(rng, code, at_end):
    data = np.frombuffer(rng.randbytes(rng.randrange(300)), np.uint8)
    n, n_streams = rng.randrange(400), rng.randrange(1, 6)
    return decode_symbols(
        BUFFER.array(data, at_end), cuts(rng, n_streams, data.size), cuts(rng, n_streams, n),
        *code.decode_pairs(), FIRST.array(np.zeros(n, np.uint16), at_end),
        SECOND.array(np.zeros((2, n_streams), np.uint64), at_end),
    )  # fmt: skip


def ham_case(rng, code, at_end):
    data = np.frombuffer(rng.randbytes(rng.randrange(300)), np.uint8)
    n_streams, capacity = rng.randrange(1, 6), rng.randrange(1, 400)
    n_weights = np.array([rng.randrange(capacity + 1) for _ in range(n_streams)], np.int64)
    zero = rng.choice((-1, 0, rng.randrange(code.n_symbols)))
    limits, offsets, longest, zero, table_bits, table = code.decode_runs(zero)
    return decode_ham(
        BUFFER.array(data, at_end), cuts(rng, n_streams, data.size), n_weights,
        limits, offsets, longest, zero, table_bits, table,
        FIRST.array(np.zeros((n_streams, capacity), np.uint32), at_end),
        SECOND.array(np.zeros((n_streams, capacity), np.uint16), at_end),
        THIRD.array(np.zeros((3, n_streams), np.uint64), at_end),
    )  # fmt: skip


def places_case(rng, _, at_end):
    place_bytes, n = rng.choice((1, 2, 4)), rng.randrange(100)
    n_lines, per_stream = rng.randrange(1, 9), rng.randrange(1, 5)
    ends = cuts(rng, n_lines - 1, n)
    first = rng.randrange(int(ends[0]) + 1)
    width = rng.choice((0, 1, 200, 65_536, (1 << 31) // per_stream - 1))
    data = np.frombuffer(rng.randbytes(n * place_bytes), np.uint8).copy()
    if rng.random() < 0.5:  # places that mostly increase
        data = np.cumsum(np.ones(n), dtype=f"<u{place_bytes}").view(np.uint8)
        width = max(width, 101)
    return decode_places(
        BUFFER.array(data, at_end), place_bytes, FIRST.array(ends, at_end), per_stream, width,
        first, SECOND.array(np.zeros(int(ends[-1]) - first, np.uint32), at_end),
    )  # fmt: skip


def indices_case(rng, _, at_end):
    width, first, n = rng.choice((1, 2, 4, 8, 16)), rng.randrange(50), rng.randrange(200)
    data = np.frombuffer(rng.randbytes(-(-(first + n) * width // 8)), np.uint8)
    n_values = rng.choice((1, 1 << width, rng.randrange(1, (1 << width) + 1)))
    symbols = FIRST.array(np.zeros(n, np.uint16), at_end)
    found = unpack_indices(BUFFER.array(data, at_end), width, first, n_values, symbols)
    assert found != status.OK or not n or int(symbols.max()) < n_values
    return found


def select_case(rng, _, at_end):
    n = rng.randrange(300)
    found = FIRST.array(np.frombuffer(rng.randbytes(2 * n), np.uint16) % 3, at_end)
    positions = SECOND.array(np.zeros(n, np.uint32), at_end)
    count = select_entries(
        found, rng.choice((-1, 0, 2)), positions, THIRD.array(np.zeros(n, np.uint16), at_end)
    )
    assert 0 <= count <= n
    return status.OK


def banded_arguments(rng, at_end):
    """Arguments that both decoders of banded share, and the tables' size."""
    n_symbols, log_size = rng.choice((1, 2, 20, 300)), rng.randrange(9, 13)
    weights = np.array([rng.randrange(32) for _ in range(n_symbols - 1)] + [31], np.uint8)
    n_tables = rng.randrange(1, 4)
    tables = AnsTables((AnsTable(weights),) * n_tables, log_size).decoding().reshape(-1)
    width, n_streams, n_bands = rng.choice((1, 7, 200)), rng.randrange(1, 40), rng.randrange(1, 4)
    thresholds = np.array(sorted(rng.sample(range(50), rng.randrange(4))), np.uint32)
    n_cells = (thresholds.size + 1) * n_bands
    level_bits = rng.randrange(1, 3)
    memory_bits = level_bits * rng.randrange(4)
    n_kinds, uses_cell = rng.choice((1, 2, 16)), rng.randrange(2)
    gap_bits = rng.randrange(4, 9)
    n_value_contexts = value_contexts(n_cells, n_kinds, bool(uses_cell))

    def some(n, below, step=1):
        return np.array([rng.randrange(below) * step for _ in range(n)], np.uint32)

    data = np.frombuffer(rng.randbytes(rng.randrange(8, 3000)), np.uint8)
    n_lines = np.array([rng.randrange(1, 9) for _ in range(n_streams)], np.int64)
    begins = cuts(rng, n_streams, 500)
    begins[0] = 0
    arguments = (
        BUFFER.array(data, at_end), cuts(rng, n_streams, data.size), begins, n_lines, width,
        rng.choice((1, 30, 5000)), thresholds, FIRST.array(some(width + 1, n_bands), at_end),
        n_bands, level_bits, memory_bits, some(257, n_kinds), n_kinds, uses_cell,
        gap_bits, int(rng.random() < 0.3),
        SECOND.array(some(n_cells << memory_bits, n_tables, 1 << log_size), at_end),
        SIXTH.array(some(n_value_contexts, n_tables, 1 << log_size), at_end), log_size,
        THIRD.array(tables, at_end),
    )  # fmt: skip
    positions = FOURTH.array(np.zeros(int(begins[-1]), np.uint32), at_end)
    return arguments, positions, FIFTH.array(np.zeros(int(begins[-1]), np.uint16), at_end)


def banded_case(rng, _, at_end):
    arguments, positions, symbols = banded_arguments(rng, at_end)
    n_streams = arguments[3].size
    where = np.zeros((n_streams, N_KEPT), np.uint64)
    numbers = class_numbers(4), class_numbers(arguments[14])
    return decode_banded(*arguments, *numbers, positions, symbols, where)


def banded_lanes_case(rng, _, at_end):
    arguments, positions, symbols = banded_arguments(rng, at_end)
    stage = np.zeros(2 * STAGED * 16, np.uint32)
    lanes = np.zeros((2, 16), np.int64)
    return decode_banded_lanes(*arguments, positions, symbols, stage, lanes)


def tokens_of(rng, at_end):
    """Arguments that the kernels of fast share: tokens of any bits, and what they are read by."""
    token_bytes = rng.choice((1, 2))
    value_bits = rng.randrange(1, 8 * token_bytes)
    skip = (1 << (8 * token_bytes - value_bits)) - 1
    data = rng.randbytes(token_bytes * rng.randrange(300))
    if rng.random() < 0.5:  # bits that seldom make a skip or a large gap
        data = bytes(byte & rng.getrandbits(8) & rng.getrandbits(8) for byte in data)
    tokens = BUFFER.array(np.frombuffer(data, f"u{token_bytes}"), at_end)
    width = rng.choice((1, 2, 100, 1000, 30_000))
    n_values = rng.randrange(1, (1 << value_bits) + 1)
    return tokens, width, value_bits, skip, n_values


def check_tokens_case(rng, _, at_end):
    tokens, *layout = tokens_of(rng, at_end)
    ends = cuts(rng, rng.choice((2, 40, tokens.size + 2)), tokens.size)
    ends[0], ends[-1] = 0, tokens.size
    return check_tokens(tokens, FIRST.array(ends, at_end), *layout)


def decode_tokens_case(rng, _, at_end):
    """Tokens that nobody has checked: places and symbols are kept inside all the same."""
    tokens, width, *layout = tokens_of(rng, at_end)
    ends = cuts(rng, rng.randrange(9), tokens.size)
    per_stream = rng.choice((1, 2, (1 << 31) // width - 1))
    n_streams = -(-(ends.size - 1) // per_stream)
    room = int(ends[-1] - ends[0])
    begins, counts = np.zeros((2, n_streams), np.int64)
    positions = THIRD.array(np.zeros(room + 16, np.uint32), at_end)
    symbols = FOURTH.array(np.zeros(room + 16, np.uint16), at_end)
    decode_tokens(
        tokens, FIRST.array(ends, at_end), per_stream, width, *layout,
        SECOND.array(begins, at_end), counts, positions, symbols,
    )  # fmt: skip
    n = int(counts.sum())
    assert n <= room
    assert not n or int(positions[:n].max()) < min(per_stream, 8) * width
    assert not n or int(symbols[:n].max()) < layout[-1]
    return status.OK


def gather_tokens_case(rng, _, at_end):
    tokens, width, value_bits, skip, _ = tokens_of(rng, at_end)
    ends = cuts(rng, rng.randrange(1, 9), tokens.size)
    dtype, n_lines = rng.choice((np.float32, np.float64)), ends.size - 1
    first = rng.randrange(n_lines + 1)
    stop = rng.randrange(first, n_lines + 1)
    y = FOURTH.array(np.full(n_lines, -1, dtype), at_end)
    gather_tokens(
        tokens, FIRST.array(ends, at_end), first, stop, width, value_bits, skip,
        SECOND.array(np.ones(max(32, 1 << value_bits), dtype), at_end),
        THIRD.array(np.ones(width, dtype), at_end), y,
    )  # fmt: skip
    per_line = np.diff(ends)
    assert (y[first:stop] >= 0).all()
    assert (y[first:stop] <= per_line[first:stop]).all()
    assert (y[:first] == -1).all()
    assert (y[stop:] == -1).all()
    return status.OK


def encode_tokens_case(rng, _, at_end):
    """Entries as an encoder has them, in tokens just as many as were counted."""
    token_bytes = rng.choice((1, 2))
    value_bits = rng.randrange(1, 8 * token_bytes)
    skip = (1 << (8 * token_bytes - value_bits)) - 1
    lines = [sorted(rng.sample(range(3000), rng.randrange(20))) for _ in range(rng.randrange(1, 9))]
    ends = FIRST.array(np.cumsum([0, *map(len, lines)]), at_end)
    places = SECOND.array(np.array([p for line in lines for p in line], np.uint32), at_end)
    found = [rng.randrange(1 << value_bits) for _ in range(places.size)]
    counts = FOURTH.array(np.zeros(len(lines), np.int64), at_end)
    count_tokens(places, ends, value_bits, skip, counts)
    tokens = BUFFER.array(np.zeros(int(counts.sum()), f"u{token_bytes}"), at_end)
    symbols = THIRD.array(np.array(found, np.uint16), at_end)
    encode_tokens(places, symbols, ends, value_bits, skip, tokens)
    token_ends = np.append(0, np.cumsum(counts))
    return check_tokens(tokens, token_ends, 3000, value_bits, skip, 1 << value_bits)


def mixed_arguments(rng, at_end):
    """What `code_lines` takes between weights and words, and after these."""
    n_lines, width = rng.randrange(1, 12), rng.choice((1, 2, 3, 40, 200))
    n_values = rng.choice((1, 2, 3, 256, 257, 700, rng.randrange(1, 65_536)))
    size = rng.choice((1, 2, 4, 8))
    n = n_lines * width
    lines, places = rng.sample(range(n_lines), n_lines), rng.sample(range(width), width)
    book = np.frombuffer(rng.randbytes(size) * n_values, np.uint8).reshape(n_values, size)
    chance, is_full = rng.randrange(1, 65_536), rng.random() < 0.5
    coding = (
        SECOND.array(book, at_end),
        THIRD.array(np.array(lines if rng.random() < 0.7 else [0], np.int64), at_end),
        n_lines, 1, width, 0,
        FOURTH.array(np.array(places, np.int64), at_end),
        rng.choice((0, n_values, rng.randrange(n_values + 1))), np.uint32(chance << 16 | 6),
        is_full, rng.random() < 0.5, rng.randrange(10, 21), rng.randrange(10, 21),
    )  # fmt: skip
    layout = Layout(MatrixShape(BY_NAME["uint8"], (n_lines, width)), 0)
    patterns = np.zeros(n_values, np.uint8)
    counters, *state = mixed_state(Model(layout, is_full=is_full), Book(patterns, 0), chance)
    state = [FIFTH.array(counters, at_end), *state[:-1], SIXTH.array(state[-1], at_end)]
    return n, n_values, size, coding, state


def decode_mixed_case(rng, _, at_end):
    """Words that mean nothing: whatever is decoded is a value of the book."""
    n, _, size, coding, state = mixed_arguments(rng, at_end)
    data = rng.randbytes(4 * rng.randrange(60))
    words = np.frombuffer(data, np.uint32)
    if rng.random() < 0.3:
        words = words | np.uint32(0xFFFFF000)
    plain = FIRST.array(np.zeros((n, size), np.uint8), at_end)
    n_read = code_lines(
        True, np.empty(0, np.uint16), plain, *coding, BUFFER.array(words, at_end), *state
    )  # fmt: skip
    assert n_read >= 2
    values = set(map(bytes, coding[0])) | {bytes(size)}
    assert set(map(bytes, plain)) <= values
    return status.OK


def encode_mixed_case(rng, _, at_end):
    """Room for the words or not: a kernel never writes past them, and says which it was."""
    n, n_values, _, coding, state = mixed_arguments(rng, at_end)
    density = rng.random()
    symbols = [rng.randint(1, n_values) if rng.random() < density else 0 for _ in range(n)]
    words = BUFFER.array(np.zeros(rng.randrange(10, 5000), np.uint32), at_end)
    n_bytes = code_lines(
        False, FIRST.array(np.array(symbols, np.uint16), at_end), np.empty((0, 1), np.uint8),
        *coding, words, *state,
    )  # fmt: skip
    assert -1 <= n_bytes <= words.nbytes
    return status.OK if n_bytes >= 0 else status.STREAM_LENGTH


def decode_mixed_float_case(rng, _, at_end):
    """Words that mean nothing, in any settings: heads are numbers, whatever is decoded."""
    exponent_bits, dtype = rng.choice(
        ((4, np.uint8), (5, np.uint8), (8, np.uint16), (11, np.uint16))
    )
    mantissa_bits = 8 * np.dtype(dtype).itemsize - 1 - exponent_bits
    split = Heads(np.dtype(dtype).itemsize, 0, exponent_bits, mantissa_bits)
    n_lines, width, n_columns = rng.randrange(1, 9), rng.choice((1, 2, 40)), rng.choice((1, 2, 4))
    words = np.frombuffer(rng.randbytes(4 * rng.randrange(60)), np.uint32)
    if rng.random() < 0.3:
        words = words | np.uint32(0xFFFFF000)
    lines = np.array(rng.sample(range(n_lines), n_lines) if rng.random() < 0.7 else [0], np.int64)
    places = np.array(rng.sample(range(width), width), np.int64)
    counters, *state = mixed_float_state(split, width)
    plain = FIRST.array(np.zeros((n_lines * width, n_columns), dtype), at_end)
    n_read = code_heads(
        True, frozen(np.empty((0, n_columns), dtype)), plain, rng.randrange(n_columns), exponent_bits,
        mantissa_bits, rng.randrange(1 << exponent_bits), rng.randrange(16),
        SECOND.array(lines, at_end), n_lines, 1, width, 0, THIRD.array(places, at_end), BUFFER.array(words, at_end),
        FOURTH.array(counters, at_end), *state[:-1], FIFTH.array(state[-1], at_end),
    )  # fmt: skip
    assert n_read >= 2
    return status.OK


@njit(error_model="numpy")
def load_some(array, at, n, out):
    store(out, 0, load(array, at, first_lanes(n)))


def load_case(rng, _, at_end):
    """Sixteen lanes of which only the first lie in the array, down to none."""
    array = np.frombuffer(rng.randbytes(4 * rng.randrange(1, 20)), rng.choice(("u1", "u2", "u4")))
    at = rng.randrange(array.size + 1)
    n = rng.randrange(min(array.size - at, 16) + 1)
    out = SECOND.array(np.zeros(16, np.uint32), at_end)
    load_some(FIRST.array(array, at_end), at, n, out)
    assert out[:n].tolist() == array[at : at + n].tolist()
    assert not out[n:].any()
    return status.OK


CASES = {
    "check_tokens": check_tokens_case,
    "decode_tokens": decode_tokens_case,
    "gather_tokens": gather_tokens_case,
    "encode_tokens": encode_tokens_case,
    "load": load_case,
    "decode_banded": banded_case,
    "decode_banded_lanes": banded_lanes_case,
    "decode_mixed": decode_mixed_case,
    "encode_mixed": encode_mixed_case,
    "decode_mixed_float": decode_mixed_float_case,
    "decode_symbols": symbols_case,
    "decode_ham": ham_case,
    "decode_places": places_case,
    "unpack_indices": indices_case,
    "select_entries": select_case,
}


def main():
    """Print, for each kernel, how often each status came back."""
    n_cases, seed = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    codes = [code_of(rng) for _ in range(40)]
    counts = {name: {} for name in CASES}
    for name, case in CASES.items():
        for k in range(n_cases):
            found = int(case(rng, rng.choice(codes), at_end=k % 2 == 0))
            assert found in KNOWN, (name, k, found)
            counts[name][found] = counts[name].get(found, 0) + 1
    if len(sys.argv) > 3:  # prove that the guard guards
        unpack_indices(BUFFER.array(np.zeros(4, np.uint8)), 8, 0, 256, np.zeros(5, np.uint16))
    print(json.dumps(counts))


if __name__ == "__main__":
    main()

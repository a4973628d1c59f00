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

from cnnzip.codecs.banded import class_numbers
from cnnzip.entropy.ans import AnsTable, AnsTables
from cnnzip.entropy.canonical import CanonicalCode, optimal_lengths
from cnnzip_native import status
from cnnzip_native.banded import decode_banded
from cnnzip_native.ham import decode_ham
from cnnzip_native.huffman import decode_symbols
from cnnzip_native.indices import unpack_indices
from cnnzip_native.places import decode_places, select_entries

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
KNOWN = {
    status.OK, status.SYMBOL_PAST_END, status.PLACE_PAST_END, status.PLACE_NOT_INCREASING,
    status.STREAM_LENGTH, status.STREAM_PADDING, status.ENTRY_COUNT, status.LAST_STATE,
}  # fmt: skip


class Guarded:
    """Memory between two pages without access; arrays end, or begin, at one of them."""

    def __init__(self, n_pages=32):
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


BUFFER, FIRST, SECOND, THIRD, FOURTH, FIFTH = (Guarded() for _ in range(6))


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


def banded_case(rng, _, at_end):
    n_symbols, log_size = rng.choice((1, 2, 20, 300)), rng.randrange(9, 13)
    weights = np.array([rng.randrange(32) for _ in range(n_symbols - 1)] + [31], np.uint8)
    n_tables = rng.randrange(1, 4)
    tables = AnsTables((AnsTable(weights),) * n_tables, log_size).decoding().reshape(-1)
    width, n_streams = rng.choice((1, 7, 200)), rng.randrange(1, 6)
    has_before, n_bands = rng.randrange(2), rng.randrange(1, 4)
    per_band = 3 if has_before else 1
    thresholds = np.array(sorted(rng.sample(range(50), rng.randrange(4))), np.int64)
    n_contexts = (thresholds.size + 1) * n_bands * per_band
    pairs = [rng.randrange(n_tables) | rng.randrange(n_tables) << 8 for _ in range(n_contexts)]
    bands = [per_band * rng.randrange(n_bands) for _ in range(width + 1)]
    data = np.frombuffer(rng.randbytes(rng.randrange(300)), np.uint8)
    n_lines = np.array([rng.randrange(1, 9) for _ in range(n_streams)], np.int64)
    begins = cuts(rng, n_streams, 500)
    return decode_banded(
        BUFFER.array(data, at_end), cuts(rng, n_streams, data.size), begins, n_lines, width,
        rng.choice((1, 30, 5000)), thresholds, FIRST.array(np.array(bands, np.uint16), at_end),
        n_bands * per_band, has_before, SECOND.array(np.array(pairs, np.uint16), at_end), log_size,
        THIRD.array(tables, at_end), class_numbers(),
        FOURTH.array(np.zeros(int(begins[-1]), np.uint32), at_end),
        FIFTH.array(np.zeros(int(begins[-1]), np.uint16), at_end),
        np.zeros((n_streams, 10), np.uint64),
    )  # fmt: skip


CASES = {
    "decode_banded": banded_case,
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

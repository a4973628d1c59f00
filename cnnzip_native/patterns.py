"""Distinct weights by bit pattern, found by hashing."""

import numpy as np

from cnnzip_native._jit import kernel


@kernel
def find_distinct(patterns, slots, limit, distinct, counts, symbols):
    """Number the distinct patterns in the order of their first occurrence.

    Parameters
    ----------
    patterns : uint32 or uint64 (n,)
    slots : int32 (2**b,), updated
        Hash table, all -1 at the start; at least twice `limit`.
    limit : int64
    distinct : as patterns (limit,), written
    counts : int64 (limit,), updated
        All 0 at the start.
    symbols : uint16 (n,), written

    Returns
    -------
    n_distinct : int64
        Or -1 where there are more than `limit`; the outputs are then unspecified.

    Source: BOK-2. Multiplicative hashing: Knuth, TAOCP 3, 6.4.
    """
    mask = np.uint64(slots.size - 1)
    n_distinct = 0
    zero_symbol = np.int64(-1)
    n_zeros = 0
    for i in range(patterns.size):
        pattern = patterns[i]
        if pattern == 0 and zero_symbol >= 0:  # most weights; no look-up for them
            symbols[i] = zero_symbol
            n_zeros += 1
            continue
        slot = (np.uint64(pattern) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32) & mask
        while True:
            symbol = np.int64(slots[slot])
            if symbol < 0:
                if n_distinct == limit:
                    return -1
                symbol = n_distinct
                slots[slot] = symbol
                distinct[symbol] = pattern
                n_distinct += 1
                if pattern == 0:
                    zero_symbol = symbol
                break
            if distinct[symbol] == pattern:
                break
            slot = (slot + np.uint64(1)) & mask
        counts[symbol] += 1
        symbols[i] = symbol
    if zero_symbol >= 0:
        counts[zero_symbol] += n_zeros
    return n_distinct


@kernel
def renumber(symbols, number):
    """Replace every symbol by its new number.

    Parameters
    ----------
    symbols : uint16 (n,), updated
    number : uint16 (n_symbols,)

    Source: BOK-2.
    """
    for i in range(symbols.size):
        symbols[i] = number[symbols[i]]

"""Tokens of fast: gap and symbol in fields of fixed width; sixteen are read at a time."""

import numpy as np

from cnnzip_native._jit import inlined, kernel
from cnnzip_native._lanes import (
    LANES,
    count,
    first_lanes,
    gather,
    last,
    least,
    load,
    lookup,
    prefix_sum,
    select,
    spread,
    squeeze,
    store,
    total,
    zeros,
)
from cnnzip_native.status import LINE_END, OK, PLACE_PAST_END, SYMBOL_PAST_END

REGISTER_BITS = 5  # symbols of so many bits are looked up in registers


@kernel
def count_tokens(places, lines, value_bits, skip, counts):
    """Count the tokens of every line.

    Parameters
    ----------
    places : uint32 (n_entries,)
        Increasing in each line.
    lines : int64 (n_lines + 1,)
        Line i has the entries from ``lines[i]`` on, up to ``lines[i + 1]``.
    value_bits, skip : int64
    counts : int64 (n_lines,), written

    Source: FST-4.
    """
    reach = skip << value_bits
    for line in range(counts.size):
        n = lines[line + 1] - lines[line]
        start = np.int64(0)
        for entry in range(lines[line], lines[line + 1]):
            place = np.int64(places[entry])
            far = (place - start) // skip * skip  # what tokens without an entry have to skip
            n += (far + reach - 1) // reach
            start = place + 1
        counts[line] = n


@kernel
def encode_tokens(places, symbols, lines, value_bits, skip, tokens):
    """Write the tokens of all lines.

    Parameters
    ----------
    places, lines, value_bits, skip : as of `count_tokens`
    symbols : uint16 (n_entries,)
    tokens : uint8 or uint16 (n_tokens,), written

    Trusts: `tokens` has room for what `count_tokens` counted.

    Source: FST-4.
    """
    at = 0
    most_units = np.int64(1) << value_bits
    for line in range(lines.size - 1):
        start = np.int64(0)
        for entry in range(lines[line], lines[line + 1]):
            place = np.int64(places[entry])
            units = (place - start) // skip
            start += units * skip
            while units > 0:
                here = min(units, most_units)
                tokens[at] = skip << value_bits | (here - 1)
                at += 1
                units -= here
            tokens[at] = (place - start) << value_bits | np.int64(symbols[entry])
            at += 1
            start = place + 1


@kernel
def check_tokens(tokens, line_ends, width, value_bits, skip, n_values):
    """Check all tokens, once; the other kernels trust it for what they find, not for where.

    Parameters
    ----------
    tokens : uint8 or uint16 (n_tokens,)
    line_ends : int64 (n_lines + 1,)
        Tokens up to the end of each line, 0 first.
    width, value_bits, skip, n_values : int64

    Returns
    -------
    status : int64
        OK, PLACE_PAST_END, SYMBOL_PAST_END or LINE_END.

    Trusts: `line_ends` never decreases, and its last is the number of tokens.

    Source: FST-4, FST-5.
    """
    low = (1 << value_bits) - 1
    for line in range(line_ends.size - 1):
        place = np.int64(0)
        is_entry = True
        for at in range(line_ends[line], line_ends[line + 1]):
            token = np.int64(tokens[at])
            symbol = token & low
            gap = token >> value_bits
            is_entry = gap < skip
            place += gap + 1 if is_entry else skip * (symbol + 1)
            if place > width:
                return PLACE_PAST_END
            if is_entry and symbol >= n_values:
                return SYMBOL_PAST_END
        if not is_entry:
            return LINE_END
    return OK


@inlined
def read_tokens(token, own, place, shift, low, skips):
    """Symbols of sixteen tokens, places of their entries, which they are, and the last place.

    `own` chooses the tokens that are there, `place` holds the last place before. Source: FST-4.
    """
    symbol = token & low
    gap = token >> shift
    one = spread(1)
    is_entry = (gap < skips) & own
    step = select(own, select(gap < skips, gap + one, (symbol + one) * skips), spread(0))
    reach = prefix_sum(step)
    return symbol, place + reach, is_entry, place + last(reach)


@kernel
def decode_tokens(
    tokens,
    line_ends,
    lines_per_stream,
    width,
    value_bits,
    skip,
    n_values,
    begins,
    counts,
    positions,
    symbols,
):
    """Decode the tokens of some streams to entries.

    Parameters
    ----------
    tokens, width, value_bits, skip, n_values : as of `check_tokens`
    line_ends : int64 (n_lines + 1,)
        Where in `tokens` these lines begin and end.
    lines_per_stream : int64
    begins, counts : int64 (n_streams,), written
    positions : uint32 (n,), symbols : uint16 (n,), written
        16 longer than there are tokens.

    Trusts
    ------
    `line_ends` never decreases and lies in `tokens`, lines_per_stream x width is below 2**31: the
    codec checks them when it parses. Places are kept below `width`, symbols below `n_values`.

    Source: FST-4.
    """
    shift, low, skips = spread(value_bits), spread((1 << value_bits) - 1), spread(skip & 0x7FFF)
    last_place, last_symbol = spread(width - 1), spread(n_values - 1)
    n = 0
    for line in range(line_ends.size - 1):
        stream = line // lines_per_stream
        if line % lines_per_stream == 0:
            begins[stream] = n
        base = spread(line % lines_per_stream * width)
        place = spread(-1)
        for at in range(line_ends[line], line_ends[line + 1], LANES):
            own = first_lanes(line_ends[line + 1] - at)
            token = load(tokens, at, own)
            symbol, places, is_entry, place = read_tokens(token, own, place, shift, low, skips)
            store(positions, n, squeeze(base + least(places, last_place), is_entry))
            store(symbols, n, squeeze(least(symbol, last_symbol), is_entry))
            n += count(is_entry)
        counts[stream] = n - begins[stream]


@inlined
def add_terms(sums, symbol, places, is_entry, last_place, value_bits, values, x):
    """Add sixteen entries times their `x`, each to its own sum. Source: MAT-3."""
    factors = gather(x, least(places, last_place), is_entry)
    if value_bits <= REGISTER_BITS:
        return select(is_entry, sums + lookup(values, symbol) * factors, sums)
    return select(is_entry, sums + gather(values, symbol, is_entry) * factors, sums)


@kernel
def gather_tokens(tokens, line_ends, first_line, stop_line, width, value_bits, skip, values, x, y):
    """Set ``y[line]`` to the sum of a line's entries times `x`, sixteen partial sums a line.

    Parameters
    ----------
    tokens, line_ends, width, value_bits, skip : as of `check_tokens`
    first_line, stop_line : int64
        The lines to multiply.
    values : float32 or float64 (at least 32, and 2**value_bits)
    x : as values (width,)
    y : as values (n_lines,), written for these lines

    Trusts: `line_ends` as `check_tokens`. Places are kept below `width`.

    Source: FST-4, MAT-3.
    """
    shift, low, skips = spread(value_bits), spread((1 << value_bits) - 1), spread(skip & 0x7FFF)
    last_place = spread(width - 1)
    every = first_lanes(LANES)
    for line in range(first_line, stop_line):
        at = line_ends[line]
        end = line_ends[line + 1]
        place = spread(-1)
        sums = zeros(values)
        while at + LANES <= end:
            symbol, places, is_entry, place = read_tokens(
                load(tokens, at, every), every, place, shift, low, skips
            )
            sums = add_terms(sums, symbol, places, is_entry, last_place, value_bits, values, x)
            at += LANES
        if at < end:
            own = first_lanes(end - at)
            symbol, places, is_entry, place = read_tokens(
                load(tokens, at, own), own, place, shift, low, skips
            )
            sums = add_terms(sums, symbol, places, is_entry, last_place, value_bits, values, x)
        y[line] = total(sums)

"""Places of entries in their lines: read from sHAM's arrays, or found among symbols."""

import numpy as np

from cnnzip_native._jit import kernel
from cnnzip_native._lanes import (
    LANES,
    count,
    first_lanes,
    load,
    prefix_sum,
    spread,
    squeeze,
    store,
)
from cnnzip_native.status import OK, PLACE_NOT_INCREASING, PLACE_PAST_END


@kernel
def decode_places(places, place_bytes, line_ends, lines_per_stream, width, first_entry, positions):
    """Turn the places of consecutive lines, from a stream's first on, into positions.

    Parameters
    ----------
    places : uint8 (n_entries * place_bytes,)
        Little-endian integers of all entries of the tensor.
    place_bytes : int64
        1, 2 or 4.
    line_ends : int64 (n_lines,)
        Entries up to the end of each line, counted from the tensor's first.
    lines_per_stream : int64
    width : int64
    first_entry : int64
        First entry of these lines.
    positions : uint32 (n,), written
        From its element 0 on.

    Returns
    -------
    status : int64
        OK, PLACE_PAST_END or PLACE_NOT_INCREASING.

    Trusts
    ------
    `line_ends` never decreases, its last is at most the number of entries in `places`, and
    ``lines_per_stream * width`` is below 2**31: the codec checks them when it parses.

    Source: SHM-4.
    """
    entry = first_entry
    for line in range(line_ends.size):
        base = line % lines_per_stream * width
        before = np.int64(-1)
        while entry < line_ends[line]:
            at = np.uint64(entry) * np.uint64(place_bytes)
            place = np.int64(places[at])
            if place_bytes > 1:
                place |= np.int64(places[at + np.uint64(1)]) << 8
            if place_bytes > 2:
                place |= np.int64(places[at + np.uint64(2)]) << 16
                place |= np.int64(places[at + np.uint64(3)]) << 24
            if place >= width:
                return PLACE_PAST_END
            if place <= before:
                return PLACE_NOT_INCREASING
            before = place
            positions[entry - first_entry] = np.uint32(base + place)
            entry += 1
    return OK


@kernel
def select_entries(stream_symbols, zero_symbol, positions, symbols):
    """List the entries among the symbols of one stream. Returns their number.

    Parameters
    ----------
    stream_symbols : uint16 (n,)
        All weights, by position; n is below 2**31.
    zero_symbol : int64
        Symbol of pattern 0, or -1.
    positions : uint32 (n,), written
    symbols : uint16 (n,), written

    Source: MAT-1, SHM-2.
    """
    n = 0
    for i in range(stream_symbols.size):
        symbol = np.int64(stream_symbols[i])
        positions[n] = np.uint32(i)
        symbols[n] = np.uint16(symbol)
        n += symbol != zero_symbol
    return n


@kernel
def list_entries(matrix_symbols, zero_symbol, lines, places, symbols):
    """List the entries of a matrix, row by row.

    Parameters
    ----------
    matrix_symbols : uint16 (n_rows, n_columns)
    zero_symbol : int64
        Symbol of pattern 0, or -1.
    lines : int64 (n_rows + 1,), written
        Row i has the entries from ``lines[i]`` on, up to ``lines[i + 1]``.
    places : uint32 (n,), symbols : uint16 (n,), written
        16 longer than there are weights.

    Source: MAT-1, LIN-2.
    """
    zero = spread(zero_symbol)
    iota = prefix_sum(spread(1)) - spread(1)
    n = 0
    for row in range(matrix_symbols.shape[0]):
        lines[row] = n
        own_symbols = matrix_symbols[row]
        for at in range(0, own_symbols.size, LANES):
            own = first_lanes(own_symbols.size - at)
            symbol = load(own_symbols, at, own)
            is_entry = own & ((symbol < zero) | (zero < symbol))
            store(places, n, squeeze(iota + spread(at), is_entry))
            store(symbols, n, squeeze(symbol, is_entry))
            n += count(is_entry)
    lines[matrix_symbols.shape[0]] = n


@kernel
def transpose_entries(lines, places, symbols, next_entry, new_places, new_symbols):
    """List the entries of the transposed matrix.

    Parameters
    ----------
    lines : int64 (n_lines + 1,), places : uint32 (n,), symbols : uint16 (n,)
        As `list_entries` makes them.
    next_entry : int64 (width,), updated
        Where the entries of each place begin among the new ones; then, where they end.
    new_places : uint32 (n,), new_symbols : uint16 (n,), written

    Trusts: `next_entry` are the sums of the counts of the places.

    Source: LIN-2.
    """
    for line in range(lines.size - 1):
        for entry in range(lines[line], lines[line + 1]):
            at = next_entry[places[entry]]
            next_entry[places[entry]] = at + 1
            new_places[at] = line
            new_symbols[at] = symbols[entry]

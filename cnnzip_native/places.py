"""Places of entries in their lines: read from sHAM's arrays, or found among symbols."""

import numpy as np

from cnnzip_native._jit import kernel
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

"""Entries of HAM streams: codewords of all weights, decoded to the positions of the nonzero ones."""

import numpy as np

from cnnzip_native._jit import kernel
from cnnzip_native._vectors import window
from cnnzip_native.bits import check_end
from cnnzip_native.huffman import codeword_length, symbol_of
from cnnzip_native.status import OK


@kernel
def decode_ham(
    buffer,
    starts,
    n_weights,
    limits,
    offsets,
    longest,
    zero_symbol,
    table_bits,
    table,
    positions,
    symbols,
    where,
):
    """Decode several streams in turns, so that their latencies overlap.

    Parameters
    ----------
    buffer : uint8 (n_bytes,)
    starts : int64 (n_streams + 1,)
        Stream i is ``buffer[starts[i]:starts[i + 1]]``.
    n_weights : int64 (n_streams,)
        Weights of each stream, below 2**31.
    limits, offsets, longest, zero_symbol, table_bits, table
        As of `huffman.build_runs`; zero_symbol is -1 where pattern 0 does not occur.
    positions : uint32 (n_streams, capacity), written
        Positions of the entries of stream i, increasing; capacity is at least n_weights[i].
    symbols : uint16 (n_streams, capacity), written
    where : uint64 (3, n_streams), written
        Scratch: the bit and the position that each stream has come to. ``where[2]`` is a result:
        the number of entries of each stream.

    Returns
    -------
    status : int64
        OK, STREAM_LENGTH or STREAM_PADDING.

    Trusts
    ------
    `starts` never decreases and stays inside `buffer`: the codec checks it when it parses. The
    code is complete and has as many symbols as its codebook: `CanonicalCode`.

    Source: HAM-3, HUF-4, LIN-5.
    """
    n_streams = n_weights.size
    shift = np.uint64(64 - table_bits)
    one = np.uint64(1)
    most = 4 * (table_bits + 1)  # weights that four table entries decode, at most
    for s in range(n_streams):
        where[0, s] = np.uint64(starts[s]) << np.uint64(3)
        where[1, s] = np.uint64(0)
        where[2, s] = np.uint64(0)
    while True:
        # Rounds that no stream can overrun.
        rounds = -1
        for s in range(n_streams):
            left = (n_weights[s] - np.int64(where[1, s])) // most
            if left > 0 and (rounds < 0 or left < rounds):
                rounds = left
        if rounds < 0:
            break
        for _ in range(rounds):
            for s in range(n_streams):
                position = where[1, s]
                if np.int64(position) + most > n_weights[s]:
                    continue
                bit = where[0, s]
                n = where[2, s]
                word = window(buffer, bit)
                entry = np.uint64(0)
                for _ in range(4):
                    entry = np.uint64(table[word >> shift])
                    used = entry & np.uint64(31)
                    found = (entry >> np.uint64(5)) & one
                    position += (entry >> np.uint64(6)) & np.uint64(31)
                    positions[s, n] = np.uint32(position)
                    symbols[s, n] = np.uint16(entry >> np.uint64(16))
                    word <<= used
                    bit += used
                    n += found
                    position += found
                if entry == np.uint64(0):
                    word = window(buffer, bit)
                    length = codeword_length(word, limits, longest)
                    symbol = symbol_of(word, length, offsets)
                    bit += np.uint64(length)
                    if symbol != zero_symbol:
                        positions[s, n] = np.uint32(position)
                        symbols[s, n] = np.uint16(symbol)
                        n += one
                    position += one
                where[0, s] = bit
                where[1, s] = position
                where[2, s] = n
    for s in range(n_streams):
        bit = where[0, s]
        n = where[2, s]
        for position_left in range(np.int64(where[1, s]), n_weights[s]):
            word = window(buffer, bit)
            length = codeword_length(word, limits, longest)
            symbol = symbol_of(word, length, offsets)
            bit += np.uint64(length)
            if symbol != zero_symbol:
                positions[s, n] = np.uint32(position_left)
                symbols[s, n] = np.uint16(symbol)
                n += one
        where[2, s] = n
        status = check_end(buffer, bit, np.uint64(starts[s + 1]))
        if status != OK:
            return status
    return OK

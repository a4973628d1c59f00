"""Decoding tables of a canonical Huffman code, and the decoder of plain symbols."""

import numpy as np

from cnnzip_native._jit import inlined, kernel
from cnnzip_native._vectors import window
from cnnzip_native.bits import check_end
from cnnzip_native.status import OK

# A table is indexed by the next bits, 12 at most, and an entry, uint32, says what they decode to.
#
# runs:  bits 0-4 the bits consumed, bit 5 whether a symbol follows the zeros, bits 6-10 the number
#        of zeros before it, bits 16-31 the symbol.
# pairs: bits 0-3 the bits consumed, bits 4-5 the number of symbols, bits 8-19 and 20-31 the
#        symbols. Twelve bits hold them: symbols are numbered by length, and at most 4,096 have
#        codewords of 12 bits or fewer.
#
# In both the entry 0 decodes and consumes nothing: the next codeword is longer than the index and
# is decoded one by one.


@inlined
def codeword_length(word, limits, longest):
    """Length of the codeword that a left-aligned window begins with (HUF-4).

    Parameters
    ----------
    word : uint64
    limits : uint64 (25,)
        ``limits[n]`` is the least 32-bit prefix above those of codewords of n bits or fewer.
    longest : int64

    Source: HUF-4. Schwartz and Kallick, CACM 7 (1964).
    """
    prefix = word >> np.uint64(32)
    length = 1
    while length < longest and prefix >= limits[length]:
        length += 1
    return length


@inlined
def symbol_of(word, length, offsets):
    """Symbol of the codeword of `length` bits at the head of `word`.

    offsets : int64 (25,): number of the first symbol of each length minus its codeword.

    Source: HUF-4.
    """
    return np.int64(word >> np.uint64(64 - length)) + offsets[length]


@kernel
def build_runs(limits, offsets, longest, zero_symbol, table_bits, table):
    """Tabulate what each window of `table_bits` decodes to: a run of zeros, then a symbol.

    Parameters
    ----------
    limits : uint64 (25,)
    offsets : int64 (25,)
    longest : int64
        1 to 24.
    zero_symbol : int64
        Symbol whose runs are counted, or -1.
    table_bits : int64
        1 to 12.
    table : uint32 (2**table_bits,), written

    Source: HUF-4.
    """
    for index in range(table.size):
        word = np.uint64(index) << np.uint64(64 - table_bits)
        used = 0
        n_zeros = 0
        entry = 0
        while used < table_bits:
            length = codeword_length(word, limits, longest)
            if used + length > table_bits:
                break
            symbol = symbol_of(word, length, offsets)
            used += length
            word <<= np.uint64(length)
            if symbol != zero_symbol:
                entry = (symbol << 16) | 32
                break
            n_zeros += 1
        if used > 0:
            entry |= used | (n_zeros << 6)
        table[index] = entry


@kernel
def build_pairs(limits, offsets, longest, table_bits, table):
    """Tabulate what each window of `table_bits` decodes to: one or two symbols.

    Parameters
    ----------
    As of `build_runs`.

    Source: HUF-4.
    """
    for index in range(table.size):
        word = np.uint64(index) << np.uint64(64 - table_bits)
        used = 0
        n_symbols = 0
        entry = 0
        while n_symbols < 2 and used < table_bits:
            length = codeword_length(word, limits, longest)
            if used + length > table_bits:
                break
            entry |= symbol_of(word, length, offsets) << (8 + 12 * n_symbols)
            used += length
            word <<= np.uint64(length)
            n_symbols += 1
        table[index] = entry | used | (n_symbols << 4)


@kernel
def decode_symbols(
    buffer, starts, ends, limits, offsets, longest, table_bits, table, symbols, where
):
    """Decode several streams of plain symbols, in turns, so that their latencies overlap.

    Parameters
    ----------
    buffer : uint8 (n_bytes,)
    starts : int64 (n_streams + 1,)
        Stream i is ``buffer[starts[i]:starts[i + 1]]``.
    ends : int64 (n_streams + 1,)
        Stream i is decoded to ``symbols[ends[i]:ends[i + 1]]``.
    limits, offsets, longest, table_bits, table
        As of `build_pairs`.
    symbols : uint16 (n,), written
    where : uint64 (2, n_streams), written
        Scratch: the bit and the symbol that each stream has come to.

    Returns
    -------
    status : int64
        OK, STREAM_LENGTH or STREAM_PADDING.

    Trusts
    ------
    `starts` and `ends` never decrease and stay inside: the codecs check them when they parse.
    The code is complete and has as many symbols as its codebook: `CanonicalCode`.

    Source: HUF-4, LIN-5, SHM-5.
    """
    n_streams = starts.size - 1
    shift = np.uint64(64 - table_bits)
    for s in range(n_streams):
        where[0, s] = np.uint64(starts[s]) << np.uint64(3)
        where[1, s] = np.uint64(ends[s])
    while True:
        # Rounds that no stream can overrun: each decodes at most eight symbols.
        rounds = -1
        for s in range(n_streams):
            left = (ends[s + 1] - np.int64(where[1, s])) >> 3
            if left > 0 and (rounds < 0 or left < rounds):
                rounds = left
        if rounds < 0:
            break
        for _ in range(rounds):
            for s in range(n_streams):
                at = where[1, s]
                if np.int64(at) + 8 > ends[s + 1]:
                    continue
                bit = where[0, s]
                word = window(buffer, bit)
                entry = np.uint64(0)
                for _ in range(4):
                    entry = np.uint64(table[word >> shift])
                    symbols[at] = np.uint16((entry >> np.uint64(8)) & np.uint64(4095))
                    symbols[at + np.uint64(1)] = np.uint16(entry >> np.uint64(20))
                    word <<= entry & np.uint64(15)
                    bit += entry & np.uint64(15)
                    at += (entry >> np.uint64(4)) & np.uint64(3)
                if entry == np.uint64(0):
                    word = window(buffer, bit)
                    length = codeword_length(word, limits, longest)
                    symbols[at] = np.uint16(symbol_of(word, length, offsets))
                    bit += np.uint64(length)
                    at += np.uint64(1)
                where[0, s] = bit
                where[1, s] = at
    for s in range(n_streams):
        bit = where[0, s]
        for at in range(np.int64(where[1, s]), ends[s + 1]):
            word = window(buffer, bit)
            length = codeword_length(word, limits, longest)
            symbols[at] = np.uint16(symbol_of(word, length, offsets))
            bit += np.uint64(length)
        status = check_end(buffer, bit, np.uint64(starts[s + 1]))
        if status != OK:
            return status
    return OK

"""Canonical Huffman codes (HUF), written to be read."""

from spec.reference.errors import CorruptError
from spec.reference.numbers import bits_of, check_padding

MAX_LENGTH = 24


def read_code(cursor, n_symbols):
    """The number of codewords of 1, 2, ... bits: a code for n_symbols symbols."""
    longest = cursor.varint()
    if longest > MAX_LENGTH:
        raise CorruptError("HUF-1", f"codewords of {longest} bits, at most {MAX_LENGTH}")
    counts = cursor.varints(longest)
    if longest == 0:
        if n_symbols > 1:
            raise CorruptError("HUF-2", f"codewords of no bits for {n_symbols} symbols")
        return counts
    if counts[-1] == 0:
        raise CorruptError("HUF-1", "no codeword is as long as the longest")
    kraft = sum(count << (longest - length) for length, count in enumerate(counts, 1))
    if kraft != 1 << longest:
        raise CorruptError("HUF-2", f"a Kraft sum of {kraft} / {1 << longest}")
    if sum(counts) != n_symbols:
        raise CorruptError("HUF-3", f"{sum(counts)} codewords for {n_symbols} symbols")
    return counts


def codewords(counts, n_symbols):
    """The codeword of each symbol, as a str of 0s and 1s (HUF-4)."""
    if not counts:
        return [""] * n_symbols  # HUF-2: one at most
    words, word = [], 0
    for length, count in enumerate(counts, 1):
        word <<= 1
        for _ in range(count):
            words.append(f"{word:0{length}b}")
            word += 1
    return words


def decode_stream(words, stream, n):
    """The n symbols of a stream, which ends with the last of them (LIN-5)."""
    symbol_of = {word: symbol for symbol, word in enumerate(words)}
    bits, at, symbols = bits_of(stream), 0, []
    for _ in range(n):
        word = ""
        while word not in symbol_of:
            if at == len(bits):
                raise CorruptError("LIN-5", f"{len(symbols)} symbols in a stream of {n}")
            word += bits[at]
            at += 1
        symbols.append(symbol_of[word])
    check_padding(bits[at:], "LIN-5")
    return symbols

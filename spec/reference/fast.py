"""fast, codec 7 (FST), written to be read."""

from typing import NamedTuple

from spec.reference.codebook import read_codebook
from spec.reference.errors import CorruptError
from spec.reference.lines import lines_of, matrix_shape
from spec.reference.numbers import Cursor
from spec.reference.sham import integers, size_of

SECTIONS = 3  # FST-1

MAX_WIDTH = 1 << 30


class Entry(NamedTuple):
    token: int  # its number in the line, skips counted (MAT-3)
    place: int
    symbol: int


def decode(frame):
    lines, book, entries = read_entries(frame)
    size = frame.dtype.size
    data = bytearray(frame.n_bytes)
    for line, here in enumerate(entries):
        for entry in here:
            at = lines.c_order(line, entry.place) * size
            data[at : at + size] = book[entry.symbol].to_bytes(size, "little")
    return bytes(data)


def read_entries(frame):
    """The lines, the codebook, and a list of entries for each line."""
    description, line_lengths, tokens = frame.sections[:SECTIONS]
    cursor = Cursor(description, "FST-1")
    line_axis, token_bytes, n_tokens = (cursor.varint() for _ in range(3))
    book = read_codebook(cursor, frame.dtype, zero="FST-2")
    cursor.end()
    if line_axis in (0, 1) and matrix_shape(frame.dims)[1 - line_axis] >= MAX_WIDTH:
        raise CorruptError("FST-6", f"lines of 2^30 places or more: {frame.dims}")
    lines = lines_of(line_axis, 1, frame.dims)
    if token_bytes not in (1, 2):
        raise CorruptError("FST-2", f"tokens of {token_bytes} bytes")
    value_bits = max(len(book) - 1, 1).bit_length()
    if value_bits >= 8 * token_bytes:
        raise CorruptError("FST-2", f"{len(book)} values in tokens of {token_bytes} bytes")
    if (not book) != (n_tokens == 0):
        raise CorruptError("FST-2", f"{len(book)} values for {n_tokens} tokens")
    if n_tokens > frame.n_weights:  # each line breaks FST-5 or has no more tokens than places
        raise CorruptError("FST-5", f"{n_tokens} tokens for {frame.n_weights} weights")

    lengths = integers(line_lengths, lines.n_lines, size_of(lines.width), "FST-3")
    if sum(lengths) != n_tokens:
        raise CorruptError("FST-3", f"lines of {sum(lengths)} tokens, not {n_tokens}")
    tokens = iter(integers(tokens, n_tokens, token_bytes, "FST-4"))
    skip = (1 << (8 * token_bytes - value_bits)) - 1
    entries = [
        read_line([next(tokens) for _ in range(n)], value_bits, skip, lines.width, len(book))
        for n in lengths
    ]
    return lines, book, entries


def read_line(tokens, value_bits, skip, width, n_values):
    """The entries of a line (FST-4, FST-5)."""
    entries, place, is_entry = [], 0, True
    for number, token in enumerate(tokens):
        gap, symbol = divmod(token, 1 << value_bits)
        is_entry = gap < skip
        if is_entry:
            place += gap
            if place >= width:
                raise CorruptError("FST-5", f"an entry at place {place} of {width}")
            if symbol >= n_values:
                raise CorruptError("FST-5", f"symbol {symbol}, {n_values} values")
            entries.append(Entry(number, place, symbol))
            place += 1
        else:
            place += skip * (symbol + 1)
    if not is_entry:
        raise CorruptError("FST-5", "a line that ends with a skip")
    return entries


def axis(frame):
    return Cursor(frame.sections[0], "FST-1").varint()


def token_numbers(frame):
    """What products number in place of the entries: for each line, the token of each entry (MAT-3)."""
    return [[entry.token for entry in here] for here in read_entries(frame)[2]]

"""sham, codec 4 (SHM), written to be read."""

from itertools import pairwise

from spec.reference.codebook import check_order, read_codebook
from spec.reference.errors import CorruptError
from spec.reference.huffman import codewords, decode_stream, read_code
from spec.reference.lines import lines_of, split
from spec.reference.numbers import Cursor

SECTIONS = 4  # SHM-1


def decode(frame):
    description, line_lengths, places, streams = frame.sections[:SECTIONS]
    cursor = Cursor(description, "SHM-1")
    lines = lines_of(cursor.varint(), cursor.varint(), frame.dims)
    n_entries = cursor.varint()
    book = read_codebook(cursor, frame.dtype, zero="SHM-2")
    counts = read_code(cursor, len(book))
    check_order(book, counts)  # BOK-2
    stream_lengths = cursor.varints(lines.n_streams)
    cursor.end()
    if (not book) != (n_entries == 0):
        raise CorruptError("SHM-2", f"{len(book)} values for {n_entries} entries")
    if len(book) > 1 and n_entries > 8 * len(streams):
        raise CorruptError("SHM-6", f"{n_entries} entries in {8 * len(streams)} bits")

    line_lengths = integers(line_lengths, lines.n_lines, size_of(lines.width), "SHM-3")
    if sum(line_lengths) != n_entries:
        raise CorruptError("SHM-3", f"lines of {sum(line_lengths)} entries, not {n_entries}")
    places = iter(integers(places, n_entries, size_of(lines.width - 1), "SHM-4"))

    size, words = frame.dtype.size, codewords(counts, len(book))
    data = bytearray(frame.n_bytes)
    for i, stream in enumerate(split(streams, stream_lengths)):
        here = lines.stream(i)
        n = sum(line_lengths[here.start : here.stop])
        symbols = iter(decode_stream(words, stream, n))  # SHM-5
        for line in here:
            taken = [next(places) for _ in range(line_lengths[line])]
            if any(b <= a for a, b in pairwise([-1, *taken, lines.width])):
                raise CorruptError("SHM-4", f"the places {taken} in a line of {lines.width}")
            for place in taken:
                at = lines.c_order(line, place) * size
                data[at : at + size] = book[next(symbols)].to_bytes(size, "little")
    return bytes(data)


def size_of(largest):
    """Bytes of u8, u16 or u32, whichever holds `largest` (SHM-3, SHM-4)."""
    return 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4


def integers(section, n, size, clause):
    if len(section) != n * size:
        raise CorruptError(clause, f"{len(section)} bytes for {n} integers of {size} bytes")
    cursor = Cursor(section, clause)
    return [cursor.unsigned(size) for _ in range(n)]


def axis(frame):
    return Cursor(frame.sections[0], "SHM-1").varint()

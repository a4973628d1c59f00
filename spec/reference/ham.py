"""ham, codec 3 (HAM), written to be read."""

from spec.reference.codebook import check_order, read_codebook
from spec.reference.errors import CorruptError
from spec.reference.huffman import codewords, decode_stream, read_code
from spec.reference.lines import lines_of, split
from spec.reference.numbers import Cursor

SECTIONS = 2  # HAM-1


def decode(frame):
    cursor = Cursor(frame.sections[0], "HAM-1")
    lines = lines_of(cursor.varint(), cursor.varint(), frame.dims)
    book = read_codebook(cursor, frame.dtype, zero=None)  # HAM-2: pattern 0 may be there
    counts = read_code(cursor, len(book))
    check_order(book, counts)  # BOK-2
    lengths = cursor.varints(lines.n_streams)
    cursor.end()
    if (not book) != (frame.n_weights == 0):
        raise CorruptError("HAM-2", f"{len(book)} values for {frame.n_weights} weights")

    streams = split(frame.sections[1], lengths)
    values = [pattern.to_bytes(frame.dtype.size, "little") for pattern in book]
    if len(book) < 2:
        for stream in streams:
            decode_stream([""], stream, 0)  # HUF-2: codewords of no bits
        return b"".join(values) * frame.n_weights  # not a loop: no byte carries the number
    words = codewords(counts, len(book))
    weights = []  # by line, then by place (HAM-3)
    for i, stream in enumerate(streams):
        symbols = decode_stream(words, stream, len(lines.stream(i)) * lines.width)
        weights += [values[symbol] for symbol in symbols]
    if lines.axis == 1:
        weights = [w for row in range(lines.width) for w in weights[row :: lines.width]]
    return b"".join(weights)


def axis(frame):
    return Cursor(frame.sections[0], "HAM-1").varint()

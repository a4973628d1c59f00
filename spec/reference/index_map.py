"""index-map, codec 2 (IMP), written to be read."""

from spec.reference.codebook import check_order, read_codebook
from spec.reference.errors import CorruptError
from spec.reference.numbers import Cursor, bits_of, check_padding

SECTIONS = 2  # IMP-1


def decode(frame):
    cursor = Cursor(frame.sections[0], "IMP-1")
    width = cursor.varint()
    book = read_codebook(cursor, frame.dtype, zero=None)  # IMP-1: pattern 0 may be there
    check_order(book, [len(book)])  # BOK-2
    cursor.end()

    n = frame.n_weights
    if width not in (0, 1, 2, 4, 8, 16) or len(book) > 1 << width:
        raise CorruptError("IMP-2", f"{len(book)} values for indices of {width} bits")
    if (n == 0) != (len(book) == 0) or (n == 0 and width):
        raise CorruptError("IMP-2", f"{len(book)} values, {width} bits for {n} weights")

    section = frame.sections[1]
    if len(section) != -(-n * width // 8):
        raise CorruptError("IMP-3", f"{len(section)} bytes for {n} indices of {width} bits")
    values = [pattern.to_bytes(frame.dtype.size, "little") for pattern in book]
    if width == 0:
        return b"".join(values) * n  # not a loop: no byte carries n
    bits = bits_of(section)
    check_padding(bits[n * width :], "IMP-3")
    indices = [int(bits[k : k + width], 2) for k in range(0, n * width, width)]  # IMP-3
    if any(index >= len(book) for index in indices):
        raise CorruptError("IMP-4", f"index {max(indices)}, {len(book)} values")
    return b"".join(values[index] for index in indices)


def axis(frame):
    return 0  # MAT-6

"""Lines and streams (LIN), written to be read."""

from dataclasses import dataclass
from math import prod

from spec.reference.errors import CorruptError


def matrix_shape(dims):
    """Rows and columns of the matrix view (LIN-1)."""
    if not dims:
        return 1, 1
    return (dims[0], prod(dims[1:])) if all(dims) else (0, 0)


@dataclass(frozen=True, slots=True)
class Lines:
    """How a codec scans the matrix view: n_lines lines of width weights, some to a stream."""

    axis: int
    n_lines: int
    width: int
    lines_per_stream: int

    @property
    def n_streams(self):
        return -(-self.n_lines // self.lines_per_stream)  # LIN-3

    def stream(self, i):
        """The lines of stream i (LIN-3)."""
        first = i * self.lines_per_stream
        return range(first, min(first + self.lines_per_stream, self.n_lines))

    def c_order(self, line, place):
        """Where the weight at this place of this line lies in C order."""
        return line * self.width + place if self.axis == 0 else place * self.n_lines + line


def lines_of(axis, lines_per_stream, dims):
    rows, columns = matrix_shape(dims)
    if axis not in (0, 1):
        raise CorruptError("LIN-2", f"axis {axis}")
    n_lines, width = (rows, columns) if axis == 0 else (columns, rows)  # LIN-2
    if not 1 <= lines_per_stream <= max(n_lines, 1):
        raise CorruptError("LIN-3", f"{lines_per_stream} of {n_lines} lines in a stream")
    if lines_per_stream * width >= 1 << 31:
        raise CorruptError("LIN-4", f"streams of {lines_per_stream} x {width} weights")
    return Lines(axis, n_lines, width, lines_per_stream)


def split(section, lengths):
    """The streams of a section (LIN-5)."""
    if sum(lengths) != len(section):
        raise CorruptError("LIN-5", f"streams of {sum(lengths)} bytes, {len(section)} are there")
    streams, at = [], 0
    for n in lengths:
        streams.append(section[at : at + n])
        at += n
    return streams

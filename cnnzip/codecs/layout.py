"""A tensor as lines and places, along any of its axes, and what the codecs that mix share (MIX-2)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs import coded_number, threads
from cnnzip.codecs.source import MatrixShape
from cnnzip.errors import CorruptError, TruncatedError

MAX_WIDTH = 1 << 20  # MIX-2, FLM-3
LEAST_STREAM_WEIGHTS = 1 << 18  # MIX-4, FLM-3
STREAM_WEIGHTS = 1 << 22  # what encoders aim at: each stream learns anew
LEAST_WIDTH = 8  # tried, if there is any: what is done once a line would take most of the time
AXES = tuple(permutations(range(3)))
N_LAYOUTS = 2 * len(AXES)


@dataclass(frozen=True)
class Layout:
    """A tensor as lines and places (MIX-2)."""

    shape: MatrixShape
    number: int

    @cached_property
    def _sizes(self) -> tuple[int, int, int]:
        o, i = (*self.shape.dims, 1, 1)[:2]
        return o, i, self.shape.n_weights // max(o * i, 1)

    @cached_property
    def _parts(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        axes, cut = AXES[self.number // 2], 1 + self.number % 2
        return axes[:cut], axes[cut:]

    @cached_property
    def n_lines(self) -> int:
        """Lines."""
        return int(np.prod([self._sizes[axis] for axis in self._parts[0]], dtype=np.int64))

    @cached_property
    def width(self) -> int:
        """Places of a line."""
        return int(np.prod([self._sizes[axis] for axis in self._parts[1]], dtype=np.int64))

    @property
    def steps(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Sizes and steps of the axes of lines and of places: what tells layouts apart."""
        _, i, k = self._sizes
        steps = (i * k, k, 1)
        return tuple(
            tuple((self._sizes[axis], steps[axis]) for axis in part if self._sizes[axis] > 1)
            for part in self._parts
        )

    def matrix(self, weights: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Weights in C order as lines x places."""
        axes = AXES[self.number // 2]
        return weights.reshape(self._sizes).transpose(axes).reshape(self.n_lines, self.width)

    @cached_property
    def line_steps(self) -> tuple[int, int, int]:
        """Lines of the inner axis, and weights from line to line along the outer and the inner."""
        _, i, k = self._sizes
        axes, steps = self._parts[0], (i * k, k, 1)
        if len(axes) == 1:
            return 1, steps[axes[0]], 0
        return self._sizes[axes[1]], steps[axes[0]], steps[axes[1]]

    @property
    def place_at(self) -> NDArray[np.int64]:
        """Weights between the first of a line and that of a place; int64 (width,)."""
        found = np.zeros(1, np.int64)
        for size, step in self.steps[1]:
            found = (found[:, None] + step * np.arange(size)).reshape(-1)
        return found

    def __str__(self) -> str:
        return "|".join("".join("OIK"[axis] for axis in part) for part in self._parts)

    def check(self, lines_per_stream: int, n_left: int, clauses: tuple[str, str, str]) -> int:
        """Refuse what the format does not hold. Returns the number of streams.

        Parameters
        ----------
        lines_per_stream : int
        n_left : int
            Bytes that are left to tell the streams' lengths.
        clauses : tuple of str
            Of the lines, of the streams, and of the description.
        """
        if not 1 <= self.width <= MAX_WIDTH or not self.n_lines:
            raise CorruptError(clauses[0], "layout", f"{self.n_lines} lines of {self.width}")
        if not 1 <= lines_per_stream <= self.n_lines:
            raise CorruptError(
                clauses[1], "lines per stream", f"{lines_per_stream} of {self.n_lines}"
            )
        n_streams = -(-self.n_lines // lines_per_stream)
        if n_streams > 1 and lines_per_stream * self.width < LEAST_STREAM_WEIGHTS:
            raise CorruptError(
                clauses[1], "lines per stream", f"{lines_per_stream}, for 2^18 weights"
            )
        if n_streams > n_left:
            raise TruncatedError(clauses[2], "streams", f"{n_streams} in {n_left} bytes")
        return n_streams


def code_streams(
    layout: Layout, code: Callable[[int, int], bytes]
) -> tuple[int, NDArray[np.int64], bytes]:
    """Cut a tensor into streams and code them, on several threads.

    Parameters
    ----------
    code : callable
        Gives the stream of so many lines from a first one on.

    Returns
    -------
    lines_per_stream : int
    starts : int64 (n_streams + 1,)
    streams : bytes
    """
    per_stream = min(-(-STREAM_WEIGHTS // layout.width), layout.n_lines)
    streams = dict.fromkeys(range(0, layout.n_lines, per_stream), b"")

    def fill(first: int) -> None:
        streams[first] = code(first, min(per_stream, layout.n_lines - first))

    threads.run(fill, list(streams))
    return per_stream, np.cumsum([0, *map(len, streams.values())]), b"".join(streams.values())


def decode_streams(
    layout: Layout,
    lines_per_stream: int,
    starts: NDArray[np.int64],
    streams: bytes | memoryview,
    decoder: Callable[[int, int], Callable[[NDArray[np.uint32]], int]],
) -> None:
    """Decode streams on several threads, and check that they end where they should (MXG-5).

    Parameters
    ----------
    decoder : callable
        Gives what decodes so many lines from a first one on, from words, and says how many it
        read.
    """

    def decode(i: int) -> None:
        first = i * lines_per_stream
        n_lines = min(lines_per_stream, layout.n_lines - first)
        coded = streams[int(starts[i]) : int(starts[i + 1])]
        coded_number.read(decoder(first, n_lines), coded, f"stream {i}")

    threads.run(decode, range(starts.size - 1))


def layouts(shape: MatrixShape) -> list[Layout]:
    """The layouts of a tensor that differ, and are worth a trial."""
    found: dict[object, Layout] = {}
    for number in range(N_LAYOUTS):
        layout = Layout(shape, number)
        if 1 <= layout.width <= MAX_WIDTH:
            found.setdefault(layout.steps, layout)
    wide = [layout for layout in found.values() if layout.width >= LEAST_WIDTH]
    return wide or list(found.values())


def sampled(n_lines: int, width: int, n_weights: int, n_blocks: int) -> NDArray[np.int64]:
    """Lines that hold about so many weights: blocks of consecutive ones, spread evenly."""
    n_sampled = max(n_weights // width, 1)
    if n_sampled >= n_lines:
        return np.arange(n_lines)
    n_blocks = min(n_blocks, n_sampled)
    length = n_sampled // n_blocks
    starts = np.linspace(0, n_lines - length, n_blocks).astype(np.int64)
    return (starts[:, None] + np.arange(length)).reshape(-1)

"""mixed: every weight predicted from those around it. Format: spec/37-mixed.md."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs import coded_number
from cnnzip.codecs.base import CannotEncodeError, Codec, check_section_count
from cnnzip.codecs.codebook import parse_patterns, write_patterns
from cnnzip.codecs.layout import N_LAYOUTS, Layout, code_streams, decode_streams, layouts
from cnnzip.codecs.lines import stream_starts
from cnnzip.codecs.orders import NATURAL, parse_order, whole_order, write_order
from cnnzip.codecs.source import MatrixShape, Patterns, Source, numbers_of
from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError

MAX_VALUES = (1 << 16) - 1  # MIX-5
SHIFTS = range(10, 21)  # MIX-1


@dataclass(frozen=True)
class Book:
    """A codebook by rank (MIX-5).

    Attributes
    ----------
    patterns : unsigned (n_values,)
    n_low : int
        Values of negative rank, which come first.
    """

    patterns: Patterns
    n_low: int

    @cached_property
    def data(self) -> NDArray[np.uint8]:
        """The values' bytes; uint8 (n_values, itemsize)."""
        return self.patterns.view(np.uint8).reshape(self.patterns.size, -1)


@dataclass(frozen=True)
class Model:
    """How weights are scanned, and what predicts them: what an encoder may choose.

    Attributes
    ----------
    layout : Layout
    lines, places : intp
        Those that come first, in their order.
    is_full : bool
        Whether all tables are used, or the first two.
    is_parted : bool
        Whether places are sorted after every line.
    entry_shift, value_shift : int
        How fast mixers learn.
    """

    layout: Layout
    lines: NDArray[np.intp] = field(default_factory=lambda: NATURAL)
    places: NDArray[np.intp] = field(default_factory=lambda: NATURAL)
    is_full: bool = True
    is_parted: bool = False
    entry_shift: int = 16
    value_shift: int = 15

    def run(self, first: int, n_lines: int) -> NDArray[np.int64]:
        """Consecutive lines by number, as `code_lines` takes them; of any number, in little memory."""
        return self._whole[first : first + n_lines] if self.lines.size else np.array([first])

    @cached_property
    def _whole(self) -> NDArray[np.int64]:
        return whole_order(self.lines, self.layout.n_lines)

    @cached_property
    def place_at(self) -> NDArray[np.int64]:
        """As of the layout, in the order of the places."""
        return self.layout.place_at[whole_order(self.places, self.layout.width)]

    @cached_property
    def orders(self) -> bytes:
        """Both orders, written."""
        return write_order(self.lines, self.layout.n_lines) + write_order(
            self.places, self.layout.width
        )

    def __str__(self) -> str:
        chained = [
            name for name, order in (("lines", self.lines), ("places", self.places)) if order.size
        ]
        return (
            f"{self.layout}{', ordered ' * bool(chained)}{' and '.join(chained)}"
            f"{', places sorted' * self.is_parted}; {'all' if self.is_full else 'few'} contexts; "
            f"mixers learn by 2^-{self.entry_shift} and 2^-{self.value_shift}"
        )


@dataclass(frozen=True)
class Mixed(Codec):
    """A tensor coded weight by weight, each as it was to be expected."""

    id = 8
    name = "mixed"
    n_sections = 2
    is_slow = True
    recoded = True

    shape: MatrixShape
    book: Book
    model: Model | None  # None where there are no entries
    chance: int
    lines_per_stream: int
    starts: NDArray[np.int64]
    streams: bytes | memoryview

    @classmethod
    def least_bytes(cls, source: Source) -> int:
        """The codebook."""
        distinct = source.distinct
        if distinct is None or distinct.n_values > MAX_VALUES:
            raise CannotEncodeError("more than 65,535 distinct weights that are not 0 [MIX-5]")
        return distinct.patterns.nbytes

    @classmethod
    def encode(cls, source: Source) -> Self:
        """Choose a model by trying, and code all weights."""
        from cnnzip.codecs.mixed_planning import choose

        cls.least_bytes(source)
        distinct = source.distinct
        assert distinct is not None
        if not distinct.n_values:
            book = Book(np.empty(0, source.shape.dtype.pattern), 0)
            return cls(source.shape, book, None, 1, 1, np.zeros(1, np.int64), b"")
        book, symbols, values = ranked(source)
        chance = chance_of(distinct.n_entries, source.shape.n_weights)
        model = choose(layouts(source.shape), book, symbols, values, chance)
        per_stream, starts, streams = code_streams(
            model.layout,
            lambda first, n: code(model, book, symbols, model.run(first, n), n, chance),
        )
        return cls(source.shape, book, model, chance, per_stream, starts, streams)

    @property
    def sections(self) -> Sequence[bytes | memoryview]:
        """Description and streams (MIX-1)."""
        codebook = write_patterns(self.book.patterns)
        if self.model is None:
            return codebook, b""
        numbers = (
            self.book.n_low,
            self.model.layout.number,
            self.lines_per_stream,
            self.model.is_parted + 2 * self.model.is_full,
            self.model.entry_shift,
            self.model.value_shift,
            self.chance,
        )
        lengths = np.diff(self.starts).tolist()
        description = (
            codebook,
            *map(encode_varint, numbers),
            self.model.orders,
            *map(encode_varint, lengths),
        )
        return b"".join(description), self.streams

    @classmethod
    def parse(cls, shape: MatrixShape, sections: Sequence[memoryview]) -> Self:
        """Invert `sections` (MIX-1 to MIX-5)."""
        check_section_count(cls, sections)
        cursor = Cursor(sections[0], "description", "MIX-1")
        patterns = parse_patterns(cursor, shape.dtype)
        if patterns.size > MAX_VALUES or bool(np.any(patterns == 0)):
            raise CorruptError("MIX-5", "codebook", "pattern 0, or more than 65,535 values")
        if np.unique(patterns).size != patterns.size:
            raise CorruptError("BOK-2", "codebook", "a pattern that occurs twice")
        if not patterns.size:
            cursor.finish("MIX-1")
            starts = stream_starts((), sections[1])
            return cls(shape, Book(patterns, 0), None, 1, 1, starts, sections[1])
        n_low, number, per_stream, form, entry_shift, value_shift, chance = cursor.varints(7)
        if n_low > patterns.size:
            raise CorruptError("MIX-5", "codebook", f"{n_low} low values of {patterns.size}")
        if number >= N_LAYOUTS or form >= 4:
            raise CorruptError("MIX-1", "description", f"layout {number}, form {form}")
        if entry_shift not in SHIFTS or value_shift not in SHIFTS or not 1 <= chance <= MAX_VALUES:
            raise CorruptError(
                "MIX-1", "description", f"shifts {entry_shift}, {value_shift}, chance {chance}"
            )
        layout = Layout(shape, number)
        n_streams = layout.check(per_stream, cursor.left, ("MIX-2", "MIX-4", "MIX-1"))
        lines, places = (parse_order(cursor, n) for n in (layout.n_lines, layout.width))
        starts = stream_starts(cursor.varints(n_streams), sections[1])
        cursor.finish("MIX-1")
        model = Model(layout, lines, places, form >= 2, bool(form & 1), entry_shift, value_shift)
        return cls(shape, Book(patterns, n_low), model, chance, per_stream, starts, sections[1])

    @property
    def parts(self) -> dict[str, float]:
        """Bits of the sections by what they are for."""
        description = 8 * len(self.sections[0])
        codebook = 8 * len(write_patterns(self.book.patterns))
        orders = 8 * len(self.model.orders) if self.model else 0
        return {
            "weights": 8 * len(self.streams),
            "codebook": codebook,
            "orders": orders,
            "numbers": description - codebook - orders,
        }

    def decode_into(self, out: NDArray[np.uint8]) -> None:
        """Decode the streams into zeros."""
        out.fill(0)
        model = self.model
        if model is None:
            return
        from cnnzip_native.mixed import code_lines

        plain = out.reshape(-1, self.shape.dtype.itemsize)

        def decoder(first: int, n_lines: int) -> Callable[[NDArray[np.uint32]], int]:
            lines = model.run(first, n_lines)
            settings = _settings(model, self.book, lines, n_lines, self.chance)
            state = _state(model, self.book, self.chance)
            return lambda words: code_lines(True, _NO_SYMBOLS, plain, *settings, words, *state)

        decode_streams(model.layout, self.lines_per_stream, self.starts, self.streams, decoder)


_NO_SYMBOLS = np.empty(0, np.uint16)
_NOTHING = np.empty((0, 1), np.uint8)


def code(
    model: Model,
    book: Book,
    symbols: NDArray[np.uint16],
    lines: NDArray[np.int64],
    n_lines: int,
    chance: int,
) -> bytes:
    """Code lines as one stream.

    Parameters
    ----------
    symbols : uint16 (n_weights,)
        Of all weights of the tensor: 0 for a zero, else 1 + the number of the value in the book.
    lines : int64 (n_lines,) or (1,)
        Numbers of the lines, or that of the first of so many.
    """
    from cnnzip_native.mixed import code_lines

    settings = _settings(model, book, lines, n_lines, chance)
    width = model.layout.width
    return coded_number.write(
        lambda words: code_lines(
            False, symbols, _NOTHING, *settings, words, *_state(model, book, chance)
        ),
        n_lines * width // 4 + width * 9 + 1024,
    )


def ranked(source: Source) -> tuple[Book, NDArray[np.uint16], NDArray[np.float64]]:
    """Values by increasing number, each weight's symbol in `code`, and each symbol's number."""
    distinct = source.distinct
    assert distinct is not None
    first = distinct.patterns.size - distinct.n_values
    patterns = distinct.patterns[first:]
    numbers = numbers_of(source.shape, patterns)
    order = np.argsort(numbers, kind="stable")
    symbol = np.zeros(distinct.patterns.size, np.uint16)
    symbol[first + order] = np.arange(1, order.size + 1)
    book = Book(np.ascontiguousarray(patterns[order]), int(np.count_nonzero(numbers < 0)))
    return book, symbol[distinct.symbols], np.append(0, numbers[order])


def chance_of(n_entries: int, n_weights: int) -> int:
    """Of an entry, in 1/65536, kept off the ends."""
    return min(max(n_entries * 65536 // n_weights, 8), 65000)


def _settings(
    model: Model, book: Book, lines: NDArray[np.int64], n_lines: int, chance: int
) -> tuple[object, ...]:
    """What `code_lines` takes between the weights and the words."""
    return (
        book.data,
        lines,
        n_lines,
        *model.layout.line_steps,
        model.place_at,
        book.n_low,
        np.uint32(_first(chance)),
        model.is_full,
        model.is_parted,
        model.entry_shift,
        model.value_shift,
    )


def _first(chance: int) -> int:
    """A counter of "is an entry", at first (MIX-8)."""
    return chance << 16 | 6


def _state(model: Model, book: Book, chance: int) -> tuple[NDArray[np.generic], ...]:
    """What `code_lines` takes after the words: as a stream starts (MIX-4, MIX-7 to MIX-10)."""
    from cnnzip_native import mixed as native
    from cnnzip_native.mixing import HALF_CHANCE

    width = model.layout.width
    n_bits = (book.patterns.size - 1).bit_length()
    n_nodes = 1 << min(n_bits, native.TREE_BITS)
    n_tables = native.END if model.is_full else native.ABOVE
    foretell = np.zeros(native.N_NEAR, np.int32)
    foretell[[0, 2]] = native.FIRST_NEAR
    return (
        np.full(width + n_tables, _first(chance), np.uint32),
        np.full(native.VALUE_END * n_nodes, HALF_CHANCE, np.uint32),
        np.full(1 << n_bits if n_bits > native.TREE_BITS else 0, HALF_CHANCE, np.uint32),
        _mixers(9, native.FIRST_WEIGHTS),
        _mixers(24, native.FIRST_WEIGHTS),
        _mixers(4 * n_nodes, native.FIRST_VALUE_WEIGHTS),
        foretell,
        np.zeros(native.N_NEAR, np.int64),
        np.zeros((4, width + 2 * native.MARGIN), np.int32),
        np.zeros((3, width), np.int32),
        np.arange(width),
        np.zeros(width, np.int64),
        np.zeros(width, np.uint8),
        np.zeros(width, np.int32),
        np.zeros(width, np.int32),
    )


def _mixers(n: int, first: tuple[int, ...]) -> NDArray[np.int32]:
    return np.tile(np.array(first, np.int32), n)

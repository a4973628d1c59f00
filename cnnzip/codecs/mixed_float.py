"""mixed-float: signs, exponents and high digits predicted. Format: spec/38-mixed-float.md."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs import coded_number
from cnnzip.codecs.base import CannotEncodeError, Codec, check_section_count, frozen
from cnnzip.codecs.layout import (
    N_LAYOUTS,
    Layout,
    code_streams,
    decode_streams,
    layouts,
    sampled,
)
from cnnzip.codecs.lines import stream_starts
from cnnzip.codecs.planes import decode_planes, encode_planes
from cnnzip.codecs.source import MatrixShape, Source
from cnnzip.dtypes import DType
from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError

EXPONENT_BITS = {  # FLM-1
    "float16": 5,
    "bfloat16": 8,
    "float32": 8,
    "float64": 11,
    "float8_e4m3fn": 4,
    "float8_e4m3fnuz": 4,
    "float8_e5m2": 5,
    "float8_e5m2fnuz": 5,
}
N_USUAL = 14  # exponents, FLM-4
MAX_RATE = 15  # FLM-1
SAMPLE = 1 << 17  # weights that a trial codes, about
N_BLOCKS = 4  # of consecutive lines, in a sample
FIRST_RATE, RATES = 10, (8, 12)
FIRST_CLASS_WEIGHTS = (0, 18000, 18000, 18000, 18000)  # FLM-7; the last of MXG-4 comes first
FIRST_OTHER_WEIGHTS = (0, 24000, 24000, 0, 0)  # FLM-8, FLM-9
ZSTD_LEVEL = 19  # of planes: what takes long is elsewhere


class Heads(NamedTuple):
    """The most significant bytes of each weight of a type (FLM-2)."""

    n_bytes: int
    n_low: int
    exponent_bits: int
    mantissa_bits: int

    @classmethod
    def of(cls, dtype: DType) -> "Heads":
        """Those of a type of `EXPONENT_BITS`."""
        exponent_bits = EXPONENT_BITS[dtype.name]
        n_bytes = 1 if exponent_bits < 8 else 2
        mantissa_bits = 8 * n_bytes - 1 - exponent_bits
        return cls(n_bytes, dtype.itemsize - n_bytes, exponent_bits, mantissa_bits)

    @property
    def column(self) -> int:
        """Which of the numbers that `view` splits a weight into is the head."""
        return self.n_low // self.n_bytes

    def view(self, data: NDArray[np.uint8]) -> NDArray[np.unsignedinteger]:
        """All weights as numbers as long as heads; unsigned (n_weights, n_columns)."""
        return data.view(f"<u{self.n_bytes}").reshape(-1, self.column + 1)


@dataclass(frozen=True)
class Model:
    """How heads are scanned, and how their values are foretold: what an encoder may choose."""

    layout: Layout
    top: int
    rate: int

    def __str__(self) -> str:
        return f"{self.layout}; usual exponents up to {self.top}; foretold at rate {self.rate}"


@dataclass(frozen=True)
class MixedFloat(Codec):
    """Floats, the bits that are alike coded as they were to be expected."""

    id = 9
    name = "mixed-float"
    n_sections = 3
    is_slow = True

    shape: MatrixShape
    model: Model | None  # None where there are no weights
    is_sparse: bool
    lines_per_stream: int
    starts: NDArray[np.int64]
    streams: bytes | memoryview
    planes: bytes | memoryview

    @classmethod
    def least_bytes(cls, source: Source) -> int:
        """Nothing is promised."""
        if source.shape.dtype.name not in EXPONENT_BITS:
            raise CannotEncodeError(f"{source.shape.dtype.name} is no float that it knows [FLM-1]")
        return 0

    @classmethod
    def encode(cls, source: Source) -> Self:
        """Choose a layout and a rate by trying, and code all weights."""
        cls.least_bytes(source)
        shape = source.shape
        split = Heads.of(shape.dtype)
        if not shape.n_weights:
            none = np.zeros(1, np.int64)
            return cls(shape, None, False, 1, none, b"", encode_planes([_nothing(split)]))
        weights = split.view(frozen(source.data))
        heads = weights[:, split.column]
        kept = heads != 0
        low = source.data.reshape(-1, shape.dtype.itemsize)[:, : split.n_low]
        is_sparse = not (low.any(axis=1) & ~kept).any()
        if is_sparse:
            low = low[kept]
        planes = encode_planes([(np.ascontiguousarray(low).reshape(-1), split.n_low)], ZSTD_LEVEL)

        model = _choose(shape, weights, _top(heads[kept], split))
        per_stream, starts, streams = code_streams(
            model.layout, lambda first, n: code(model, weights, np.array([first]), n)
        )
        return cls(shape, model, is_sparse, per_stream, starts, streams, planes)

    @property
    def sections(self) -> Sequence[bytes | memoryview]:
        """Description, streams, planes (FLM-1)."""
        if self.model is None:
            return b"", b"", self.planes
        model = self.model
        numbers = (
            model.layout.number,
            self.lines_per_stream,
            int(self.is_sparse),
            model.top,
            model.rate,
            *np.diff(self.starts).tolist(),
        )
        return b"".join(map(encode_varint, numbers)), self.streams, self.planes

    @classmethod
    def parse(cls, shape: MatrixShape, sections: Sequence[memoryview]) -> Self:
        """Invert `sections` (FLM-1 to FLM-3); the planes are read when they are decoded."""
        check_section_count(cls, sections)
        if shape.dtype.name not in EXPONENT_BITS:
            raise CorruptError("FLM-1", "dtype", shape.dtype.name)
        cursor = Cursor(sections[0], "description", "FLM-1")
        if not shape.n_weights:
            cursor.finish("FLM-1")
            return cls(shape, None, False, 1, stream_starts((), sections[1]), b"", sections[2])
        number, per_stream, form, top, rate = cursor.varints(5)
        if number >= N_LAYOUTS or form > 1 or rate > MAX_RATE:
            raise CorruptError("FLM-1", "description", f"layout {number}, form {form}, rate {rate}")
        if top >> EXPONENT_BITS[shape.dtype.name]:
            raise CorruptError("FLM-1", "description", f"exponent {top}")
        layout = Layout(shape, number)
        n_streams = layout.check(per_stream, cursor.left, ("FLM-3", "FLM-3", "FLM-1"))
        starts = stream_starts(cursor.varints(n_streams), sections[1])
        cursor.finish("FLM-1")
        model = Model(layout, top, rate)
        return cls(shape, model, form == 1, per_stream, starts, sections[1], sections[2])

    def decode_into(self, out: NDArray[np.uint8]) -> None:
        """Decode the heads into zeros, then put the planes' bytes below them."""
        out.fill(0)
        split = Heads.of(self.shape.dtype)
        if self.model is not None:
            self._decode_heads(split.view(out), self.model, split)
        rows = out.reshape(-1, self.shape.dtype.itemsize)
        kept = rows[:, split.n_low :].any(axis=1) if self.is_sparse else slice(None)
        low = np.empty((len(rows[kept]), split.n_low), np.uint8)
        decode_planes(memoryview(self.planes), [(low.reshape(-1), split.n_low)])
        if low.size:
            rows[kept, : split.n_low] = low

    def _decode_heads(
        self, weights: NDArray[np.unsignedinteger], model: Model, split: Heads
    ) -> None:
        from cnnzip_native.mixed_float import code_heads

        nothing = frozen(np.empty((0, weights.shape[1]), weights.dtype))

        def decoder(first: int, n_lines: int) -> Callable[[NDArray[np.uint32]], int]:
            settings = _settings(model, np.array([first]), n_lines)
            state = _state(split, model.layout.width)
            return lambda words: code_heads(True, nothing, weights, *settings, words, *state)

        decode_streams(model.layout, self.lines_per_stream, self.starts, self.streams, decoder)


def code(
    model: Model, weights: NDArray[np.unsignedinteger], lines: NDArray[np.int64], n_lines: int
) -> bytes:
    """Code the heads of lines as one stream.

    Parameters
    ----------
    weights : unsigned (n_weights, n_columns)
        As of `Heads.view`, of all weights of the tensor.
    lines : int64 (n_lines,) or (1,)
        Numbers of the lines, or that of the first of so many.
    """
    from cnnzip_native.mixed_float import code_heads

    width = model.layout.width
    split = Heads.of(model.layout.shape.dtype)
    nothing = np.empty((0, weights.shape[1]), weights.dtype)
    settings = _settings(model, lines, n_lines)
    return coded_number.write(
        lambda words: code_heads(False, weights, nothing, *settings, words, *_state(split, width)),
        n_lines * width // 2 + width * 10 + 1024,
    )


def _state(split: Heads, width: int) -> tuple[NDArray[np.integer], ...]:
    """Counters, mixers and what is kept of places, as a stream starts (FLM-3 to FLM-9)."""
    from cnnzip_native import mixed_float as native
    from cnnzip_native.mixing import HALF_CHANCE

    def counters(n: int, n_seen: int = 0) -> NDArray[np.uint32]:
        return np.full(n, HALF_CHANCE + n_seen, np.uint32)

    def mixers(n: int, first: tuple[int, ...]) -> NDArray[np.int32]:
        return np.tile(np.array(first, np.int32), n)

    return (
        counters(native.EXPONENT_END * 16),
        counters(1 << split.exponent_bits),
        counters(native.SIGN_END),
        counters(native.MANTISSA_END * 8, 4),
        counters(1 << split.mantissa_bits, 60),
        mixers(16, FIRST_CLASS_WEIGHTS),
        mixers(1, FIRST_OTHER_WEIGHTS),
        mixers(8, FIRST_OTHER_WEIGHTS),
        np.zeros((4, width), np.int64),
        np.full(width, native.ZERO, np.int64),
        np.zeros(width, np.int64),
    )


def _settings(model: Model, lines: NDArray[np.int64], n_lines: int) -> tuple[object, ...]:
    """What `code_heads` takes between the weights and the words."""
    layout, split = model.layout, Heads.of(model.layout.shape.dtype)
    return (
        split.column,
        split.exponent_bits,
        split.mantissa_bits,
        model.top,
        model.rate,
        lines,
        n_lines,
        *layout.line_steps,
        layout.place_at,
    )


def _nothing(split: Heads) -> tuple[NDArray[np.uint8], int]:
    return np.empty(0, np.uint8), split.n_low


def _top(heads: NDArray[np.unsignedinteger], split: Heads) -> int:
    """The highest of the 14 neighbouring exponents that occur most."""
    exponents = (heads >> split.mantissa_bits) & ((1 << split.exponent_bits) - 1)
    counts = np.bincount(exponents, minlength=1 << split.exponent_bits)
    return int(np.argmax(np.convolve(counts, np.ones(N_USUAL, int))[: counts.size]))


def _choose(shape: MatrixShape, weights: NDArray[np.unsignedinteger], top: int) -> Model:
    """First the layout, then the rate, by coding a sample with each."""

    def size(model: Model) -> float:
        width = model.layout.width
        lines = sampled(model.layout.n_lines, width, SAMPLE, N_BLOCKS)
        return len(code(model, weights, lines, lines.size)) / lines.size / width

    tried = [Model(layout, top, FIRST_RATE) for layout in layouts(shape)]
    best = min(tried, key=size) if len(tried) > 1 else tried[0]
    return min([best, *(Model(best.layout, top, rate) for rate in RATES)], key=size)

"""index-map: an index of fixed width for each weight. Format: spec/31-index-map.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.base import CannotEncodeError, check_section_count, frozen
from cnnzip.codecs.codebook import check_increasing, parse_patterns, write_patterns
from cnnzip.codecs.faults import check
from cnnzip.codecs.lines import Block, Entries, LineCodec, Lines, scratch
from cnnzip.codecs.source import MatrixShape, Source
from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError

WIDTHS = (0, 1, 2, 4, 8, 16)  # bits; IMP-2
BLOCK_WEIGHTS = 1 << 16


def index_width(n_values: int) -> int:
    """Least width that tells `n_values` values apart (IMP-2)."""
    return next(width for width in WIDTHS if n_values <= 1 << width)


@dataclass(frozen=True)
class IndexMap(LineCodec):
    """A codebook and an index into it for each weight, in C order."""

    id = 2
    name = "index-map"
    n_sections = 2

    shape: MatrixShape
    width: int
    patterns: NDArray[np.unsignedinteger]
    indices: NDArray[np.uint8]

    @classmethod
    def least_bytes(cls, source: Source) -> int:
        """The indices and the codebook."""
        distinct = source.distinct
        if distinct is None:
            raise CannotEncodeError("more than 65,536 distinct weights [BOK-1]")
        n_bits = source.shape.n_weights * index_width(distinct.patterns.size)
        return -(-n_bits // 8) + distinct.patterns.nbytes

    @classmethod
    def encode(cls, source: Source) -> Self:
        """Pack the symbols of the distinct weights."""
        from cnnzip_native.indices import pack_indices

        distinct = source.distinct
        if distinct is None:
            raise CannotEncodeError("more than 65,536 distinct weights [BOK-1]")
        width = index_width(distinct.patterns.size)
        indices = np.zeros(-(-source.shape.n_weights * width // 8), np.uint8)
        if width:
            pack_indices(distinct.symbols, width, indices)
        return cls(source.shape, width, distinct.patterns, frozen(indices))

    @property
    def sections(self) -> Sequence[bytes | memoryview]:
        """Description and indices (IMP-1)."""
        return encode_varint(self.width) + write_patterns(self.patterns), self.indices.data

    @classmethod
    def parse(cls, shape: MatrixShape, sections: Sequence[memoryview]) -> Self:
        """Invert `sections` (IMP-1 to IMP-3)."""
        check_section_count(cls, sections)
        cursor = Cursor(sections[0], "description", "IMP-1")
        width = cursor.varint()
        if width not in WIDTHS:
            raise CorruptError("IMP-2", "width", f"{width} bits, not one of {WIDTHS}")
        patterns = parse_patterns(cursor, shape.dtype)
        cursor.finish("IMP-1")
        check_increasing(patterns)
        least = 1 if shape.n_weights else 0
        if not least <= patterns.size <= (1 << width) * least:
            raise CorruptError("IMP-2", "codebook", f"{patterns.size} values at {width} bits")
        if not shape.n_weights and width:
            raise CorruptError("IMP-2", "width", f"{width} bits for no weights")
        n_bits = shape.n_weights * width
        if len(sections[1]) != -(-n_bits // 8):
            raise CorruptError("IMP-3", "indices", f"{len(sections[1])} bytes for {n_bits} bits")
        if n_bits % 8 and sections[1][-1] & (255 >> n_bits % 8):
            raise CorruptError("NUM-3", "indices", "a padding bit that is set")
        return cls(shape, width, patterns, np.frombuffer(sections[1], np.uint8))

    @cached_property
    def lines(self) -> Lines:  # type: ignore[override]
        """Rows, as many at a time as make a block (MAT-6)."""
        rows = max(1, min(BLOCK_WEIGHTS // max(self.shape.n_columns, 1), self.shape.n_rows))
        return Lines(self.shape, 0, rows)

    def decode_into(self, out: NDArray[np.uint8]) -> None:
        """Write every weight; of a single value without listing them, which takes memory."""
        if self.width:
            super().decode_into(out)
        elif self.patterns.size:
            out.view(self.shape.dtype.pattern).fill(self.patterns[0])

    def validate(self) -> None:
        """Unpack all indices, keep nothing; those of a single value have no bits."""
        if self.width:
            super().validate()

    def _symbols(self, first: int, stop: int) -> NDArray[np.uint16]:
        from cnnzip_native.indices import unpack_indices

        symbols = np.zeros(stop - first, np.uint16)
        if self.width:
            status = unpack_indices(self.indices, self.width, first, self.patterns.size, symbols)
            check(status, "indices")
        return symbols

    @cached_property
    def blocks(self) -> Sequence[Block]:
        """One stream each."""
        return [Block(s, s + 1) for s in range(self.lines.n_streams)]

    def decode_block(self, block: Block) -> Entries:
        """Unpack the indices and leave out the zeros."""
        from cnnzip_native.places import select_entries

        lines = self.lines
        first_line = block.first * lines.per_stream
        last_line = min(block.stop * lines.per_stream, lines.n_lines)
        found = self._symbols(first_line * lines.width, last_line * lines.width)
        zero = 0 if int(self.patterns[0]) == 0 else -1
        positions, symbols = scratch.buffers(found.size + 1)
        n = select_entries(found, zero, positions, symbols)
        return Entries(
            positions,
            symbols,
            np.zeros(1, np.int64),
            np.array([n], np.int64),
            first_line,
            lines.per_stream,
            lines.width,
        )

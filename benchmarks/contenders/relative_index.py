"""Relative indices: of each entry the number of zeros before it, and the index of its value.

Where more zeros come than a gap can say, an entry of value zero is put in (a filler), so that
the gap's largest number stands for that many zeros and the filler itself for one more.

Sources: Han, Mao, Dally, "Deep compression" (ICLR 2016), with the authors' AlexNet and its decoder;
Han et al., "EIE: efficient inference engine on compressed deep neural network" (ISCA 2016).
"""

import numpy as np
from numpy.typing import NDArray

from cnnzip.entropy.canonical import CanonicalCode, optimal_lengths
from cnnzip_native._jit import inlined, kernel
from cnnzip_native.bits import encode_streams
from cnnzip_native.huffman import decode_symbols

from ..matrices.base import Case
from .base import Contender, Parts, Stored, dims

GAP_BITS = (4, 5, 8)  # those of Deep Compression's tables and text


def with_fillers(
    zeros_before: NDArray[np.int64], symbols: NDArray[np.int64], gap_bits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Gaps of `gap_bits` and symbols, with fillers (symbol 0); and how many before each entry."""
    span = 1 << gap_bits
    n_fillers = zeros_before // span
    places = np.cumsum(n_fillers + 1) - 1
    size = int(n_fillers.sum()) + symbols.size
    gaps, filled = np.full(size, span - 1), np.zeros(size, np.int64)
    gaps[places], filled[places] = zeros_before % span, symbols
    return gaps, filled, n_fillers


def packed(fields: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """Fields of some bits one after the other, each from its least significant bit on."""
    each = (fields[:, None] >> np.arange(bits)) & 1
    return np.packbits(each.astype(np.uint8).ravel(), bitorder="little")


def words(stream: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A stream as words of 64 bits, and one more, which `field` may read and not use."""
    return np.pad(stream, (0, 8 + -stream.size % 8)).view(np.uint64)


@inlined
def field(low, high, bit, bits):
    """Field of some bits that begins at `bit` of a packed stream; all uint64.

    low, high : words ``bit >> 6`` and ``(bit >> 6) + 1`` of the stream
    """
    shift = bit & np.uint64(63)
    upper = (high << np.uint64(1)) << (np.uint64(63) - shift)  # never shifted by 64
    return ((low >> shift) | upper) & ((np.uint64(1) << bits) - np.uint64(1))


@kernel
def multiply_by_columns(codebook, values, value_bits, gaps, gap_bits, column_starts, x, y):
    """EIE: add each column, times its x, to the rows it names; columns whose x is zero are skipped.

    Parameters
    ----------
    codebook : float32 (k,)
        0.0 first.
    values, gaps : uint64, of `words`
    value_bits, gap_bits : uint64
    column_starts : unsigned (columns + 1,)
    x : float32 (columns, n)
    y : float32 (rows, n), updated
    """
    columns, n = x.shape
    for column in range(columns):
        if n == 1 and x[column, 0] == 0:
            continue
        row = np.uint64(0)
        for e in range(np.int64(column_starts[column]), np.int64(column_starts[column + 1])):
            bit = np.uint64(e) * gap_bits
            at = bit >> np.uint64(6)
            row += field(gaps[at], gaps[at + np.uint64(1)], bit, gap_bits)
            bit = np.uint64(e) * value_bits
            at = bit >> np.uint64(6)
            value = codebook[field(values[at], values[at + np.uint64(1)], bit, value_bits)]
            if n == 1:
                y[row, 0] += value * x[column, 0]
            else:
                for i in range(n):
                    y[row, i] += value * x[column, i]
            row += np.uint64(1)


@kernel
def multiply_by_rows(codebook, values, value_bits, gaps, gap_bits, n_entries, x, y):
    """Deep Compression: add each entry, times its x, to its row; gaps run on from row to row.

    As of `multiply_by_columns`; sums of a vector are float32, in the order of columns.
    """
    columns, n = x.shape
    row, column = 0, 0
    total = np.float32(0)
    for e in range(n_entries):
        bit = np.uint64(e) * gap_bits
        at = bit >> np.uint64(6)
        column += np.int64(field(gaps[at], gaps[at + np.uint64(1)], bit, gap_bits))
        while column >= columns:
            column -= columns
            if n == 1:
                y[row, 0] = total
                total = np.float32(0)
            row += 1
        bit = np.uint64(e) * value_bits
        at = bit >> np.uint64(6)
        value = codebook[field(values[at], values[at + np.uint64(1)], bit, value_bits)]
        if n == 1:
            total += value * x[column, 0]
        else:
            for i in range(n):
                y[row, i] += value * x[column, i]
        column += 1
    if n == 1 and n_entries:
        y[row, 0] = total


@kernel
def unpack(stream, bits, fields):
    """Invert `packed`.

    fields : int64 (n,), written
    """
    for i in range(fields.size):
        bit = np.uint64(i) * bits
        at = bit >> np.uint64(6)
        fields[i] = field(stream[at], stream[at + np.uint64(1)], bit, bits)


@kernel
def write_by_columns(values, gaps, column_starts, matrix):
    """Decode EIE's entries.

    Parameters
    ----------
    values : float32 (n,)
    gaps : int64 (n,)
    column_starts : unsigned (columns + 1,)
    matrix : float32 (rows, columns), zeros, updated
    """
    for column in range(matrix.shape[1]):
        row = -1
        for e in range(np.int64(column_starts[column]), np.int64(column_starts[column + 1])):
            row += gaps[e] + 1
            matrix[row, column] = values[e]


class _Relative(Stored):
    """Packed gaps and indices; with column starts, by columns, otherwise by rows."""

    def __init__(self, parts: Parts, dims: tuple[int, int]) -> None:
        self._dims = dims
        value_bits, gap_bits, n_entries = parts["header"].tolist()
        self._starts = parts.get("column starts")
        self._n = n_entries
        self._streams = (
            parts["codebook"],
            words(parts["values"]),
            np.uint64(value_bits),
            words(parts["positions"]),
            np.uint64(gap_bits),
        )

    def decode(self) -> NDArray[np.float32]:
        codebook, values, value_bits, gaps, gap_bits = self._streams
        symbols, places = np.empty(self._n, np.int64), np.empty(self._n, np.int64)
        unpack(values, value_bits, symbols)
        unpack(gaps, gap_bits, places)
        if self._starts is None:
            return placed(codebook[symbols], places, self._dims)
        matrix = np.zeros(self._dims, np.float32)
        write_by_columns(codebook[symbols], places, self._starts, matrix)
        return matrix

    def multiply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        y = np.zeros((self._dims[0], *x.shape[1:]), np.float32)
        x2, y2 = x.reshape(len(x), -1), y.reshape(len(y), -1)
        if self._starts is None:
            multiply_by_rows(*self._streams, self._n, x2, y2)
        else:
            multiply_by_columns(*self._streams, self._starts, x2, y2)
        return y


def placed(
    values: NDArray[np.float32], gaps: NDArray[np.int64], dims: tuple[int, int]
) -> NDArray[np.float32]:
    """The matrix of entries that follow each other by rows with gaps in between."""
    matrix = np.zeros(dims[0] * dims[1], np.float32)
    matrix[np.cumsum(gaps + 1) - 1] = values
    return matrix.reshape(dims)


def _by_rows(case: Case) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Zeros before each entry, from row to row, and its symbol."""
    places = np.flatnonzero(case.matrix)
    return np.diff(places, prepend=-1) - 1, case.symbols.ravel()[places]


class EIE(Contender):
    """By columns: gaps of 4 bits, indices of 4 bits, and where each column begins.

    The paper's v, z and p for one processing element. Its indices have 4 bits, zero's among them;
    here they have 8 where there are more than 15 values, the other width of Deep Compression.
    """

    name = "EIE"
    family = "indices"
    setting = "gaps of 4 bits, indices of 4 or 8; columns whose x is 0 skipped; sums in float32"

    def refuses(self, case: Case) -> str | None:
        k = case.codebook.size
        return f"{k:,} values, and 0 for fillers; at most 256 in all" if k > 255 else None

    def encode(self, case: Case) -> Parts:
        columns = case.matrix.shape[1]
        at_column, at_row = np.nonzero(case.matrix.T)
        first = np.diff(at_column, prepend=-1) != 0
        zeros_before = np.where(first, at_row, np.diff(at_row, prepend=0) - 1)
        symbols = case.symbols[at_row, at_column]
        gaps, symbols, n_fillers = with_fillers(zeros_before, symbols, 4)
        counts = np.zeros(columns, np.int64)
        np.add.at(counts, at_column, n_fillers + 1)
        starts = np.concatenate([[0], np.cumsum(counts)])
        bits = 4 if case.codebook.size < 16 else 8
        return {
            "header": np.array([bits, 4, gaps.size], np.uint32),
            "codebook": np.concatenate([np.zeros(1, np.float32), case.codebook]),
            "values": packed(symbols, bits),
            "positions": packed(gaps, 4),
            "column starts": starts.astype(np.min_scalar_type(gaps.size)),
        }

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        return _Relative(parts, dims(shape))


class DeepCompression(Contender):
    """By rows, gaps running on from row to row; indices of ceil(log2(k + 1)) bits.

    As in the authors' AlexNet, but for the widths: there gaps have 4 bits and indices 4 or 8, in
    the paper gaps also have 5 or 8 and indices any number; here gaps take what needs least.
    """

    name = "Deep Compression"
    family = "indices"
    setting = "gaps of 4, 5 or 8 bits, the least in all; without Huffman; sums in float32"

    def encode(self, case: Case) -> Parts:
        zeros_before, symbols = _by_rows(case)
        bits = int(case.codebook.size).bit_length()

        def total(gap_bits: int) -> int:
            n = symbols.size + int((zeros_before >> gap_bits).sum())
            return n * (bits + gap_bits)

        gap_bits = min(GAP_BITS, key=total)
        gaps, symbols, _ = with_fillers(zeros_before, symbols, gap_bits)
        return {
            "header": np.array([bits, gap_bits, gaps.size], np.uint32),
            "codebook": np.concatenate([np.zeros(1, np.float32), case.codebook]),
            "values": packed(symbols, bits),
            "positions": packed(gaps, gap_bits),
        }

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        return _Relative(parts, dims(shape))


class _Decoded(Stored):
    def __init__(self, parts: Parts, dims: tuple[int, int]) -> None:
        self._parts = parts
        self._dims = dims

    def decode(self) -> NDArray[np.float32]:
        parts = self._parts
        (n,) = parts["header"].tolist()
        codebook, alphabet = parts["codebook"], parts["gap codebook"]
        symbols = decode_stream(parts["values"], parts["value lengths"], codebook.size, n)
        gaps = decode_stream(parts["positions"], parts["gap lengths"], alphabet.size, n)
        return placed(codebook[symbols], alphabet[gaps].astype(np.int64), self._dims)


def code_stream(
    fields: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint8]]:
    """Huffman code of some fields: its alphabet by length, the codewords by length, the bits."""
    alphabet, symbols, counts = np.unique(fields, return_inverse=True, return_counts=True)
    lengths = optimal_lengths(counts)
    order = np.argsort(lengths, kind="stable")
    ranks = np.empty_like(order)
    ranks[order] = np.arange(order.size)
    code = CanonicalCode.of_lengths(lengths)
    out = np.zeros(-(-int((counts * lengths).sum()) // 8), np.uint8)
    if code.longest:
        codewords, sorted_lengths = code.codewords(), code.lengths
        ends, stream_bytes = np.array([symbols.size]), np.zeros(1, np.int64)
        encode_streams(
            ranks[symbols].astype(np.uint16), ends, codewords, sorted_lengths, out, stream_bytes
        )
    return alphabet[order], np.array(code.per_length, np.uint32), out


def decode_stream(
    stream: NDArray[np.uint8], per_length: NDArray[np.uint32], n_symbols: int, n: int
) -> NDArray[np.uint16]:
    """Invert `code_stream`, to n symbols numbered by length."""
    symbols = np.zeros(n + 8, np.uint16)  # the decoder writes two at a time
    code = CanonicalCode(tuple(per_length.tolist()), n_symbols)
    if code.longest:
        starts, ends = np.array([0, stream.size]), np.array([0, n])
        buffer = np.pad(stream, (0, 8))  # the decoder reads words of 64 bits
        decode_symbols(
            buffer, starts, ends, *code.decode_pairs(), symbols, np.zeros((2, 1), np.uint64)
        )
    return symbols[:n]


class DeepCompressionHuffman(Contender):
    """As `DeepCompression`, gaps and indices each by a Huffman code; it only decodes.

    Codes are limited to 24 bits (Package-Merge), stored as numbers of codewords by length; the
    codebook is in that order. Gaps have the width that takes least, of 4, 5 and 8 bits.
    """

    name = "Deep Compression + Huffman"
    family = "indices"
    setting = (
        "gaps of 4, 5 or 8 bits, the least in all; canonical codes, one of gaps, one of values"
    )
    multiplies = False

    def refuses(self, case: Case) -> str | None:
        k = case.codebook.size
        return f"{k:,} values, and 0 for fillers; at most 65,536 in all" if k > 65_535 else None

    def encode(self, case: Case) -> Parts:
        zeros_before, symbols = _by_rows(case)
        values = np.concatenate([np.zeros(1, np.float32), case.codebook])
        found = (_coded(values, *with_fillers(zeros_before, symbols, g)[:2]) for g in GAP_BITS)
        return min(found, key=lambda parts: sum(part.nbytes for part in parts.values()))

    def open(self, parts: Parts, shape: tuple[int, ...]) -> Stored:
        return _Decoded(parts, dims(shape))


def _coded(
    values: NDArray[np.float32], gaps: NDArray[np.int64], symbols: NDArray[np.int64]
) -> Parts:
    used, value_lengths, value_stream = code_stream(symbols)
    alphabet, gap_lengths, gap_stream = code_stream(gaps)
    return {
        "header": np.array([gaps.size], np.uint32),
        "codebook": values[used],
        "value lengths": value_lengths,
        "gap codebook": alphabet.astype(np.uint8),
        "gap lengths": gap_lengths,
        "values": value_stream,
        "positions": gap_stream,
    }

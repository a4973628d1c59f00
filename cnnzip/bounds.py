"""Entropies, the space that the HAM and sHAM papers charge, and bounds of it and of our frames.

    print(cnnzip.bounds.of(weight))

Sources: Marino, Ghidoli, Frasca, Malchiodi, ICPR 2020 (arXiv 2007.07967) and arXiv 2108.12704;
IEEE Access 11 (2023). Their letters: W is n x m, s the share of entries, b the bits of a value,
psi a space in bits per weight. The interpretation of psi and the proofs stand in spec/bounds.md;
the lemmas named below are those of that page.
"""

from dataclasses import asdict, dataclass
from math import ceil, floor, inf, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs import banded, fast
from cnnzip.codecs.banded import Banded
from cnnzip.codecs.codebook import MAX_VALUES
from cnnzip.codecs.contexts import (
    COUNT_DIRECT,
    GAP_DIRECT,
    VALUE_DIRECT,
    classes_up_to,
    extra_bits,
)
from cnnzip.codecs.ham import STREAM_WEIGHTS
from cnnzip.codecs.index_map import index_width
from cnnzip.codecs.names import CODEC_NAMES
from cnnzip.codecs.planning import MAX_JOINED
from cnnzip.codecs.sham import STREAM_ENTRIES, length_bytes, place_bytes
from cnnzip.codecs.source import MatrixShape, Source, source_of
from cnnzip.container.frame import Header, frame_bytes
from cnnzip.dtypes import BY_NAME
from cnnzip.entropy.ans import AnsTable, AnsTables
from cnnzip.entropy.canonical import MAX_LENGTH, optimal_lengths
from cnnzip.entropy.varints import encode_varint
from cnnzip.errors import ArgumentError

CODECS = ("raw", "index-map", "ham", "sham", "banded", "masked", "fast")
WORD_BITS = 32  # the papers round a stream up to whole words
Counts = NDArray[np.int64]


def entropy(counts: NDArray[np.integer]) -> float:
    """Shannon entropy of a histogram, in bits per symbol; 0 where it counts nothing.

    >>> entropy(np.array([2, 1, 1]))
    1.5
    """
    used = counts[counts > 0].astype(np.float64)
    shares = used / used.sum() if used.size else used
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def bit_req(number: int) -> int:
    """8, 16, 32 or 64: the least that holds `number`, as the papers store integers.

    >>> bit_req(255), bit_req(256)
    (8, 16)
    """
    return next(bits for bits in (8, 16, 32, 64) if number < 1 << bits)


@dataclass(frozen=True, eq=False)
class Matrix:
    """What the formulas ask of a weight: its shape, and how often each value occurs.

    Attributes
    ----------
    shape : MatrixShape
    counts : int64 (n_values,), each at least 1
        Of all distinct values, by increasing pattern.
    zero : int
        Which of them is zero, -1 for none.
    """

    shape: MatrixShape
    counts: Counts
    zero: int

    @classmethod
    def of(cls, array: Any, signed_zeros: str = "drop") -> "Matrix":
        """Count the values of a NumPy array or torch tensor, as `cnnzip.encode` sees them.

        >>> matrix = Matrix.of(np.array([[0, 1, 1], [0, 0, -2]], np.float32))
        >>> matrix.n, matrix.m, matrix.counts, matrix.entry_counts
        (3, 2, array([3, 2, 1]), array([2, 1]))
        """
        return cls.of_source(source_of(array, signed_zeros)[0])

    @classmethod
    def of_source(cls, source: Source) -> "Matrix":
        """Count the values of a tensor to encode."""
        distinct = source.distinct
        if distinct is not None:
            return cls(source.shape, distinct.counts, distinct.zero_symbol)
        itemsize = source.shape.dtype.itemsize
        wide = source.data.view(np.dtype((np.void, itemsize)) if itemsize > 8 else f"<u{itemsize}")
        patterns, counts = np.unique(wide, return_counts=True)
        is_zero = np.flatnonzero(~patterns.view(np.uint8).reshape(-1, itemsize).any(axis=1))
        return cls(source.shape, counts, int(is_zero[0]) if is_zero.size else -1)

    @property
    def n(self) -> int:
        """Rows of the papers' matrix: they multiply x^T W, so these are our columns."""
        return self.shape.n_columns

    @property
    def m(self) -> int:
        """Columns of the papers' matrix, our rows."""
        return self.shape.n_rows

    @property
    def b(self) -> int:
        """Bits of a value."""
        return 8 * self.shape.dtype.itemsize

    @property
    def size(self) -> int:
        """Number of weights, n m."""
        return self.shape.n_weights

    @property
    def entry_counts(self) -> Counts:
        """Counts of the distinct values of the entries; their number is k."""
        return np.delete(self.counts, self.zero) if self.zero >= 0 else self.counts

    @property
    def n_entries(self) -> int:
        """Number of entries, s n m."""
        return int(self.entry_counts.sum())

    @property
    def s(self) -> float:
        """Share of entries."""
        return self.per_weight(self.n_entries)

    @property
    def h0(self) -> float:
        """Order-0 entropy with zero as a symbol, in bits per weight."""
        return entropy(self.counts)

    def per_weight(self, n_bits: float) -> float:
        """Bits per weight; 0 weights count as one."""
        return n_bits / max(self.size, 1)


# psi: what the papers charge


def _optimal_code(counts: Counts) -> tuple[int, int]:
    """Bits of all codewords, and of the longest, in an optimal code limited to 24 bits."""
    if counts.size > 1 << MAX_LENGTH:
        raise ArgumentError(f"{counts.size} distinct values, a code has at most 2^{MAX_LENGTH}")
    lengths = optimal_lengths(counts).astype(np.int64)
    return int(np.dot(counts, lengths)), int(lengths.max(initial=0))


def _word_bits(n_bits: int) -> int:
    """Bits of a stream in whole words."""
    return -(-n_bits // WORD_BITS) * WORD_BITS


def default_t(longest: int) -> int:
    """The t of the authors' programs, ceil(log lmax): 2^t entries for at least lmax of them.

    >>> [default_t(longest) for longest in (0, 1, 2, 7, 24)]
    [0, 0, 1, 3, 5]
    """
    return (longest - 1).bit_length() if longest else 0


def _table_bits(k: int, longest: int, b: int, t: int | None) -> int:
    """B_k: the k values, first symbols, first codewords, partial table; grows with `longest`."""
    t = default_t(longest) if t is None else min(t, longest)
    first_symbols = (longest + 1) * bit_req(k)
    first_codewords = (longest + 2) * bit_req(1 << longest)
    return b * k + first_symbols + first_codewords + (bit_req(longest) << t if t else 0)


def _index_bits(matrix: Matrix) -> int:
    """Row index of each entry, number of entries of each column."""
    return (matrix.n_entries + matrix.m) * bit_req(matrix.n)


def psi_ham(matrix: Matrix, t: int | None = None) -> float:
    """Bits per weight that the papers charge for HAM, with a code of this matrix alone.

    Parameters
    ----------
    matrix : Matrix
    t : int, optional
        Bits by which the partial decoding table is indexed, 0 for no such table. Default:
        `default_t` of the longest codeword, as the papers' programs choose it.
    """
    n_bits, longest = _optimal_code(matrix.counts)
    tables = _table_bits(matrix.counts.size, longest, matrix.b, t)
    return matrix.per_weight(_word_bits(n_bits) + tables)


def psi_sham(matrix: Matrix, t: int | None = None) -> float:
    """Bits per weight that the papers charge for sHAM; `t` as for `psi_ham`."""
    counts = matrix.entry_counts
    n_bits, longest = _optimal_code(counts)
    tables = _table_bits(counts.size, longest, matrix.b, t)
    return matrix.per_weight(_word_bits(n_bits) + _index_bits(matrix) + tables)


def psi_csc(matrix: Matrix) -> float:
    """Bits per weight of CSC as the papers charge it: s (b + bit_req(n)) + bit_req(n) / n."""
    return matrix.per_weight(matrix.n_entries * matrix.b + _index_bits(matrix))


def psi_index_map(matrix: Matrix) -> float:
    """Bits per weight of an index map as the papers charge it, in whole bytes an index."""
    k = matrix.counts.size
    return matrix.per_weight(matrix.size * bit_req(k) + k * matrix.b)


# Upper bounds of psi


def limit_loss(counts: Counts) -> float:
    """Bits per symbol that the limit of 24 bits may cost beyond Shannon's 1 + H (lemma 1).

    >>> limit_loss(np.array([1, 1 << 20])), round(limit_loss(np.array([1, 1 << 24])), 9)
    (0.0, 1.72e-07)
    """
    k, total = counts.size, int(counts.sum())
    if k == 0 or total <= int(counts.min()) << MAX_LENGTH:
        return 0.0
    moved = k / (1 << MAX_LENGTH)
    return -log2(1 - moved) if moved < 1 else inf


def code_bits_bound(counts: Counts) -> int:
    """Upper bound of the bits that an optimal code limited to 24 bits takes (lemmas 1 and 2).

    The lesser of N (1 + H + limit_loss) and N ceil(log k).

    >>> code_bits_bound(np.array([97, 1, 1, 1])), code_bits_bound(np.array([25] * 4))
    (125, 200)
    """
    k, total = counts.size, int(counts.sum())
    fixed = total * (k - 1).bit_length() if k else 0
    shannon = total * (1 + entropy(counts) + limit_loss(counts))
    return min(fixed, ceil(shannon)) if shannon < inf else fixed


def _table_bits_bound(k: int, b: int, t: int | None) -> int:
    """`_table_bits` at the longest codeword that k symbols can have: k - 1 or 24 bits."""
    return _table_bits(k, _longest_bound(k), b, t)


def _longest_bound(k: int) -> int:
    return min(max(k - 1, 0), MAX_LENGTH)


def ham_bound(matrix: Matrix, t: int | None = None) -> float:
    """Upper bound of `psi_ham` by the entropy; never above `ham_bound_log_k`."""
    counts = matrix.counts
    tables = _table_bits_bound(counts.size, matrix.b, t)
    return matrix.per_weight(code_bits_bound(counts) + WORD_BITS - 1 + tables)


def ham_bound_log_k(matrix: Matrix, t: int | None = None) -> float:
    """The papers' 1 + log k + B_k / nm, with B_k at codewords of at most 24 bits."""
    k = matrix.counts.size
    tables = _table_bits_bound(k, matrix.b, t)
    codewords = matrix.size * (1 + log2(max(k, 1)))
    return matrix.per_weight(codewords + WORD_BITS - 1 + tables)


def sham_bound(matrix: Matrix, t: int | None = None) -> float:
    """Upper bound of `psi_sham` by the entropy of the entries' values, each with its index."""
    counts = matrix.entry_counts
    tables = _table_bits_bound(counts.size, matrix.b, t)
    n_bits = code_bits_bound(counts) + _index_bits(matrix)
    return matrix.per_weight(n_bits + WORD_BITS - 1 + tables)


def sham_bound_log_k(matrix: Matrix, t: int | None = None) -> float:
    """The papers' later bound, s (1 + log k + bit_req(n)) and the rest, at most 24 bits a codeword.

    It charges a row index to each of the s n m entries, as the format stores them.
    """
    k = matrix.entry_counts.size
    tables = _table_bits_bound(k, matrix.b, t)
    codewords = matrix.n_entries * (1 + log2(max(k, 1)))
    return matrix.per_weight(codewords + _index_bits(matrix) + WORD_BITS - 1 + tables)


def sham_bound_icpr(matrix: Matrix) -> float:
    """The ICPR 2020 paper's bound of sHAM, which is **wrong**: it charges n row indices, not s n m.

    Kept to be compared. `psi_sham` exceeds it wherever entries are more than a few per column.
    """
    k = matrix.entry_counts.size
    codewords = matrix.n_entries * (1 + log2(max(k, 1)))
    arrays = (matrix.n + matrix.m + 1) * matrix.b
    return matrix.per_weight(codewords + arrays + 6 * k * matrix.b)


# Upper bounds of frames: everything that a file holds of a tensor, but its name


def frame_bound(matrix: Matrix, codec: str) -> int:
    """Upper bound of the bytes of a frame of `cnnzip.encode(..., codec)`, padding included.

    Depends on the shape and the counts alone. For "index-map" it is the exact length.

    Raises
    ------
    ArgumentError
        No such codec, or it cannot hold this tensor.

    Source: FRM, RAW, IMP, HAM, SHM, BND, MSK; spec/bounds.md, "Frames" and "Frames of banded".
    """
    if codec not in CODECS:
        raise ArgumentError(f"no bound for codec {codec!r}; there are {', '.join(CODECS)}")
    has_codebook = codec not in ("raw", "masked")
    if has_codebook and (matrix.counts.size > MAX_VALUES or matrix.b > 64):
        raise ArgumentError(f"{codec} cannot hold this tensor: its values fill no codebook [BOK-1]")
    if codec in ("banded", "masked") and (
        max(matrix.n, matrix.m) >= banded.MAX_WIDTH or matrix.size >= 1 << 31
    ):
        raise ArgumentError(f"{codec} cannot hold this tensor: it is too large [BND-8]")
    if codec == "fast" and (
        matrix.entry_counts.size > fast.MAX_VALUES
        or max(matrix.n, matrix.m) >= fast.MAX_WIDTH
        or matrix.size >= 1 << 31
    ):
        raise ArgumentError(
            "fast cannot hold this tensor: too many values, or weights [FST-2, FST-6]"
        )
    return _frame_of(codec, matrix.shape, _SECTION_BOUNDS[codec](matrix))


def _frame_of(codec: str, shape: MatrixShape, sections: tuple[int, ...]) -> int:
    """Bytes of a frame whose sections have these bytes."""
    codec_id = next(number for number, name in CODEC_NAMES.items() if name == codec)
    head = Header(codec_id, shape, 0, tuple((n, 0) for n in sections)).write()
    return frame_bytes(len(head) + sum(sections), shape.dims)


def _varint_bytes(number: int) -> int:
    return len(encode_varint(number))


def _varints_bound(count: int, total: int) -> int:
    """Upper bound of the bytes of `count` varints whose sum is at most `total` (lemma 3)."""
    n_bytes = count
    while total := total >> 7:
        n_bytes += min(count, total)
    return n_bytes


def _coded_values_bound(k: int, itemsize: int) -> int:
    """A codebook of k values (BOK-1) and its code (HUF-1)."""
    return _varint_bytes(k) + k * itemsize + 1 + _varints_bound(_longest_bound(k), k)


def _streams_bound(counts: Counts, n_streams: int) -> int:
    """All streams' bytes: each ends with at most 7 bits of padding, and one of no bits has none."""
    n_bits = code_bits_bound(counts)
    return min(n_bits, (n_bits + 7 * n_streams) // 8)


def _raw_bound(matrix: Matrix) -> tuple[int, ...]:
    # A plane is stored behind a zero byte; the encoder takes zstd only where that is shorter.
    return (matrix.b // 8 * (matrix.size + 1),)


def _index_map_bound(matrix: Matrix) -> tuple[int, ...]:
    k = matrix.counts.size
    width = index_width(k)
    description = _varint_bytes(width) + _varint_bytes(k) + k * matrix.b // 8
    return description, -(-matrix.size * width // 8)


def _ham_bound(matrix: Matrix) -> tuple[int, ...]:
    n_rows = matrix.shape.n_rows
    n_streams = min(n_rows, 2 * matrix.size // STREAM_WEIGHTS + 1)  # lemma 4
    streams = _streams_bound(matrix.counts, n_streams)
    description = (
        1
        + _varint_bytes(max(n_rows, 1))
        + _coded_values_bound(matrix.counts.size, matrix.b // 8)
        + _varints_bound(n_streams, streams)
    )
    return description, streams


def _sham_bound(matrix: Matrix) -> tuple[int, ...]:
    shape, n_entries, counts = matrix.shape, matrix.n_entries, matrix.entry_counts
    n_lines, lengths, places = min(
        (
            (n_lines, n_lines * length_bytes(width), n_entries * place_bytes(width))
            for n_lines, width in (
                (shape.n_rows, shape.n_columns),
                (shape.n_columns, shape.n_rows),
            )
        ),
        key=lambda arrays: arrays[1] + arrays[2],
    )
    most = max(2 * n_entries // STREAM_ENTRIES, matrix.size >> 29) + 1  # lemma 4
    n_streams = min(n_lines, most)
    streams = _streams_bound(counts, n_streams)
    description = (
        1
        + _varint_bytes(max(n_lines, 1))
        + _varint_bytes(n_entries)
        + _coded_values_bound(counts.size, matrix.b // 8)
        + _varints_bound(n_streams, streams)
    )
    return description, lengths, places, streams


# banded: what its tables cost, and the bound that knows the grid


def state_excess(tables: AnsTables) -> NDArray[np.float64]:
    """Bits by which a symbol may exceed its ideal length, by table and symbol (lemma 5)."""
    coding, size = tables.encoding(), 1 << tables.log_size
    found = np.zeros(coding.frequencies.shape)
    for table, symbol in zip(*np.nonzero(coding.frequencies), strict=True):
        frequency, first = coding.frequencies[table, symbol], coding.places[table, symbol]
        states = coding.states[table, first : first + frequency].astype(np.float64)
        numbers = frequency + np.arange(frequency)
        found[table, symbol] = np.log2((size + states) * frequency / (size * numbers)).max()
    return found


def grid_bound(coded: Banded) -> int:
    """Upper bound of the bytes of a banded frame by its grid: classes, bands, before, tables.

    The description but for the streams' lengths, which are bounded; the ideal length of each
    token by its table's frequencies, and what states may add to it (lemma 5).

    >>> from cnnzip import encode
    >>> tensor = encode(np.eye(64, dtype=np.float32), "banded")
    >>> tensor.nbytes, grid_bound(tensor.coded)
    (104, 104)
    """
    n_streams, most = coded.lines.n_streams, 0
    if coded.contexts is not None:
        tables = coded.contexts.tables
        per_token = coded.token_prices() + state_excess(tables)
        n_bits = float((coded.token_counts() * per_token).sum())
        most = floor(n_bits + n_streams * (tables.log_size + 7) + 1) // 8
    lengths = sum(map(_varint_bytes, np.diff(coded.starts).tolist()))
    description = len(coded.sections[0]) - lengths + _varints_bound(n_streams, most)
    return _frame_of("banded", coded.shape, (description, most))


# banded: the bound that knows the shape and the counts alone


def numbers_bits(count: int, total: int) -> float:
    """Bound of the ideal bits of `count` numbers that add up to at most `total` (lemma 6).

    >>> numbers_bits(100, 0), round(numbers_bits(100, 900), 1)
    (0.0, 499.7)
    """
    rest = 1.25 * total
    bits = count * log2(1 + rest / count) if count else 0.0
    return bits + (rest * log2(1 + count / rest) if rest else 0.0)


def table_loss(n_symbols: int) -> float:
    """Bound of the bits a token by which a table's frequencies miss its histogram (lemma 7)."""
    if n_symbols == 1:
        return 0.0
    size = 1 << banded.LOG_SIZE
    least = size / n_symbols - 1
    lowered = (least + n_symbols) * log2(1 + n_symbols / least)
    rounding = 1.44 / size * max(2 * n_symbols, lowered)
    return 0.0224 + log2(1 + n_symbols / (1 << 15)) + rounding


def state_loss(n_symbols: int) -> float:
    """Bound of the bits a token that states add to the ideal lengths (lemma 8)."""
    return 1.44 * (3.25 * n_symbols / (1 << banded.LOG_SIZE) + 0.0215) if n_symbols > 1 else 0.0


def _table_bytes(n_symbols: int) -> int:
    return _varint_bytes(n_symbols) + -(-5 * n_symbols // 8)


def _symbol_classes(entry_counts: Counts) -> Counts:
    """Histogram of the symbols' classes, the most frequent value being symbol 0 (BND-6)."""
    symbols = np.arange(entry_counts.size)
    e = np.frexp(np.maximum(symbols, 1))[1].astype(np.int64) - 1
    upper = (1 << VALUE_DIRECT) + 2 * (e - VALUE_DIRECT) + (symbols >> np.maximum(e - 1, 0) & 1)
    classes = np.where(symbols < 1 << VALUE_DIRECT, symbols, upper)
    found = np.zeros(classes_up_to(symbols.size - 1, VALUE_DIRECT), np.int64)
    np.add.at(found, classes, np.sort(entry_counts)[::-1])
    return found[found > 0]  # those of no symbol are the last


def _banded_bound(matrix: Matrix) -> tuple[int, ...]:
    shape = matrix.shape
    if not matrix.n_entries:  # exact
        return 4 + _varint_bytes(max(shape.n_rows, 1)) + 2 * bool(shape.n_rows), 0
    rows = _banded_bound_along(matrix, shape.n_rows, shape.n_columns)
    columns = _banded_bound_along(matrix, shape.n_columns, shape.n_rows)
    return tuple(map(max, rows, columns))  # which of them it takes is known after encoding only


def _banded_bound_along(matrix: Matrix, n_lines: int, width: int) -> tuple[int, int]:
    """Bytes of both sections along one axis (lemmas 4 and 9)."""
    n_entries, rest, counts = matrix.n_entries, matrix.size - matrix.n_entries, matrix.entry_counts
    values = _symbol_classes(counts)
    of_count = classes_up_to(min(width, n_entries), COUNT_DIRECT)
    of_gap = classes_up_to(min(width - 1, rest), GAP_DIRECT.start)
    of_joined = classes_up_to(min(max(width, MAX_JOINED) - 1, rest), GAP_DIRECT.start)
    # Ideal bits of the tokens, and the bytes of bands and contexts, maps left out.
    n_bits = numbers_bits(n_lines, n_entries) + n_lines * table_loss(of_count)
    n_bits += numbers_bits(n_entries, rest) + n_entries * table_loss(of_gap)
    n_bits += float(values @ extra_bits(VALUE_DIRECT)[: values.size])
    shares = AnsTable.of_counts(values).frequencies(banded.LOG_SIZE) / (1 << banded.LOG_SIZE)
    n_bits -= float(values @ np.log2(shares))
    contexts = 9 + sum(map(_table_bytes, (of_count, of_gap, values.size)))
    n_bits += n_lines * state_loss(of_count)
    n_bits += n_entries * (state_loss(of_joined) + state_loss(values.size))
    aim = banded.stream_entries(n_entries)
    n_streams = min(n_lines, max(2 * n_entries // aim, matrix.size >> 18) + 1)
    most = contexts + floor(n_bits + n_streams * (banded.LOG_SIZE + 7) + 1) // 8
    description = (
        2
        + _varint_bytes(n_lines)
        + _varint_bytes(n_entries)
        + _varint_bytes(counts.size)
        + counts.size * matrix.b // 8
        + _varints_bound(n_streams, n_entries)
        + _varints_bound(n_streams, most)
    )
    # Contexts and streams are bounded together, so the header may say that the first is longer.
    return description + _varint_bytes(description + most), most


def _fast_bound(matrix: Matrix) -> tuple[int, ...]:
    """Skips pass zeros, `skip` of them at least (lemma 10)."""
    shape, n_values = matrix.shape, matrix.entry_counts.size
    n_zeros = matrix.size - matrix.n_entries
    n_bytes = (
        min(
            size * (matrix.n_entries + n_zeros // skip)
            for size in (1, 2)
            if (skip := fast.fields(n_values, size)[1])
        )
        if matrix.n_entries
        else 0
    )
    n_lines, width = shape.n_rows, shape.n_columns
    if fast.scan_axis(shape):
        n_lines, width = width, n_lines
    description = 2 + _varint_bytes(n_bytes) + _varint_bytes(n_values) + n_values * matrix.b // 8
    return description, n_lines * length_bytes(width), n_bytes


def _masked_bound(matrix: Matrix) -> tuple[int, ...]:
    parts = np.array([matrix.size - matrix.n_entries, matrix.n_entries])
    mask_shape = MatrixShape(BY_NAME["bool"], matrix.shape.dims)
    mask = Matrix(mask_shape, parts[parts > 0], 0 if parts[0] else -1)
    return *_banded_bound(mask), matrix.b // 8 * (matrix.n_entries + 1)


_SECTION_BOUNDS = {
    "raw": _raw_bound,
    "index-map": _index_map_bound,
    "ham": _ham_bound,
    "sham": _sham_bound,
    "banded": _banded_bound,
    "masked": _masked_bound,
    "fast": _fast_bound,
}


# All of it for one weight


@dataclass(frozen=True)
class FrameSize:
    """Bytes of a frame as a file holds it, and `frame_bound` of them."""

    nbytes: int
    bound: int


@dataclass(frozen=True)
class Bounds:
    """All figures of one weight; those of psi and its bounds in bits per weight.

    Attributes
    ----------
    shape, dtype
    n, m : int
        Rows and columns of the papers' matrix: our columns and rows.
    n_entries : int
    s : float
        Share of entries.
    k : int
        Distinct values among the entries.
    h0 : float
        Order-0 entropy, zero as a symbol.
    psi_ham, ham_bound, ham_bound_log_k : float
    psi_sham, sham_bound, sham_bound_log_k, sham_bound_icpr : float
    psi_csc, psi_index_map : float
    frames : dict of FrameSize
        By codec, without those that cannot hold the weight.
    """

    shape: tuple[int, ...]
    dtype: str
    n: int
    m: int
    n_entries: int
    s: float
    k: int
    h0: float
    psi_ham: float
    ham_bound: float
    ham_bound_log_k: float
    psi_sham: float
    sham_bound: float
    sham_bound_log_k: float
    sham_bound_icpr: float
    psi_csc: float
    psi_index_map: float
    frames: dict[str, FrameSize]

    def frame_bits(self, codec: str) -> float | None:
        """Bits per weight of a codec's frame, None where it cannot hold the weight."""
        frame = self.frames.get(codec)
        return 8 * frame.nbytes / max(self.n * self.m, 1) if frame else None

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        from tabulate import tabulate

        papers = (
            ("ham", self.psi_ham, self.ham_bound, self.ham_bound_log_k, None),
            ("sham", self.psi_sham, self.sham_bound, self.sham_bound_log_k, self.sham_bound_icpr),
            ("csc", self.psi_csc),
            ("index-map", self.psi_index_map),
            ("banded",),
            ("fast",),
            ("masked",),
            ("raw",),
        )
        table = []
        for codec, *figures in papers:
            frame = self.frames.get(codec)
            sizes = (self.frame_bits(codec), frame.nbytes, frame.bound) if frame else ()
            table.append((codec, *figures, *[None] * (4 - len(figures)), *sizes))
        headers = ("", "psi", "bound", "by log k", "ICPR (wrong)")
        text = tabulate(
            table,
            (*headers, "frame", "frame bytes", "at most"),
            floatfmt=("",) + (".4f",) * 5 + ("", ""),
            intfmt=",",
        )
        dims = " x ".join(map(str, self.shape)) or "scalar"
        head = f"{dims} {self.dtype}: s = {self.s:.4f}, k = {self.k:,}, H0 = {self.h0:.4f}"
        return f"{head}; bits per weight\n{text}"


def of(array: Any, signed_zeros: str = "drop", t: int | None = None) -> Bounds:
    """All figures of one weight; it is coded by every codec that can hold it.

    Parameters
    ----------
    array : NumPy array or torch tensor
        A weight as torch holds it, outputs x inputs.
    signed_zeros : str
        As for `cnnzip.encode`.
    t : int, optional
        As for `psi_ham`.

    >>> figures = of(np.eye(64, dtype=np.float32))
    >>> figures.k, round(figures.h0, 4), figures.frames["sham"]
    (1, 0.1161, FrameSize(nbytes=184, bound=184))
    """
    from cnnzip.codecs.choose import encode_source
    from cnnzip.tensor import CodedTensor

    source = source_of(array, signed_zeros)[0]
    matrix = Matrix.of_source(source)
    frames = {}
    for codec in CODECS:
        try:
            bound = frame_bound(matrix, codec)
            nbytes = CodedTensor(encode_source(source, codec)).nbytes
        except ArgumentError:
            continue
        frames[codec] = FrameSize(nbytes, bound)
    return Bounds(
        shape=matrix.shape.dims,
        dtype=matrix.shape.dtype.name,
        n=matrix.n,
        m=matrix.m,
        n_entries=matrix.n_entries,
        s=matrix.s,
        k=matrix.entry_counts.size,
        h0=matrix.h0,
        psi_ham=psi_ham(matrix, t),
        ham_bound=ham_bound(matrix, t),
        ham_bound_log_k=ham_bound_log_k(matrix, t),
        psi_sham=psi_sham(matrix, t),
        sham_bound=sham_bound(matrix, t),
        sham_bound_log_k=sham_bound_log_k(matrix, t),
        sham_bound_icpr=sham_bound_icpr(matrix),
        psi_csc=psi_csc(matrix),
        psi_index_map=psi_index_map(matrix),
        frames=frames,
    )

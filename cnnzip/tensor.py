"""One tensor, coded: what `encode` gives and what a file holds."""

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzip.arrays import Wrap, to_numpy
from cnnzip.codecs.base import Codec
from cnnzip.codecs.choose import encode_source
from cnnzip.codecs.lines import LineCodec
from cnnzip.codecs.source import Source, source_of
from cnnzip.container.frame import Header, codec_of, frame_bytes, parse_sections, write_frame
from cnnzip.container.limits import DEFAULT_LIMITS, Limits
from cnnzip.dtypes import BY_NAME, dtype_by_name
from cnnzip.entropy.varints import Bytes
from cnnzip.errors import ArgumentError
from cnnzip.sizes import Row


class CodedTensor:
    """A tensor in its coded form: it decodes, and multiplies without being decoded.

    Attributes
    ----------
    shape : tuple of int
        Of the plain tensor. Products see it as a matrix W of ``shape[0]`` rows.
    dtype : str
        Name of the weights' type.
    codec : str
        Name of the codec.
    n_dropped_zeros : int
        Weights that were -0.0 and became 0.0 when this was encoded.
    """

    def __init__(
        self,
        coded: Codec,
        *,
        n_dropped_zeros: int = 0,
        wrap: Wrap | None = None,
    ) -> None:
        self.coded = coded
        self.n_dropped_zeros = n_dropped_zeros
        self._wrap = wrap  # turns arrays into the kind that came in, such as torch's

    @classmethod
    def from_frame(cls, frame: Bytes, limits: Limits = DEFAULT_LIMITS) -> "CodedTensor":
        """Read a frame; checksums and description are checked, nothing is decoded.

        Raises
        ------
        FormatError, LimitError
        """
        header = Header.parse(frame)
        limits.check(header.shape.n_bytes, len(frame), "frame")
        return cls(codec_of(header, parse_sections(frame, header)))

    def to_frame(self, name: str = "") -> bytes:
        """The frame, as a file holds it."""
        return write_frame(self.coded.id, self.coded.shape, self.coded.sections, name)

    def __repr__(self) -> str:
        return (
            f"CodedTensor(shape={self.shape}, dtype={self.dtype}, codec={self.codec!r}, "
            f"nbytes={self.nbytes}, bits_per_weight={self.bits_per_weight:.3f})"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the plain tensor."""
        return self.coded.shape.dims

    @property
    def dtype(self) -> str:
        """Name of the weights' type."""
        return self.coded.shape.dtype.name

    @property
    def codec(self) -> str:
        """Name of the codec."""
        return self.coded.name

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the whole frame: header, tables, checksums and padding included."""
        table = tuple((len(section), 0) for section in self.coded.sections)
        head = Header(self.coded.id, self.coded.shape, 0, table).write()
        return frame_bytes(len(head) + sum(n for n, _ in table), self.shape)

    @property
    def bits_per_weight(self) -> float:
        """Bits of the frame over the number of weights."""
        return 8 * self.nbytes / max(self.coded.shape.n_weights, 1)

    def decode(self) -> Any:
        """The plain tensor, every weight equal: an array of the kind that was encoded.

        From a file: a NumPy array, with `ml_dtypes` for the types that NumPy lacks.
        """
        return self._given(self._array(self.coded.decode(), self.shape))

    def rows(self, first: int, stop: int) -> Any:
        """``decode()[first:stop]``, reading only the streams that hold these rows.

        A codec that scans columns, and one that does not multiply, reads all of them.
        """
        if not self.shape:
            raise ArgumentError("a tensor of no dimensions has no rows; use decode()")
        first, stop, _ = slice(first, stop).indices(self.shape[0])
        stop = max(first, stop)
        dims = (stop - first, *self.shape[1:])
        if not isinstance(self.coded, LineCodec):
            return self.decode()[first:stop]
        return self._given(self._array(self.coded.decode_rows(first, stop), dims))

    def matvec(self, x: Any) -> Any:
        """``W @ x`` for a vector; (columns,) to (rows,)."""
        return self._multiply(x, 1, transpose=False)

    def matmat(self, X: Any) -> Any:  # noqa: N803
        """``W @ X``; (columns, n) to (rows, n)."""
        return self._multiply(X, 2, transpose=False)

    def rmatvec(self, y: Any) -> Any:
        """``W.T @ y`` for a vector; (rows,) to (columns,)."""
        return self._multiply(y, 1, transpose=True)

    def rmatmat(self, Y: Any) -> Any:  # noqa: N803
        """``W.T @ Y``; (rows, n) to (columns, n)."""
        return self._multiply(Y, 2, transpose=True)

    def __matmul__(self, x: Any) -> Any:
        return self.matmat(x) if np.ndim(x) == 2 else self.matvec(x)

    def to_csr(self) -> Any:
        """The matrix as `scipy.sparse.csr_array`, with its entries in the order of CSR.

        Stored -0.0 are entries. Types that SciPy cannot hold are refused.
        """
        from scipy.sparse import csr_array

        matrix = (self.coded.shape.n_rows, self.coded.shape.n_columns)
        if not isinstance(self.coded, LineCodec):
            return csr_array(self._array(self.coded.decode(), matrix))
        rows, columns, symbols = self.coded.entries()
        values = self.coded.patterns.view(self.coded.shape.dtype.numpy)[symbols]
        order = np.lexsort((columns, rows))
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=matrix[0]))])
        return csr_array((values[order], columns[order], starts), shape=matrix)

    def report(self, name: str = "", source: Source | None = None) -> Row:
        """Sizes of this tensor beside its entropy and other formats.

        With the `source` that it was made from, it is not decoded to count its values.
        """
        return Row.of_codec(name, self.coded, self.nbytes, source)

    def _array(self, data: NDArray[np.uint8], dims: tuple[int, ...]) -> NDArray[Any]:
        return data.view(self.coded.shape.dtype.numpy).reshape(dims)

    def _given(self, array: NDArray[Any]) -> Any:
        return self._wrap(array) if self._wrap else array

    def _multiply(self, x: Any, n_dims: int, *, transpose: bool) -> Any:
        arithmetic = self.coded.shape.dtype.arithmetic
        if arithmetic is None:
            raise ArgumentError(f"{self.dtype} weights have no product [MAT-2]; use decode()")
        x, wrap = to_numpy(x)
        if x.dtype.name not in BY_NAME or dtype_by_name(x.dtype.name).arithmetic is None:
            raise ArgumentError(f"x is {x.dtype}; products take real numbers [MAT-2]")
        if x.ndim != n_dims:
            due = "(n,)" if n_dims == 1 else "(n, columns)"
            raise ArgumentError(f"x has shape {x.shape}; this product takes {due}")
        if x.dtype == np.float64:
            arithmetic = x.dtype
        x = np.ascontiguousarray(x, arithmetic)
        if not self.coded.shape.n_weights:
            return self._multiply_nothing(x, wrap, transpose=transpose)
        if isinstance(self.coded, LineCodec):
            y = self.coded.multiply(x, transpose)
        else:
            matrix = (self.coded.shape.n_rows, self.coded.shape.n_columns)
            plain = self._array(self.coded.decode(), matrix).astype(arithmetic)
            y = (plain.T if transpose else plain) @ x  # RAW-2
        return wrap(y) if wrap else y

    def _multiply_nothing(self, x: NDArray[Any], wrap: Wrap | None, *, transpose: bool) -> Any:
        """Sums of no terms; the format's view of such a tensor is 0 x 0 (LIN-1), a user's is not."""
        n_in, n_out = math.prod(self.shape[1:]), self.shape[0]
        if transpose:
            n_in, n_out = n_out, n_in
        if x.shape[0] != n_in:
            raise ArgumentError(f"x has shape {x.shape}, {n_in} values are due")
        y = np.zeros((n_out, *x.shape[1:]), x.dtype)
        return wrap(y) if wrap else y


def encode(array: Any, codec: str = "auto", signed_zeros: str = "drop") -> CodedTensor:
    """Code a tensor, losslessly.

    Parameters
    ----------
    array : NumPy array or torch tensor
        Of any shape and of a dtype of the table in spec/README.md.
    codec : str
        "auto" (the smallest that is decoded fast), "direct" (the smallest that multiplies from the
        coded form), "smallest" (the smallest of all, decoded weight by weight, at some 50 ns each),
        "banded", "ham", "sham", "fast", "index-map", "masked", "mixed", "mixed-float" or "raw".
    signed_zeros : str
        "drop" stores -0.0 as 0.0: masks leave -0.0 in place of negative weights, and as a
        weight of its own it costs about a bit for each; `torch.equal` sees no difference.
        "keep" is exact to the bit.

    Raises
    ------
    ArgumentError
        The array or the options cannot be used.
    """
    source, n_dropped, wrap = source_of(array, signed_zeros)
    return CodedTensor(encode_source(source, codec), n_dropped_zeros=n_dropped, wrap=wrap)

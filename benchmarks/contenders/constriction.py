"""constriction: near-optimal entropy coders (Bamler, arXiv 2201.01741), with one static model.

The model is the histogram of all symbols, zero among them, so both stay just above H0. Of its
models, none is adaptive.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzip.entropy.varints import encode_varint

from ..matrices.base import Case
from ._symbols import Packed, as_part, n_weights, with_zero
from .base import Parts, with_version


def _model(counts: NDArray[np.int64]) -> Any:
    from constriction import stream

    # It wants two symbols at least, and gives each of them some probability.
    shares = np.concatenate([counts, [0]]).astype(np.float64)
    return stream.model.Categorical(shares, perfect=False)


def _varints(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0


class _Constriction(Packed):
    """Parts: how often each symbol occurs, as varints, and the coder's 32-bit words."""

    family = "entropy coder"
    package = "constriction"
    setting = with_version(package, "static Categorical of 24 bits, perfect=False")

    def encode(self, case: Case) -> Parts:
        symbols = case.symbols.reshape(-1).astype(np.int32)
        counts = np.bincount(symbols, minlength=case.codebook.size + 1)
        table = b"".join(map(encode_varint, counts.tolist()))
        words = self._words(symbols, counts) if symbols.size else np.zeros(0, np.uint32)
        return {"codebook": case.codebook, "tables": as_part(table), "indices": words}

    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        counts = np.fromiter(_varints(parts["tables"].tobytes()), np.int64)
        n = n_weights(shape)
        symbols = self._symbols(parts["indices"], counts, n) if n else np.zeros(0, np.int32)
        return with_zero(parts["codebook"])[symbols]

    @abstractmethod
    def _words(self, symbols: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The words of at least one symbol."""

    @abstractmethod
    def _symbols(
        self, words: NDArray[np.uint32], counts: NDArray[np.int64], n: int
    ) -> NDArray[np.int32]:
        """Invert `_words`."""


class ANS(_Constriction):
    """Asymmetric numeral systems: a stack."""

    name = "constriction ANS"

    def _words(self, symbols: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.uint32]:
        from constriction import stream

        coder = stream.stack.AnsCoder()
        coder.encode_reverse(symbols, _model(counts))
        return coder.get_compressed()

    def _symbols(
        self, words: NDArray[np.uint32], counts: NDArray[np.int64], n: int
    ) -> NDArray[np.int32]:
        from constriction import stream

        return stream.stack.AnsCoder(words).decode(_model(counts), n)


class RangeCoder(_Constriction):
    """Range coding: a queue."""

    name = "constriction range coder"

    def _words(self, symbols: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.uint32]:
        from constriction import stream

        coder = stream.queue.RangeEncoder()
        coder.encode(symbols, _model(counts))
        return coder.get_compressed()

    def _symbols(
        self, words: NDArray[np.uint32], counts: NDArray[np.int64], n: int
    ) -> NDArray[np.int32]:
        from constriction import stream

        return stream.queue.RangeDecoder(words).decode(_model(counts), n)

"""What is measured: a weight matrix, how it was made, and what formulas ask of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnzip.bounds import Matrix
from cnnzip.codecs.source import Source, source_of


@dataclass(frozen=True)
class Case:
    """A weight matrix to measure, made when it is first asked for.

    Attributes
    ----------
    name : str
        Unique; with `group`, what tables show.
    group : str
        Name of the table in grid.toml that it comes from, or "files".
    recipe : str
        How it was made, with every seed and setting.
    make : callable
        Gives float32 (outputs, inputs), or a convolution's (outputs, inputs, height, width); the
        same bits at every call.
    """

    name: str
    group: str
    recipe: str
    make: Callable[[], NDArray[np.float32]]

    @cached_property
    def weight(self) -> NDArray[np.float32]:
        """The weight, C-contiguous; -0.0 counts as 0.0, as `cnnzip.encode` sees it."""
        return np.ascontiguousarray(self.make(), np.float32) + np.float32(0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return self.weight.shape

    @cached_property
    def matrix(self) -> NDArray[np.float32]:
        """The weight as outputs x all the rest, as products see it."""
        return self.weight.reshape(self.shape[0], prod(self.shape[1:]))

    @cached_property
    def _source(self) -> Source:
        return source_of(self.weight)[0]

    @cached_property
    def counts(self) -> Matrix:
        """How often each value occurs, for entropies and bounds."""
        return Matrix.of_source(self._source)

    @property
    def codebook(self) -> NDArray[np.float32]:
        """The distinct values but zero, in increasing order."""
        return self._indexed[0]

    @property
    def symbols(self) -> NDArray[np.int32]:
        """Of each weight of `matrix`: 0 for zero, otherwise 1 + its place in `codebook`."""
        return self._indexed[1]

    @cached_property
    def _indexed(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        distinct = self._source.distinct
        if distinct is None:  # more than 65,536 values
            values = np.unique(self.weight)
            codebook = values[values != 0]
            symbols = 1 + np.searchsorted(codebook, self.matrix).astype(np.int32)
            symbols[self.matrix == 0] = 0
            return codebook, symbols
        values = distinct.patterns.view(np.float32)
        order = np.argsort(values, kind="stable")
        order = order[values[order] != 0]
        number = np.zeros(values.size, np.int32)
        number[order] = 1 + np.arange(order.size)
        return values[order], number[distinct.symbols].reshape(self.matrix.shape)

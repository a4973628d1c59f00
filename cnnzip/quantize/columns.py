"""The sequential quantizer: column after column, each one's error made good by those to come."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cnnzip.errors import ArgumentError

BLOCK = 64  # columns whose errors reach the later ones in one product
MASK_BLOCK = 128  # columns whose mask is chosen together


@dataclass(frozen=True)
class Prices:
    """Bits that the levels of a matrix cost.

    Attributes
    ----------
    values : float64 (n_tables, n_levels)
    tables : int64, of the matrix's shape, or None
        Which table holds at a place; None: the one there is.
    entries : float64, of the matrix's shape, or None
        Bits that an entry costs beyond its value and a zero; None: `values` says it all.
    """

    values: Tensor
    tables: Tensor | None = None
    entries: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Prices":
        """The same prices with tables and entries in another layout, or for a part of them."""
        if self.tables is None or self.entries is None:
            return self
        return Prices(self.values, change(self.tables), change(self.entries))

    def of_columns(self, columns: slice, zero: int) -> Tensor:
        """Bits of each level at some places; float64 (n_rows or 1, n_columns or 1, n_levels)."""
        if self.tables is None or self.entries is None:
            return self.values[:, None]
        bits = self.values[self.tables[:, columns]] + self.entries[:, columns, None]
        bits[..., zero] = 0
        return bits


@dataclass(frozen=True)
class Problem:
    """A matrix to quantize: loss is (w - q) H (w - q)' / 2 of each row, and weight times bits.

    Attributes
    ----------
    targets : float64 (n_rows, n_columns)
        What is rounded, in steps: the weights, drawn to zero where the curvature is that of bits.
    factor : float64 (n_columns, n_columns)
        Upper Cholesky factor of the inverse of H.
    curvature : float
        Of the bits as a parabola, which is in H; it is taken off the prices.
    """

    targets: Tensor
    factor: Tensor
    curvature: float

    @classmethod
    def of(
        cls, weights: Tensor, moment: Tensor | None, curvature: float, weight: float
    ) -> "Problem":
        """Prepare a matrix.

        Parameters
        ----------
        weights : float64 (n_rows, n_columns)
        moment : (n_columns, n_columns), damped and positive definite; None: the identity
        curvature : float
        weight : float
            Loss that a bit is worth.

        Source: Conzelmann, Bamler, "Reducing storage of pretrained neural networks by
        rate-constrained quantization and entropy coding" (2025); CERWU. With weight 0 it is GPTQ
        (Frantar et al., 2023).
        """
        pull = weight * curvature
        if moment is None:
            scale = math.sqrt(1 + pull)
            eye = torch.eye(weights.shape[1], dtype=weights.dtype, device=weights.device)
            return cls(weights / scale**2, eye / scale, curvature)
        total = moment.clone()
        total.diagonal().add_(pull)
        inverse = torch.cholesky_inverse(cholesky(total))
        targets = weights
        if pull:
            targets = weights - (pull * weights.to(inverse.dtype) @ inverse).to(weights.dtype)
        return cls(targets, cholesky(inverse, upper=True), curvature)

    def solve(
        self,
        levels: Tensor,
        prices: Prices,
        weight: float,
        kept: Tensor | None,
        sparsity: float,
        zero: int,
    ) -> Tensor:
        """Choose a level for every weight; int64 (n_rows, n_columns).

        Parameters
        ----------
        levels : float64 (n_levels,), one of them 0
        prices : Prices
        weight : float
            Loss that a bit is worth.
        kept : bool (n_rows, n_columns), or None
            Where a weight may be other than 0.
        sparsity : float
            Share of zeros to reach in each 128 columns; those whose loss is least are chosen.
        zero : int
            Which level is 0.

        Source: SparseGPT (Frantar, Alistarh, 2023) for `sparsity`.
        """
        w = self.targets.clone()
        n_columns = w.shape[1]
        diagonal = self.factor.diagonal().to(w.dtype)
        parabola = levels**2 * (self.curvature / 2)
        index = torch.empty(w.shape, dtype=torch.int64, device=w.device)
        allowed = kept
        for start in range(0, n_columns, BLOCK):
            stop = min(start + BLOCK, n_columns)
            if sparsity and start % MASK_BLOCK == 0:
                allowed = self._mask(w, start, kept, allowed, sparsity)
            factor = self.factor[start:stop, start:].to(w.dtype)
            if weight:
                bits = prices.of_columns(slice(start, stop), zero) - parabola
                worth = bits * (weight * diagonal[start:stop, None] ** 2)
            errors = w.new_empty(w.shape[0], stop - start)
            for i in range(start, stop):
                costs = (w[:, i, None] - levels).square_().mul_(0.5)
                if weight:
                    costs += worth[:, i - start]
                chosen = costs.argmin(dim=1)
                if allowed is not None:
                    chosen = torch.where(allowed[:, i], chosen, zero)
                index[:, i] = chosen
                error = (w[:, i] - levels[chosen]) / diagonal[i]
                errors[:, i - start] = error
                later = factor[i - start, i - start + 1 : stop - start]
                w[:, i + 1 : stop].addr_(error, later, alpha=-1)
            w[:, stop:].addmm_(errors, factor[:, stop - start :], alpha=-1)
        return index

    def _mask(
        self, w: Tensor, start: int, kept: Tensor | None, allowed: Tensor | None, sparsity: float
    ) -> Tensor:
        """Allow, in the columns from `start` on, the weights whose loss would be the greatest."""
        stop = min(start + MASK_BLOCK, w.shape[1])
        if allowed is None or allowed is kept:
            allowed = torch.ones_like(w, dtype=torch.bool) if kept is None else kept.clone()
        scores = (w[:, start:stop] / self.factor.diagonal()[start:stop]) ** 2
        scores = scores.masked_fill(~allowed[:, start:stop], -1)
        n_zeros = round(sparsity * scores.numel())
        order = scores.flatten().argsort(stable=True)
        chosen = allowed[:, start:stop].flatten()
        chosen[order[:n_zeros]] = False
        allowed[:, start:stop] = chosen.view(scores.shape)
        return allowed


def cholesky(matrix: Tensor, upper: bool = False) -> Tensor:
    """Cholesky factor of a second moment or its inverse.

    Raises
    ------
    ArgumentError
        It is not positive definite.
    """
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(matrix, upper=upper)
    if int(info):
        raise ArgumentError(
            "inputs: their second moments have no Cholesky factor; raise damping, or give more inputs"
        )
    return factor

"""What `mixed` chooses: layout, orders, contexts and rates, by coding a sample with each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs import threads
from cnnzip.codecs.layout import Layout, sampled
from cnnzip.codecs.likeness import chain
from cnnzip.codecs.mixed import Book, Model, code
from cnnzip.codecs.orders import NATURAL

SAMPLE = 1 << 18  # weights that a trial codes, about
LONG_SAMPLE = 1 << 21  # where orders are tried: sorted places take many lines to show their worth
RATE_SAMPLE = 1 << 20
N_BLOCKS = 4  # of consecutive lines, in a sample
N_ORDERED = 2  # layouts for which orders are tried
MOST_LIKE = 1 << 12  # lines or places that are put in order
LEAST_LIKE = 3
CHAIN_WORK = 1 << 32  # multiplications for their likeness
CHAIN_WEIGHTS = 1 << 24  # that are held as floats for it
CHAIN_MEMORY = 0.5
ENTRY_SHIFTS = (15, 16, 17, 18)
VALUE_SHIFTS = (14, 15, 16)


@dataclass(frozen=True)
class Trial:
    """A model, and the bytes that it would take."""

    n_bytes: float
    model: Model


@dataclass(frozen=True)
class Tensor:
    """What a trial codes.

    Attributes
    ----------
    symbols : uint16 (n_weights,)
        As of `mixed.code`.
    values : float64 (1 + n_values,)
        Of each symbol.
    """

    book: Book
    symbols: NDArray[np.uint16]
    values: NDArray[np.float64]
    chance: int

    def tried(self, models: Iterable[Model], sample: int = SAMPLE) -> list[Trial]:
        """Code a sample of the lines by each model; the best first."""
        found: list[Trial] = []
        threads.run(lambda model: found.append(self._trial(model, sample)), models)
        return sorted(found, key=lambda trial: (trial.n_bytes, str(trial.model)))

    def best(self, models: Iterable[Model], sample: int) -> Model:
        """The first of `tried`."""
        return self.tried(models, sample)[0].model

    def _trial(self, model: Model, sample: int) -> Trial:
        n_lines = model.layout.n_lines
        lines = sampled(n_lines, model.layout.width, sample, N_BLOCKS)
        n_sampled = lines.size
        if model.lines.size:
            lines = model.run(0, n_lines)[lines]
        coded = code(model, self.book, self.symbols, lines, n_sampled, self.chance)
        n_bytes = n_lines / n_sampled * len(coded)
        return Trial(n_bytes + len(model.orders), model)


def choose(
    layouts: Sequence[Layout],
    book: Book,
    symbols: NDArray[np.uint16],
    values: NDArray[np.float64],
    chance: int,
) -> Model:
    """Choose a model: first the layout, then orders, then contexts and rates.

    Parameters
    ----------
    layouts : list of Layout
        Those that may be chosen.
    book, symbols, chance
        As of `mixed.code`.
    values : float64 (1 + n_values,)
        Of each symbol; like lines are found by them.
    """
    tensor = Tensor(book, symbols, values, chance)
    natural = [trial.model for trial in tensor.tried(map(Model, layouts))]
    ordered = [other for model in natural[:N_ORDERED] for other in _ordered(tensor, model)]
    model = tensor.best([natural[0], *ordered], LONG_SAMPLE)
    model = tensor.best([model, replace(model, is_full=False)], RATE_SAMPLE)
    model = tensor.best([replace(model, entry_shift=n) for n in ENTRY_SHIFTS], RATE_SAMPLE)
    return tensor.best([replace(model, value_shift=n) for n in VALUE_SHIFTS], RATE_SAMPLE)


def _ordered(tensor: Tensor, model: Model) -> Iterable[Model]:
    """The model with lines, places, or both in an order."""
    layout = model.layout
    matrix = layout.matrix(tensor.symbols)
    lines, places = (_like(m, tensor.values) for m in (matrix, matrix.T))
    for order in (NATURAL, lines) if lines.size else (NATURAL,):
        yield replace(model, lines=order, is_parted=True)
        if order.size:
            yield replace(model, lines=order)
        if places.size:
            yield replace(model, lines=order, places=places)


def _like(matrix: NDArray[np.uint16], values: NDArray[np.float64]) -> NDArray[np.intp]:
    """An order of the lines that hold an entry, like ones side by side; none where it is long.

    Likeness is the cosine of their weights and of the weights' magnitudes, on the fullest places.
    """
    per_line = np.count_nonzero(matrix, axis=1)
    filled = np.flatnonzero(per_line)
    if not LEAST_LIKE <= filled.size <= MOST_LIKE or len(matrix) > MOST_LIKE:
        return NATURAL
    n_places = max(64, min(CHAIN_WORK // filled.size**2, CHAIN_WEIGHTS // filled.size))
    if n_places < matrix.shape[1]:
        per_place = np.count_nonzero(matrix, axis=0)
        fullest = np.argsort(-per_place, kind="stable")[:n_places]
        matrix = matrix[:, fullest]
    scale = np.abs(values[np.isfinite(values)]).max(initial=0) or 1.0
    plain = np.nan_to_num(values / scale, posinf=1, neginf=-1).astype(np.float32)
    weights = plain[matrix[filled]]
    weights = np.concatenate([weights, np.abs(weights)], axis=1)
    norms = np.sqrt(np.einsum("ij,ij->i", weights, weights))
    weights /= np.maximum(norms, np.float32(1e-20))[:, None]
    order = chain(weights @ weights.T, int(np.argmax(per_line[filled])), CHAIN_MEMORY)
    return filled[order]

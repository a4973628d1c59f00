"""What a quantized weight costs in bits: by the entropy of its layer, or by banded's code."""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnzip.codecs.banded import Banded, class_numbers
from cnnzip.codecs.contexts import N_WITH_KIND, Contexts, extra_bits, value_contexts
from cnnzip.codecs.source import source_of
from cnnzip.quantize.columns import Prices

#: Counted to each level before there is any, so that none is out of reach.
HALF = 0.5
#: Share of a geometric law in the gaps' code, and of an even one in the values': a code made for
#: weights as they are is not quite that of those to come.
MIXED = 0.1
#: Counts that each table is given of what all tables code: contexts' few counts tell little.
BORROWED = 16.0
LEAST_SHARE = 1e-4  # of entries among the places a gap may end


class Rate(Protocol):
    """Prices of a layer's levels, from how they were used last."""

    n_sweeps: int

    def prices(self, index: Tensor, levels: Tensor, sweep: int) -> Prices:
        """Price the levels of a layer.

        Parameters
        ----------
        index : int64, of the weight's shape
            Level of each weight.
        levels : float32 (n_levels,)
            As stored; one is 0.
        sweep : int
            From 0.

        Returns
        -------
        prices : Prices
            With tables and entries of the weight's shape.
        """


class Entropy:
    """Ideal code lengths of one table for all weights of a layer, zeros among them."""

    n_sweeps = 3

    def prices(self, index: Tensor, levels: Tensor, sweep: int) -> Prices:
        """See `Rate.prices`."""
        counts = torch.bincount(index.flatten(), minlength=levels.numel()).double() + HALF
        return Prices(-torch.log2(counts / counts.sum())[None])


class Code:
    """Code lengths of banded, that is what the file will take, for each place of a weight.

    Contexts are those that banded's encoder chooses for the layer as it was quantized last, and the
    tables those of how often it uses them. At each place the gap before is known, and with it the
    context. The gap's table says what an entry here costs beyond one more zero, that is
    -log2 h + log2 (1 - h) where h is the share of gaps that end here among the runs of zeros that
    come so far, and the value's table what its value costs. The first sweeps are by entropy.
    """

    n_sweeps = 6
    PLANNED = (2, 4)  # sweeps before which contexts are chosen

    def __init__(self) -> None:
        self._coded: Banded | None = None

    def prices(self, index: Tensor, levels: Tensor, sweep: int) -> Prices:
        """See `Rate.prices`."""
        numbers, plain = index.cpu().numpy(), levels.float().cpu().numpy()
        if sweep in self.PLANNED and bool((plain[numbers] != 0).any()):
            self._coded = Banded.encode(source_of(plain[numbers])[0])
        if self._coded is None:
            return Entropy().prices(index, levels, sweep)
        found = place_prices(self._coded, numbers, plain)
        values, tables, entries = (torch.from_numpy(each).to(index.device) for each in found)
        return Prices(values, tables.view(index.shape), entries.view(index.shape))


def place_prices(
    coded: Banded, index: NDArray[np.int64], levels: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Bits of levels at each place of a tensor, all others being as they are.

    Parameters
    ----------
    coded : Banded
        The tensor, or one like it: its contexts are taken.
    index : int64, of the tensor's shape
    levels : float32 (n_levels,), increasing, one of them 0

    Returns
    -------
    values : float64 (n_tables, n_levels)
    tables : int64 (n_rows, n_columns)
    entries : float64 (n_rows, n_columns)
        What an entry costs beyond its value and a zero.

    Source: BND-5 for the contexts.
    """
    contexts = coded.contexts
    assert contexts is not None
    matrix = index.reshape(coded.shape.n_rows, coded.shape.n_columns)
    by_line = matrix.T if coded.lines.axis else matrix
    zero = int(np.searchsorted(levels, 0))
    if contexts.joined:
        per_stream = coded.lines.per_stream
        missing = -by_line.shape[0] % per_stream
        scanned = np.pad(by_line, ((0, missing), (0, 0)), constant_values=zero)
        scanned = scanned.reshape(-1, per_stream * by_line.shape[1])
    else:
        scanned = by_line[:, contexts.scan.places]
    is_entry = scanned != zero
    gap_tables, value_tables, gaps = _tables_at(contexts, is_entry, _kinds(coded, levels)[scanned])
    entries = _entry_bits(gap_tables, gaps, is_entry, contexts)[gap_tables, gaps]
    values = _value_bits(value_tables[is_entry], scanned[is_entry], contexts, levels.size)
    values[:, zero] = 0

    def in_place(found: NDArray[Any]) -> NDArray[Any]:
        if contexts.joined:
            found = found.reshape(-1, by_line.shape[1])[: by_line.shape[0]]
        else:
            found = found[:, np.argsort(contexts.scan.places)]
        return np.ascontiguousarray(found.T if coded.lines.axis else found)

    return values, in_place(value_tables), in_place(entries)


def _kinds(coded: Banded, levels: NDArray[np.float32]) -> NDArray[np.int64]:
    """Kind of each level, that of the codebook's nearest value."""
    assert coded.contexts is not None
    patterns = coded.patterns.view(np.float32)
    order = np.argsort(patterns)
    middles = (patterns[order][:-1] + patterns[order][1:]) / 2
    symbols = order[np.searchsorted(middles, levels)]
    return coded.contexts.padded_kinds[np.minimum(symbols, N_WITH_KIND)].astype(np.int64)


def _tables_at(
    contexts: Contexts, is_entry: NDArray[np.bool_], kinds: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Gap table and value table of an entry at each place of scanned lines, and its gap."""
    n_lines, width = is_entry.shape
    places = np.arange(width)
    upto = np.maximum.accumulate(np.where(is_entry, places, -1), axis=1)
    before = np.pad(upto[:, :-1], ((0, 0), (1, 0)), constant_values=-1)  # the entry before
    gaps = places - before - 1
    bands = np.zeros(width, np.int64)
    classes = np.zeros(n_lines, np.int64)
    if not contexts.joined:
        bands = contexts.scan.scan_bands.astype(np.int64)
        classes = contexts.classes(is_entry.sum(axis=1))
    cells = classes[:, None] * contexts.scan.n_bands + bands[before + 1]
    memory = np.zeros_like(gaps)
    levels = np.minimum(np.frexp(gaps.astype(np.float64))[1], (1 << contexts.level_bits) - 1)
    earlier = before
    for shift in range(0, contexts.memory_bits, contexts.level_bits):
        known = np.take_along_axis(levels, np.maximum(earlier, 0), axis=1)
        memory |= np.where(earlier < 0, 0, known) << shift
        further = np.take_along_axis(before, np.maximum(earlier, 0), axis=1)
        earlier = np.where(earlier < 0, -1, further)
    gap_tables = contexts.gap_map[(cells << contexts.memory_bits) + memory]
    n_kinds = contexts.n_kinds
    context = cells * value_contexts(1, n_kinds, True) * int(contexts.uses_cell)
    if n_kinds > 1:
        last = 1 + np.take_along_axis(kinds, np.maximum(before, 0), axis=1)
        context += np.where(before < 0, 0, last + n_kinds * (gaps == 0))
    value_tables = contexts.value_map[context]
    return gap_tables.astype(np.int64), value_tables.astype(np.int64), gaps


def _entry_bits(
    tables: NDArray[np.int64],
    gaps: NDArray[np.int64],
    is_entry: NDArray[np.bool_],
    contexts: Contexts,
) -> NDArray[np.float64]:
    """Bits that an entry costs beyond a zero, after each number of zeros; (n_tables, n_gaps).

    Zeros that end a line end no gap, but have been places where one might have ended.
    """
    direct, n_gaps = contexts.gap_bits, int(gaps.max()) + 1
    least = class_numbers(direct) & np.uint32((1 << 24) - 1)
    classes = np.searchsorted(least, np.arange(n_gaps), side="right") - 1
    n_classes = int(classes.max()) + 1
    n_each = contexts.n_gap_tables
    coded = tables[is_entry] * n_classes + classes[gaps[is_entry]]
    counts = np.bincount(coded, minlength=n_each * n_classes).reshape(n_each, -1)
    shares, totals = _shares(counts), counts.sum(axis=1, keepdims=True)
    law = shares[:, classes] / 2.0 ** extra_bits(direct)[classes]
    at_end = ~is_entry[:, -1]
    lasts = tables[at_end, -1] * n_gaps + gaps[at_end, -1]
    opened = np.bincount(lasts, minlength=n_each * n_gaps).reshape(n_each, -1)
    opened = opened[:, ::-1].cumsum(axis=1)[:, ::-1]
    common = opened.sum(axis=0) / max(int(totals.sum()), 1)
    left = law[:, ::-1].cumsum(axis=1)[:, ::-1] + (opened + BORROWED * common) / (totals + BORROWED)
    stop = law.sum(axis=1, keepdims=True) / np.maximum(left.sum(axis=1, keepdims=True), 1e-300)
    plain = (1 - stop) ** np.arange(n_gaps)  # the geometric law's
    ends = (1 - MIXED) * law + MIXED * stop * plain
    ends /= np.maximum((1 - MIXED) * left + MIXED * plain, 1e-300)
    ends = np.clip(ends, LEAST_SHARE, 1 - LEAST_SHARE)
    bits: NDArray[np.float64] = np.log2((1 - ends) / ends)
    return bits


def _shares(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Shares of each row, to which `BORROWED` counts of all rows' shares are added."""
    common = counts.sum(axis=0) / max(int(counts.sum()), 1)
    shares: NDArray[np.float64] = (counts + BORROWED * common) / (
        counts.sum(axis=1, keepdims=True) + BORROWED
    )
    return shares


def _value_bits(
    tables: NDArray[np.int64], values: NDArray[np.int64], contexts: Contexts, n_levels: int
) -> NDArray[np.float64]:
    """Bits of each level's value by each table; (n_tables, n_levels)."""
    n_cells = contexts.n_value_tables * n_levels
    counts = np.bincount(tables * n_levels + values, minlength=n_cells).reshape(-1, n_levels)
    bits: NDArray[np.float64] = -np.log2((1 - MIXED) * _shares(counts) + MIXED / n_levels)
    return bits

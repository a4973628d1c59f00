"""Bits of a matrix in every contender, beside its entropy."""

import math

from ..contenders.base import Contender
from ..matrices.base import Case
from ..results import SizeRow
from .estimate import adaptive_bits
from .stored import StoredCase

MAX_ESTIMATED = 1 << 24  # weights; the estimate takes a second for each 3 million


def measure(stored: StoredCase) -> list[SizeRow]:
    """A row for each contender. It is a fault if a frame of ours is longer than its bound."""
    case = stored.case
    about = {
        "case": case.name,
        "group": case.group,
        "shape": " x ".join(map(str, case.shape)),
        "density": case.counts.s,
        "k": case.counts.entry_counts.size,
        "h0_bits": case.counts.h0,
        "adaptive_bits": _adaptive(case),
    }
    rows = [_row(stored, contender, about) for contender in stored.contenders]
    for row in rows:
        if row.bound_bits is not None and row.family == "cnnzip" and row.bits > row.bound_bits:
            stored.faults.append(f"{case.name}: {row.contender} takes more than its bound")
    return rows


def _adaptive(case: Case) -> float | None:
    n_weights = case.weight.size
    return adaptive_bits(case) / n_weights if n_weights <= MAX_ESTIMATED else None


def _row(stored: StoredCase, contender: Contender, about: dict[str, object]) -> SizeRow:
    size = contender.size(stored.case, stored.parts(contender))
    return SizeRow(
        **about,
        contender=contender.name,
        family=contender.family,
        bits=math.ceil(size.bits),
        bound_bits=None if size.bound_bits is None else math.floor(size.bound_bits),
        parts={name: round(bits) for name, bits in size.parts.items()},
    )

"""Codebooks (BOK), written to be read."""

from itertools import pairwise

from spec.reference.errors import CorruptError
from spec.reference.numbers import check_patterns, patterns_of

MAX_VALUES = 65_536


def read_codebook(cursor, dtype, zero):
    """The patterns of a codebook; `zero` is a clause that forbids pattern 0, or None (BOK-3)."""
    n_values = cursor.varint()
    if n_values > MAX_VALUES:
        raise CorruptError("BOK-1", f"{n_values} values, at most {MAX_VALUES}")
    if dtype.size > 8:
        raise CorruptError("BOK-1", f"a codebook of {dtype.name}")
    data = cursor.take(n_values * dtype.size)  # BOK-1
    check_patterns(dtype, data)
    patterns = patterns_of(dtype, data)
    if len(set(patterns)) != n_values:
        raise CorruptError("BOK-2", "a value that is there twice")
    if zero and 0 in patterns:
        raise CorruptError(zero, "zero is in the codebook")
    return patterns


def check_order(patterns, groups):
    """Refuse patterns that do not increase in each group; `groups` are the groups' sizes (BOK-2)."""
    at = 0
    for n in groups:
        if any(b <= a for a, b in pairwise(patterns[at : at + n])):
            raise CorruptError("BOK-2", "values that are not in increasing order")
        at += n

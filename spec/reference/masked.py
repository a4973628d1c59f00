"""masked, codec 6 (MSK), written to be read."""

from dataclasses import replace

from spec.reference import banded
from spec.reference.errors import CorruptError
from spec.reference.numbers import DTYPES, check_patterns
from spec.reference.planes import read_planes

SECTIONS = 3  # MSK-1

BOOL = DTYPES[0]


def decode(frame):
    mask = read_mask(frame)
    size, n_entries = frame.dtype.size, sum(mask)
    (entries,) = read_planes(frame.sections[2], [(size, n_entries)])  # MSK-1
    check_patterns(frame.dtype, entries)
    data = bytearray(frame.n_bytes)
    places = (i for i, kept in enumerate(mask) if kept)  # MSK-1: in C order
    for k, place in enumerate(places):
        entry = entries[k * size : (k + 1) * size]
        if not any(entry):
            raise CorruptError("MSK-2", f"entry {k} of {n_entries} has pattern 0")
        data[place * size : (place + 1) * size] = entry
    return bytes(data)


def read_mask(frame):
    """A byte for each weight, 1 where it is an entry: a banded tensor of bool (MSK-1)."""
    return banded.decode(replace(frame, dtype=BOOL, sections=frame.sections[: banded.SECTIONS]))


def axis(frame):
    return 0  # MSK-3: as we like

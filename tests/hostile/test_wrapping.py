"""Lengths whose sum is right modulo 2**64 only, with checksums that match."""

from dataclasses import replace

import numpy as np
import pytest

import cnnzip
from cnnzip.codecs.lines import Lines
from cnnzip.container.frame import write_frame
from tests.codecs.battery import sparse

LARGEST = (1 << 56) - 1


def wrapping(total):
    """300 numbers that add up to `total` modulo 2**64, each of which a varint can hold."""
    numbers = [1 << 52] + [LARGEST] * 255
    rest = (total - sum(numbers)) % (1 << 64)
    while rest > LARGEST:
        numbers.append(LARGEST)
        rest -= LARGEST
    return np.array([*numbers, rest] + [0] * (299 - len(numbers)), np.int64)


def refused(coded):
    frame = write_frame(coded.id, coded.shape, coded.sections)
    with pytest.raises(cnnzip.CorruptError) as fault:
        cnnzip.CodedTensor.from_frame(frame).decode()
    return fault.value.clause


@pytest.mark.parametrize("codec", ["ham", "sham", "banded"])
def test_stream_lengths_that_wrap_are_refused(codec):
    coded = cnnzip.encode(sparse((300, 40), 0.3, 5), codec).coded
    one_line = {"lines": Lines(coded.shape, 0, 1), "streams": np.zeros(4000, np.uint8)}
    starts = np.append(0, np.cumsum(wrapping(4000)))
    if codec == "banded":
        n_entries = int(coded.entry_ends[-1])
        one_line["entry_ends"] = np.linspace(0, n_entries, 301).astype(np.int64)
    assert refused(replace(coded, starts=starts, **one_line)) == "LIN-5"


def test_entry_counts_that_wrap_or_exceed_their_lines_are_refused():
    coded = cnnzip.encode(sparse((300, 40), 0.3, 5), "banded").coded
    n_entries = int(coded.entry_ends[-1])
    starts = np.append(0, np.cumsum(np.full(300, 10)))
    common = {
        "lines": Lines(coded.shape, 0, 1),
        "streams": np.zeros(3000, np.uint8),
        "starts": starts,
    }
    wrapped = np.append(0, np.cumsum(wrapping(n_entries)))
    assert refused(replace(coded, entry_ends=wrapped, **common)) == "BND-1"
    crowded = np.append(np.zeros(300, np.int64), n_entries)  # all in the last line of 40 places
    assert refused(replace(coded, entry_ends=crowded, **common)) == "BND-7"

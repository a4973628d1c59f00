"""Lengths whose sum is right modulo 2**64 only, with checksums that match."""

from dataclasses import replace

import numpy as np
import pytest

import cnnzip
from cnnzip.codecs.lines import Lines
from cnnzip.container.frame import write_frame
from tests import forge, forge_mixed
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


def test_stream_lengths_of_mixed_that_wrap_are_refused():
    lengths = forge.varint(*wrapping(4000).tolist())
    start = forge.codebook("uint8", [7]) + forge.varint(0, 0, 1, 3, 16, 15, 99, 0, 0)
    sections = [start + lengths, bytes(4000)]
    frame = forge.frame(forge_mixed.MIXED, "uint8", [300, 1 << 18], sections, name="")
    with pytest.raises(cnnzip.CorruptError, match="LIN-5"):
        cnnzip.CodedTensor.from_frame(frame)


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


def test_token_counts_that_wrap_or_exceed_their_lines_are_refused():
    common = {"dtype": "uint8", "dims": [3, 70_000], "patterns": [7], "lines": [[(0, 0)], [(1, 0)]]}
    for lengths, clause in (
        ([(1 << 32) - 1, 3, 0], "FST-3"),  # 2 modulo 2**32
        ([1 << 31, 1 << 31, 2], "FST-3"),
        ([2, 0, (1 << 32) - 1], "FST-3"),
    ):
        frame = forge.fast(line_lengths=lengths, name="", **common)
        with pytest.raises(cnnzip.CorruptError, match=clause):
            cnnzip.CodedTensor.from_frame(frame)
    crowded = [[(0, 0)] * 41, [], []]  # in lines of 40 places
    frame = forge.fast("uint8", [3, 40], [7], crowded, name="")
    with pytest.raises(cnnzip.CorruptError, match="FST-5"):
        cnnzip.CodedTensor.from_frame(frame)


@pytest.mark.parametrize("token_bytes", [1, 2])
def test_places_that_wrap_are_refused(token_bytes):
    """As many of the longest skips as lead to place 0 again modulo 2**32, or modulo 2**31."""
    value_bits = 8 * token_bytes - 1  # a skip of 2**value_bits places
    for n_bits in (31, 32):
        n_skips = 1 << (n_bits - value_bits)
        if n_skips > 1 << 18:
            continue
        low = (1 << value_bits) - 1
        skips = ((1 << value_bits) | low).to_bytes(token_bytes, "little")
        frame = forge.fast(
            "uint8", [1, 1 << 24], [7, 5], [[]], token_bytes=token_bytes, n_tokens=n_skips + 1,
            line_lengths=[n_skips + 1], tokens=skips * n_skips + bytes(token_bytes), name="",
        )  # fmt: skip
        tensor = cnnzip.CodedTensor.from_frame(frame)
        with pytest.raises(cnnzip.CorruptError, match="FST-5"):
            tensor.decode()
        with pytest.raises(cnnzip.CorruptError, match="FST-5"):
            tensor.matvec(np.ones(1 << 24, np.float32))

"""Counters, mixers and coded numbers against the reference."""

import json
import math
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from cnnzip_native import _mixing_tables, mixing
from spec.reference import mixing as reference
from tests import forge_mixed

VECTORS = pathlib.Path(__file__).parents[2] / "spec" / "vectors" / "mxg.json"
CODED = [v for v in json.loads(VECTORS.read_text(encoding="utf-8")) if "coded" in v]
ALL_ONES = (1 << 64) - 1

probabilities = st.one_of(
    st.sampled_from([3, 4, 32_768, 65_532, 65_533]), st.integers(min_value=3, max_value=65_533)
)
decisions = st.lists(st.tuples(probabilities, st.integers(0, 1)), max_size=300)


@njit(error_model="numpy")
def write(found, wanted, words):
    low, span, at = np.uint64(0), np.uint64(ALL_ONES), 0
    for k in range(found.size):
        _, low, span, at = mixing.code_bit(False, wanted[k], found[k], low, span, words, at)
    return mixing.finish(words, at, low, span)


@njit(error_model="numpy")
def read(found, words, out):
    low, at = np.uint64(0), 0
    for _ in range(2):
        low <<= np.uint64(32)
        if at < words.size:
            low |= np.uint64(words[at])
        at += 1
    span = np.uint64(ALL_ONES)
    for k in range(found.size):
        out[k], low, span, at = mixing.code_bit(True, 0, found[k], low, span, words, at)
    return at


def written(pairs):
    """Bytes that the kernels code."""
    words = np.zeros(len(pairs) // 2 + 4, np.uint32)  # a decision takes less than 16 bits
    found, wanted = np.array(pairs, np.int64).reshape(-1, 2).T.copy()
    n_bytes = write(found, wanted, words)
    return words.astype(">u4").tobytes()[:n_bytes]


def decoded(found, data):
    """(decisions, words read)"""
    words = np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32)
    out = np.zeros(len(found), np.int64)
    n_words = read(np.array(found, np.int64), words, out)
    return out.tolist(), n_words


@given(decisions)
@settings(max_examples=300, deadline=None)
def test_coded_numbers_are_the_shortest_and_read_back(pairs):
    data = written(pairs)
    assert data == forge_mixed.coded_number(pairs)
    found = [p for p, _ in pairs]
    due = [b for _, b in pairs]
    kernel, n_words = decoded(found, data)
    assert kernel == due
    one = reference.CodedNumber(data)
    assert [one.decision(p) for p in found] == due
    one.end()
    assert n_words == one.at // 4


@given(st.lists(probabilities, max_size=200), st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_bytes_hold_the_decisions_that_the_reference_reads(found, data):
    data = data.rstrip(b"\0")
    if data[:8] == b"\xff" * 8:
        return
    one = reference.CodedNumber(data)
    due = [one.decision(p) for p in found]
    assert decoded(found, data) == (due, one.at // 4)


def test_carries_run_through_words_of_ones():
    """Decisions at the very end of the interval, then one past a carry."""
    pairs = [(65_533, 0)] * 400 + [(3, 1)] + [(65_533, 0)] * 3
    half = [(32_768, 0)] * 200 + [(32_768, 1)] * 3
    for steps in (pairs, half, half + pairs, [*pairs, (3, 0)]):
        data = written(steps)
        assert data == forge_mixed.coded_number(steps)
        assert decoded([p for p, _ in steps], data)[0] == [b for _, b in steps]


@given(st.lists(st.sampled_from([(3, 1), (65_533, 0), (4, 1), (65_532, 0)]), max_size=400))
@settings(max_examples=100, deadline=None)
def test_a_decision_takes_less_than_14_42_bits(pairs):
    assert len(written(pairs)) < 14.42 * len(pairs) / 8 + 2


@pytest.mark.parametrize("v", [v for v in CODED if "fault" not in v], ids=lambda v: v["id"])
def test_coded_numbers_are_what_the_vectors_say(v):
    found, _ = decoded(v["probabilities"], bytes.fromhex(v["coded"]))
    assert "".join(map(str, found)) == v["decisions"]


@given(
    st.integers(0, (1 << 22) - 1), st.integers(0, 1020), st.lists(st.integers(0, 1), max_size=60)
)
@settings(max_examples=200, deadline=None)
def test_counters_learn_as_the_reference_says(p, n, seen):
    twin, counter = reference.Counter(p, n), np.uint32(p << 10 | n)
    for b in seen:
        assert int(mixing.stretched(counter)) == twin.stretch()
        twin.learn(b)
        counter = np.uint32(mixing.moved(counter, b))
        assert (int(counter) >> 10, int(counter) & 1023) == (twin.p, twin.n)
        assert 0 <= twin.p < 1 << 22


def test_tables_are_those_of_the_reference():
    assert _mixing_tables.SQUASH.tolist() == reference.SQUASHED
    assert _mixing_tables.STRETCH.tolist() == reference.STRETCHED
    assert (np.diff(_mixing_tables.SQUASH) >= 0).all(), "the least d is found by halving"
    due = [round(65_536 / (1 + math.exp(-d / 2))) for d in range(-20, 21)]
    assert list(_mixing_tables.SQUASHED) == due


inputs = st.lists(st.integers(-2559, 2559), min_size=4, max_size=4)
weights = st.one_of(
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.sampled_from([0, 65_536, (1 << 31) - 1, -(1 << 31)]),
)


@given(
    st.lists(weights, min_size=4, max_size=4),
    st.integers(10, 20),
    st.lists(st.tuples(inputs, st.integers(0, 1)), max_size=20),
)
@settings(max_examples=200, deadline=None)
def test_mixers_learn_as_the_reference_says(first, shift, steps):
    twin, kept = reference.Mixer(first, shift), np.array([0, *first], np.int32)
    for found, b in steps:
        lanes = [np.int64(x) for x in found]
        total = mixing.closed(mixing.bias(kept, 0) + mixing.weighed(kept, 1, *lanes))
        assert int(total) == twin.sum(found)
        missed = 65_535 * b - int(_mixing_tables.SQUASH[total + _mixing_tables.LIMIT])
        mixing.learn_bias(kept, 0, missed, shift)
        mixing.learn(kept, 1, missed, shift, *lanes)
        twin.learn(found, int(total), b)
        assert [*kept[1:].tolist(), int(kept[0])] == twin.weights

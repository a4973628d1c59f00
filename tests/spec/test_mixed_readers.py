"""Descriptions of mixed that no encoder picks, by both readers."""

import random
from math import prod

import numpy as np
import pytest

import cnnzip
from cnnzip.codecs.mixed import code
from spec.reference import frame as reference
from tests import forge, forge_mixed

SHAPES = (
    [7, 23], [1, 60], [40, 1], [3, 4, 5], [12], [], [4, 3, 2, 2], [2, 100], [0, 4], [3, 1, 7],
    [2, 1400],
)  # fmt: skip
DTYPES = {"uint8": 1 << 8, "uint16": 1 << 16, "float32": 1 << 30, "int64": 1 << 62, "bool": 2}


def any_frame(seed):
    """(a frame of any description, the bytes that it stands for)"""
    rng = random.Random(seed)
    dims, dtype = rng.choice(SHAPES), rng.choice(list(DTYPES))
    n_values, density = rng.choice((1, 2, 9, 200, 700)), rng.random() ** 2
    values = list({rng.randrange(1, DTYPES[dtype]) for _ in range(n_values)})
    weights = [rng.choice(values) if rng.random() < density else 0 for _ in range(prod(dims))]
    if not weights:
        values = []
    data = forge_mixed.mixed(dtype, dims, weights, forge_mixed.any_plan(rng, dims, values))
    return data, b"".join(p.to_bytes(forge.size_of(dtype), "little") for p in weights)


@pytest.mark.parametrize("seed", range(120))
def test_both_readers_read_any_description(seed):
    data, due = any_frame(seed)
    assert reference.decode(reference.parse_frame(data, "w")) == due
    assert cnnzip.CodedTensor.from_frame(data).decode().tobytes() == due


@pytest.mark.parametrize("seed", range(120))
def test_library_codes_any_description_to_the_same_bytes(seed):
    data, _ = any_frame(seed)
    coded = cnnzip.CodedTensor.from_frame(data).coded
    if coded.model is None:
        return
    weights = coded.decode().view(coded.book.patterns.dtype)
    order = np.argsort(coded.book.patterns)
    at = np.searchsorted(coded.book.patterns[order], weights).clip(max=order.size - 1)
    symbols = np.where(weights == 0, 0, 1 + order[at]).astype(np.uint16)
    n_lines = coded.model.layout.n_lines
    lines = coded.model.run(0, n_lines)
    found = code(coded.model, coded.book, symbols, lines, n_lines, coded.chance)
    assert found == bytes(coded.streams)

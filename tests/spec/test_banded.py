"""Descriptions of banded that no encoder picks, by both readers."""

import random
from math import prod

import numpy as np
import pytest

import cnnzip
from spec.reference import frame as reference
from spec.reference import products
from tests import forge, forge_banded
from tests.spec.test_library import to_the_bit

SHAPES = ([7, 23], [1, 90], [40, 1], [3, 4, 5], [12], [], [2, 3000], [60, 33], [0, 4])
DTYPES = {"uint8": 1 << 8, "uint16": 1 << 16, "float32": 1 << 30, "int64": 1 << 62, "bool": 2}
MAKERS = {"banded": forge_banded.banded, "masked": forge_banded.masked}


def any_frame(seed, codec):
    """(a frame of any description, the bytes that it stands for)"""
    rng = random.Random(seed)
    dims, dtype = rng.choice(SHAPES), rng.choice(list(DTYPES))
    n_values, density = rng.choice((1, 2, 9, 200, 700)), rng.random() ** 2
    values = list({rng.randrange(1, DTYPES[dtype]) for _ in range(n_values)})
    weights = [rng.choice(values) if rng.random() < density else 0 for _ in range(prod(dims))]
    if not any(weights):
        values = []
    book = values if codec == "banded" else values and [1]
    data = MAKERS[codec](dtype, dims, weights, forge_banded.any_plan(rng, dims, book))
    return data, b"".join(p.to_bytes(forge.size_of(dtype), "little") for p in weights)


@pytest.mark.parametrize("codec", MAKERS)
@pytest.mark.parametrize("seed", range(60))
def test_reference_reads_any_description(seed, codec):
    data, due = any_frame(seed, codec)
    assert reference.decode(reference.parse_frame(data, "w")) == due


@pytest.mark.parametrize("codec", MAKERS)
@pytest.mark.parametrize("seed", range(60))
def test_library_reads_any_description(seed, codec):
    data, due = any_frame(seed, codec)
    assert cnnzip.CodedTensor.from_frame(data).decode().tobytes() == due


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_library_multiplies_in_the_order_of_any_scan(seed, transpose):
    data, _ = any_frame(seed, "banded")
    tensor = cnnzip.CodedTensor.from_frame(data)
    if 0 in tensor.shape:
        return
    rows = tensor.shape[0] if tensor.shape else 1
    n = rows if transpose else prod(tensor.shape) // rows
    rng = np.random.default_rng(seed)
    x, X = rng.standard_normal(n), rng.standard_normal((n, 3))
    parsed, how = reference.parse_frame(data, "w"), {"transpose": transpose, "x_dtype": "float64"}
    y = tensor.rmatvec(x) if transpose else tensor.matvec(x)
    Y = tensor.rmatmat(X) if transpose else tensor.matmat(X)
    due = products.matvec(parsed, x.tolist(), **how)
    assert list(map(to_the_bit, y)) == list(map(to_the_bit, due))
    due = products.matmat(parsed, X.tolist(), **how)
    assert [list(map(to_the_bit, row)) for row in Y] == [list(map(to_the_bit, r)) for r in due]

"""Compressors and entropy coders give every matrix back; the papers' charges are those of bounds."""

import doctest

import numpy as np
import pytest

from benchmarks.contenders import CONTENDERS as ALL
from benchmarks.contenders import _symbols, byte_compressors, papers
from benchmarks.contenders.byte_compressors import from_gap_bytes, to_gap_bytes
from benchmarks.contenders.constriction import ANS, RangeCoder
from benchmarks.contenders.nncodec import NNCodec
from benchmarks.matrices.base import Case
from cnnzip import bounds
from tests.codecs.battery import sparse

CONTENDERS = [c for c in ALL.values() if c.family in ("compressor", "entropy coder")]
F4 = np.float32
WEIGHTS = {
    "no columns": np.zeros((3, 0), F4),
    "1 x 1 zero": np.zeros((1, 1), F4),
    "1 x 1": np.full((1, 1), -2.5, F4),
    "one column": sparse((300, 1), 0.3, 4),
    "one row": sparse((1, 300), 0.3, 4),
    "all zero": np.zeros((40, 30), F4),
    "one value": np.full((40, 30), -1.5, F4),
    "negative only": -np.abs(sparse((40, 30), 0.4, 5)),
    "empty rows": np.vstack(
        [np.zeros((9, 30), F4), sparse((5, 30), 0.3, 4), np.zeros((9, 30), F4)]
    ),
    "long gaps": sparse((3, 20_000), 0.001, 3),
    "denormals and infinities": np.tile(np.array([1e-45, 0, -np.inf, np.inf, -1e-40], F4), (8, 3)),
    "dense, 256 values": sparse((64, 100), 1.0, 256),
    "255 values and zero": np.arange(-100, 156, dtype=F4).reshape(16, 16),
    "256 values and zero": np.arange(-100, 157, dtype=F4).reshape(1, 257),
    "65,536 values and zero": np.arange(-30_000, 35_537, dtype=F4).reshape(1, -1),
    "convolution": sparse((12, 8, 3, 3), 0.3, 7),
    "large": sparse((300, 350), 0.1, 16),
}


def case_of(weight):
    return Case("made up", "tests", "", lambda: weight)


@pytest.fixture(params=CONTENDERS, ids=lambda contender: contender.name)
def contender(request):
    command = request.param.missing()
    if command is not None:
        pytest.skip(f"{request.param.name} is not installed: {command}")
    return request.param


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_decode_gives_back_every_bit(contender, weight):
    case = case_of(weight)
    reason = contender.refuses(case)
    if reason is not None:
        pytest.skip(reason)
    parts = contender.encode(case)
    kept = {name: np.array(part) for name, part in parts.items()}  # without what they are views of
    decoded = contender.open(kept, case.shape).decode()
    assert decoded.dtype == np.float32
    assert decoded.shape == case.matrix.shape
    np.testing.assert_array_equal(decoded.view(np.uint32), case.matrix.view(np.uint32))
    size = contender.size(case, parts)
    assert size.bits == 8 * sum(part.nbytes for part in parts.values())


def test_matrices_are_left_as_they_were(contender):
    case = case_of(sparse((30, 40), 0.5, 6))
    before = case.matrix.copy()
    contender.encode(case)
    np.testing.assert_array_equal(case.matrix, before)


def test_contenders_decode_and_then_only_multiply_as_dense_matrices(contender):
    case = case_of(sparse((30, 40), 0.5, 6))
    assert not contender.multiplies
    stored = contender.open(contender.encode(case), case.shape)
    with pytest.raises(NotImplementedError, match="does not multiply"):
        stored.multiply(np.ones(40, F4))


@pytest.mark.parametrize("coder", [ANS(), RangeCoder()], ids=lambda coder: coder.name)
def test_static_coders_stay_just_above_the_entropy(coder):
    if coder.missing():
        pytest.skip(coder.missing())
    case = case_of(WEIGHTS["large"])
    parts = coder.encode(case)
    ideal = case.counts.h0 * case.weight.size
    assert ideal <= 8 * parts["indices"].nbytes <= 1.002 * ideal + 64
    assert parts["codebook"].nbytes == 4 * 16
    assert parts["tables"].nbytes <= 3 * 17


def test_nncodec_says_what_went_wrong_and_goes_on():
    if NNCodec().missing():
        pytest.skip(NNCodec().missing())
    case = case_of(WEIGHTS["convolution"])
    parts = NNCodec().encode(case)
    broken = {**parts, "stream": parts["stream"][:0]}
    with pytest.raises(RuntimeError, match=r"NNCodec: \w+"):
        NNCodec().open(broken, case.shape).decode()
    np.testing.assert_array_equal(NNCodec().open(parts, case.shape).decode(), case.matrix)


@pytest.mark.parametrize("gaps", [[], [0], [254, 255, 256], [0, 509, 510, 511, 0], [100_000]])
def test_gap_bytes_read_back(gaps):
    gaps = np.array(gaps, np.int64)
    np.testing.assert_array_equal(from_gap_bytes(to_gap_bytes(gaps)), gaps)


def test_charges_are_those_of_bounds():
    case = case_of(sparse((200, 300), 0.1, 12))
    figures = bounds.of(case.weight)
    expected = {
        "HAM psi": (figures.psi_ham, figures.ham_bound),
        "sHAM psi": (figures.psi_sham, figures.sham_bound),
        "sHAM psi, ICPR bound": (figures.psi_sham, figures.sham_bound_icpr),
        "CSC psi": (figures.psi_csc, figures.psi_csc),
        "index map psi": (figures.psi_index_map, figures.psi_index_map),
    }
    for charged in papers.CHARGED:
        assert charged.encode(case) == {}
        size = charged.size(case, {})
        psi, bound = (n * case.weight.size for n in expected.pop(charged.name))
        assert (size.bits, size.bound_bits) == pytest.approx((psi, bound), abs=1e-3)
        assert sum(size.parts.values()) == size.bits
        # Theirs is below what it is a bound of, all others hold.
        assert (size.bits <= size.bound_bits) == ("ICPR" not in charged.name)
    assert not expected


def test_charges_are_formulas_only():
    charged = papers.CHARGED[0]
    assert charged.family == "paper"
    with pytest.raises(TypeError, match="stores nothing"):
        charged.open({}, (3, 4))
    assert charged.refuses(case_of(WEIGHTS["one column"])) is None


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_charges_exist_for_every_matrix(weight):
    for charged in papers.CHARGED:
        assert charged.size(case_of(weight), {}).bits >= 0


@pytest.mark.parametrize("module", [_symbols, byte_compressors], ids=lambda m: m.__name__)
def test_examples_in_docstrings_are_true(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_what_is_not_installed_says_how(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.contenders.nncodec.PYTHON", tmp_path / "python")
    assert NNCodec().missing() == "make bench-nncodec-env"
    monkeypatch.setattr("benchmarks.contenders.base.find_spec", lambda package: None)
    commands = [contender.missing() for contender in CONTENDERS]
    assert commands[4:8] == ["pip install blosc2"] * 2 + ["pip install zipnn", commands[7]]
    assert commands[7:9] == ["pip install constriction"] * 2

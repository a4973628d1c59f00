"""Every codec passes the battery."""

import tracemalloc

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cnnzip
from cnnzip.codecs.choose import NAMES, encode_source
from cnnzip.codecs.lines import LineCodec
from tests.codecs.battery import check_codec, matrices, source_of_bits, sparse

CODECS = ("raw", "index-map", "ham", "sham", "banded", "masked", "fast", "mixed")


def test_the_battery_runs_every_codec():
    assert {*CODECS, "mixed-float"} == set(NAMES)  # which has a test of its own: floats alone


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("name", "array"), list(matrices()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_codec_keeps_every_bit_and_multiplies_as_specified(codec, name, array):
    if numba.config.DISABLE_JIT and array.size > 30_000:
        pytest.skip("minutes in plain Python; smaller matrices reach every line")
    check_codec(codec, array)


def small_arrays():
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12)
    dtypes = st.sampled_from(["uint8", "int16", "uint32", "float32", "uint64", "float64"])
    few = st.sampled_from([0, 0, 0, 1, 2, 3, 200])
    return dtypes.flatmap(
        lambda d: hnp.arrays(np.dtype(d), shapes, elements=few.map(np.dtype(d).type))
    )


@pytest.mark.parametrize("codec", CODECS)
@given(array=small_arrays())
@settings(max_examples=60, deadline=None)
def test_codec_keeps_arrays_of_any_shape(codec, array):
    check_codec(codec, array)


@pytest.mark.parametrize("codec", CODECS)
@given(array=small_arrays())
@settings(max_examples=2000, deadline=None)
def test_no_bit_is_lost(codec, array):
    source = source_of_bits(array)
    frame = cnnzip.CodedTensor(encode_source(source, codec)).to_frame()
    assert cnnzip.CodedTensor.from_frame(frame).coded.decode().tobytes() == source.data.tobytes()


@pytest.mark.parametrize("codec", ["banded", "ham", "sham", "index-map", "fast"])
def test_results_do_not_depend_on_the_number_of_threads(codec):
    tensor = cnnzip.encode(sparse((900, 800), 0.15, 20), codec)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(800, np.float32), rng.standard_normal(900, np.float32)
    X = rng.standard_normal((800, 20), np.float32)
    before = cnnzip.get_num_threads()
    results = []
    try:
        for n_threads in (1, 2, 5):
            cnnzip.set_num_threads(n_threads)
            products = tensor.matvec(x), tensor.rmatvec(y), tensor.matmat(X)
            results.append([p.tobytes() for p in products] + [tensor.decode().tobytes()])
    finally:
        cnnzip.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_threads_below_one_are_refused():
    with pytest.raises(cnnzip.ArgumentError, match="at least 1"):
        cnnzip.set_num_threads(0)


@pytest.mark.parametrize("codec", CODECS)
def test_bytes_are_the_same_each_time(codec):
    array = sparse((120, 90), 0.2, 12)
    assert cnnzip.encode(array, codec).to_frame() == cnnzip.encode(array.copy(), codec).to_frame()


@pytest.mark.parametrize("codec", CODECS)
def test_read_only_and_mapped_arrays_are_coded(codec, tmp_path):
    array = sparse((40, 50), 0.2, 6)
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert cnnzip.encode(mapped, codec).to_frame() == cnnzip.encode(array, codec).to_frame()


def test_auto_takes_the_smallest_that_is_decoded_fast():
    fast = [codec for codec in CODECS if not NAMES[codec].is_slow]
    assert set(CODECS) - set(fast) == {"mixed"}
    for _, array in matrices():
        sizes = {}
        for codec in fast:
            if array.dtype.name != "complex128":
                sizes[codec] = encode_source(source_of_bits(array), codec).stored_bytes
        assert encode_source(source_of_bits(array), "auto").stored_bytes == min(sizes.values())


@pytest.mark.parametrize("density", [0.05, 0.6])
def test_smallest_takes_the_smallest_of_all(density):
    source = source_of_bits(sparse((60, 50), density, 4))
    sizes = [encode_source(source, codec).stored_bytes for codec in CODECS]
    assert encode_source(source, "smallest").stored_bytes == min(sizes)


def test_direct_takes_the_smallest_that_multiplies():
    array = sparse((60, 50), 0.1, 4)
    chosen = encode_source(source_of_bits(array), "direct")
    assert isinstance(chosen, LineCodec)
    direct = [c for c in CODECS if NAMES[c].multiplies]
    sizes = [encode_source(source_of_bits(array), c).stored_bytes for c in direct]
    assert chosen.stored_bytes == min(sizes)


def test_more_values_than_a_codebook_holds_go_to_raw():
    array = np.arange(70_000, dtype=np.float32)
    assert cnnzip.encode(array).codec == "raw"
    for codec in ("ham", "sham", "index-map", "direct"):
        with pytest.raises(cnnzip.ArgumentError, match=r"BOK-1.*auto"):
            cnnzip.encode(array, codec)
    assert cnnzip.encode(np.arange(65_536, dtype=np.uint16), "ham").codec == "ham"


def test_sham_scans_the_axis_that_takes_fewer_bytes():
    assert cnnzip.encode(sparse((10, 4000), 0.1, 4), "sham").coded.lines.axis == 1
    assert cnnzip.encode(sparse((4000, 10), 0.1, 4), "sham").coded.lines.axis == 0


def test_unknown_codec_is_refused_with_the_known_ones():
    with pytest.raises(cnnzip.ArgumentError, match="ham"):
        cnnzip.encode(np.zeros(3, np.float32), "zip")


@pytest.mark.parametrize("axis", [0, 1])
def test_banded_takes_entries_that_crowd_in_few_lines(axis):
    weight = np.zeros((3000, 600), np.float32)
    weight[1::2] = sparse((1500, 600), 0.5, 6)  # every other line is empty
    weight[:40] = 0
    check_codec("banded", weight.T if axis else weight)
    crowded = np.zeros((4000, 700), np.float32)
    crowded[:1800] = 1.5
    crowded[:1800, ::3] = -2
    tensor = cnnzip.encode(crowded.T if axis else crowded, "banded")
    again = cnnzip.CodedTensor.from_frame(tensor.to_frame())
    assert np.array_equal(again.decode(), crowded.T if axis else crowded)


def held_bytes(thing, seen):
    """Bytes of all arrays that an object holds, bases once."""
    if isinstance(thing, np.ndarray):
        base = thing if thing.base is None else thing.base
        seen[id(base)] = base.nbytes if isinstance(base, np.ndarray) else len(base)
    elif isinstance(thing, tuple | list):
        for part in thing:
            held_bytes(part, seen)
    elif isinstance(thing, dict):
        for part in thing.values():
            held_bytes(part, seen)
    elif hasattr(thing, "__dict__"):
        held_bytes(vars(thing), seen)
    return sum(seen.values())


@pytest.mark.parametrize("codec", ["banded", "fast"])
def test_what_stays_in_memory_is_little_more_than_the_frame(codec):
    rng = np.random.default_rng(0)
    columns = rng.random(400) ** 3  # many contexts, so many tables
    weight = np.where(rng.random((1500, 400)) < columns, rng.integers(1, 30, (1500, 400)), 0)
    weight = np.repeat(weight.astype(np.float32), 2, axis=1)
    tensor = cnnzip.encode(weight, codec)
    tensor.decode()
    tensor.matvec(np.ones(800, np.float32))
    tensor.matmat(np.ones((800, 20), np.float32))
    assert held_bytes(tensor.coded, {}) < 1.15 * tensor.nbytes + (256 << 10)


def test_likeness_of_wide_lines_is_not_looked_for():
    weight = sparse((1, 30_000), 0.2, 4)  # the square of its places would take gigabytes
    tracemalloc.start()
    tensor = cnnzip.encode(weight, "banded")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64 << 20
    assert np.array_equal(tensor.decode(), weight)

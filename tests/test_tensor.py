"""`encode` and `CodedTensor`, as a caller meets them."""

import json
import re

import numpy as np
import pytest

import cnnzip
from tests.codecs.battery import sparse

torch = pytest.importorskip("torch")


def bits(tensor):
    return tensor.reshape(-1).contiguous().view(torch.uint8).tolist()


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "float64",
        "float16",
        "bfloat16",
        "int8",
        "uint8",
        "int64",
        "bool",
        "float8_e4m3fn",
        "complex64",
    ],
)
def test_decode_gives_back_the_kind_of_array_that_came_in(dtype):
    given = torch.arange(60).reshape(5, 12).remainder(3).to(getattr(torch, dtype))
    for array in (given, given.T, given[::2, 1:], given[0, 0], given[:0]):
        back = cnnzip.encode(array).decode()
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert bits(back) == bits(array)
    assert isinstance(cnnzip.encode(sparse((4, 5), 0.5, 3)).decode(), np.ndarray)


def test_a_file_gives_ml_dtypes_where_there_was_torch(tmp_path):
    weight = torch.ones(20, 30, dtype=torch.bfloat16)
    cnnzip.save({"w": weight}, tmp_path / "m.cnnz")
    with cnnzip.open(tmp_path / "m.cnnz") as file:
        assert file["w"].decode().dtype.name == "bfloat16"


def test_signed_zeros_are_dropped_or_kept_as_asked():
    weight = np.array([[0.0, -0.0, 1.5]], np.float32)
    dropped, kept = cnnzip.encode(weight), cnnzip.encode(weight, signed_zeros="keep")
    assert dropped.n_dropped_zeros == 1
    assert np.signbit(dropped.decode()).tolist() == [[False, False, False]]
    assert torch.equal(torch.from_numpy(dropped.decode()), torch.from_numpy(weight))
    assert kept.n_dropped_zeros == 0
    assert kept.decode().tobytes() == weight.tobytes()
    with pytest.raises(cnnzip.ArgumentError, match="keep"):
        cnnzip.encode(weight, signed_zeros="swap")


def test_big_endian_arrays_are_coded_by_value():
    weight = np.arange(6, dtype=">f4")
    assert np.array_equal(cnnzip.encode(weight).decode(), weight)


@pytest.mark.parametrize("codec", ["raw", "ham", "banded"])
def test_to_csr_is_the_matrix(codec):
    weight = sparse((40, 6, 5), 0.3, 5)
    found = cnnzip.encode(weight, codec).to_csr()
    due = weight.reshape(40, 30)
    assert np.array_equal(found.toarray(), due)
    assert found.nnz == np.count_nonzero(due)
    assert found.has_sorted_indices


def test_products_take_and_give_the_callers_kind():
    weight = sparse((30, 20), 0.3, 5)
    tensor = cnnzip.encode(weight)
    x = np.arange(20.0, dtype=np.float32)
    assert isinstance(tensor @ x, np.ndarray)
    assert isinstance(tensor @ torch.from_numpy(x), torch.Tensor)
    assert (tensor @ x.astype(np.float64)).dtype == np.float64
    assert (tensor @ np.arange(20)).dtype == np.float32
    assert (tensor @ np.ones((20, 3), np.float32)).shape == (30, 3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.eye(3).to_sparse(), "to_dense"),
        (lambda: torch.empty(3, device="meta"), "meta"),
        (lambda: np.array(["a"]), "convert"),
        (lambda: np.array([{}], object), "convert"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_what_can(make, words):
    with pytest.raises(cnnzip.ArgumentError, match=words):
        cnnzip.encode(make())


def test_products_that_do_not_exist_are_refused():
    tensor = cnnzip.encode(sparse((30, 20), 0.3, 5))
    with pytest.raises(cnnzip.ArgumentError, match=r"\(20,\)"):
        tensor @ np.ones(21, np.float32)
    with pytest.raises(cnnzip.ArgumentError, match="columns"):
        tensor.matmat(np.ones(20, np.float32))
    with pytest.raises(cnnzip.ArgumentError, match="MAT-2"):
        cnnzip.encode(np.ones((2, 2), np.complex64)).matvec(np.ones(2))
    with pytest.raises(cnnzip.ArgumentError, match="no rows"):
        cnnzip.encode(np.float32(1)).rows(0, 1)


def test_the_report_says_why_a_file_did_not_shrink(tmp_path):
    rng = np.random.default_rng(0)
    report = cnnzip.save({"w": rng.standard_normal((200, 300), np.float32)}, tmp_path / "m.cnnz")
    assert "Prune them" in str(report)
    assert report.file_bytes == (tmp_path / "m.cnnz").stat().st_size
    report = cnnzip.save({"w": sparse((200, 300), 0.1, 6)}, tmp_path / "m.cnnz")
    assert not report.to_dict()["notes"]
    row = cnnzip.report(tmp_path / "m.cnnz").rows[0]
    assert (row.k, row.n_weights, row.csr_bytes) == (6, 60_000, 8 * row.n_entries + 4 * 201)
    assert cnnzip.report(cnnzip.encode(sparse((20, 30), 0.1, 6))).nbytes > 0
    assert "no tensors" in str(cnnzip.report({}))


@pytest.mark.parametrize("codec", ["banded", "masked"])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("k", [1, 6, 600])
def test_the_report_says_where_every_bit_of_a_frame_goes(codec, density, k):
    weight = sparse((200, 300), density, k)
    tensor = cnnzip.encode(weight, codec)
    row = tensor.report("w")
    assert sum(row.parts.values()) == pytest.approx(8 * row.nbytes, abs=1e-6)
    assert all(bits >= 0 for part, bits in row.parts.items() if part != "rounding")
    coded = tensor.coded.mask if codec == "masked" else tensor.coded
    assert abs(row.parts["rounding"]) < 0.01 * 8 * row.nbytes + 8 * coded.lines.n_streams + 8
    assert (row.grid is None) == (density == 0)
    as_dict = json.loads(json.dumps(row.to_dict()))
    assert as_dict["parts"] == row.parts
    if density:
        assert as_dict["grid"]["n_bands"] == row.grid.n_bands >= 1
    due = row.bits_per_weight / row.h0_bits if row.h0_bits else None
    assert row.share_of_h0 == as_dict["share_of_h0"] == due


def test_tokens_are_counted_as_they_are_coded():
    weight = sparse((300, 400), 0.2, 40)
    coded = cnnzip.encode(weight, "banded").coded
    counts, n_gap_tables = coded.token_counts(), coded.grid.n_gap_tables
    n_entries = np.count_nonzero(weight)
    assert counts[0].sum() == (0 if coded.contexts.joined else coded.lines.n_lines)
    assert counts[1 : 1 + n_gap_tables].sum() == n_entries
    assert np.array_equal(
        counts[1 + n_gap_tables :].sum(axis=0)[: coded.patterns.size], coded.value_counts()
    )
    assert (counts[coded.contexts.tables.frequencies == 0] == 0).all()


def test_where_the_bits_go_is_shown_for_one_tensor_of_banded_or_masked():
    coded = cnnzip.encode(sparse((200, 300), 0.1, 6), "banded")
    text = str(cnnzip.report(coded))
    assert "of H0" in text
    assert re.search(r"\ngrid: (rows|columns)( joined)?, scanned ", text)
    assert "\nbits: gaps " in text
    assert "bits:" not in str(cnnzip.report({"a": coded, "b": coded}))
    plain = cnnzip.encode(sparse((200, 300), 0.1, 6), "sham")
    assert plain.report().parts is None
    assert "bits:" not in str(cnnzip.report(plain))


def test_programs_without_cnnzip_refuse_coded_files(tmp_path):
    """T28: not even `strict=False` goes on with weights that were not loaded."""
    from safetensors.torch import load_file

    model = torch.nn.Linear(60, 50)
    path = tmp_path / "m.safetensors"
    cnnzip.save(model, path)
    for strict in (True, False):
        with pytest.raises(RuntimeError, match="size mismatch"):
            torch.nn.Linear(60, 50).load_state_dict(load_file(path), strict=strict)
    flat = {"v": torch.arange(200.0)}  # one dimension: the frame must not be as long
    for n in range(256, 400, 9):
        flat["v"] = torch.arange(float(n))
        cnnzip.save(flat, path, durable=False)
        assert load_file(path)["v"].shape != flat["v"].shape


def test_a_complex_vector_is_refused_and_a_list_is_taken():
    tensor = cnnzip.encode(sparse((30, 20), 0.3, 5))
    with pytest.raises(cnnzip.ArgumentError, match="complex128"):
        tensor @ (np.ones(20) * 1j)
    with pytest.raises(cnnzip.ArgumentError, match="columns"):
        tensor.matmat(np.ones((20, 2, 2)))
    assert (tensor @ ([1.0] * 20)).shape == (30,)


def test_all_kinds_of_tensors_can_stand_in_one_file(tmp_path):
    weight = sparse((30, 50), 0.2, 5)
    given = {"a": torch.from_numpy(weight), "b": weight, "c": cnnzip.encode(weight)}
    cnnzip.save(given, bytes(tmp_path / "M.SAFETENSORS"))
    with cnnzip.open(tmp_path / "M.SAFETENSORS") as file:
        assert file.envelope == "safetensors"
        assert all(np.array_equal(file[name].decode(), weight) for name in given)
    with pytest.raises(cnnzip.ArgumentError, match="name"):
        cnnzip.save(given["c"], tmp_path / "x.cnnz")
    with pytest.raises(cnnzip.ArgumentError, match="3"):
        cnnzip.save({3: torch.eye(3)}, tmp_path / "x.cnnz")


def test_a_models_own_orig_and_mask_are_not_taken_for_a_pruned_weight(tmp_path):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a_orig = torch.nn.Parameter(torch.randn(20, 30))
            self.a_mask = torch.nn.Parameter(torch.randn(20, 30))

    model = Model()
    cnnzip.save(model, tmp_path / "m.cnnz")
    back = cnnzip.load(tmp_path / "m.cnnz", Model())
    assert torch.equal(back.a_orig, model.a_orig)
    assert torch.equal(back.a_mask, model.a_mask)
    cnnzip.save(model.state_dict(), tmp_path / "m.cnnz")  # no mask: it is not of 0 and 1
    assert sorted(cnnzip.load(tmp_path / "m.cnnz")) == ["a_mask", "a_orig"]
    mask = (torch.rand(20, 30) < 0.5).float()
    cnnzip.save({"a_orig": model.a_orig, "a_mask": mask}, tmp_path / "m.cnnz")
    assert torch.equal(cnnzip.load(tmp_path / "m.cnnz")["a"], model.a_orig * mask + 0.0)


def test_extra_state_is_refused_when_it_is_saved(tmp_path):
    class Model(torch.nn.Linear):
        def get_extra_state(self):
            return torch.ones(3)

    with pytest.raises(cnnzip.ArgumentError, match="get_extra_state"):
        cnnzip.save(Model(30, 40), tmp_path / "m.cnnz")


def test_pruned_weights_of_many_values_shrink_by_their_zeros():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((500, 700), np.float32) * (rng.random((500, 700)) < 0.1) + 0
    tensor = cnnzip.encode(weight)
    assert tensor.codec == "masked"
    assert weight.nbytes / tensor.nbytes > 9
    assert np.array_equal(tensor.decode(), weight)
    x = np.ones(700, np.float32)
    np.testing.assert_allclose(tensor @ x, weight @ x, rtol=1e-4, atol=1e-4)

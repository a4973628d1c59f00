"""The command, as a user runs it."""

import json
from contextlib import suppress

import numpy as np
import pytest
import torch

from cnnzip.cli.main import main
from cnnzip.cli.sources import open_source
from cnnzip.errors import CnnzipError
from tests.codecs.battery import sparse


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, weight=sparse((64, 80), 0.1, 6), bias=np.arange(64, dtype=np.float32))
    return path


def run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_every_verb_works_in_turn(model, tmp_path, capsys):
    coded, other, plain = (tmp_path / n for n in ("m.cnnz", "m.safetensors", "p.npz"))
    assert run(capsys, "compress", model, "-o", coded)[0] == 0
    status, out, _ = run(capsys, "info", coded)
    assert status == 0
    assert "weight" in out
    assert "64x80" in out
    assert run(capsys, "verify", coded)[1].count("ok") == 1
    assert run(capsys, "verify", "--quick", coded)[0] == 0
    assert run(capsys, "convert", coded, other)[0] == 0
    assert run(capsys, "decompress", other, "-o", plain)[0] == 0
    with np.load(model) as due, np.load(plain) as found:
        assert {k: v.tobytes() for k, v in due.items()} == {
            k: v.tobytes() for k, v in found.items()
        }
    status, out, _ = run(capsys, "doctor", "--json")
    assert status == 0
    assert json.loads(out)["self_test"] == "ok"


def test_convert_codes_anew_and_keeps_the_sign_of_zeros(tmp_path, capsys):
    rng = np.random.default_rng(0)
    weight = np.where(rng.random((80, 90)) < 0.2, rng.integers(-3, 4, (80, 90)), 0)
    plain = {"weight": np.float32(weight) * np.float32(-1), "step": np.arange(3)}
    np.savez(tmp_path / "m.npz", **plain)
    first, small, back = (tmp_path / n for n in ("a.cnnz", "b.cnnz", "c.npz"))
    run(capsys, "compress", tmp_path / "m.npz", "-o", first, "--signed-zeros", "keep")
    out = run(capsys, "convert", first, small, "--codec", "smallest", "--json")[1]
    assert json.loads(out)["bytes"] == small.stat().st_size < first.stat().st_size
    tensors = json.loads(run(capsys, "info", small, "--json")[1])["tensors"]
    assert {tensor["name"]: tensor["codec"] for tensor in tensors}["weight"] == "mixed"
    out = run(capsys, "info", small, "weight")[1]
    assert "bits: weights" in out
    run(capsys, "decompress", small, "-o", back)
    with np.load(back) as found:
        assert {name: found[name].tobytes() for name in found} == {
            name: array.tobytes() for name, array in plain.items()
        }
    status, _, err = run(capsys, "convert", first, small, "--codec", "lzma", "-f")
    assert status == 2
    assert "smallest" in err


def test_info_of_one_tensor_says_where_its_bits_go(model, tmp_path, capsys):
    coded = tmp_path / "m.cnnz"
    run(capsys, "compress", model, "-o", coded)
    status, out, _ = run(capsys, "info", coded, "weight")
    assert status == 0
    assert "of H0" in out
    assert "bits: gaps" in out
    assert "bias" not in out
    row = json.loads(run(capsys, "info", coded, "weight", "--json")[1])
    assert (row["codec"], row["n_weights"]) == ("banded", 64 * 80)
    assert sum(row["parts"].values()) == pytest.approx(8 * row["nbytes"])
    listed = json.loads(run(capsys, "info", coded, "--json")[1])["tensors"]
    for tensor in listed:
        row = json.loads(run(capsys, "info", coded, tensor["name"], "--json")[1])
        assert {key: row[key] for key in tensor if key in row} == {
            key: value for key, value in tensor.items() if key in row
        }
    status, out, err = run(capsys, "info", coded, "wait")
    assert (status, out) == (2, "")
    assert "'wait': no such tensor" in err


def test_json_is_all_that_stands_on_standard_output(model, tmp_path, capsys):
    coded = tmp_path / "m.cnnz"
    out = run(capsys, "compress", model, "-o", coded, "--json")[1]
    assert json.loads(out)[str(coded)]["file_bytes"] == coded.stat().st_size
    about = json.loads(run(capsys, "info", coded, "--json")[1])
    assert [t["name"] for t in about["tensors"]] == ["weight", "bias"]
    assert json.loads(run(capsys, "verify", coded, "--json")[1])[0]["ok"]
    out = run(capsys, "convert", coded, tmp_path / "c.safetensors", "--json")[1]
    assert json.loads(out)["tensors"] == 2
    out = run(capsys, "decompress", coded, "-o", tmp_path / "d.npz", "--json")[1]
    assert json.loads(out)["tensors"] == 2


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".npz"])
def test_plain_files_of_each_kind_come_back_equal(suffix, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    tensors = {"a": torch.randn(30, 40) * (torch.rand(30, 40) < 0.1), "n": torch.arange(5)}
    tensors["a"] += 0.0  # no -0.0
    source, coded, back = (tmp_path / n for n in ("s" + suffix, "c.cnnz", "b" + suffix))
    if suffix == ".npz":
        np.savez(source, **{k: v.numpy() for k, v in tensors.items()})
    elif suffix == ".pt":
        torch.save({"state_dict": tensors}, source)
    else:
        tensors["b"] = torch.randn(20, 30).bfloat16()
        save_file(tensors, source, metadata={"made by": "a test"})
    assert run(capsys, "compress", source, "-o", coded)[0] == 0
    assert run(capsys, "decompress", coded, "-o", back)[0] == 0
    if suffix == ".npz":
        found = {k: torch.from_numpy(v) for k, v in np.load(back).items()}
    else:
        found = torch.load(back, weights_only=True) if suffix == ".pt" else load_file(back)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[k], tensors[k]) for k in tensors)


def test_tied_tensors_come_back_tied(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    weight = torch.ones(20, 20)
    torch.save({"a": weight, "b": weight}, tmp_path / "s.pt")
    assert run(capsys, "compress", tmp_path / "s.pt")[0] == 0
    assert "= a" in run(capsys, "info", tmp_path / "s.cnnz")[1]
    assert run(capsys, "decompress", tmp_path / "s.cnnz", "-o", tmp_path / "b.pt")[0] == 0
    back = torch.load(tmp_path / "b.pt", weights_only=True)
    assert back["a"].data_ptr() == back["b"].data_ptr()
    out = tmp_path / "b.npz"
    assert run(capsys, "decompress", tmp_path / "s.cnnz", "-o", out)[0] == 0
    assert sorted(np.load(out)) == ["a", "b"]


def test_a_folder_is_compressed_file_by_file(model, tmp_path, capsys):
    np.savez(tmp_path / "second.npz", w=np.ones((40, 40)))
    assert run(capsys, "compress", tmp_path, "-o", tmp_path / "out")[0] == 0
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["model.npz.cnnz", "second.npz.cnnz"]


def test_nothing_is_overwritten_unasked(model, tmp_path, capsys):
    target = tmp_path / "model.cnnz"
    target.write_text("precious")
    status, _, err = run(capsys, "compress", model)
    assert (status, target.read_text()) == (2, "precious")
    assert "--force" in err
    assert run(capsys, "compress", model, "--force")[0] == 0
    (tmp_path / "c.safetensors").write_text("precious")
    assert run(capsys, "convert", target, tmp_path / "c.safetensors")[0] == 2
    (tmp_path / "c.npz").write_text("precious")
    assert run(capsys, "decompress", target, "-o", tmp_path / "c.npz")[0] == 2


BAD_SOURCES = {
    "text.safetensors": b"this is no safetensors file, whatever its name says",
    "empty.safetensors": b"",
    "cut.safetensors": (1 << 40).to_bytes(8, "little") + b"{}",
    "list.safetensors": (2).to_bytes(8, "little") + b"[]",
    "lies.safetensors": (58).to_bytes(8, "little")
    + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4000]}}  ',
    "text.pt": b"no pickle",
    "text.npz": b"no zip",
    "empty.pt": b"",
}


@pytest.mark.parametrize("name", BAD_SOURCES)
def test_a_bad_input_is_one_clear_sentence(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(BAD_SOURCES[name])
    status, _, err = run(capsys, "compress", tmp_path / name)
    assert status == 1
    assert name in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err
    assert not list(tmp_path.glob("*.cnnz"))


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_plain_files_damaged_anywhere_are_refused_or_read(suffix, tmp_path):
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".npz":
        np.savez_compressed(whole, weight=np.arange(600, dtype=np.float32).reshape(20, 30))
    else:
        torch.save({"weight": torch.arange(600.0).reshape(20, 30)}, whole)
    data, rng = whole.read_bytes(), np.random.default_rng(0)
    n_refused = 0
    for number in range(200):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 1 + number % 8):
            damaged[at] ^= 1 << rng.integers(8)
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(damaged)
        with suppress(CnnzipError):
            open_source(path)
            continue
        n_refused += 1
    assert n_refused > 20


def test_files_that_are_not_ours_are_refused_with_a_hint(model, tmp_path, capsys):
    status, _, err = run(capsys, "info", model)
    assert status == 1
    assert "cnnzip compress" in err
    (tmp_path / "t.txt").write_text("hello")
    assert run(capsys, "info", tmp_path / "t.txt")[0] == 1
    status, _, err = run(capsys, "compress", tmp_path / "t.txt")
    assert status == 2
    assert ".safetensors" in err
    for verb in ("info", "verify"):
        status, _, err = run(capsys, verb, tmp_path / "nowhere.cnnz")
        assert status == 1
        assert "nowhere.cnnz" in err
    assert run(capsys, "compress", tmp_path / "nowhere.npz")[0] == 1


def test_verify_names_the_damaged_tensor_and_goes_on(model, tmp_path, capsys):
    coded = tmp_path / "m.cnnz"
    run(capsys, "compress", model, "-o", coded)
    damaged = tmp_path / "d.cnnz"
    data = bytearray(coded.read_bytes())
    data[120] ^= 1
    damaged.write_bytes(data)
    status, out, err = run(capsys, "verify", damaged, coded)
    assert status == 1
    assert "d.cnnz: tensor 'weight'" in err
    assert "m.cnnz: ok" in out


def test_a_wrong_command_exits_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["frobnicate"])
    assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    capsys.readouterr()


def test_limits_can_be_set(model, tmp_path, capsys):
    coded = tmp_path / "m.cnnz"
    run(capsys, "compress", model, "-o", coded)
    out = tmp_path / "o.npz"
    status, _, err = run(capsys, "decompress", coded, "-o", out, "--max-decoded-bytes", 100)
    assert status == 1
    assert "max_decoded_bytes" in err
    assert not out.exists()


def test_one_bad_file_does_not_stop_a_folder(model, tmp_path, capsys):
    (tmp_path / "junk.pt").write_bytes(b"xx")
    status, out, err = run(capsys, "compress", tmp_path, "-o", tmp_path / "out")
    assert status == 1
    assert "junk.pt" in err
    assert "model.npz.cnnz" in out


def test_a_file_is_not_compressed_onto_itself(tmp_path, capsys):
    from safetensors.numpy import save_file

    path = tmp_path / "m.safetensors"
    save_file({"w": sparse((40, 50), 0.1, 4)}, path)
    before = path.read_bytes()
    assert run(capsys, "compress", path, "-o", path, "-f")[0] == 2
    assert path.read_bytes() == before


def test_the_array_that_cannot_be_stored_is_named(tmp_path, capsys):
    np.savez(tmp_path / "s.npz", words=np.array(["a", "b"]))
    status, _, err = run(capsys, "compress", tmp_path / "s.npz")
    assert status == 2
    assert "'words'" in err

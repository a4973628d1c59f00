"""Files as they are written, and converted from one envelope to the other."""

import numpy as np
import pytest

import cnnzip
from cnnzip.container import writer
from cnnzip.container.writer import convert, write_file
from tests import forge
from tests.hostile.goldens import GOOD
from tests.make_goldens import Tensor
from tests.spec.readers import read_by_library, read_by_reference


def tensor(name, array, codec="auto"):
    return Tensor(name, cnnzip.encode(array, codec))


BIG = np.arange(2000, dtype=np.float32).reshape(40, 50) % 5
SMALL = np.arange(6, dtype=np.int16)


def write(path, tensors, aliases=(), metadata=(), envelope="cnnz", **how):
    how = {"verify": True, "durable": False} | how
    return write_file(path, tensors, dict(aliases), dict(metadata), envelope=envelope, **how)


@pytest.mark.parametrize("envelope", ["cnnz", "safetensors"])
def test_both_readers_read_what_is_written(tmp_path, envelope):
    path = tmp_path / "file"
    done = []
    tensors = [tensor("a", SMALL), tensor("b", BIG), tensor("c", SMALL), tensor("d", BIG.T)]
    aliases = {"tied.b": "b", "tied.c": "c"}
    n_bytes = write(path, tensors, aliases, {"x": "y"}, envelope, done=done.append)
    data = path.read_bytes()
    assert n_bytes == len(data)
    assert [t.name for t in done] == ["b", "d"]
    found = read_by_library(data)
    assert found == read_by_reference(data)
    decoded, order, found_aliases, metadata = found
    assert order == ["a", "b", "c", "d", "tied.b", "tied.c"]
    assert (found_aliases, metadata) == (aliases, {"x": "y"})
    assert decoded["tied.b"][2] == BIG.tobytes()


def test_small_tensors_share_a_frame_but_for_the_largest_of_all(tmp_path):
    path = tmp_path / "file"
    write(path, [tensor("a", SMALL), tensor("b", SMALL.astype(np.int64)), tensor("c", SMALL)])
    with cnnzip.open(path) as file:
        assert [file.is_packed(name) for name in file] == [True, False, True]
    write(path, [tensor(name, SMALL) for name in "abc"])
    with cnnzip.open(path) as file:
        assert [file.is_packed(name) for name in file] == [False, True, True]
    write(path, [tensor("a", np.zeros(1023, np.uint8)), tensor("b", np.zeros(1024, np.uint8))])
    with cnnzip.open(path) as file:
        assert [file.is_packed(name) for name in file] == [True, False]


def test_a_file_may_hold_nothing(tmp_path):
    for envelope in ("cnnz", "safetensors"):
        write(tmp_path / "file", [], envelope=envelope)
        assert read_by_library((tmp_path / "file").read_bytes()) == ({}, [], {}, {})


def test_blobs_are_stored_plainly_where_they_would_compress_too_well(tmp_path):
    path = tmp_path / "file"
    n = 6000
    tensors = [tensor("w", BIG)]
    aliases = {f"w.{i:05d}": "w" for i in range(n)}
    write(path, tensors, aliases)
    assert len(aliases) + 1 <= path.stat().st_size // 8 + 4096
    with cnnzip.open(path) as file:
        assert len(file) == n + 1


def test_more_names_than_bytes_can_vouch_for_are_refused(tmp_path):
    aliases = {f"{i:x}": "w" for i in range(60_000)}
    with pytest.raises(cnnzip.ArgumentError, match="ENV-6"):
        write(tmp_path / "file", [tensor("w", BIG[:1])], aliases)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "aliases", "clause"),
    [
        (["a", "a"], {}, "ENV-4"),
        (["a"], {"a": "a"}, "ENV-4"),
        ([""], {}, "ENV-4"),
        (["a"], {"\n": "a"}, "ENV-4"),
        (["a"], {"b": "c"}, "ENV-3"),
    ],
)
def test_names_that_cannot_be_written(tmp_path, names, aliases, clause):
    with pytest.raises(cnnzip.ArgumentError, match=clause):
        write(tmp_path / "file", [tensor(name, SMALL) for name in names], aliases)
    assert not list(tmp_path.iterdir())


def test_the_number_of_tensors_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MAX_ITEMS", 2)
    write(tmp_path / "file", [tensor("a", SMALL)], {"b": "a"})
    with pytest.raises(cnnzip.ArgumentError, match="ENV-6"):
        write(tmp_path / "file", [tensor("a", SMALL)], {"b": "a", "c": "a"})


def test_what_does_not_read_back_is_not_put_in_place(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write(path, [tensor("a", SMALL)])
    before = path.read_bytes()
    monkeypatch.setattr(writer, "write_tail", lambda *_: bytes(20))
    with pytest.raises(cnnzip.FormatError):
        write(path, [tensor("b", BIG)])
    assert path.read_bytes() == before
    write(path, [tensor("b", BIG)], verify=False)
    assert path.read_bytes() != before


@pytest.mark.parametrize("name", GOOD)
def test_conversion_keeps_frames_and_returns(name, tmp_path):
    source, there, back = tmp_path / name, tmp_path / "there", tmp_path / "back"
    source.write_bytes(GOOD[name])
    with cnnzip.open(source) as file:
        frames = {n: file.frame(n) for n in file if not file.is_packed(n)}
        other = {"cnnz": "safetensors", "safetensors": "cnnz"}[file.envelope]
        convert(file, there, envelope=other, durable=False)
        with cnnzip.open(there) as found:
            assert found.envelope == other
            kept = [n for n in frames if not found.is_packed(n)]
            assert all(found.frame(n) == frames[n] for n in kept)
            convert(found, back, envelope=file.envelope, durable=False)
    first, second, third = (read_by_library(p.read_bytes()) for p in (source, there, back))
    assert second[0] == first[0]
    assert third == second
    assert (second[2], second[3]) == (first[2], first[3])
    if not name.startswith("forged"):
        assert back.read_bytes() == source.read_bytes()


def test_conversion_of_a_file_that_packs_all_but_a_smaller_tensor(tmp_path):
    own = forge.raw("uint8", [1], b"\7", name="w")
    pack = forge.pack([("b", "uint8", [5], bytes(range(5)))])
    data = forge.cnnz({"w": own}, pack, [forge.PACKED, forge.owned("w", len(own))])
    (tmp_path / "source").write_bytes(data)
    with cnnzip.open(tmp_path / "source") as file:
        convert(file, tmp_path / "target", envelope="safetensors")
    with cnnzip.open(tmp_path / "target") as file:
        assert [file.is_packed(name) for name in file] == [False, True]
        assert [file[name].decode().tolist() for name in file] == [[0, 1, 2, 3, 4], [7]]

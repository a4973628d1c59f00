"""`CodedFile`: a mapping from names to tensors, read when asked for."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cnnzip
from cnnzip.container import reader
from cnnzip.container.reader import CodedFile
from tests import forge

TENSORS = {
    "fc.weight": np.arange(600, dtype=np.float32).reshape(20, 30) % 7,
    "fc.bias": np.arange(20, dtype=np.float32),
    "step": np.array(3, np.int64),
    "mask": np.array([[True, False]]),
}


@pytest.fixture(params=["cnnz", "safetensors"])
def path(request, tmp_path):
    path = tmp_path / f"model.{request.param}"
    cnnzip.save(TENSORS, path, metadata={"a": "b"})
    return path


def test_file_is_a_mapping(path):
    with cnnzip.open(path) as file:
        assert list(file) == list(TENSORS)
        assert len(file) == 4
        assert "step" in file
        assert "other" not in file
        assert file.envelope == path.suffix[1:]
        assert file.file_bytes == path.stat().st_size
        assert file.metadata == {"a": "b"}
        assert file.aliases == {}
        for name, tensor in file.items():
            decoded = tensor.decode()
            assert decoded.dtype == TENSORS[name].dtype
            assert np.array_equal(decoded, TENSORS[name])
        assert repr(file).endswith(f"4 tensors, {file.file_bytes:,} bytes)")


def test_headers_say_codec_and_shape_without_decoding(path):
    with cnnzip.open(path) as file:
        assert file.header("fc.weight").shape.dims == (20, 30)
        assert file.header("fc.bias").codec == "pack"
        assert file.header("fc.bias").shape.dims == (20,)
        assert [name for name in file if file.is_packed(name)] == ["fc.bias", "step", "mask"]


def test_long_headers_are_read_again_in_full(tmp_path):
    path = tmp_path / "long.cnnz"
    dims = [1] * 16
    sections = [forge.planes([("uint8", b"\7")])] + [b""] * 15
    body = forge.frame(forge.RAW, "uint8", [(1 << 14) + 1, *dims[1:]], sections, optional=1 << 55)
    path.write_bytes(forge.cnnz({"w": body}))
    with cnnzip.open(path) as file:
        assert file.header("w").shape.n_weights == (1 << 14) + 1


def test_header_longer_than_the_first_read(tmp_path):
    path = tmp_path / "long.cnnz"
    sections = [forge.planes([("uint8", b"")])] + [bytes(1 << 7)] * 15
    dims = [0, *[1 << 3] * 15]
    frame = forge.frame(forge.RAW, "uint8", dims, sections, optional=1 << 55)
    short = forge.frame(forge.RAW, "uint8", dims, sections[:1])
    path.write_bytes(forge.cnnz({"w": frame}))
    asked = []
    with cnnzip.open(path) as file:
        read = file._read

        def first_gives_little(at, n_bytes):
            asked.append(n_bytes)
            return read(at, min(n_bytes, 40) if len(asked) == 1 else n_bytes)

        file._read = first_gives_little
        assert file.header("w").shape.dims == tuple(dims)
    assert len(asked) == 2
    assert len(short) < len(frame)


def test_frame_bytes_add_up(path):
    with cnnzip.open(path) as file:
        assert file.frame_bytes("fc.weight") == len(file.frame("fc.weight"))
        shares = [file.frame_bytes(name) for name in ("fc.bias", "step", "mask")]
        assert all(shares)
        pack = file.frame("step")
        assert sum(shares) == len(pack)
        assert pack[:3] == b"CZF"


def test_frames_are_readable_alone(path):
    with cnnzip.open(path) as file:
        tensor = cnnzip.CodedTensor.from_frame(file.frame("fc.weight"))
    assert np.array_equal(tensor.decode(), TENSORS["fc.weight"])


def test_verify_counts_tensors(path):
    with cnnzip.open(path) as file:
        assert file.verify() == 4
        assert file.verify(quick=True) == 4


def damaged(path, name):
    """The file with a changed byte in a tensor's frame, far from its header."""
    with cnnzip.open(path) as file:
        entry = file._entry(name)
    data = bytearray(path.read_bytes())
    data[entry.start + entry.n_bytes // 2 + 30] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("quick", [True, False])
def test_verify_finds_a_damaged_frame_and_says_which(path, quick):
    damaged(path, "fc.weight")
    with (
        cnnzip.open(path) as file,
        pytest.raises(cnnzip.ChecksumError, match=r"tensor 'fc\.weight'.*FRM-5"),
    ):
        file.verify(quick)


def test_pack_is_checked_when_the_file_is_opened(path):
    with cnnzip.open(path) as file:
        entry = file._entry("step")
    data = bytearray(path.read_bytes())
    data[entry.start + entry.n_bytes - 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(cnnzip.ChecksumError, match="pack"):
        cnnzip.open(path)


def test_aliases_are_the_same_tensor(tmp_path):
    path = tmp_path / "tied.cnnz"
    frame = forge.index_map("uint8", [2, 3], 0, [7], [], name="w")
    pack = forge.pack([("b", "uint8", [1], b"\1")])
    items = [forge.owned("w", len(frame)), forge.PACKED, forge.alias("v", 0), forge.alias("c", 1)]
    path.write_bytes(forge.cnnz({"w": frame}, pack, items))
    with cnnzip.open(path) as file:
        assert file.aliases == {"v": "w", "c": "b"}
        assert file.frame("v") == file.frame("w")
        assert file.header("v").shape == file.header("w").shape
        assert file["v"].decode().tolist() == file["w"].decode().tolist()
        assert file["c"].decode().tolist() == [1]
        assert file.verify() == 4
        assert file.verify(quick=True) == 4
        file.check_limits()


def test_a_file_that_shrinks_while_it_is_open_is_reported(path):
    with cnnzip.open(path) as file:
        start = file._entry("fc.weight").start
        os.truncate(path, start + 60)
        with pytest.raises(cnnzip.TruncatedError, match="ENV-1"):
            file["fc.weight"]
        os.truncate(path, start)
        with pytest.raises(cnnzip.TruncatedError, match="ENV-1"):
            file.frame("fc.weight")


def test_reads_that_give_less_than_asked_are_repeated(path, monkeypatch):
    really = os.pread
    monkeypatch.setattr(reader.os, "pread", lambda fd, n, at: really(fd, min(n, 7), at))
    with cnnzip.open(path) as file:
        assert np.array_equal(file["fc.weight"].decode(), TENSORS["fc.weight"])


def test_files_are_read_where_there_is_no_pread(path, monkeypatch):
    monkeypatch.delattr(reader.os, "pread")
    with cnnzip.open(path) as file:
        assert file.verify() == 4


def test_opening_leaves_no_descriptor_behind(path, tmp_path):
    bad = tmp_path / "bad"
    bad.write_bytes(path.read_bytes()[:-1])
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        with pytest.raises(cnnzip.TruncatedError):
            CodedFile(bad)
        with cnnzip.open(path) as file:
            file["step"]
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


def test_messages_name_the_file(tmp_path):
    path = tmp_path / "bad.cnnz"
    path.write_bytes(b"not a file of this kind at all, but long")
    with pytest.raises(cnnzip.FormatError, match=r"bad\.cnnz: "):
        cnnzip.open(path)
    with pytest.raises(FileNotFoundError):
        cnnzip.open(tmp_path / "absent")


def test_threads_read_one_file(path):
    with cnnzip.open(path) as file, ThreadPoolExecutor(8) as pool:
        names = list(TENSORS) * 50
        for name, found in zip(names, pool.map(lambda n: file[n].decode(), names), strict=True):
            assert np.array_equal(found, TENSORS[name])


def pack_file(pack):
    frame = forge.index_map("uint8", [2, 3], 0, [7], [], name="w")
    return forge.cnnz({"w": frame}, pack, [forge.owned("w", len(frame)), forge.PACKED])


@pytest.mark.parametrize(
    ("pack", "clause"),
    [
        (forge.pack([("b", "bool", [1], b"\2")]), "DTY-2"),
        (forge.frame(forge.PACK, "int8", [0], [forge.blob(b"\0"), b""], name=""), "PCK-1"),
        (forge.frame(forge.PACK, "uint8", [0], [forge.blob(b"\0")], name=""), "FRM-4"),
        (forge.frame(forge.PACK, "uint8", [0], [forge.blob(b"\0"), b"", b""], name=""), "FRM-4"),
        (forge.frame(forge.PACK, "uint8", [0], [b"\0"], name="", optional=1), "FRM-4"),
    ],
)
def test_packs_that_break_a_clause(tmp_path, pack, clause):
    path = tmp_path / "pack.cnnz"
    path.write_bytes(pack_file(pack))

    def read():
        with cnnzip.open(path) as file:
            file["b"]

    with pytest.raises(cnnzip.CorruptError, match=clause):
        read()


def test_packs_of_newer_versions_may_have_more_sections(tmp_path):
    path = tmp_path / "pack.cnnz"
    _, _, sections = forge.take_frame(forge.pack([("b", "uint8", [1], b"\5")]))
    sections = [*sections, b"new"]
    path.write_bytes(pack_file(forge.frame(forge.PACK, "uint8", [1], sections, "", optional=2)))
    with cnnzip.open(path) as file:
        assert file["b"].decode().tolist() == [5]

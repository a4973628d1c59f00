"""Replacing a file as a whole; see also tests/hostile/test_saving.py."""

import builtins
import errno
import importlib
import os

import pytest

from cnnzip.container import atomic
from cnnzip.container.atomic import SUFFIX, replacing

fcntl = pytest.importorskip("fcntl", reason="no locks here")


def replace(path, data=b"new", **how):
    with replacing(path, **how) as file:
        file.write(data)


def stale(path):
    """What a killed process leaves."""
    left = path.parent / f".{path.name}.x1y2{SUFFIX}"
    left.write_bytes(b"half")
    return left


def test_file_is_replaced_when_all_is_written(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        file.seek(0)
        assert file.read() == b"new"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_error_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        replace(path, "no bytes")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_stale_files_of_the_same_name_are_removed(tmp_path):
    path = tmp_path / "file"
    mine, other = stale(path), stale(tmp_path / "file2")
    replace(path)
    assert not mine.exists()
    assert other.exists()


def test_files_that_are_being_written_are_no_stale_ones(tmp_path):
    path = tmp_path / "file"
    with replacing(path) as first:
        first.write(b"first")
        replace(path, b"second")
        assert len(os.listdir(tmp_path)) == 2
    assert path.read_bytes() == b"first"


def test_a_temporary_taken_for_stale_is_made_again(tmp_path, monkeypatch):
    really, made = fcntl.flock, []

    def taken(descriptor, how):
        made.append(descriptor)
        if len(made) == 1:
            raise BlockingIOError(errno.EWOULDBLOCK, "locked by who removes it")
        if len(made) == 2:  # locked, but removed just before
            for name in os.listdir(tmp_path):
                os.unlink(tmp_path / name)
        return really(descriptor, how)

    monkeypatch.setattr(atomic.fcntl, "flock", taken)
    replace(tmp_path / "file")
    assert len(made) == 3
    assert (tmp_path / "file").read_bytes() == b"new"


def test_file_systems_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    left = stale(tmp_path / "file")
    replace(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert left.exists(), "without locks, nobody knows whether it is stale"


def test_systems_without_fcntl_and_folders_that_open(tmp_path, monkeypatch):
    really = builtins.__import__

    def absent(name, *arguments):
        if name == "fcntl":
            raise ImportError(name)
        return really(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", absent)
    importlib.reload(atomic)
    monkeypatch.undo()
    assert atomic.fcntl is None
    monkeypatch.delattr(os, "O_DIRECTORY")
    left = stale(tmp_path / "file")
    try:
        with atomic.replacing(tmp_path / "file") as file:
            file.write(b"new")
    finally:
        importlib.reload(atomic)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert left.exists()
    assert atomic.fcntl is fcntl


@pytest.mark.parametrize("durable", [True, False])
def test_bytes_are_forced_to_the_disk_if_asked(tmp_path, monkeypatch, durable):
    synced = []
    monkeypatch.setattr(atomic.os, "fsync", synced.append)
    replace(tmp_path / "file", durable=durable)
    assert len(synced) == (2 if durable else 0)


def test_folder_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError):
        replace(tmp_path / "absent" / "file")

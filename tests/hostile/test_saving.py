"""Saving finishes, or leaves what was there: targets T12, T14 to T16 and T18 of reliability.md."""

import errno
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading

import numpy as np
import pytest

import cnnzip
from cnnzip.container import atomic
from tests.hostile.saver import number_in, temporaries, weights

ROOT = pathlib.Path(__file__).parents[2]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and limits are POSIX's")


def saver(*arguments, before=()):
    command = [*before, sys.executable, "-m", "tests.hostile.saver", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def result(done):
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@POSIX
def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path):
    numbers, most, n_stale, left = result(saver("kill", tmp_path, 30))
    assert numbers == sorted(numbers), "a file went back to an older state"
    assert numbers[-1] > 0, "no save ever finished"
    assert n_stale > 0, "no kill met a save"
    assert most <= 1
    assert left == ["model.cnnz"], "the next save removes what a killed one left"


@POSIX
def test_a_process_killed_at_its_progress_bar_blocks_no_other(tmp_path):
    result(saver("locked", tmp_path))


@POSIX
@pytest.mark.parametrize("end", [".cnnz", ".safetensors"])
def test_a_full_disk_leaves_the_old_file(tmp_path, end):
    failures = result(saver("limit", tmp_path, end))
    assert len(failures) > 100
    assert all(failure == [errno.EFBIG, 0, []] for failure in failures)


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_failing_call_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "model.cnnz"
    cnnzip.save(weights(0), path)

    def fail(*_):
        raise OSError(errno.EIO, call)

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(OSError, match=call):
        cnnzip.save(weights(1), path)
    monkeypatch.undo()
    assert number_in(path) == 0
    assert not temporaries(tmp_path)


def test_a_failing_temporary_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.cnnz"
    cnnzip.save(weights(0), path)

    def fail(*_):
        raise OSError(errno.ENOSPC, "mkstemp")

    monkeypatch.setattr(tempfile, "mkstemp", fail)
    with pytest.raises(OSError, match="mkstemp"):
        cnnzip.save(weights(1), path)
    assert number_in(path) == 0


class Failing:
    """A file whose n-th write fails."""

    def __init__(self, file, n):
        self._file, self._left = file, n

    def write(self, data):
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.EIO, "write")
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self._file.__exit__(*error)


def test_every_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.cnnz"
    cnnzip.save(weights(0), path)
    really = os.fdopen
    n_failed = 0
    for n in range(20):
        monkeypatch.setattr(atomic.os, "fdopen", lambda *a, n=n: Failing(really(*a), n))
        try:
            cnnzip.save(weights(1), path, verify=False)
        except OSError:
            n_failed += 1
            assert number_in(path) == 0
            assert not temporaries(tmp_path)
        else:
            break
        finally:
            monkeypatch.undo()
    assert n_failed >= 4  # prefix, two frames, the rest
    assert number_in(path) == 1


@pytest.mark.parametrize("kind", [MemoryError, KeyboardInterrupt])
def test_any_other_end_leaves_the_old_file(tmp_path, monkeypatch, kind):
    path = tmp_path / "model.cnnz"
    cnnzip.save(weights(0), path)
    monkeypatch.setattr(
        "cnnzip.container.writer.write_tail", lambda *_: (_ for _ in ()).throw(kind)
    )
    with pytest.raises(kind):
        cnnzip.save(weights(1), path)
    assert number_in(path) == 0
    assert not temporaries(tmp_path)


def test_a_tensor_that_does_not_decode_to_itself_is_not_saved(tmp_path, monkeypatch):
    path = tmp_path / "model.cnnz"
    cnnzip.save(weights(0), path)
    monkeypatch.setattr("cnnzip.codecs.raw.encode_planes", lambda tensors: bytes(500_001))
    with pytest.raises(cnnzip.CnnzipError):
        cnnzip.save(weights(1), path, codec="raw")
    monkeypatch.undo()
    assert number_in(path) == 0
    assert not temporaries(tmp_path)


def calls(text, target):
    """Which of the calls that matter a trace shows, in order."""
    found = []
    for line in text.splitlines():
        if re.search(r"\brename(at2?)?\(", line) and target in line:
            found.append("rename")
        elif "fsync(" in line:
            found.append("fsync")
    return found


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_bytes_reach_the_disk_before_the_name_does(tmp_path):
    trace = tmp_path / "trace"
    kinds = "trace=fsync,fdatasync,rename,renameat,renameat2"
    strace = ["strace", "-f", "-y", "-o", str(trace), "-e", kinds]
    done = saver("save", tmp_path, before=strace)
    if "ptrace" in done.stderr:
        pytest.skip("no process may be traced here")
    assert done.returncode == 0, done.stderr
    text = trace.read_text()
    assert calls(text, "model.cnnz") == ["fsync", "rename", "fsync"]
    synced = re.findall(r"fsync\(\d+<([^>]*)>", text)
    assert synced[0].endswith(".cnnzip-tmp")
    assert synced[1] == str(tmp_path)
    done = saver("save-fast", tmp_path, before=strace)
    assert calls(trace.read_text(), "model.cnnz") == ["rename"]


def test_calls_are_made_in_order(tmp_path, monkeypatch):
    made = []

    def record(name):
        really = getattr(os, name)

        def call(*arguments):
            made.append(name)
            return really(*arguments)

        monkeypatch.setattr(atomic.os, name, call)

    for name in ("fsync", "replace"):
        record(name)
    cnnzip.save(weights(0), tmp_path / "a.cnnz")
    assert made == ["fsync", "replace", "fsync"]
    made.clear()
    cnnzip.save(weights(0), tmp_path / "a.cnnz", durable=False)
    assert made == ["replace"]


@POSIX
def test_permissions_are_kept_and_new_files_get_the_usual_ones(tmp_path):
    path = tmp_path / "model.cnnz"
    mask = os.umask(0o027)
    try:
        cnnzip.save(weights(0), path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        cnnzip.save(weights(1), path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@POSIX
def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    path, link = tmp_path / "there" / "model.cnnz", tmp_path / "here" / "link.cnnz"
    link.symlink_to(path)
    for number in (0, 1):
        cnnzip.save(weights(number), link)
        assert link.is_symlink()
        assert number_in(path) == number
    assert os.listdir(tmp_path / "here") == ["link.cnnz"]


@pytest.mark.parametrize("end", [".cnnz", ".safetensors"])
def test_saving_onto_the_file_that_is_open(tmp_path, end):
    path = tmp_path / f"model{end}"
    cnnzip.save(weights(3) | {"bias": np.arange(3.0)}, path, metadata={"a": "b"})
    with cnnzip.open(path) as file:
        cnnzip.save(file, path)
        cnnzip.save({"more": np.ones(3), **file}, path)
        assert file["bias"].decode().tolist() == [0, 1, 2], "the open file stays what it was"
    with cnnzip.open(path) as file:
        assert np.array_equal(file["noise"].decode(), weights(3)["noise"])
        assert file["bias"].decode().tolist() == [0, 1, 2]
    assert number_in(path) == 3


@POSIX
def test_readers_see_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "model.cnnz"

    def small(number):
        return {"a": np.full((40, 40), number, np.int32), "b": np.full((3, 3), number, np.int32)}

    cnnzip.save(small(0), path, durable=False)
    finished, seen, faults = threading.Event(), [], []

    def read():
        while not finished.is_set():
            try:
                with cnnzip.open(path) as file:
                    a, b = file["a"].decode(), file["b"].decode()
                    seen.append(int(a[0, 0]))
                    if not (np.all(a == a[0, 0]) and np.all(b == a[0, 0])):
                        faults.append("a mix of two files")
            except Exception as error:  # noqa: BLE001 - of another thread
                faults.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 201):
        cnnzip.save(small(number), path, durable=False)
    finished.set()
    reader.join()
    assert not faults
    assert seen == sorted(seen)
    assert len(set(seen)) > 5

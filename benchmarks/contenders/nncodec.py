"""NNCodec, the coder of ISO/IEC 15938-17 (DeepCABAC), in an environment of its own.

It gets integers, which it codes without loss: the rank of each value, negative below zero. It cannot
keep a codebook of floats, so 4 bytes for each value but zero are added to its stream.
"""

import atexit
import io
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..matrices.base import Case
from ._symbols import Packed
from .base import Parts

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".cache/nncodec-venv/bin/python"
WORKER = Path(__file__).with_name("_nncodec_worker.py")
VERSION = "2.1.3"  # as the Makefile installs it


class NNCodec(Packed):
    """Arithmetic coding with adaptive contexts of neighbouring weights."""

    name = "NNCodec"
    family = "entropy coder"
    setting = f"nncodec {VERSION}, tensor.encode of int32 ranks, default settings"

    def missing(self) -> str | None:
        return None if PYTHON.exists() else "make bench-nncodec-env"

    def refuses(self, case: Case) -> str | None:
        return None if case.weight.size else "NNCodec divides by the number of weights"

    def encode(self, case: Case) -> Parts:
        stream = _worker().ask(b"e", _ranks(case).reshape(case.shape))
        return {"codebook": case.codebook, "stream": stream}

    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        codebook = parts["codebook"]
        ranks = _worker().ask(b"d", parts["stream"])
        places = _zero_rank(codebook)
        values = np.insert(codebook, places, np.float32(0))
        return values[ranks + places]


class NNCodecBest(NNCodec):
    """NNCodec, row by row or column by column, whichever is smaller; a byte says which."""

    name = "NNCodec, best scan"
    setting = f"{NNCodec.setting}; the matrix as it is and transposed"

    def encode(self, case: Case) -> Parts:
        ranks = _ranks(case)
        scans = (ranks.reshape(case.shape), np.ascontiguousarray(ranks.T))
        streams = [_worker().ask(b"e", scan) for scan in scans]
        best = int(np.argmin([stream.size for stream in streams]))
        scan = np.array([best], np.uint8)
        return {"codebook": case.codebook, "stream": streams[best], "scan": scan}

    def unpack(self, parts: Parts, shape: tuple[int, ...]) -> NDArray[np.float32]:
        rest = {name: parts[name] for name in ("codebook", "stream")}
        if not parts["scan"][0]:
            return super().unpack(rest, shape)
        return np.ascontiguousarray(super().unpack(rest, shape[::-1]).T)


def _ranks(case: Case) -> NDArray[np.int32]:
    """Of each weight of `case.matrix`, the rank of its value; negative below zero."""
    ranks = case.symbols - _zero_rank(case.codebook)
    # Symbols count from 1 below zero, and zero is 0: between them, ranks go up by one.
    return np.where(case.symbols == 0, 0, ranks - (ranks <= 0)).astype(np.int32)


def _zero_rank(codebook: NDArray[np.float32]) -> int:
    """How many values are below zero."""
    return int(np.count_nonzero(codebook < 0))


class _Worker:
    """The process, kept for all calls: it takes seconds to start."""

    def __init__(self) -> None:
        self._files = ExitStack()
        folder = self._files.enter_context(tempfile.TemporaryDirectory())
        self._log = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  it is one
        self._process = subprocess.Popen(
            [PYTHON, "-I", WORKER],  # without -I, this folder's nncodec.py would be imported
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, kind: bytes, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Have an array encoded ("e") or a stream decoded ("d"). Protocol: _nncodec_worker.py."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        try:
            self._process.stdin.write(kind + file.tell().to_bytes(8, "little"))
            self._process.stdin.write(file.getbuffer())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(f"NNCodec's process has ended: {self._last_words()}") from None
        head = self._process.stdout.read(9)
        if len(head) < 9:
            raise RuntimeError(f"NNCodec's process has ended: {self._last_words()}")
        answer = self._process.stdout.read(int.from_bytes(head[1:], "little"))
        if head[:1] != b"k":
            raise RuntimeError(f"NNCodec: {answer.decode()}")
        return np.load(io.BytesIO(answer), allow_pickle=False)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._files.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line[:200] for line in reversed(lines) if line), "no message")


_running: list[_Worker] = []


def _worker() -> _Worker:
    if not _running or not _running[0].alive:
        _close()
        _running.append(_Worker())
    return _running[0]


@atexit.register
def _close() -> None:
    while _running:
        _running.pop().close()

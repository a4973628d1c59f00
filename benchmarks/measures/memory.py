"""Peak memory of a fresh process that loads a stored matrix and multiplies with it once.

`python -m benchmarks.measures.memory CONTENDER FILE.npz ROWS COLUMNS` prints the bytes above what
the process held before, libraries and compiled kernels included there: a small matrix goes the same
way first. Needs Linux, whose /proc keeps the peak.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from ..matrices.base import Case
from ..results import TimeRow
from .stored import StoredCase

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def measure(stored: StoredCase) -> list[TimeRow]:
    """A row "peak memory" for each contender that multiplies; none where there is no /proc."""
    if not CLEAR.exists():
        return []
    rows = []
    package = __package__ or "benchmarks.measures"
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    with tempfile.TemporaryDirectory() as folder:
        for contender in stored.multiplying:
            file = Path(folder, "parts.npz")
            np.savez(file, **stored.parts(contender))
            shape = map(str, stored.case.matrix.shape)
            command = [sys.executable, "-m", f"{package}.memory", contender.name, str(file), *shape]
            environment = {**os.environ, "PYTHONPATH": path}
            done = subprocess.run(
                command, check=False, env=environment, stdout=subprocess.PIPE, text=True
            )
            if done.returncode:
                stored.drop(contender, "fails in a fresh process")
                continue
            peak, name = float(done.stdout), contender.name
            rows.append(TimeRow(stored.case.name, name, "peak memory", 0, 1, "", 1, peak, peak))
    return rows


def peak_bytes(name: str, path: Path, shape: tuple[int, int]) -> int:
    """Load, multiply once, and give the peak above what was held before."""
    from ..contenders import CONTENDERS
    from .products import threads

    contender = CONTENDERS[name]
    small = Case("", "", "", lambda: np.eye(64, dtype=np.float32))
    with threads(1):
        contender.open(contender.encode(small), small.shape).multiply(np.ones(64, np.float32))
        CLEAR.write_text("5")  # the peak starts from here
        before = _resident("VmRSS")
        with np.load(path) as parts:
            matrix = contender.open(dict(parts), shape)
        matrix.multiply(np.ones(shape[1], np.float32))
        return _resident("VmHWM") - before


def _resident(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(peak_bytes(sys.argv[1], Path(sys.argv[2]), (int(sys.argv[3]), int(sys.argv[4]))))

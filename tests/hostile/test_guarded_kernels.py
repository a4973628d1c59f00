"""Kernels past the parser: targets T5 and T6."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numba
import pytest

ROOT = pathlib.Path(__file__).parents[2]
N_CASES = int(os.environ.get("CNNZIP_FUZZ", "20000")) // 10

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="mmap's flags are Linux's"),
    pytest.mark.skipif(numba.config.DISABLE_JIT, reason="Python reads no memory unchecked"),
]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tests.hostile.guarded_kernels", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_kernels_stay_inside_their_arrays_and_return_a_status():
    done = run(N_CASES, 1)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert all(sum(found.values()) == N_CASES for found in counts.values())
    for name in (
        "decode_banded",
        "decode_banded_lanes",
        "decode_symbols",
        "decode_ham",
        "decode_places",
        "unpack_indices",
        "check_tokens",
        "encode_mixed",
    ):
        assert len(counts[name]) > 1, f"{name} never refuses, or never succeeds"


@pytest.mark.skipif(
    os.environ.get("NUMBA_BOUNDSCHECK") == "1", reason="an IndexError comes before the signal"
)
def test_the_guard_catches_a_read_of_one_byte_too_many():
    assert run(1, 1, "guard").returncode == -signal.SIGSEGV

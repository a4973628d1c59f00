"""Files damaged by accident: every bit, every length. Targets T1 and T2."""

import os

import pytest

from cnnzip import CnnzipError, TruncatedError
from tests.hostile.goldens import SMALL, read


@pytest.mark.parametrize("name", SMALL)
def test_every_bit_flip_is_reported(name, tmp_path):
    data, path = SMALL[name], tmp_path / "file"
    path.write_bytes(data)
    silent = []
    with open(path, "r+b", buffering=0) as file:
        for at, byte in enumerate(data):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), at)
                try:
                    read(path)
                except CnnzipError:
                    continue
                silent.append((at, bit))
            os.pwrite(file.fileno(), bytes([byte]), at)
    assert not silent
    read(path)


@pytest.mark.parametrize("name", SMALL)
def test_every_truncation_is_reported(name, tmp_path):
    data, path = SMALL[name], tmp_path / "file"
    path.write_bytes(data)
    for n in reversed(range(len(data))):
        os.truncate(path, n)
        with pytest.raises(TruncatedError):
            read(path)


@pytest.mark.parametrize("name", SMALL)
def test_bytes_that_follow_are_reported(name, tmp_path):
    data, path = SMALL[name], tmp_path / "file"
    path.write_bytes(data)
    numbers = [*range(1, 65), 128, 256, 512, 1024, 2048, 4096]
    for extra in (bytes(4096), data * (4096 // len(data) + 1)):
        with open(path, "r+b", buffering=0) as file:
            for n in numbers:
                os.truncate(file.fileno(), len(data))
                os.pwrite(file.fileno(), extra[:n], len(data))
                with pytest.raises(CnnzipError):
                    read(path)

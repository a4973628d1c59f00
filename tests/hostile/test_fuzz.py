"""A bounded run of fuzz.py: targets T3, T4 and T31."""

import os

import pytest

from tests.hostile import fuzz

N_CASES = int(os.environ.get("CNNZIP_FUZZ", "20000"))


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_are_refused_or_read(seed):
    n_refused, _ = fuzz.run(N_CASES // 4, seed)
    assert n_refused < N_CASES // 4, "no case is ever read: the mutations go too far"

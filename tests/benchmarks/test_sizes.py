"""benchmarks/sizes.csv holds what the codecs and rivals take today."""

import pytest

from benchmarks.contenders import CONTENDERS
from benchmarks.grid import plan
from benchmarks.measures.stored import StoredCase
from benchmarks.results import SIZES, SizeRow, read

RECORDED = {(row.case, row.contender): row for row in read(SIZES, SizeRow)}
#: Compressors and entropy coders are other people's: their next version may take other sizes.
FAMILIES = ("cnnzip", "dense", "sparse", "indices", "paper")
CASES = {
    case.name: case
    for group in ("tiny", "tiny-k", "tiny-shapes")
    for case, _ in plan("quick", [group]).cases
}


@pytest.mark.parametrize("name", CASES)
def test_sizes_are_those_recorded(name):
    ours = [contender for contender in CONTENDERS.values() if contender.family in FAMILIES]
    stored = StoredCase(CASES[name], ours, {}, float("inf"))
    found = {c.name: round(c.size(stored.case, stored.parts(c)).bits) for c in stored.contenders}
    recorded = {contender: RECORDED[name, contender].bits for contender in found}
    assert found == recorded, "if this is meant: python -m benchmarks --full --record"
    assert not stored.faults


def test_our_frames_are_recorded_within_their_bounds():
    ours = [row for row in RECORDED.values() if row.family == "cnnzip"]
    assert len(ours) > 100
    assert all(row.bound_bits is None or row.bits <= row.bound_bits for row in ours)

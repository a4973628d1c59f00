"""Times to encode, to decode, and from the stored bytes to the first product."""

import numpy as np
from numpy.typing import NDArray

from ..contenders.base import PAPER, Contender
from ..results import TimeRow
from .stored import StoredCase, anew
from .timing import Call, in_turn


def measure(stored: StoredCase, rounds: int, budget: float) -> list[TimeRow]:
    """Rows "encode", "decode" and "first use", on one thread. Kernels are compiled already.

    Who takes more than a twentieth of the budget for encoding has done it once, and that is its time.
    """
    case, real = stored.case, [c for c in stored.contenders if c.family != PAPER]
    x = np.ones(case.matrix.shape[1], np.float32)

    def first_use(contender: Contender) -> NDArray[np.float32]:
        return contender.open(stored.parts(contender), case.shape).multiply(x)

    once = {
        c.name: stored.seconds(c) for c in real
    }  # some take a thousand times longer than others
    slow = {name for name in once if once[name] > budget / 20}
    calls: dict[str, dict[str, Call]] = {
        "encode": {c.name: lambda c=c: c.encode(anew(case)) for c in real if c.name not in slow},
        "decode": {c.name: lambda c=c: stored.open(c).decode() for c in real},
        "first use": {c.name: lambda c=c: first_use(c) for c in stored.multiplying},
    }
    rows = []
    for name, of_all in calls.items():
        times = in_turn(of_all, rounds, budget)
        if name == "encode":
            times |= {c: np.array([once[c]]) for c in slow}
        rows += [
            TimeRow(case.name, c, name, 0, 1, "hot", t.size, float(t.min()), float(np.median(t)))
            for c, t in times.items()
        ]
    return rows

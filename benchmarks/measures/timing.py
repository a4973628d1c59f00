"""Times of rivals taken in turn, round by round, so that noise falls on all alike."""

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], object]
Times = dict[str, NDArray[np.float64]]


class Flush:
    """Overwrites more memory than the caches hold, so that the next call finds them cold."""

    def __init__(self, cache_bytes: int) -> None:
        n_bytes = min(2 * cache_bytes, 1 << 30)
        self._buffer = np.zeros(n_bytes // 8, np.int64)

    def __call__(self) -> None:
        self._buffer += 1


def seconds(call: Call) -> float:
    """Time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(
    calls: Mapping[str, Call],
    rounds: int,
    budget: float,
    before: Call = lambda: None,
) -> Times:
    """Time every call once a round, after a round that is not counted.

    Parameters
    ----------
    rounds : at most so many
    budget : seconds for all rounds together; three are done in any case
    before : called, untimed, before every timed call

    Returns
    -------
    float64 (rounds,) of seconds, by name
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()
    for n_done in range(rounds + 1):
        if n_done > 3 and time.perf_counter() - start > budget:
            break
        for name, call in calls.items():
            before()
            found[name].append(seconds(call))
    return {name: np.array(times[1:]) for name, times in found.items()}

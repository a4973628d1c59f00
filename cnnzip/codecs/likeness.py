"""Orders that put like things side by side."""

import numpy as np
from numpy.typing import NDArray


def chain(likeness: NDArray[np.float32], first: int, memory: float = 0.0) -> NDArray[np.intp]:
    """An order in which each is followed by the one most like it of those that are left.

    Parameters
    ----------
    likeness : float32 (n, n)
        From -2 to 2.
    first : int
    memory : float
        How much likeness to the last but one counts.
    """
    taken = np.zeros(len(likeness), np.float32)
    order = [first]
    for _ in range(len(likeness) - 1):
        here = order[-1]
        taken[here] = 8
        wanted = likeness[here] - taken
        if memory and len(order) > 1:
            wanted += np.float32(memory) * likeness[order[-2]]
        order.append(int(np.argmax(wanted)))
    return np.array(order, np.intp)

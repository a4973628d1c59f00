"""Tables of MXG-1 to MXG-3."""

import numpy as np

LIMIT = 2559  # of a sum of predictions, in 1/256 (MXG-2)
MAX_COUNT = 1020  # of a counter (MXG-1)
#: 65536 / (1 + exp(-d / 2)) for d from -20 to 20, rounded (MXG-2).
SQUASHED = (
    3, 5, 8, 13, 22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625,
    24743, 32768, 40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269,
    65374, 65438, 65476, 65500, 65514, 65523, 65528, 65531, 65533,
)  # fmt: skip


def _squash_table() -> np.ndarray:
    d = np.arange(-LIMIT, LIMIT + 1) + 2560
    knots = np.array(SQUASHED, np.int64)
    low, part = d >> 7, d & 127
    return ((knots[low] * (128 - part) + knots[low + 1] * part + 64) >> 7).astype(np.int32)


def _stretch_table() -> np.ndarray:
    found = np.searchsorted(SQUASH, 16 * np.arange(4096) + 8) - LIMIT
    return np.clip(found, -LIMIT, LIMIT).astype(np.int32)


#: Probability of a sum from -LIMIT to LIMIT, in 1/65536; int32 (2 * LIMIT + 1,).
SQUASH = _squash_table()
#: The sum that gives a probability, known to 12 bits; int32 (4096,).
STRETCH = _stretch_table()
#: What a counter learns from one more decision after n, in 1/65536; int32 (MAX_COUNT + 1,).
RATES = ((10 * 65536) // (10 * np.arange(MAX_COUNT + 1) + 16)).astype(np.int32)

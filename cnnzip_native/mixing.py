"""Binary decisions, predicted by several counters at once and coded by a range coder (MXG).

All arithmetic is on integers; weights of mixers wrap at 2**32. Source: Mahoney, "Adaptive weighing
of context models for lossless data compression" (2005); Martin, "Range encoding" (1979).
"""

import numpy as np

from cnnzip_native._jit import inlined, kernel
from cnnzip_native._mixing_tables import LIMIT, MAX_COUNT, RATES, STRETCH

ONE = (1 << 22) - 1  # a counter's probability of 1, at most
HALF_CHANCE = 1 << 31  # a counter that has seen nothing
BIAS = 256  # the last input of every mixer

_U16 = np.uint64(16)
_U32 = np.uint64(32)
_TOP = np.uint64(1 << 32)
_WHOLE = np.uint64(0xFFFFFFFFFFFFFFFF)
_CARRIED = np.uint32(0xFFFFFFFF)


@inlined
def moved(counter, bit):
    """A counter that has seen one more decision. Source: MXG-1."""
    n = counter & np.uint32(1023)
    p = np.int64(counter >> np.uint32(10))
    p += (((-bit & ONE) - p) * np.int64(RATES[n])) >> 16
    n += np.uint32(n < np.uint32(MAX_COUNT))
    return (np.uint32(p) << np.uint32(10)) | n


@inlined
def clipped(x, low, high):
    """The number nearest to x from low to high. Source: MXG-2."""
    return min(max(x, low), high)


@inlined
def line_start(lines, r, n_lines, inner_lines, outer_step, inner_step):
    """Weights before the line that is taken as number r. Source: MIX-2.

    Parameters
    ----------
    lines : int64 (n_lines,) or (1,)
        Numbers of the lines, or where there is only one, that of the first.
    inner_lines, outer_step, inner_step : int
        Line i begins at weight (i // inner_lines) * outer_step + (i % inner_lines) * inner_step.
    """
    line = lines[r] if lines.size == n_lines else lines[0] + r
    return (line // inner_lines) * outer_step + (line % inner_lines) * inner_step


@inlined
def begin(decoding, words):
    """Low, span and words read of `code_bit`, as a stream starts. Source: MXG-5."""
    low, at = np.uint64(0), 0
    if decoding:
        for _ in range(2):
            low <<= _U32
            if at < words.size:
                low |= np.uint64(words[at])
            at += 1
    return low, _WHOLE, at


@inlined
def code_bit(decoding, bit, p, low, span, words, at):
    """Code one decision, or find it; p is the probability of 1 in 1/65536.

    Parameters
    ----------
    low, span : uint64
        Where the interval starts and how long it is; in decoding, `low` is where the coded number
        lies in it.
    words : uint32
        Coded, 32 bits a word; in decoding, zeros follow the last.
    at : int
        Words written or read.

    Returns
    -------
    bit, low, span, at

    Source: MXG-5.
    """
    bound = (span >> _U16) * np.uint64(p)
    if decoding:
        bit = 1 if low < bound else 0
    if bit:
        span = bound
    else:
        span -= bound
        if decoding:
            low -= bound
        else:
            low += bound
            if low < bound:
                carry(words, at)
    if span < _TOP:
        span <<= _U32
        if decoding:
            low <<= _U32
            if at < words.size:
                low |= np.uint64(words[at])
        else:
            words[at] = np.uint32(low >> _U32)
            low <<= _U32
        at += 1
    return bit, low, span, at


# Inputs are arguments, not arrays: what was just stored one by one is slow to load side by side.


@inlined
def stretched(counter):
    """A counter's prediction. Source: MXG-3."""
    return np.int64(STRETCH[counter >> np.uint32(20)])


@inlined
def bias(weights, start):
    """What the last weight adds to a mixer's sum; it is kept first. Source: MXG-4."""
    return np.int64(BIAS) * weights[start]


@inlined
def weighed(weights, start, s0, s1, s2, s3):
    """What four inputs add to a mixer's sum. Source: MXG-4."""
    return (
        s0 * weights[start]
        + s1 * weights[start + 1]
        + s2 * weights[start + 2]
        + s3 * weights[start + 3]
    )


@inlined
def closed(total):
    """A mixer's sum of what was added. Source: MXG-4."""
    return clipped(total >> 16, -LIMIT, LIMIT)


@inlined
def learn_bias(weights, start, missed, shift):
    """Let the last weight learn from an error. Source: MXG-4."""
    weights[start] += np.int32((BIAS * missed + (1 << (shift - 1))) >> shift)


@inlined
def learn(weights, start, missed, shift, s0, s1, s2, s3):
    """Let the weights of four inputs learn from an error. Source: MXG-4."""
    half = 1 << (shift - 1)
    weights[start] += np.int32((s0 * missed + half) >> shift)
    weights[start + 1] += np.int32((s1 * missed + half) >> shift)
    weights[start + 2] += np.int32((s2 * missed + half) >> shift)
    weights[start + 3] += np.int32((s3 * missed + half) >> shift)


@kernel
def carry(words, at):
    """Add 1 to the number that the first `at` words make; it is below all ones.

    Source: MXG-5.
    """
    i = at - 1
    while words[i] == _CARRIED:
        words[i] = np.uint32(0)
        i -= 1
    words[i] += np.uint32(1)


@kernel
def finish(words, at, low, span):
    """Write the shortest number inside the last interval. Returns its bytes.

    `words` has room for two more.

    Source: MXG-5.
    """
    z = low
    for n_bytes in range(9):
        rest = np.uint64(0)
        if n_bytes < 8:
            rest = _WHOLE >> np.uint64(8 * n_bytes)
        z = (low + rest) & ~rest
        if z - low < span:
            break
    if z < low:
        carry(words, at)
    words[at] = np.uint32(z >> _U32)
    words[at + 1] = np.uint32(z & np.uint64(0xFFFFFFFF))
    n_bytes = 4 * at + 8
    while n_bytes > 0:
        word = words[(n_bytes - 1) >> 2]
        if (word >> np.uint32(8 * (3 - ((n_bytes - 1) & 3)))) & np.uint32(255):
            break
        n_bytes -= 1
    return n_bytes

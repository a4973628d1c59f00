"""Heads of floats, each predicted from those around it (FLM)."""

import numpy as np

from cnnzip_native._jit import inlined, kernel
from cnnzip_native._mixing_tables import LIMIT, RATES, SQUASH
from cnnzip_native.mixing import (
    begin,
    bias,
    clipped,
    closed,
    code_bit,
    finish,
    learn,
    learn_bias,
    line_start,
    moved,
    stretched,
    weighed,
)

FAR = 14  # class of an exponent that is not one of the 14 usual ones (FLM-4)
ZERO = 15  # class of a head of 0
UNIT_BITS = 16  # of 1, in a value (FLM-5)
MOST = (1 << (UNIT_BITS + 1)) - 1
LEAST_ENERGY = 1 << 14
STEP_BITS = 24
MIXED_DIGITS = 3  # of a mantissa (FLM-9)
MEAN_BITS = 12
LINE_LIMIT, ALL_LIMIT = 250, 1000  # of what means have seen
STRIDE = 5  # weights of a mixer of 4 inputs
EXPONENT_SHIFT, OTHER_SHIFT = 16, 15

# Where the tables of the exponent begin, in numbers of 16 counters each (FLM-7) ...
OF_PLACE = 0
OF_BOTH = OF_PLACE + 256
NEIGHBOURS = OF_BOTH + 512
FORETOLD = NEIGHBOURS + 256
EXPONENT_END = FORETOLD + 256
# ... of the sign, in counters (FLM-8) ...
SIGN_FORETOLD = 0
SIGN_NEIGHBOURS = SIGN_FORETOLD + 64
SIGN_END = SIGN_NEIGHBOURS + 1024
# ... and of the mantissa, in numbers of 8 counters (FLM-9).
BY_MEANS = 0
BY_FORETOLD = BY_MEANS + 32 * 16
MANTISSA_END = BY_FORETOLD + 48 * 16


@inlined
def drawn(mean, level, n):
    """A mean that has seen one more class, after n. Source: FLM-6."""
    return mean + ((((level << MEAN_BITS) - mean) * np.int64(RATES[n])) >> 16)


@inlined
def grown(weight, step, near, rate):
    """A weight of the prediction after one more value. Source: FLM-5."""
    return np.int64(np.int32(weight + ((near * step) >> (STEP_BITS - rate))))


@kernel
def code_heads(
    decoding, heads, plain, column, exponent_bits, mantissa_bits, top, rate, lines, n_lines,
    inner_lines, outer_step, inner_step, place_at, words, levels, far, signs, digits, deep, by_node, of_sign, by_digit, values, classes, means,
):  # fmt: skip
    """Code the heads of consecutive lines, or decode them.

    Parameters
    ----------
    decoding : bool
    heads : uint8 or uint16 (n_weights, n_columns)
        All weights of the tensor, of which `column` holds heads. Not read in decoding.
    plain : as heads, written in decoding
    column : int
    exponent_bits, mantissa_bits : int
        Of a head; with one for the sign they fill it.
    top : int
        The largest of the 14 usual exponents.
    rate : int
        How fast the prediction learns, 0 to 15.
    lines, n_lines, inner_lines, outer_step, inner_step
        Of how many lines, and as of `line_start`.
    place_at : int64 (width,)
        Weights between the start of a line and a place's.
    words : uint32
        Written, or in decoding read.
    levels, far, signs, digits, deep : uint32
        Counters of the class, of an exponent that is far, of the sign, of the mantissa's first
        digits and of the others: as many as the tables and nodes of FLM-4 to FLM-9, as they start.
    by_node, of_sign, by_digit : int32
        Mixers' weights, `STRIDE` each, as they start.
    values : int64 (4, width), zeros
        Of the last lines.
    classes : int64 (width,), all ZERO
        Of the last line.
    means : int64 (width,)
        Of the classes of places.

    Returns
    -------
    n : int
        In coding, the stream's bytes, or -1 where `words` has no room for them. In decoding, the
        words that were read.

    Trusts
    ------
    Lines and places number weights, and arrays are as long as this says: the codec makes both. What is decoded is only
    ever bits of a head; numbers of contexts are made to fit.

    Source: FLM-4 to FLM-9, MXG-5.
    """
    width = place_at.size
    exponents = np.int64((1 << exponent_bits) - 1)
    n_mixed = min(mantissa_bits, MIXED_DIGITS)
    mean, n_seen = np.int64(8 << MEAN_BITS), 0
    f0 = f1 = f2 = f3 = f4 = f5 = np.int64(0)  # weights of the prediction

    low, span, at = begin(decoding, words)
    for r in range(n_lines):
        if not decoding and at + 10 * width + 8 > words.size:
            return -1
        line_at = line_start(lines, r, n_lines, inner_lines, outer_step, inner_step)
        l1, l2 = np.int64(0), np.int64(0)
        level_left = np.int64(ZERO)
        line_mean = mean
        for c in range(width):
            at_weight = line_at + place_at[c]
            head = np.int64(0)
            if not decoding:
                head = np.int64(heads[at_weight, column])
            u1, u2 = values[(r - 1) & 3, c], values[(r - 2) & 3, c]
            u3, u4 = values[(r - 3) & 3, c], values[r & 3, c]
            level_above = classes[c]
            place_mean = mean if r == 0 else means[c]
            both = clipped((line_mean + place_mean - mean) >> (MEAN_BITS - 5), 0, 511)

            foretold = (l1 * f0 + l2 * f1 + u1 * f2 + u2 * f3 + u3 * f4 + u4 * f5) >> 16
            foretold = clipped(foretold, -MOST, MOST)
            size = abs(foretold)
            n_bits = 0
            while size >> n_bits:
                n_bits += 1
            scene = size
            if n_bits > 4:
                scene = 8 * n_bits + ((size >> (n_bits - 4)) & 7)

            distance = (top - (head >> mantissa_bits)) & exponents
            level = min(distance, FAR)
            if head == 0:
                level = np.int64(ZERO)
            i0 = (OF_PLACE + (place_mean >> (MEAN_BITS - 4))) * 16
            i1 = (OF_BOTH + both) * 16
            i2 = (NEIGHBOURS + 16 * level_left + level_above) * 16
            i3 = (FORETOLD + scene) * 16
            node = 1
            for left in range(3, -1, -1):
                s0, s1 = stretched(levels[i0 + node]), stretched(levels[i1 + node])
                s2, s3 = stretched(levels[i2 + node]), stretched(levels[i3 + node])
                w = STRIDE * node
                total = closed(bias(by_node, w) + weighed(by_node, w + 1, s0, s1, s2, s3))
                p = np.int64(SQUASH[total + LIMIT])
                bit = (level >> left) & 1
                bit, low, span, at = code_bit(decoding, bit, p, low, span, words, at)
                missed = 65535 * bit - p
                learn_bias(by_node, w, missed, EXPONENT_SHIFT)
                learn(by_node, w + 1, missed, EXPONENT_SHIFT, s0, s1, s2, s3)
                levels[i0 + node] = moved(levels[i0 + node], bit)
                levels[i1 + node] = moved(levels[i1 + node], bit)
                levels[i2 + node] = moved(levels[i2 + node], bit)
                levels[i3 + node] = moved(levels[i3 + node], bit)
                node = 2 * node + bit
            level = np.int64(node - 16)

            value = np.int64(0)
            if level != ZERO:
                if level == FAR:
                    node = 1
                    for left in range(exponent_bits - 1, -1, -1):
                        p = clipped(np.int64(far[node] >> np.uint32(16)), 3, 65533)
                        bit = (distance >> left) & 1
                        bit, low, span, at = code_bit(decoding, bit, p, low, span, words, at)
                        far[node] = moved(far[node], bit)
                        node = 2 * node + bit
                    distance = np.int64(node - (1 << exponent_bits))
                else:
                    distance = level
                to_unit = UNIT_BITS - level

                i0 = SIGN_FORETOLD + 32 * np.int64(foretold < 0)
                i0 += min((size << 3) >> to_unit, 31)
                i1 = SIGN_NEIGHBOURS + 32 * level_left + 2 * level_above
                i1 += 512 * np.int64(l1 < 0) + np.int64(u1 < 0)
                s0, s1 = stretched(signs[i0]), stretched(signs[i1])
                total = closed(bias(of_sign, 0) + weighed(of_sign, 1, s0, s1, 0, 0))
                p = np.int64(SQUASH[total + LIMIT])
                sign = head >> (mantissa_bits + exponent_bits)
                sign, low, span, at = code_bit(decoding, sign, p, low, span, words, at)
                missed = 65535 * sign - p
                learn_bias(of_sign, 0, missed, OTHER_SHIFT)
                learn(of_sign, 1, missed, OTHER_SHIFT, s0, s1, 0, 0)
                signs[i0], signs[i1] = moved(signs[i0], sign), moved(signs[i1], sign)

                ahead = (-foretold if sign else foretold) - (1 << to_unit)
                i0 = (BY_MEANS + (both & ~15) + level) * 8
                i1 = (BY_FORETOLD + 16 * (clipped((ahead << 3) >> to_unit, -16, 31) + 16)) * 8
                i1 += level * 8
                node = 1
                for left in range(mantissa_bits - 1, mantissa_bits - 1 - n_mixed, -1):
                    s0, s1 = stretched(digits[i0 + node]), stretched(digits[i1 + node])
                    w = STRIDE * node
                    total = closed(bias(by_digit, w) + weighed(by_digit, w + 1, s0, s1, 0, 0))
                    p = np.int64(SQUASH[total + LIMIT])
                    bit = (head >> left) & 1
                    bit, low, span, at = code_bit(decoding, bit, p, low, span, words, at)
                    missed = 65535 * bit - p
                    learn_bias(by_digit, w, missed, OTHER_SHIFT)
                    learn(by_digit, w + 1, missed, OTHER_SHIFT, s0, s1, 0, 0)
                    digits[i0 + node] = moved(digits[i0 + node], bit)
                    digits[i1 + node] = moved(digits[i1 + node], bit)
                    node = 2 * node + bit
                for left in range(mantissa_bits - n_mixed - 1, -1, -1):
                    p = clipped(np.int64(deep[node] >> np.uint32(16)), 3, 65533)
                    bit = (head >> left) & 1
                    bit, low, span, at = code_bit(decoding, bit, p, low, span, words, at)
                    deep[node] = moved(deep[node], bit)
                    node = 2 * node + bit

                if decoding:
                    exponent = (top - distance) & exponents
                    head = (sign << exponent_bits) | exponent
                    plain[at_weight, column] = (head << mantissa_bits) | (
                        node - (1 << mantissa_bits)
                    )
                if level != FAR:
                    value = (np.int64(node) << (UNIT_BITS - mantissa_bits)) >> level
                    if sign:
                        value = -value

            energy = l1 * l1 + l2 * l2 + u1 * u1 + u2 * u2 + u3 * u3 + u4 * u4
            step = ((value - foretold) << STEP_BITS) // (energy + LEAST_ENERGY)
            f0, f1 = grown(f0, step, l1, rate), grown(f1, step, l2, rate)
            f2, f3 = grown(f2, step, u1, rate), grown(f3, step, u2, rate)
            f4, f5 = grown(f4, step, u3, rate), grown(f5, step, u4, rate)
            values[r & 3, c], classes[c] = value, level
            l2, l1, level_left = l1, value, level
            line_mean = drawn(line_mean, level, min(c + 2, LINE_LIMIT))
            means[c] = drawn(place_mean, level, min(r + 2, LINE_LIMIT))
            mean = drawn(mean, level, min(n_seen, ALL_LIMIT))
            n_seen += 1
    if decoding:
        return at
    return finish(words, at, low, span)

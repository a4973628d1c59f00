"""Lines of entries, each weight predicted from its surroundings (MIX)."""

import numpy as np

from cnnzip_native._jit import inlined, kernel
from cnnzip_native._mixing_tables import LIMIT, SQUASH
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

MAX_CLASS = 255  # of a rank (MIX-5)
TREE_BITS = 8  # of a symbol, that are predicted from contexts (MIX-9)
N_CLASSES = 2 * MAX_CLASS + 1

# Where the tables of "is an entry" begin after the counters of places, in order (MIX-8).
DENSITIES = 0
OF_PLACE = DENSITIES + 24 * 24
ABOVE = OF_PLACE + 4 * N_CLASSES
PATTERN = ABOVE + 6 * N_CLASSES
HISTORY = PATTERN + 4096
GAPS = HISTORY + 2048
END = GAPS + 512 * 128
FIRST_WEIGHTS = (0, 6554, 22938, 13107, 16384, 0, 6554, 9830, 7864)
STRIDE = len(FIRST_WEIGHTS)

# Where those of a value begin, for each node (MIX-9).
VALUE_ABOVE = 0
VALUE_BEFORE = VALUE_ABOVE + N_CLASSES
VALUE_DENSITIES = VALUE_BEFORE + 32 * 32
VALUE_OF_PLACE = VALUE_DENSITIES + 12 * 12
VALUE_OF_LINE = VALUE_OF_PLACE + 32 * 32
VALUE_TWO_ABOVE = VALUE_OF_LINE + N_CLASSES
VALUE_THREE_ABOVE = VALUE_TWO_ABOVE + N_CLASSES
VALUE_FORETOLD = VALUE_THREE_ABOVE + N_CLASSES
VALUE_END = VALUE_FORETOLD + 1024
FIRST_VALUE_WEIGHTS = (0, 8192, 8192, 16384, 12288, 12288, 6554, 6554, 16384)
N_NEAR = 8  # values that a value is foretold from (MIX-10)
FIRST_NEAR = 20000
MARGIN = 2  # places before and after a line, without entries


# Without branches: on weights, half of them would be foretold wrongly.


@inlined
def class_of(rank, shift):
    """Class of a rank, -255 to 255. Source: MIX-5."""
    sign = np.int64(rank) >> 63
    magnitude = (rank ^ sign) - sign
    return (((magnitude + (1 << shift) - 1) >> shift) ^ sign) - sign


@inlined
def is_entry(rank):
    """1 for an entry, 0 for a zero. Source: MIX-7."""
    return np.int64(rank != 0)


@kernel
def code_lines(
    decoding, symbols, plain, book, lines, n_lines, inner_lines, outer_step, inner_step, place_at,
    n_low, first, is_full, is_parted, entry_shift, value_shift, words,
    seen, nodes, deep, by_near, by_place, by_node, foretell, near, above, kept, order, parted,
    history, last, last_but_one,
):  # fmt: skip
    """Code consecutive lines, or decode them.

    Parameters
    ----------
    decoding : bool
    symbols : uint16 (n_weights,)
        Of all weights of the tensor, 0 for zeros; else 1 + the number of the value. Not read in
        decoding.
    plain : uint8 (n_weights, itemsize), written in decoding
        Zeros; becomes the tensor.
    book : uint8 (n_values, itemsize)
    lines, n_lines, inner_lines, outer_step, inner_step
        Of how many lines, and as of `line_start`.
    place_at : int64 (width,)
        Weights between the start of a line and a place's.
    n_low : int
        Values of negative rank.
    first : uint32
        What the counter of a line starts as.
    is_full, is_parted : bool
    entry_shift, value_shift : int
        How fast mixers learn.
    words : uint32
        Written, or in decoding read.
    seen : uint32 (width + END,) or (width + ABOVE,)
        Counters of places and of the tables of "is an entry"; with these up to `deep` as they start.
    nodes : uint32 (VALUE_END * n_nodes,)
        Those of the first digits of values, n_nodes of them for a number; it is 2**n_tree, where
        n_tree is the number of digits, 8 at most.
    deep : uint32 (2**n_bits,)
        Those of the others; empty where there are none.
    by_near, by_place, by_node : int32 (9, 24, 4 * n_nodes times STRIDE)
        Mixers' weights, as they start.
    foretell : int32 (N_NEAR,), as it starts
    near : int64 (N_NEAR,), scratch
    above : int32 (4, width + 2 * MARGIN), zeros
        This line and those above, in the present order.
    kept : int32 (3, width), zeros
        Lines above, by place.
    order : int64 (width,), 0 to width - 1
        The places.
    parted : int64 (width,), scratch
    history : uint8 (width,), zeros
        Of a place: which of its last 8 weights are entries.
    last, last_but_one : int32 (width,), zeros
        Of a place: ranks of its last entries.

    Returns
    -------
    n : int
        In coding, the stream's bytes, or -1 where `words` has no room for them. In decoding, the
        words that were read.

    Trusts
    ------
    Lines and places number weights, arrays are as long as this says, and there are 1 to 65,535
    values: the codec makes all of it. What is decoded is only ever used as the number of a value,
    which is made to fit.

    Source: MIX-5 to MIX-10, MXG-5.
    """
    width = place_at.size
    n_values, itemsize = book.shape
    highest = n_values - n_low
    n_bits = 0
    while (1 << n_bits) < n_values:
        n_bits += 1
    n_tree = min(n_bits, TREE_BITS)
    n_nodes = 1 << n_tree
    shift = 0
    while ((max(highest, n_low) - 1) >> shift) + 1 > MAX_CLASS:
        shift += 1
    near_shift = 0
    while max(highest, n_low) << (near_shift + 1) <= 1023:
        near_shift += 1

    tables = width
    low, span, at = begin(decoding, words)
    for r in range(n_lines):
        if not decoding and at + (width * (1 + n_bits)) // 2 + 8 > words.size:
            return -1
        current, up, up2, up3 = above[0], above[1], above[2], above[3]
        for c in range(width):
            place = order[c]
            j = c + MARGIN
            up[j] = kept[(r + 2) % 3, place]
            up2[j] = kept[(r + 1) % 3, place]
            up3[j] = kept[r % 3, place]
        line_at = line_start(lines, r, n_lines, inner_lines, outer_step, inner_step)
        of_line = first
        l1, l2, last_value = 0, 0, 0
        line_bits, gap, gap_before, n_entries = 0, 0, 0, 0
        row_above = 2 * is_entry(up[MARGIN]) + is_entry(up[MARGIN + 1])
        row_above2 = is_entry(up2[MARGIN])
        for c in range(width):
            j = c + MARGIN
            place = order[c]
            u, uu, uuu = np.int64(up[j]), np.int64(up2[j]), np.int64(up3[j])
            row_above = ((row_above << 1) & 31) | is_entry(up[j + 2])
            row_above2 = ((row_above2 << 1) & 7) | is_entry(up2[j + 1])
            place_bits = np.int64(history[place])
            value_of_place = np.int64(last[place])
            u_class = class_of(u, shift)
            s0, s1 = stretched(of_line), stretched(seen[place])
            line_level = clipped((s0 + 1536) >> 7, 0, 23)
            place_level = clipped((s1 + 1536) >> 7, 0, 23)
            i2 = tables + DENSITIES + line_level * 24 + place_level
            i3 = tables + OF_PLACE + is_entry(u) + 2 * is_entry(uu)
            i3 += 4 * (class_of(value_of_place, shift) + MAX_CLASS)
            s2, s3 = stretched(seen[i2]), stretched(seen[i3])
            w = STRIDE * (3 * min(abs(l1), 2) + min(abs(u), 2))
            v = STRIDE * place_level
            total = bias(by_near, w) + weighed(by_near, w + 1, s0, s1, s2, s3)
            total2 = bias(by_place, v) + weighed(by_place, v + 1, s0, s1, s2, s3)
            i4, i5, i6, i7, s4, s5, s6, s7 = 0, 0, 0, 0, 0, 0, 0, 0
            if is_full:
                i4 = tables + ABOVE + 6 * (u_class + MAX_CLASS)
                i4 += 3 * (line_bits & 1) + min(abs(uu), 2)
                i5 = tables + PATTERN + row_above + 32 * row_above2
                i5 += 256 * is_entry(uuu) + 512 * (line_bits & 7)
                i6 = tables + HISTORY + 8 * place_bits + (line_bits & 7)
                i7 = tables + GAPS + min(gap, 511) + 512 * min(gap_before, 127)
                s4, s5 = stretched(seen[i4]), stretched(seen[i5])
                s6, s7 = stretched(seen[i6]), stretched(seen[i7])
                total += weighed(by_near, w + 5, s4, s5, s6, s7)
                total2 += weighed(by_place, v + 5, s4, s5, s6, s7)
            total, total2 = closed(total), closed(total2)
            at_weight = line_at + place_at[place]
            symbol, bit = 0, 0
            if not decoding:
                symbol = np.int64(symbols[at_weight])
                bit = is_entry(symbol)
            p = np.int64(SQUASH[((total + total2) >> 1) + LIMIT])
            bit, low, span, at = code_bit(decoding, bit, p, low, span, words, at)
            missed = 65535 * bit - np.int64(SQUASH[total + LIMIT])
            missed2 = 65535 * bit - np.int64(SQUASH[total2 + LIMIT])
            learn_bias(by_near, w, missed, entry_shift)
            learn_bias(by_place, v, missed2, entry_shift)
            learn(by_near, w + 1, missed, entry_shift, s0, s1, s2, s3)
            learn(by_place, v + 1, missed2, entry_shift, s0, s1, s2, s3)
            of_line, seen[place] = moved(of_line, bit), moved(seen[place], bit)
            seen[i2], seen[i3] = moved(seen[i2], bit), moved(seen[i3], bit)
            if is_full:
                learn(by_near, w + 5, missed, entry_shift, s4, s5, s6, s7)
                learn(by_place, v + 5, missed2, entry_shift, s4, s5, s6, s7)
                seen[i4], seen[i5] = moved(seen[i4], bit), moved(seen[i5], bit)
                seen[i6], seen[i7] = moved(seen[i6], bit), moved(seen[i7], bit)
            rank = np.int64(0)
            gap += 1
            if bit:
                near[0], near[1] = l1, l2
                near[2], near[3], near[4] = u, up[j - 1], up[j + 1]
                near[5], near[6], near[7] = uu, uuu, up2[j - 1]
                foretold = np.int64(0)
                for k in range(N_NEAR):
                    near[k] <<= near_shift
                    foretold += near[k] * foretell[k]
                foretold >>= 16
                scene = clipped((foretold >> max(near_shift - 1, 0)) + 512, 0, 1023)
                before = 32 * (class_of(l1, shift) & 31) + (class_of(l2, shift) & 31)
                at_place = 32 * (class_of(value_of_place, shift) & 31)
                at_place += class_of(np.int64(last_but_one[place]), shift) & 31
                levels = 12 * (line_level >> 1) + (place_level >> 1)
                i0 = (VALUE_ABOVE + u_class + MAX_CLASS) * n_nodes
                i1 = (VALUE_BEFORE + before) * n_nodes
                i2 = (VALUE_DENSITIES + levels) * n_nodes
                i3 = (VALUE_OF_PLACE + at_place) * n_nodes
                i4 = (VALUE_OF_LINE + class_of(last_value, shift) + MAX_CLASS) * n_nodes
                i5 = (VALUE_TWO_ABOVE + class_of(uu, shift) + MAX_CLASS) * n_nodes
                i6 = (VALUE_THREE_ABOVE + class_of(uuu, shift) + MAX_CLASS) * n_nodes
                i7 = (VALUE_FORETOLD + scene) * n_nodes
                value_set = (is_entry(u) + 2 * is_entry(l1)) * n_nodes
                symbol -= 1
                node = 1
                for left in range(n_bits - 1, n_bits - 1 - n_tree, -1):
                    s0, s1 = stretched(nodes[i0 + node]), stretched(nodes[i1 + node])
                    s2, s3 = stretched(nodes[i2 + node]), stretched(nodes[i3 + node])
                    s4, s5 = stretched(nodes[i4 + node]), stretched(nodes[i5 + node])
                    s6, s7 = stretched(nodes[i6 + node]), stretched(nodes[i7 + node])
                    w = (value_set + node) * STRIDE
                    total = bias(by_node, w) + weighed(by_node, w + 1, s0, s1, s2, s3)
                    total = closed(total + weighed(by_node, w + 5, s4, s5, s6, s7))
                    p = np.int64(SQUASH[total + LIMIT])
                    bit = (symbol >> left) & 1
                    bit, low, span, at = code_bit(decoding, bit, p, low, span, words, at)
                    missed = 65535 * bit - p
                    learn_bias(by_node, w, missed, value_shift)
                    learn(by_node, w + 1, missed, value_shift, s0, s1, s2, s3)
                    learn(by_node, w + 5, missed, value_shift, s4, s5, s6, s7)
                    nodes[i0 + node] = moved(nodes[i0 + node], bit)
                    nodes[i1 + node] = moved(nodes[i1 + node], bit)
                    nodes[i2 + node] = moved(nodes[i2 + node], bit)
                    nodes[i3 + node] = moved(nodes[i3 + node], bit)
                    nodes[i4 + node] = moved(nodes[i4 + node], bit)
                    nodes[i5 + node] = moved(nodes[i5 + node], bit)
                    nodes[i6 + node] = moved(nodes[i6 + node], bit)
                    nodes[i7 + node] = moved(nodes[i7 + node], bit)
                    node = 2 * node + bit
                for left in range(n_bits - n_tree - 1, -1, -1):
                    p = clipped(np.int64(deep[node] >> np.uint32(16)), 3, 65533)
                    bit = (symbol >> left) & 1
                    bit, low, span, at = code_bit(decoding, bit, p, low, span, words, at)
                    deep[node] = moved(deep[node], bit)
                    node = 2 * node + bit
                symbol = min(node - (1 << n_bits), n_values - 1)
                rank = symbol - n_low
                rank += np.int64(rank >= 0)
                if decoding:
                    for k in range(itemsize):
                        plain[at_weight, k] = book[symbol, k]
                missed = clipped((rank << near_shift) - foretold, -1023, 1023)
                for k in range(N_NEAR):
                    foretell[k] += np.int32((missed * near[k]) >> 9)
                last_but_one[place], last[place] = value_of_place, rank
                last_value = rank
                gap_before, gap = gap, 0
                n_entries += 1
                bit = 1
            history[place] = np.uint8(2 * place_bits + bit)
            line_bits = (2 * line_bits + bit) & 7
            current[j] = rank
            l2, l1 = l1, rank
        filled, empty = 0, n_entries
        for c in range(width):
            place, rank = order[c], current[c + MARGIN]
            kept[r % 3, place] = rank
            if rank != 0:
                parted[filled] = place
                filled += 1
            else:
                parted[empty] = place
                empty += 1
        if is_parted:
            order, parted = parted, order
    if decoding:
        return at
    return finish(words, at, low, span)

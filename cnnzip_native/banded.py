"""Streams of banded: counts, gaps and values by tables that the context chooses."""

import numpy as np

from cnnzip_native._jit import inlined, kernel
from cnnzip_native._vectors import window
from cnnzip_native.bits import check_end
from cnnzip_native.status import (
    ENTRY_COUNT,
    LAST_STATE,
    OK,
    PLACE_PAST_END,
    SYMBOL_PAST_END,
)

GAP_DIRECT = 4  # direct bits of gaps and counts; BND-6
VALUE_DIRECT = 8


@inlined
def class_of(number, direct):
    """Class and number of extra bits (ANS-7)."""
    if number < (1 << direct):
        return number, 0
    e = direct
    while (number >> (e + 1)) > 0:
        e += 1
    return (1 << direct) + 2 * (e - direct) + ((number >> (e - 1)) & 1), e - 1


@inlined
def number_of(klass, direct, word):
    """Number of a class whose extra bits begin `word`, and how many they are (ANS-7)."""
    if klass < (1 << direct):
        return klass, np.uint64(0)
    e = np.uint64(direct + ((klass - (1 << direct)) >> 1))
    n_extra = e - np.uint64(1)
    extra = (word >> np.uint64(1)) >> (np.uint64(63) - n_extra)
    top = np.uint64(2 | ((klass - (1 << direct)) & 1))
    return np.int64((top << n_extra) | extra), n_extra


@kernel
def find_contexts(positions, lines, classes, bands, n_bands, n_before, gaps, contexts):
    """Find the gap and the context of every entry.

    Parameters
    ----------
    positions : uint32 (n_entries,)
        Places in the scan, increasing in each line.
    lines : int64 (n_lines + 1,)
        Line i has the entries from ``lines[i]`` on, up to ``lines[i + 1]``.
    classes : int64 (n_lines,)
    bands : uint8 (width + 1,)
        Of each place in the scan.
    n_bands, n_before : int64
    gaps : uint32 (n_entries,), written
    contexts : uint16 (n_entries,), written

    Source: BND-5.
    """
    for line in range(classes.size):
        start = np.int64(0)
        before = 0
        for entry in range(lines[line], lines[line + 1]):
            place = np.int64(positions[entry])
            gaps[entry] = np.uint32(place - start)
            context = classes[line] * n_bands + np.int64(bands[start])
            contexts[entry] = np.uint16(context * n_before + before)
            if n_before > 1:
                before = 1 if place == start else 2
            start = place + 1


@kernel
def class_counts(numbers, direct, tables, counts):
    """Count the classes of numbers, table by table.

    Parameters
    ----------
    numbers : uint32 (n,)
    direct : int64
    tables : uint16 (n,)
    counts : int64 (n_tables, n_classes), updated

    Source: ANS-7.
    """
    for i in range(numbers.size):
        klass, _ = class_of(np.int64(numbers[i]), direct)
        counts[np.int64(tables[i]), klass] += 1


@inlined
def push(number, direct, table, state, frequencies, places, states, size, words, lengths, at):
    """Code a number before what is coded already. Returns the state before it."""
    klass, n_extra = class_of(number, direct)
    frequency = frequencies[table, klass]
    full = state + size
    n_bits = 0
    while (full >> n_bits) >= 2 * frequency:
        n_bits += 1
    extra = number & ((1 << n_extra) - 1)
    words[at] = np.uint64(((full & ((1 << n_bits) - 1)) << n_extra) | extra)
    lengths[at] = np.uint8(n_bits + n_extra)
    return np.int64(states[table, places[table, klass] + (full >> n_bits) - frequency])


@kernel
def encode_banded(
    lines, gaps, symbols, contexts, gap_map, value_map, frequencies, places, states, words, lengths
):
    """Code the lines of one stream, from the last token to the first.

    Parameters
    ----------
    lines : int64 (n_lines + 1,)
        As of `find_contexts`, for the lines of this stream.
    gaps : uint32, symbols : uint16, contexts : uint16 (n_entries,)
    gap_map, value_map : uint8 (n_contexts,)
        Tables of each context, counted from the count table, which is 0.
    frequencies : int64 (n_tables, n_classes)
    places : int64 (n_tables, n_classes)
        Where each symbol's states begin in `states`.
    states : uint16 (n_tables, 2**log_size)
    words : uint64 (n_tokens,), written
        State bits and extra bits of each token, in the order of decoding, right-aligned.
    lengths : uint8 (n_tokens,), written
        How many they are.

    Returns
    -------
    state : int64
        The first state.

    Source: ANS-5 to ANS-7, BND-6.
    """
    size = np.int64(states.shape[1])
    state = np.int64(0)
    at = words.size
    for line in range(lines.size - 2, -1, -1):
        for entry in range(lines[line + 1] - 1, lines[line] - 1, -1):
            context = np.int64(contexts[entry])
            at -= 1
            state = push(
                np.int64(symbols[entry]),
                8,
                np.int64(value_map[context]),
                state,
                frequencies,
                places,
                states,
                size,
                words,
                lengths,
                at,
            )
            at -= 1
            state = push(
                np.int64(gaps[entry]),
                4,
                np.int64(gap_map[context]),
                state,
                frequencies,
                places,
                states,
                size,
                words,
                lengths,
                at,
            )
        at -= 1
        state = push(
            lines[line + 1] - lines[line],
            4,
            np.int64(0),
            state,
            frequencies,
            places,
            states,
            size,
            words,
            lengths,
            at,
        )
    return state


@kernel
def write_words(words, lengths, first, first_bits, out):
    """Write one stream: its first state and its tokens. Returns the bytes written.

    Parameters
    ----------
    words : uint64 (n,)
    lengths : uint8 (n,)
        Bits of each word, at most 40.
    first, first_bits : int64
    out : uint8 (n_bytes,), written

    Trusts: `out` holds all bits; the codec adds them up first.

    Source: NUM-3, ANS-6.
    """
    held = np.uint64(first)
    n_held = np.uint64(first_bits)
    at = 0
    for i in range(words.size):
        held = (held << np.uint64(lengths[i])) | words[i]
        n_held += np.uint64(lengths[i])
        while n_held >= np.uint64(8):
            n_held -= np.uint64(8)
            out[at] = np.uint8((held >> n_held) & np.uint64(255))
            at += 1
    while n_held >= np.uint64(8):
        n_held -= np.uint64(8)
        out[at] = np.uint8((held >> n_held) & np.uint64(255))
        at += 1
    if n_held > np.uint64(0):
        out[at] = np.uint8((held << (np.uint64(8) - n_held)) & np.uint64(255))
        at += 1
    return at


@inlined
def read_state(e, word):
    """Next state by a table entry and the bits at the head of a window; and how many they were."""
    n_bits = e & np.uint64(15)
    base = (e >> np.uint64(4)) & np.uint64(4095)
    return base + ((word >> np.uint64(1)) >> (np.uint64(63) - n_bits)), n_bits


@kernel
def begin_line(buffer, tables, numbers, thresholds, n_contexts, width, end, where, lane):
    """Read the number of entries of a lane's next line. Returns OK or ENTRY_COUNT.

    Parameters
    ----------
    n_contexts : int64
        Of each class.
    end : int64
        Where the entries of the lane's stream end.
    where : int64 (9, 4), updated

    Source: BND-5 to BND-7.
    """
    bit = np.uint64(where[1, lane])
    word = window(buffer, bit)
    e = np.uint64(tables[where[0, lane]])
    state, n_bits = read_state(e, word)
    number = np.uint64(numbers[e >> np.uint64(16)])
    n_extra = number >> np.uint64(24)
    extra = ((word << n_bits) >> np.uint64(1)) >> (np.uint64(63) - n_extra)
    count = np.int64((number & np.uint64(0xFFFFFF)) + extra)
    if count > width or where[2, lane] + count > end:
        return ENTRY_COUNT
    klass = 0
    while klass < thresholds.size and thresholds[klass] <= count:
        klass += 1
    where[0, lane] = np.int64(state)
    where[1, lane] = np.int64(bit + n_bits + n_extra)
    where[3, lane] = where[2, lane] + count
    where[4, lane] += 1
    where[5, lane] = 0
    where[6, lane] = klass * n_contexts
    where[7, lane] = 0
    return OK


@kernel
def decode_banded(
    buffer,
    starts,
    begins,
    n_lines,
    width,
    n_values,
    thresholds,
    bands,
    n_contexts,
    has_before,
    pairs,
    log_size,
    tables,
    numbers,
    positions,
    symbols,
    where,
):
    """Decode several streams, four at a time in turns, so that their latencies overlap.

    Parameters
    ----------
    buffer : uint8 (n_bytes,)
    starts : int64 (n_streams + 1,)
        Stream i is ``buffer[starts[i]:starts[i + 1]]``.
    begins : int64 (n_streams + 1,)
        Its entries go to the outputs from ``begins[i]`` on, up to ``begins[i + 1]``.
    n_lines : int64 (n_streams,)
    width, n_values : int64
    thresholds : int64 (n_classes - 1,)
    bands : uint16 (width + 1,)
        First context of each place in the scan, in a line of class 0; the last, past the end, is
        that of any.
    n_contexts : int64
        Contexts of each class.
    has_before : int64
        1 where the gap before is a part of the context, else 0.
    pairs : uint16 (n_classes * n_contexts,)
        Number of a context's gap table, and 256 times that of its value table.
    log_size : int64
    tables : uint32 (n_tables * 2**log_size,)
        The count table first.
    numbers : uint32 (320,)
        Of each class with 4 direct bits, the least number, and 2**24 times its extra bits; classes
        beyond 2**24 have 2**24 - 1, which no line holds. No branch, since none would be foreseen.
    positions : uint32 (n,), written
        Of each entry in its stream, places counted in the scan.
    symbols : uint16 (n,), written
    where : int64 (9, 4), written
        Scratch: for each of four lanes its state, bit, next entry, where its line's entries end,
        line (from 1), place after the last entry, first context of the line, context by the gap
        before, stream (-1 for none).

    Returns
    -------
    status : int64
        OK, ENTRY_COUNT, PLACE_PAST_END, SYMBOL_PAST_END, LAST_STATE, STREAM_LENGTH or
        STREAM_PADDING.

    Trusts
    ------
    `starts` and `begins` never decrease and stay inside; lines x width is below 2**31; the
    numbers are those of tables that exist: the codec checks them when it parses. Tables are built,
    never stored, so a state never leaves its table.

    Source: ANS-5 to ANS-7, BND-5 to BND-7, LIN-5.
    """
    n_streams = n_lines.size
    one = np.uint64(1)
    low = np.uint64(0xFFFFFF)
    flag = np.uint64(has_before)
    log = np.uint64(log_size)
    past = np.uint64(width)
    most = np.uint64(n_values)
    lane_stream = where[8]
    waiting = 0
    for lane in range(4):
        lane_stream[lane] = -1
    while True:
        # Give every lane a line with entries left; a lane whose stream is done takes another.
        n_ready = 0
        turns = np.int64(1) << 40
        for lane in range(4):
            while True:
                s = lane_stream[lane]
                if s >= 0 and where[2, lane] < where[3, lane]:
                    break
                if s >= 0 and where[4, lane] < n_lines[s]:
                    status = begin_line(
                        buffer,
                        tables,
                        numbers,
                        thresholds,
                        n_contexts,
                        width,
                        begins[s + 1],
                        where,
                        lane,
                    )
                    if status != OK:
                        return status
                    continue
                if s >= 0:
                    if where[2, lane] != begins[s + 1]:
                        return ENTRY_COUNT
                    if where[0, lane] != 0:
                        return LAST_STATE
                    status = check_end(buffer, np.uint64(where[1, lane]), np.uint64(starts[s + 1]))
                    if status != OK:
                        return status
                    lane_stream[lane] = -1
                if waiting == n_streams:
                    break
                s = waiting
                waiting += 1
                bit = np.uint64(starts[s]) << np.uint64(3)
                lane_stream[lane] = s
                where[0, lane] = np.int64(window(buffer, bit) >> np.uint64(64 - log_size))
                where[1, lane] = np.int64(bit) + log_size
                where[2, lane] = begins[s]
                where[3, lane] = begins[s]
                where[4, lane] = 0
            if lane_stream[lane] >= 0:
                n_ready += 1
                turns = min(turns, where[3, lane] - where[2, lane])
        if n_ready == 0:
            return OK
        if n_ready < 4:
            for lane in range(4):
                if lane_stream[lane] < 0:
                    continue
                state0 = np.uint64(where[0, lane])
                bit0 = np.uint64(where[1, lane])
                entry0 = np.uint64(where[2, lane])
                place0 = np.uint64(where[5, lane])
                row0 = np.uint64(where[6, lane])
                before0 = np.uint64(where[7, lane])
                base0 = np.uint64((where[4, lane] - 1) * width)
                for _ in range(turns):
                    context = row0 + np.uint64(bands[place0]) + before0
                    word = window(buffer, bit0)
                    pair = np.uint64(pairs[context])
                    e = np.uint64(tables[((pair & np.uint64(255)) << log) + state0])
                    state0, n_bits = read_state(e, word)
                    gap = e >> np.uint64(16)
                    word <<= n_bits
                    bit0 += n_bits
                    number = np.uint64(numbers[gap])
                    n_extra = number >> np.uint64(24)
                    gap = (number & low) + ((word >> one) >> (np.uint64(63) - n_extra))
                    word <<= n_extra
                    bit0 += n_extra
                    e = np.uint64(tables[((pair >> np.uint64(8)) << log) + state0])
                    state0, n_bits = read_state(e, word)
                    symbol = e >> np.uint64(16)
                    bit0 += n_bits
                    if symbol >= np.uint64(256):
                        number, n_extra = number_of(np.int64(symbol), 8, window(buffer, bit0))
                        symbol = np.uint64(number)
                        bit0 += n_extra
                    place0 += gap
                    if place0 >= past:
                        return PLACE_PAST_END
                    if symbol >= most:
                        return SYMBOL_PAST_END
                    positions[entry0] = np.uint32(base0 + place0)
                    symbols[entry0] = np.uint16(symbol)
                    place0 += one
                    entry0 += one
                    before0 = flag << np.uint64(gap > np.uint64(0))
                where[0, lane] = np.int64(state0)
                where[1, lane] = np.int64(bit0)
                where[2, lane] = np.int64(entry0)
                where[5, lane] = np.int64(place0)
                where[7, lane] = np.int64(before0)
            continue
        state0 = np.uint64(where[0, 0])
        bit0 = np.uint64(where[1, 0])
        entry0 = np.uint64(where[2, 0])
        place0 = np.uint64(where[5, 0])
        row0 = np.uint64(where[6, 0])
        before0 = np.uint64(where[7, 0])
        base0 = np.uint64((where[4, 0] - 1) * width)
        state1 = np.uint64(where[0, 1])
        bit1 = np.uint64(where[1, 1])
        entry1 = np.uint64(where[2, 1])
        place1 = np.uint64(where[5, 1])
        row1 = np.uint64(where[6, 1])
        before1 = np.uint64(where[7, 1])
        base1 = np.uint64((where[4, 1] - 1) * width)
        state2 = np.uint64(where[0, 2])
        bit2 = np.uint64(where[1, 2])
        entry2 = np.uint64(where[2, 2])
        place2 = np.uint64(where[5, 2])
        row2 = np.uint64(where[6, 2])
        before2 = np.uint64(where[7, 2])
        base2 = np.uint64((where[4, 2] - 1) * width)
        state3 = np.uint64(where[0, 3])
        bit3 = np.uint64(where[1, 3])
        entry3 = np.uint64(where[2, 3])
        place3 = np.uint64(where[5, 3])
        row3 = np.uint64(where[6, 3])
        before3 = np.uint64(where[7, 3])
        base3 = np.uint64((where[4, 3] - 1) * width)
        for _ in range(turns):
            context = row0 + np.uint64(bands[place0]) + before0
            word = window(buffer, bit0)
            pair = np.uint64(pairs[context])
            e = np.uint64(tables[((pair & np.uint64(255)) << log) + state0])
            state0, n_bits = read_state(e, word)
            gap = e >> np.uint64(16)
            word <<= n_bits
            bit0 += n_bits
            number = np.uint64(numbers[gap])
            n_extra = number >> np.uint64(24)
            gap = (number & low) + ((word >> one) >> (np.uint64(63) - n_extra))
            word <<= n_extra
            bit0 += n_extra
            e = np.uint64(tables[((pair >> np.uint64(8)) << log) + state0])
            state0, n_bits = read_state(e, word)
            symbol = e >> np.uint64(16)
            bit0 += n_bits
            if symbol >= np.uint64(256):
                number, n_extra = number_of(np.int64(symbol), 8, window(buffer, bit0))
                symbol = np.uint64(number)
                bit0 += n_extra
            place0 += gap
            if place0 >= past:
                return PLACE_PAST_END
            if symbol >= most:
                return SYMBOL_PAST_END
            positions[entry0] = np.uint32(base0 + place0)
            symbols[entry0] = np.uint16(symbol)
            place0 += one
            entry0 += one
            before0 = flag << np.uint64(gap > np.uint64(0))
            context = row1 + np.uint64(bands[place1]) + before1
            word = window(buffer, bit1)
            pair = np.uint64(pairs[context])
            e = np.uint64(tables[((pair & np.uint64(255)) << log) + state1])
            state1, n_bits = read_state(e, word)
            gap = e >> np.uint64(16)
            word <<= n_bits
            bit1 += n_bits
            number = np.uint64(numbers[gap])
            n_extra = number >> np.uint64(24)
            gap = (number & low) + ((word >> one) >> (np.uint64(63) - n_extra))
            word <<= n_extra
            bit1 += n_extra
            e = np.uint64(tables[((pair >> np.uint64(8)) << log) + state1])
            state1, n_bits = read_state(e, word)
            symbol = e >> np.uint64(16)
            bit1 += n_bits
            if symbol >= np.uint64(256):
                number, n_extra = number_of(np.int64(symbol), 8, window(buffer, bit1))
                symbol = np.uint64(number)
                bit1 += n_extra
            place1 += gap
            if place1 >= past:
                return PLACE_PAST_END
            if symbol >= most:
                return SYMBOL_PAST_END
            positions[entry1] = np.uint32(base1 + place1)
            symbols[entry1] = np.uint16(symbol)
            place1 += one
            entry1 += one
            before1 = flag << np.uint64(gap > np.uint64(0))
            context = row2 + np.uint64(bands[place2]) + before2
            word = window(buffer, bit2)
            pair = np.uint64(pairs[context])
            e = np.uint64(tables[((pair & np.uint64(255)) << log) + state2])
            state2, n_bits = read_state(e, word)
            gap = e >> np.uint64(16)
            word <<= n_bits
            bit2 += n_bits
            number = np.uint64(numbers[gap])
            n_extra = number >> np.uint64(24)
            gap = (number & low) + ((word >> one) >> (np.uint64(63) - n_extra))
            word <<= n_extra
            bit2 += n_extra
            e = np.uint64(tables[((pair >> np.uint64(8)) << log) + state2])
            state2, n_bits = read_state(e, word)
            symbol = e >> np.uint64(16)
            bit2 += n_bits
            if symbol >= np.uint64(256):
                number, n_extra = number_of(np.int64(symbol), 8, window(buffer, bit2))
                symbol = np.uint64(number)
                bit2 += n_extra
            place2 += gap
            if place2 >= past:
                return PLACE_PAST_END
            if symbol >= most:
                return SYMBOL_PAST_END
            positions[entry2] = np.uint32(base2 + place2)
            symbols[entry2] = np.uint16(symbol)
            place2 += one
            entry2 += one
            before2 = flag << np.uint64(gap > np.uint64(0))
            context = row3 + np.uint64(bands[place3]) + before3
            word = window(buffer, bit3)
            pair = np.uint64(pairs[context])
            e = np.uint64(tables[((pair & np.uint64(255)) << log) + state3])
            state3, n_bits = read_state(e, word)
            gap = e >> np.uint64(16)
            word <<= n_bits
            bit3 += n_bits
            number = np.uint64(numbers[gap])
            n_extra = number >> np.uint64(24)
            gap = (number & low) + ((word >> one) >> (np.uint64(63) - n_extra))
            word <<= n_extra
            bit3 += n_extra
            e = np.uint64(tables[((pair >> np.uint64(8)) << log) + state3])
            state3, n_bits = read_state(e, word)
            symbol = e >> np.uint64(16)
            bit3 += n_bits
            if symbol >= np.uint64(256):
                number, n_extra = number_of(np.int64(symbol), 8, window(buffer, bit3))
                symbol = np.uint64(number)
                bit3 += n_extra
            place3 += gap
            if place3 >= past:
                return PLACE_PAST_END
            if symbol >= most:
                return SYMBOL_PAST_END
            positions[entry3] = np.uint32(base3 + place3)
            symbols[entry3] = np.uint16(symbol)
            place3 += one
            entry3 += one
            before3 = flag << np.uint64(gap > np.uint64(0))
        where[0, 0] = np.int64(state0)
        where[1, 0] = np.int64(bit0)
        where[2, 0] = np.int64(entry0)
        where[5, 0] = np.int64(place0)
        where[7, 0] = np.int64(before0)
        where[0, 1] = np.int64(state1)
        where[1, 1] = np.int64(bit1)
        where[2, 1] = np.int64(entry1)
        where[5, 1] = np.int64(place1)
        where[7, 1] = np.int64(before1)
        where[0, 2] = np.int64(state2)
        where[1, 2] = np.int64(bit2)
        where[2, 2] = np.int64(entry2)
        where[5, 2] = np.int64(place2)
        where[7, 2] = np.int64(before2)
        where[0, 3] = np.int64(state3)
        where[1, 3] = np.int64(bit3)
        where[2, 3] = np.int64(entry3)
        where[5, 3] = np.int64(place3)
        where[7, 3] = np.int64(before3)

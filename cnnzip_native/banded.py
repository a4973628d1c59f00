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
    STREAM_DONE,
    SYMBOL_PAST_END,
)

COUNT_DIRECT = 4  # direct bits; BND-6
VALUE_DIRECT = 8
# What `decode_banded` keeps of a stream: its state and bit, its next entry and where the line's end,
# the place after the last entry, the first cell of the line's class, the memory of gaps, the kind
# of the symbol before and 1, the positions of this line's first place and the next one's, and the
# stream's number.
STATE, BIT, ENTRY, LINE_END, PLACE, FIRST_CELL, MEMORY, KIND, BASE, NEXT_BASE, STREAM = range(11)
N_KEPT = 11


@inlined
def class_of(number, direct):
    """Class of a number, and its number of extra bits. Source: ANS-7."""
    if number < (1 << direct):
        return number, 0
    e = direct
    while (number >> (e + 1)) > 0:
        e += 1
    return (1 << direct) + 2 * (e - direct) + ((number >> (e - 1)) & 1), e - 1


@inlined
def number_of(klass, direct, word):
    """Number of a class whose extra bits begin `word`, and how many they are. Source: ANS-7."""
    if klass < (1 << direct):
        return klass, np.uint64(0)
    e = np.uint64(direct + ((klass - (1 << direct)) >> 1))
    n_extra = e - np.uint64(1)
    extra = (word >> np.uint64(1)) >> (np.uint64(63) - n_extra)
    top = np.uint64(2 | ((klass - (1 << direct)) & 1))
    return np.int64((top << n_extra) | extra), n_extra


@inlined
def level_of(gap, level_bits):
    """Binary digits of a gap, at most 2**level_bits - 1. Source: BND-5."""
    if level_bits == 1:
        return np.uint64(gap > 0)
    return np.uint64(gap > 0) + np.uint64(gap > 1) + np.uint64(gap > 3)


@kernel
def find_gaps(positions, lines, classes, bands, n_bands, gaps, cells):
    """Find the gap and the cell of every entry.

    Parameters
    ----------
    positions : uint32 (n_entries,)
        Places in the scan, increasing in each line.
    lines : int64 (n_lines + 1,)
        Line i has the entries from ``lines[i]`` on, up to ``lines[i + 1]``.
    classes : int64 (n_lines,)
    bands : uint8 (n,)
        Of each place in the scan; the last, also of all places beyond.
    n_bands : int64
    gaps : uint32 (n_entries,), written
    cells : uint16 (n_entries,), written

    Source: BND-5.
    """
    for line in range(classes.size):
        start = np.int64(0)
        for entry in range(lines[line], lines[line + 1]):
            place = np.int64(positions[entry])
            gaps[entry] = np.uint32(place - start)
            band = np.int64(bands[min(start, np.int64(bands.size - 1))])
            cells[entry] = np.uint16(classes[line] * n_bands + band)
            start = place + 1


@kernel
def find_gap_contexts(gaps, cells, lines, level_bits, memory_bits, contexts):
    """Find the context of every gap.

    Parameters
    ----------
    gaps, cells, lines : as of `find_gaps`
    level_bits, memory_bits : int64
    contexts : uint16 (n_entries,), written

    Source: BND-5.
    """
    mask = np.uint64((1 << memory_bits) - 1)
    for line in range(lines.size - 1):
        memory = np.uint64(0)
        for entry in range(lines[line], lines[line + 1]):
            contexts[entry] = np.uint16(
                (np.uint64(cells[entry]) << np.uint64(memory_bits)) + memory
            )
            level = level_of(gaps[entry], level_bits)
            memory = ((memory << np.uint64(level_bits)) | level) & mask


@kernel
def find_value_contexts(gaps, cells, symbols, lines, kinds, n_kinds, uses_cell, contexts):
    """Find the context of every value.

    Parameters
    ----------
    gaps, cells, lines : as of `find_gaps`
    symbols : uint16 (n_entries,)
    kinds : uint8 (257,)
        Kind of each symbol up to 255, and of those beyond.
    n_kinds : int64
    uses_cell : int64
        1 where cells are a part of the context, else 0.
    contexts : uint16 (n_entries,), written

    Source: BND-5.
    """
    n_each = 2 * n_kinds + 1 if n_kinds > 1 else 1
    for line in range(lines.size - 1):
        before = 0
        for entry in range(lines[line], lines[line + 1]):
            context = np.int64(cells[entry]) * n_each * uses_cell
            if n_kinds > 1:
                if before > 0:
                    context += before + (n_kinds if gaps[entry] == 0 else 0)
                before = 1 + np.int64(kinds[min(np.int64(symbols[entry]), 256)])
            contexts[entry] = np.uint16(context)


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
    """Code a number before what is coded already. Returns the state before it.

    Source: ANS-5, ANS-7.
    """
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
    lines,
    gaps,
    symbols,
    gap_tables,
    value_tables,
    gap_bits,
    joined,
    frequencies,
    places,
    states,
    words,
    lengths,
):
    """Code the lines of one stream, from the last token to the first.

    Parameters
    ----------
    lines : int64 (n_lines + 1,)
        As of `find_gaps`, for the lines of this stream.
    gaps : uint32, symbols : uint16 (n_entries,)
    gap_tables, value_tables : uint8 (n_entries,)
        Tables of each entry, counted from the count table, which is 0.
    gap_bits : int64
        Direct bits of gaps.
    joined : int64
        1 where counts are left out.
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
            at -= 1
            state = push(
                np.int64(symbols[entry]),
                VALUE_DIRECT,
                np.int64(value_tables[entry]),
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
                gap_bits,
                np.int64(gap_tables[entry]),
                state,
                frequencies,
                places,
                states,
                size,
                words,
                lengths,
                at,
            )
        if joined:
            continue
        at -= 1
        state = push(
            lines[line + 1] - lines[line],
            COUNT_DIRECT,
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
    """Next state by a table entry and the bits that begin `word`, and how many. Source: ANS-5."""
    n_bits = e & np.uint64(15)
    base = (e >> np.uint64(4)) & np.uint64(4095)
    return base + ((word >> np.uint64(1)) >> (np.uint64(63) - n_bits)), n_bits


@kernel
def begin_line(
    buffer, tables, count_numbers, thresholds, n_bands, width, end_base, end_entry, end_byte, lane
):
    """Read the number of entries of a stream's next line, or check its end.

    Parameters
    ----------
    buffer, tables, count_numbers, thresholds, n_bands, width : as of `decode_banded`
    end_base, end_entry, end_byte : uint64
        Position, entry and byte at which the stream ends.
    lane : uint64 (11,), updated

    Returns
    -------
    status : int64
        OK, STREAM_DONE, ENTRY_COUNT, LAST_STATE, STREAM_LENGTH or STREAM_PADDING.

    Source: BND-5 to BND-7, ANS-6, LIN-5.
    """
    next_base = lane[NEXT_BASE]
    if next_base == end_base:
        if lane[ENTRY] != end_entry:
            return ENTRY_COUNT
        if lane[STATE] != np.uint64(0):
            return LAST_STATE
        status = check_end(buffer, lane[BIT], end_byte)
        return STREAM_DONE if status == OK else status
    word = window(buffer, lane[BIT])
    e = np.uint64(tables[lane[STATE]])
    state, n_bits = read_state(e, word)
    number = np.uint64(count_numbers[e >> np.uint64(16)])
    n_extra = number >> np.uint64(24)
    extra = ((word << n_bits) >> np.uint64(1)) >> (np.uint64(63) - n_extra)
    count = (number & np.uint64(0xFFFFFF)) + extra
    if count > np.uint64(width) or lane[ENTRY] + count > end_entry:
        return ENTRY_COUNT
    klass = 0
    while klass < thresholds.size and np.uint64(thresholds[klass]) <= count:
        klass += 1
    lane[STATE] = state
    lane[BIT] += n_bits + n_extra
    lane[LINE_END] = lane[ENTRY] + count
    lane[BASE] = next_base
    lane[NEXT_BASE] = next_base + np.uint64(width)
    lane[PLACE] = np.uint64(0)
    lane[FIRST_CELL] = np.uint64(klass * n_bands)
    lane[MEMORY] = np.uint64(0)
    lane[KIND] = np.uint64(0)
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
    n_bands,
    level_bits,
    memory_bits,
    kinds,
    n_kinds,
    uses_cell,
    gap_bits,
    joined,
    gap_map,
    value_map,
    log_size,
    tables,
    count_numbers,
    gap_numbers,
    positions,
    symbols,
    where,
):
    """Decode several streams in turns, entry by entry, so that their latencies overlap.

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
    bands : uint32 (n,)
        Of each place in the scan; the last, also of all places beyond.
    n_bands, level_bits, memory_bits : int64
    kinds : uint32 (257,)
        Kind of each symbol up to 255, and of those beyond.
    n_kinds : int64
    uses_cell : int64
        1 where cells are a part of a value's context, else 0.
    gap_bits : int64
        Direct bits of gaps.
    joined : int64
        1 where the lines of a stream are read as one, without counts.
    gap_map, value_map : uint32 (n_contexts,)
        Of each context, where its table begins in `tables`.
    log_size : int64
    tables : uint32 (n_tables * 2**log_size,)
        The count table first.
    count_numbers, gap_numbers : uint32 (320,)
        Of each class of a count or gap, the least number, and 2**24 times its extra bits; classes
        beyond 2**24 have 2**24 - 1, which no line holds. No branch, since none would be foreseen.
    positions : uint32 (n,), written
        Of each entry in its stream, places counted in the scan.
    symbols : uint16 (n,), written
    where : uint64 (n_streams, 11), written
        Scratch: what `STATE` to `STREAM` name, for each stream that is not done.

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
    one = np.uint64(1)
    low = np.uint64(0xFFFFFF)
    levels = np.uint64(level_bits)
    memories = np.uint64(memory_bits)
    mask = np.uint64((1 << memory_bits) - 1)
    both_kinds = np.uint64(n_kinds)
    n_each = np.uint64(2 * n_kinds + 1 if n_kinds > 1 else 1) * np.uint64(uses_cell)
    log = np.uint64(log_size)
    past = np.uint64(width)
    most = np.uint64(n_values)
    last_band = np.uint64(bands.size - 1)
    n_active = n_lines.size
    for s in range(n_active):
        bit = np.uint64(starts[s]) << np.uint64(3)
        where[s, STATE] = window(buffer, bit) >> (np.uint64(64) - log)
        where[s, BIT] = bit + log
        where[s, ENTRY] = np.uint64(begins[s])
        where[s, LINE_END] = np.uint64(begins[s])
        where[s, NEXT_BASE] = np.uint64(0)
        where[s, STREAM] = np.uint64(s)
        if joined:
            where[s, LINE_END] = np.uint64(begins[s + 1])
            where[s, BASE] = np.uint64(0)
            where[s, NEXT_BASE] = np.uint64(n_lines[s]) * past
            where[s, PLACE] = np.uint64(0)
            where[s, FIRST_CELL] = np.uint64(0)
            where[s, MEMORY] = np.uint64(0)
            where[s, KIND] = np.uint64(0)
    while n_active > 0:
        lane = 0
        while lane < n_active:
            entry = where[lane, ENTRY]
            if entry == where[lane, LINE_END]:
                stream = np.int64(where[lane, STREAM])
                status = begin_line(
                    buffer,
                    tables,
                    count_numbers,
                    thresholds,
                    n_bands,
                    width,
                    np.uint64(n_lines[stream]) * past,
                    np.uint64(begins[stream + 1]),
                    np.uint64(starts[stream + 1]),
                    where[lane],
                )
                if status == STREAM_DONE:  # the last lane takes the place of this one
                    n_active -= 1
                    where[lane] = where[n_active]
                elif status != OK:
                    return status
                continue
            bit = where[lane, BIT]
            place = where[lane, PLACE]
            cell = where[lane, FIRST_CELL] + np.uint64(bands[min(place, last_band)])
            first = np.uint64(gap_map[(cell << memories) + where[lane, MEMORY]])
            word = window(buffer, bit)
            e = np.uint64(tables[first + where[lane, STATE]])
            state, n_bits = read_state(e, word)
            number = np.uint64(gap_numbers[e >> np.uint64(16)])
            n_extra = number >> np.uint64(24)
            word <<= n_bits
            gap = (number & low) + ((word >> one) >> (np.uint64(63) - n_extra))
            word <<= n_extra
            bit += n_bits + n_extra
            context = cell * n_each
            kind = where[lane, KIND]
            if kind > np.uint64(0):
                context += kind + (both_kinds if gap == np.uint64(0) else np.uint64(0))
            e = np.uint64(tables[np.uint64(value_map[context]) + state])
            state, n_bits = read_state(e, word)
            symbol = e >> np.uint64(16)
            bit += n_bits
            if symbol >= np.uint64(256):
                found, n_extra = number_of(np.int64(symbol), VALUE_DIRECT, window(buffer, bit))
                symbol = np.uint64(found)
                bit += n_extra
            place += gap
            if place >= where[lane, NEXT_BASE] - where[lane, BASE]:
                return PLACE_PAST_END
            if symbol >= most:
                return SYMBOL_PAST_END
            positions[entry] = np.uint32(where[lane, BASE] + place)
            symbols[entry] = np.uint16(symbol)
            where[lane, STATE] = state
            where[lane, BIT] = bit
            where[lane, ENTRY] = entry + one
            where[lane, PLACE] = place + one
            level = level_of(gap, level_bits)
            where[lane, MEMORY] = ((where[lane, MEMORY] << levels) | level) & mask
            if n_kinds > 1:
                kind = np.uint64(kinds[min(symbol, np.uint64(256))])
                where[lane, KIND] = np.uint64(1) + kind
            lane += 1
    return OK

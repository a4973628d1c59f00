"""Streams of banded, sixteen at a time, one in each lane. The same bytes, the same entries."""

import numpy as np

from cnnzip_native._jit import inlined, kernel
from cnnzip_native._lanes import (
    LANES,
    bits_of,
    count,
    first_lanes,
    gather,
    lane_of,
    least,
    prefix_sum,
    select,
    shift_in,
    spread,
    store,
    store_first,
    windows,
    with_lane,
)
from cnnzip_native._vectors import window
from cnnzip_native.bits import check_end
from cnnzip_native.status import (
    ENTRY_COUNT,
    LAST_STATE,
    OK,
    PLACE_PAST_END,
    SYMBOL_PAST_END,
)

STAGED = 16  # entries of each lane that wait in `stage`
MOST_EXTRA = 19  # more extra bits than a line of fewer than 2**18 places needs


@inlined
def top(word, n):
    """The first `n` bits of each word, below 32. Source: NUM-3."""
    return (word >> spread(1)) >> (spread(31) - n)


@inlined
def number_of(klass, direct, word):
    """Numbers of classes whose extra bits begin `word`, and how many they are. Source: ANS-7."""
    is_direct = klass < spread(1 << direct)
    n_extra = (klass >> spread(1)) - spread((1 << (direct - 1)) - direct + 1)
    n_extra = select(is_direct, spread(0), least(n_extra, spread(MOST_EXTRA)))
    lead = select(is_direct, klass, (spread(2) | (klass & spread(1))) << n_extra)
    return lead + top(word, n_extra), n_extra


@inlined
def read_states(e, word):
    """Next states by table entries and the bits that begin `word`, and how many. Source: ANS-5."""
    n_bits = e & spread(15)
    return ((e >> spread(4)) & spread(4095)) + top(word, n_bits), n_bits


@kernel
def unload(stage, n_staged, lane_streams, ends, positions, symbols):
    """Move what is staged to where the entries of each lane's stream belong.

    Parameters
    ----------
    stage : uint32 (2 * STAGED * 16,)
        Positions of sixteen lanes, the next entries' positions, ...; then symbols.
    n_staged : int64
    lane_streams : int64 (16,)
        Stream of each lane, or -1.
    ends : int64 (16,), updated
        Entries written of each lane.
    positions : uint32 (n,), symbols : uint16 (n,), written

    Source: LIN-5.
    """
    every = first_lanes(LANES)
    column = prefix_sum(spread(LANES)) - spread(LANES)
    for lane in range(LANES):
        if lane_streams[lane] >= 0:
            own = column + spread(lane)
            store_first(positions, ends[lane], gather(stage, own, every), n_staged)
            own = own + spread(STAGED * LANES)
            store_first(symbols, ends[lane], gather(stage, own, every), n_staged)
            ends[lane] += n_staged


@kernel
def decode_banded_lanes(
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
    positions,
    symbols,
    stage,
    lanes,
):
    """Decode several streams, each lane one after the other.

    Parameters
    ----------
    As of `decode_banded`, but

    buffer : uint8 (n_bytes,)
        Of at least 8 bytes, and below 2**29.
    width : int64
        Below 2**18, and so for the lines of a stream together where they are joined.
    thresholds : uint32 (n_classes - 1,)
    stage : uint32 (2 * STAGED * 16,), written
    lanes : int64 (2, 16), written
        Scratch: stream of each lane, and how many of its entries are written.

    Returns
    -------
    status : int64
        OK, ENTRY_COUNT, PLACE_PAST_END, SYMBOL_PAST_END, LAST_STATE, STREAM_LENGTH or
        STREAM_PADDING.

    Trusts: as `decode_banded`. Lines take no more entries than their stream has left, places are
    kept below `width`.

    Source: ANS-5 to ANS-7, BND-5 to BND-7, LIN-5.
    """
    zero, one = spread(0), spread(1)
    past, most, last_band = spread(width), spread(n_values), spread(bands.size - 1)
    levels, memories = spread(level_bits), spread(memory_bits)
    mask = spread((1 << memory_bits) - 1)
    both_kinds = spread(n_kinds)
    n_each = spread((2 * n_kinds + 1 if n_kinds > 1 else 1) * uses_cell)
    # Of each lane's stream: lines and entries not yet begun. Of its line: entries left, position
    # of its first place, the next place, the first cell of its class, the memory of its gaps, and
    # the kind of the symbol before and 1.
    state, bit, lines_left, entries_left = zero, zero, zero, zero
    left, base, place, first_cell, memory, kind = zero, zero, zero, zero, zero, zero
    active = first_lanes(0)
    wrong_count, wrong_place, wrong_symbol = active, active, active
    lane_streams, ends = lanes[0], lanes[1]
    lane_streams[:] = -1
    next_stream = 0
    n_staged = 0
    while True:
        ended = active & (left == zero)
        done = bits_of(ended & (lines_left == zero))
        if done != 0 or next_stream == 0:
            unload(stage, n_staged, lane_streams, ends, positions, symbols)
            n_staged = 0
            if count(wrong_count) > 0:
                return ENTRY_COUNT
            if count(wrong_place) > 0:
                return PLACE_PAST_END
            if count(wrong_symbol) > 0:
                return SYMBOL_PAST_END
            is_active = select(active, one, zero)
            for lane in range(LANES):
                if (done >> lane) & 1:
                    if lane_of(entries_left, lane) != 0:
                        return ENTRY_COUNT
                    if lane_of(state, lane) != 0:
                        return LAST_STATE
                    end = np.uint64(starts[lane_streams[lane] + 1])
                    status = check_end(buffer, np.uint64(lane_of(bit, lane)), end)
                    if status != OK:
                        return status
                    lane_streams[lane] = -1
                    is_active = with_lane(is_active, lane, 0)
                if lane_streams[lane] < 0 and next_stream < n_lines.size:
                    s = next_stream
                    next_stream += 1
                    first = np.uint64(starts[s]) << np.uint64(3)
                    word = window(buffer, first)
                    state = with_lane(state, lane, word >> np.uint64(64 - log_size))
                    bit = with_lane(bit, lane, first + np.uint64(log_size))
                    lines_left = with_lane(lines_left, lane, n_lines[s])
                    entries_left = with_lane(entries_left, lane, begins[s + 1] - begins[s])
                    left = with_lane(left, lane, 0)
                    base = with_lane(base, lane, -width)
                    if joined:
                        past = with_lane(past, lane, n_lines[s] * width)
                        lines_left = with_lane(lines_left, lane, 0)
                        entries_left = with_lane(entries_left, lane, 0)
                        left = with_lane(left, lane, begins[s + 1] - begins[s])
                        base = with_lane(base, lane, 0)
                        place = with_lane(place, lane, 0)
                        memory = with_lane(memory, lane, 0)
                        kind = with_lane(kind, lane, 0)
                    is_active = with_lane(is_active, lane, 1)
                    lane_streams[lane] = s
                    ends[lane] = begins[s]
            active = is_active == one
            if count(active) == 0:
                return OK
        elif count(ended) > 0:  # a line's number of entries
            high, low = windows(buffer, bit)
            e = gather(tables, state, ended)
            next_state, n_bits = read_states(e, high)
            number, n_extra = number_of(e >> spread(16), 4, shift_in(high, low, n_bits))
            wrong_count = wrong_count | (ended & ((past < number) | (entries_left < number)))
            number = least(number, entries_left)
            klass = zero
            for t in range(thresholds.size):
                klass = klass + select(number < spread(thresholds[t]), zero, one)
            state = select(ended, next_state, state)
            bit = select(ended, bit + n_bits + n_extra, bit)
            lines_left = select(ended, lines_left - one, lines_left)
            entries_left = select(ended, entries_left - number, entries_left)
            left = select(ended, number, left)
            base = select(ended, base + past, base)
            place = select(ended, zero, place)
            first_cell = select(ended, klass * spread(n_bands), first_cell)
            memory = select(ended, zero, memory)
            kind = select(ended, zero, kind)
        else:  # an entry of every lane
            cell = first_cell + gather(bands, least(place, last_band), active)
            first = gather(gap_map, (cell << memories) + memory, active)
            high, low = windows(buffer, bit)
            e = gather(tables, first + state, active)
            state, n_bits = read_states(e, high)
            gap, n_extra = number_of(e >> spread(16), gap_bits, shift_in(high, low, n_bits))
            n_bits = n_bits + n_extra
            context = cell * n_each
            if n_kinds > 1:
                adjacent = select(gap == zero, both_kinds, zero)
                context = context + select(kind == zero, zero, kind + adjacent)
            e = gather(tables, gather(value_map, context, active) + state, active)
            bit = bit + n_bits
            state, n_bits = read_states(e, shift_in(high, low, n_bits))
            bit = bit + n_bits
            symbol = e >> spread(16)
            if count(active & (symbol >= spread(256))) > 0:
                high, low = windows(buffer, bit)
                symbol, n_extra = number_of(symbol, 8, high)
                bit = bit + n_extra
            place = place + gap
            wrong_place = wrong_place | (active & (place >= past))
            wrong_symbol = wrong_symbol | (active & (symbol >= most))
            place = least(place, past - one)
            store(stage, n_staged * LANES, base + place)
            store(stage, (STAGED + n_staged) * LANES, symbol)
            n_staged += 1
            place = place + one
            left = left - one
            level = select(zero < gap, one, zero)
            if level_bits > 1:
                level = level + select(one < gap, one, zero) + select(spread(3) < gap, one, zero)
            memory = ((memory << levels) | level) & mask
            if n_kinds > 1:
                kind = one + gather(kinds, least(symbol, spread(256)), active)
            if n_staged == STAGED:
                unload(stage, n_staged, lane_streams, ends, positions, symbols)
                n_staged = 0

"""How short an adaptive coder could make a matrix: a code length by mixing many contexts.

Each weight is a yes or no (an entry?), each entry a sign and the bits of its rank among the values
of that sign. Every bit gets a probability from a mix of adaptive models, pays its ideal length, and
then teaches them; so a decoder could do the same, one weight at a time, and no table is stored.
The models know

- row, column and input channel: p = sigmoid(a_row + b_column + c_channel), fitted as it goes;
- the neighbours: left, up, the same place in the channel before, the row above in the kernel;
- what came before in the row and in the column, the place in the kernel, the density of both;
- the row before that has been most alike so far, as trained networks have near-copies of rows;
- for each row and each column the one before it that it resembles most, whose number is paid for;
- what followed the same gaps and values when they last came, anywhere.

The mix is logistic, its weights learned online (Mahoney, "Adaptive weighing of context models for
lossless data compression", 2005; the counters and the search for a match are as in his lpaq1).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnzip_native._jit import inlined, kernel

from ..matrices.base import Case

VALUE_BITS = 32  # of the codebook
LEFT = 4  # margins of the grid beyond a kernel's size, so that every neighbour exists
STRETCH = 1 << 14
COUNT_LIMIT = 500
MIX_ONE, MIX_TWO = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93  # odd numbers, to hash by
WITHIN, SAMPLED = 2048, 1024  # lines back and places compared, when lines are compared
DEEP = 256  # from this node of a tree of ranks on, one model is enough


def adaptive_bits(case: Case) -> float:
    """Bits of the whole matrix, codebook included: the best of scans by rows and by columns."""
    if not case.weight.size:
        return 0.0
    n_negative = int(np.count_nonzero(case.codebook < 0))
    # Signed ranks: 0 for zero, then 1, 2, ... and -1, -2, ... away from it.
    ranks = np.concatenate(
        [[0], np.arange(-n_negative, 0), np.arange(1, case.codebook.size - n_negative + 1)]
    ).astype(np.int32)
    grid = ranks[case.symbols]
    n_positive = case.codebook.size - n_negative
    area, width = _kernel_size(case.shape)

    def scan(along: int, likes: Sequence[NDArray[np.int64]]) -> float:
        lines = grid.T if along else grid
        return _scan(lines, n_negative, n_positive, area, width, along, likes)

    alone = [np.zeros(n, np.int64) for n in grid.shape]
    by_rows, by_columns = scan(0, alone), scan(1, alone[::-1])
    best, along = min((by_rows, 0), (by_columns, 1))
    likes = [_resembled(grid), _resembled(grid.T)]
    shorter = int(grid.shape[1] < grid.shape[0])
    for used in ({0, 1}, {shorter}):
        chosen = [likes[axis] if axis in used else alone[axis] for axis in (0, 1)]
        if all(chosen[axis].any() for axis in used):
            best = min(best, scan(along, chosen[::-1] if along else chosen))
    return VALUE_BITS * case.codebook.size + best


def _kernel_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Weights of a convolution's kernel, and of a row of it; 1 and 1 for a linear layer."""
    return int(np.prod(shape[2:], dtype=np.int64)), shape[-1] if len(shape) > 2 else 1


def _scan(
    lines: NDArray[np.int32],
    n_negative: int,
    n_positive: int,
    area: int,
    width: int,
    by_columns: int,
    likes: Sequence[NDArray[np.int64]],
) -> float:
    """Bits of signed ranks (n_lines, n_places), line after line."""
    # Where to look for the channel before and for the row above in the kernel: lines, places back.
    offsets = np.array([[area, 0], [width, 0]] if by_columns else [[0, area], [0, width]])
    if area == 1:
        offsets = np.array([[2, 0], [0, 3]])
    top, left = max(2, *offsets[:, 0]), max(LEFT, *offsets[:, 1])
    grid = np.zeros((lines.shape[0] + top, lines.shape[1] + left + LEFT), np.int32)
    grid[top:, left : left + lines.shape[1]] = lines
    values = np.arange(-n_negative, n_positive + 1)
    most = np.where(values < 0, n_negative, max(n_positive, 1))
    classes = np.where(values == 0, 0, 1 + (np.abs(values) - 1) * 7 // most).astype(np.uint8)
    depths = np.array([max(n - 1, 0).bit_length() for n in (n_positive, n_negative)])
    log_size = min(max(int(np.count_nonzero(lines)).bit_length(), 8), 22)
    seen = np.full((3, 1 << log_size), -1, np.int64)
    chances = (np.arange(STRETCH) + 0.5) / STRETCH
    stretch = np.log(chances / (1 - chances)).astype(np.float32)
    rates = (65536 / (np.arange(COUNT_LIMIT + 1) + 1.6)).astype(np.int64)
    deepest = 2 << int(depths.max())
    order0 = _counters(2 * deepest)
    significance = _counters(11, 1 << 17)
    signs = _counters(9, max(1024, lines.shape[1]))
    magnitudes = _counters(9, 2 * DEEP * 32)
    places = (top, left, lines.shape[0], lines.shape[1])
    return sum(map(_number_bits, likes)) + _code_length(
        grid,
        places,
        *likes,
        offsets,
        area,
        by_columns,
        classes,
        n_negative,
        depths,
        order0,
        significance,
        signs,
        magnitudes,
        seen,
        stretch,
        rates,
    )


def _resembled(lines: NDArray[np.int32]) -> NDArray[np.int64]:
    """How many lines back each line's entries and their signs agree best with; 0 for nowhere."""
    n_lines, n_places = lines.shape
    found = np.zeros(n_lines, np.int64)
    if n_places < 5:  # what agrees in four entries is not worth its number
        return found
    sample = np.sign(lines[:, :: -(-n_places // SAMPLED) or 1]).astype(np.float32)
    entries = np.abs(sample)
    counts = entries.sum(axis=1)
    for first in range(1, n_lines, 512):
        end = min(first + 512, n_lines)
        start = max(0, first - WITHIN)
        score = entries[first:end] @ entries[start:end].T + sample[first:end] @ sample[start:end].T
        score -= 2 * counts[first:end, None] * counts[None, start:end] / max(sample.shape[1], 1)
        back = np.arange(first, end)[:, None] - np.arange(start, end)[None]
        score[(back <= 0) | (back > WITHIN)] = 0
        best = score.argmax(axis=1)
        # What is independent agrees now and then, and a number costs as much as some entries.
        chance = 2 * counts[first:end] * counts[start + best] / max(sample.shape[1], 1)
        worth = np.take_along_axis(score, best[:, None], 1)[:, 0] > 8 + 5 * np.sqrt(chance)
        found[first:end] = np.where(worth, np.arange(first, end) - start - best, 0)
    return found


def _number_bits(back: NDArray[np.int64]) -> float:
    """Bits that tell which line each line resembles, if any."""
    used = np.flatnonzero(back)
    share = used.size / max(back.size, 1)
    choice = -share * np.log2(share) - (1 - share) * np.log2(1 - share) if 0 < share < 1 else 0
    return 1 + back.size * choice + float(np.log2(np.minimum(used, WITHIN)).sum())


def _counters(*shape: int) -> NDArray[np.uint32]:
    """Counters at one half: probability in 22 bits above a count in 10."""
    return np.full(shape, 1 << 31, np.uint32)


@inlined
def _learn(counters, i, bit, rates):
    counter = np.int64(counters[i])
    count, chance = counter & 1023, counter >> 10
    chance += (((bit << 22) - chance) * rates[count]) >> 16
    chance = min(max(chance, 1), (1 << 22) - 1)
    counters[i] = np.uint32(chance << 10 | min(count + 1, COUNT_LIMIT))


@kernel
def _mix(inputs, n, weights, one, two, three):
    """Sum of three mixes, as a logit."""
    total = np.float32(0)
    for i in range(n):
        total += inputs[i] * (weights[one, i] + weights[two, i] + weights[three, i])
    return min(max(total, np.float32(-16)), np.float32(16))


@kernel
def _teach(inputs, n, weights, one, two, three, step):
    """Move the weights of three mixes against the error."""
    for i in range(n):
        weights[one, i] += inputs[i] * step
        weights[two, i] += inputs[i] * step
        weights[three, i] += inputs[i] * step


@inlined
def _sign(value):
    return (value > 0) + 2 * (value < 0)


@kernel
def _like(grid, one, two, place, first):
    """How many entries of two lines agree, from a place back to where they differ; at most 15."""
    found = 0
    for at in range(place, max(place - 2048, first - 1), -1):
        if grid[one, at] != grid[two, at]:
            break
        found += grid[one, at] != 0
        if found == 15:
            break
    return found


@kernel
def _code_length(
    grid,
    places,
    line_like,
    place_like,
    offsets,
    area,
    by_columns,
    classes,
    n_negative,
    depths,
    order0,
    significance,
    signs,
    magnitudes,
    seen,
    stretch,
    rates,
):
    """Add up the ideal lengths of all bits.

    Source: Mahoney 2005; the fit of rows and columns takes Newton's steps with a diagonal Hessian.
    """
    top, left, n_lines, n_places = places
    mask = np.uint64(seen.shape[1] - 1)
    n_groups = (n_lines if by_columns else n_places) // area + 1
    place_fit, place_info = np.zeros(n_places, np.float32), np.ones(n_places, np.float32)
    group_fit, group_info = np.zeros(n_groups, np.float32), np.ones(n_groups, np.float32)
    place_past = np.zeros(n_places, np.uint8)
    place_class = np.zeros(n_places, np.float32)
    # How often an entry of the place that a place resembles is one here, and has the same value.
    place_trust, place_equal = np.full((2, n_places), np.float32(0.5))
    base, base_info = np.float32(0), np.float32(4)
    x = np.zeros(16, np.float32)
    at = np.zeros(16, np.int64)
    weights = np.full((128, 16), np.float32(0.07))
    sign_weights = np.full((64, 16), np.float32(0.07))
    rank_weights = np.full((128, 16), np.float32(0.07))
    n_bits, product = 0.0, 1.0
    n_seen, n_entries, last_entry = 0, 0, -1
    # Where the same gaps and values came before, and for how long they have agreed.
    echo_row, echo_column, echo = -1, 0, 0
    gap1, gap2, gap3 = np.uint64(0), np.uint64(0), np.uint64(0)
    for line in range(n_lines):
        row = line + top
        line_trust, line_equal = np.float32(0.5), np.float32(0.5)
        line_fit, line_info = np.float32(0), np.float32(1)
        past, density, line_class = 0, np.float32(0), np.float32(0)
        last, last_sign, last_two = 0, 0, 0
        alike, likeness = -1, 0  # the most alike row, how many entries have agreed
        hash1, hash2, hash3 = np.uint64(0), np.uint64(0), np.uint64(0)
        for place in range(n_places):
            column = place + left
            value = grid[row, column]
            bit = np.int64(value != 0)
            before, above = grid[row, column - 1], grid[row - 1, column]
            channel = grid[row - offsets[0, 0], column - offsets[0, 1]]
            kernel_row = grid[row - offsets[1, 0], column - offsets[1, 1]]
            in_kernel = min((line if by_columns else place) % area, 31)
            group = (line if by_columns else place) // area
            guess = grid[alike, column] if alike >= 0 else 0
            echoed = grid[echo_row, echo_column] if echo else 0
            held = echo
            back = line_like[line]
            from_line = grid[row - back, column] if back else 0
            back = place_like[place]
            from_place = grid[row, column - back] if back else 0
            line_level = np.int64(line_trust * np.float32(7.99)) * (line_like[line] > 0)
            place_level = np.int64(place_trust[place] * np.float32(7.99)) * (place_like[place] > 0)
            # Is it an entry?
            fit = base + line_fit + place_fit[place]
            if area > 1:
                fit += group_fit[group]
            fit = min(max(fit, np.float32(-12)), np.float32(12))
            fitted = np.float32(1) / (np.float32(1) + np.exp(-fit))
            level = min(max(np.int64((fit + np.float32(8)) * np.float32(1.5)), 0), 23)
            near = (
                np.int64(before != 0)
                + 2 * np.int64(past >> 1 & 1)
                + 4 * np.int64(above != 0)
                + 8 * np.int64(grid[row - 1, column - 1] != 0)
                + 16 * np.int64(grid[row - 1, column + 1] != 0)
            )
            window = 0
            for step in range(-3, 4):
                window += grid[row - 1, column + step] != 0
            behind = 0
            for step in range(6):
                behind += past >> step & 1
            matched = 1 + 2 * likeness + (guess != 0) if alike >= 0 else 0
            at[0] = level * 32 + near
            at[1] = (
                np.int64(classes[before + n_negative] + 1) // 2 * 250
                + np.int64(classes[above + n_negative] + 1) // 2 * 50
                + np.int64(classes[channel + n_negative] + 1) // 2 * 10
                + np.int64(classes[kernel_row + n_negative] + 1) // 2 * 2
                + np.int64(grid[row - 2, column] != 0)
            )
            at[2] = (past & 1023) * 32 + in_kernel
            at[3] = np.int64(place_past[place]) * 16 + min(np.int64(density * np.float32(32)), 15)
            at[4] = matched * 24 + level
            at[5] = 0
            at[6] = (level * 8 + window) * 7 + behind
            at[7] = (1 + 2 * echo + (echoed != 0)) * 24 + level if echo else 0
            at[8] = ((from_line != 0) * 8 + line_level) * 24 + level
            at[9] = ((from_place != 0) * 8 + place_level) * 24 + level
            either = (from_line != 0) + 2 * (from_place != 0)
            at[10] = ((either * 8 + line_level) * 8 + place_level) * 12 + level // 2
            x[0] = fit
            for i in range(11):
                x[i + 1] = stretch[significance[i, at[i]] >> 18]
            x[12] = np.float32(0.3)
            trust = 0 if alike < 0 else 1 + (likeness > 2) + (likeness > 8)
            one = trust * 6 + min(echo, 2) // 2 * 3 + min(window + behind + 1, 5) // 2
            two = 32 + level
            three = 64 + (either * 4 + line_level // 2) * 4 + place_level // 2
            mixed = _mix(x, 13, weights, one, two, three)
            chance = np.float32(1) / (np.float32(1) + np.exp(-mixed))
            product *= chance if bit else np.float32(1) - chance
            step_size = np.float32(max(0.0006, 0.014 / (1 + n_seen * 0.0005)))
            _teach(x, 13, weights, one, two, three, step_size * (np.float32(bit) - chance))
            n_seen += 1
            for i in range(11):
                _learn(significance[i], at[i], bit, rates)
            if from_line != 0:
                line_trust += (np.float32(bit) - line_trust) * np.float32(0.06)
            if from_place != 0:
                place_trust[place] += (np.float32(bit) - place_trust[place]) * np.float32(0.06)
            error, info = np.float32(bit) - fitted, fitted * (np.float32(1) - fitted)
            line_info += info
            line_fit += error / line_info
            place_info[place] += info
            place_fit[place] += error / place_info[place]
            base_info += info
            base += error / base_info
            if area > 1:
                group_info[group] += info
                group_fit[group] += error / group_info[group]
            past = (past << 1 | bit) & 0xFFFF
            place_past[place] = np.uint8((np.int64(place_past[place]) << 1 | bit) & 255)
            density += (np.float32(bit) - density) * np.float32(0.0625)
            if product < 1e-200:
                n_bits -= np.log2(product)
                product = 1.0
            if echo:
                echo = min(echo + bit, 15) if echoed == value else 0
                echo_column += 1
                if echo_column == left + n_places:
                    echo_row, echo_column = echo_row + 1, left
            if not bit:
                if guess != 0:
                    likeness >>= 1
                    if likeness == 0:
                        alike = -1
                continue
            # Its sign.
            n_entries += 1
            expect, trusted = (
                (guess, likeness) if guess != 0 and likeness >= held else (echoed, held)
            )
            step_size = np.float32(max(0.0006, 0.014 / (1 + n_entries * 0.001)))
            negative = np.int64(value < 0)
            guessed = _sign(expect)
            across = _sign(channel) * 3 + _sign(kernel_row)
            at[0] = 0
            at[1] = (_sign(before) * 3 + _sign(above)) * 9 + across
            at[2] = last_sign * 32 + in_kernel
            at[3] = guessed * 16 + trusted
            at[4] = place
            at[5] = level
            at[6] = last_two
            for i in range(7):
                x[i] = stretch[signs[i, at[i]] >> 18]
            x[7] = stretch[signs[7, 0] >> 18]
            x[8] = np.float32(0.3)
            line_level = np.int64(line_equal * np.float32(3.99))
            place_level = np.int64(place_equal[place] * np.float32(3.99))
            at[8] = _sign(from_line) * 3 + _sign(from_place)
            at[8] = at[8] * 16 + line_level * 4 + place_level
            x[9] = stretch[signs[8, at[8]] >> 18]
            one, two = trust, 8 + _sign(before) * 3 + _sign(above)
            three = (
                20
                + ((from_line != 0) * 5 * (1 + line_level))
                + (from_place != 0) * (1 + place_level)
            )
            mixed = _mix(x, 10, sign_weights, one, two, three)
            chance = np.float32(1) / (np.float32(1) + np.exp(-mixed))
            product *= chance if negative else np.float32(1) - chance
            _teach(
                x, 10, sign_weights, one, two, three, step_size * (np.float32(negative) - chance)
            )
            for i in range(7):
                _learn(signs[i], at[i], negative, rates)
            _learn(signs[7], 0, negative, rates)
            _learn(signs[8], at[8], negative, rates)
            # The bits of its rank, the highest first.
            rank, guess_rank = abs(value) - 1, abs(expect) - 1
            guess_holds = expect != 0 and (expect < 0) == (value < 0)
            line_rank, place_rank = abs(from_line) - 1, abs(from_place) - 1
            line_holds = from_line != 0 and (from_line < 0) == (value < 0)
            place_holds = from_place != 0 and (from_place < 0) == (value < 0)
            node = 1
            for depth in range(depths[negative] - 1, -1, -1):
                bit = np.int64(rank >> depth & 1)
                slot = negative * (order0.size // 2) + node
                if node >= DEEP:
                    chance = np.float32(order0[slot] >> 10) / np.float32(1 << 22)
                    product *= chance if bit else np.float32(1) - chance
                    _learn(order0, slot, bit, rates)
                else:
                    here = (negative * DEEP + node) * 32
                    expected = 0
                    if guess_holds:
                        expected = 1 + np.int64(guess_rank >> depth & 1)
                    at[0] = here + level
                    at[1] = here + last
                    at[2] = here + np.int64(classes[above + n_negative]) * 3
                    at[2] += min(np.int64(classes[before + n_negative] + 2) // 3, 2)
                    at[3] = here + min(np.int64(line_class * np.float32(4)), 31)
                    at[4] = here + min(np.int64(place_class[place] * np.float32(4)), 31)
                    at[5] = expected * 16 + trusted
                    at[6] = here + in_kernel
                    at[7], at[8] = 0, 0
                    if line_holds:
                        at[7] = 1 + np.int64(line_rank >> depth & 1)
                    if place_holds:
                        at[8] = 1 + np.int64(place_rank >> depth & 1)
                    three = 64 + (at[7] != 0) * 5 * (1 + line_level)
                    three += (at[8] != 0) * (1 + place_level)
                    at[7], at[8] = (
                        (at[7] * 8 + np.int64(line_equal * np.float32(7.99))) * 3 + at[8],
                        (at[8] * 8 + np.int64(place_equal[place] * np.float32(7.99))) * 3 + at[7],
                    )
                    x[9] = stretch[order0[slot] >> 18]
                    for i in range(9):
                        x[i] = stretch[magnitudes[i, at[i]] >> 18]
                    one, two = trust * 2 + guess_holds, 16 + min(depths[negative] - 1 - depth, 15)
                    mixed = _mix(x, 10, rank_weights, one, two, three)
                    chance = np.float32(1) / (np.float32(1) + np.exp(-mixed))
                    product *= chance if bit else np.float32(1) - chance
                    _teach(
                        x, 10, rank_weights, one, two, three, step_size * (np.float32(bit) - chance)
                    )
                    for i in range(9):
                        _learn(magnitudes[i], at[i], bit, rates)
                    _learn(order0, slot, bit, rates)
                guess_holds = guess_holds and (guess_rank >> depth) == (rank >> depth)
                line_holds = line_holds and (line_rank >> depth) == (rank >> depth)
                place_holds = place_holds and (place_rank >> depth) == (rank >> depth)
                node = 2 * node + bit
                if product < 1e-200:
                    n_bits -= np.log2(product)
                    product = 1.0
            if from_line != 0:
                line_equal += (np.float32(from_line == value) - line_equal) * np.float32(0.06)
            if from_place != 0:
                same = np.float32(from_place == value)
                place_equal[place] += (same - place_equal[place]) * np.float32(0.06)
            last = np.int64(classes[value + n_negative])
            last_two = last_sign * 3 + 1 + negative
            last_sign = 1 + negative
            weight_class = np.float32(last)
            line_class += (weight_class - line_class) * np.float32(0.15)
            place_class[place] += (weight_class - place_class[place]) * np.float32(0.15)
            # Which line is most alike?
            if alike >= 0:
                if guess == value:
                    likeness = min(likeness + 1, 15)
                else:
                    likeness >>= 1
                    if likeness == 0:
                        alike = -1
            hash3, hash2 = hash2, hash1
            hash1 = np.uint64(place * 65537 + value + 1000003) * np.uint64(MIX_ONE)
            pair = hash1 ^ (hash2 << np.uint64(7)) ^ (hash2 >> np.uint64(57))
            triple = pair ^ (hash3 << np.uint64(14)) ^ (hash3 >> np.uint64(50))
            for order in range(2):
                key = (triple if order else pair) * np.uint64(MIX_TWO)
                key = key >> np.uint64(32) & mask
                found = np.int64(seen[order, key])
                if 0 <= found < row and likeness < 15 and found != alike:
                    length = _like(grid, found, row, column, left)
                    if length > likeness:
                        alike, likeness = found, length
                seen[order, key] = row
            # Where did these gaps and values come last?
            here = line * n_places + place
            gap3, gap2 = gap2, gap1
            gap1 = np.uint64((here - last_entry) * 65537 + value + 1000003) * np.uint64(MIX_ONE)
            last_entry = here
            key = gap1 ^ (gap2 << np.uint64(7)) ^ (gap2 >> np.uint64(57))
            key ^= (gap3 << np.uint64(14)) ^ (gap3 >> np.uint64(50))
            key = key * np.uint64(MIX_TWO) >> np.uint64(32) & mask
            if not echo and seen[2, key] >= 0:
                follows = seen[2, key] + 1
                echo_row, echo_column, echo = (
                    follows // n_places + top,
                    follows % n_places + left,
                    1,
                )
            seen[2, key] = here
    return n_bits - np.log2(product)

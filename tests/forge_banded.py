"""Frames of banded and masked from any description at all; written from spec/*.md, no cnnzip in it.

A writer that chooses nothing: the codebook, the bands, the scan, the classes, the memory, the kinds, the
maps and the tables are given, or plain. So a reader is shown descriptions that no encoder would pick.
"""

import random
from dataclasses import dataclass, replace
from math import isqrt, log2, prod

from tests import forge

BANDED, MASKED = 5, 6


# Tables and streams (ANS)


def table(weights, log_size):
    """By symbol, and then by state: n_bits and base (ANS-2 to ANS-5)."""
    size = 1 << log_size
    masses = [isqrt(2 ** (11 + w)) if w else 0 for w in weights]
    shares = [max(1, mass * size // sum(masses)) if mass else 0 for mass in masses]
    shares[masses.index(max(masses))] += max(0, size - sum(shares))
    while sum(shares) > size:
        shares[shares.index(max(shares))] -= 1
    states, at = {}, 0
    for symbol, share in enumerate(shares):
        states[symbol] = []
        for _ in range(share):
            states[symbol].append(at)
            at = (at + size // 2 + size // 8 + 3) % size
    rows = {}
    for symbol, found in states.items():
        rows[symbol] = {}
        for number, state in enumerate(sorted(found), len(found)):
            n_bits = log_size - int(log2(number))
            rows[symbol][state] = n_bits, (number << n_bits) - size
    return rows


def stored_table(weights):
    return forge.varint(len(weights)) + packed(weights, 5)


def packed(numbers, width):
    """A bit string of numbers of `width` bits."""
    return forge.bits("".join(f"{number:0{width}b}" for number in numbers)) if width else b""


def width_for(n):
    """The least number of bits with 2^bits >= n."""
    return next(bits for bits in range(64) if 2**bits >= n)


def klass(number, direct):
    """The class of a number and its extra bits, as text (ANS-7)."""
    if number < 2**direct:
        return number, ""
    digits = f"{number:b}"
    e = len(digits) - 1
    return 2**direct + 2 * (e - direct) + int(digits[1]), digits[2:]


def stream(steps, log_size, last_state=0):
    """The bits, as text, of (rows of the table, symbol, extra bits) steps (ANS-6)."""
    state, text = last_state, []
    for rows, symbol, extra in reversed(steps):
        before, n_bits, base = next(
            (before, n_bits, base)
            for before, (n_bits, base) in rows[symbol].items()
            if base <= state < base + 2**n_bits
        )
        text.append((f"{state - base:0{n_bits}b}" if n_bits else "") + extra)
        state = before
    return f"{state:0{log_size}b}" + "".join(reversed(text))


def weights_of(counts):
    """Weights that fit how often each symbol occurs; of no occurrence, a table of one symbol."""
    if not counts:
        return [1]
    most = max(counts.values())
    return [
        max(1, 31 + round(2 * log2(counts[s] / most))) if s in counts else 0
        for s in range(max(counts) + 1)
    ]


# banded (BND)


@dataclass
class Plan:
    """What a description says, the codebook and the numbers of the streams apart.

    Maps are lists by context, or functions of a context's number; tables are weights of symbols, made
    to fit where they are None.
    """

    axis: int = 0
    lines_per_stream: int = 1
    log_size: int = 9
    patterns: list | None = None  # the codebook, or the distinct ones in the order met
    n_bands: int = 1
    bands: list | None = None  # by place in the line
    scan: int | list = 0  # a kind, or of each place of the scan its place in the line: kind 2
    thresholds: tuple = ()
    level_bits: int = 1
    memory_bits: int = 0
    n_kinds: int = 1
    kinds: list | None = None  # by symbol
    value_grid: int = 0
    gap_bits: int = 4
    joined: int = 0
    n_gap_tables: int = 1
    n_value_tables: int = 1
    gap_map: list | object = None
    value_map: list | object = None
    count_table: list | None = None
    gap_tables: list | None = None
    value_tables: list | None = None

    def order(self, width):
        """The place in the line of each place of the scan (BND-3)."""
        if isinstance(self.scan, list):
            return self.scan
        if self.scan == 1:
            return list(range(width))
        bands = self.bands or [0] * width
        return [p for band in range(self.n_bands) for p in range(width) if bands[p] == band]

    @property
    def n_cells(self):
        return (len(self.thresholds) + 1) * self.n_bands

    @property
    def n_gap_contexts(self):
        return self.n_cells << self.memory_bits

    @property
    def per_cell(self):
        return 2 * self.n_kinds + 1 if self.n_kinds > 1 else 1

    @property
    def n_value_contexts(self):
        return self.per_cell * (self.n_cells if self.value_grid else 1)

    def contexts(self, line, width):
        """The contexts of gap and of value of each (gap, symbol) of a line (BND-5)."""
        order, found = self.order(width), []
        n_class = len([threshold for threshold in self.thresholds if threshold <= len(line)])
        levels, place, before = [], 0, None
        for gap, symbol in line:
            inside = place < width and self.bands is not None  # what is outside is a fault
            cell = n_class * self.n_bands + (self.bands[order[place]] if inside else 0)
            memory = 0
            kept = self.memory_bits // self.level_bits
            for level in levels[max(0, len(levels) - kept) :]:  # the oldest in the high bits
                memory = memory << self.level_bits | level
            if before is None or self.n_kinds == 1:
                v = 0
            else:
                kind = self.kinds[before] if before < 256 else 0
                v = 1 + kind + self.n_kinds * (gap == 0)
            above = self.per_cell * cell if self.value_grid else 0
            found.append((cell << self.memory_bits | memory, v + above))
            digits = len(f"{gap:b}") if gap else 0
            levels.append(min(digits, 3 if self.level_bits == 2 else 1))
            place, before = place + gap + 1, symbol
        return found

    def maps(self):
        """The maps of gaps and of values, as lists."""
        for given, n in (
            (self.gap_map, self.n_gap_contexts),
            (self.value_map, self.n_value_contexts),
        ):
            if given is None:
                yield [0] * n
            else:
                yield [given(context) for context in range(n)] if callable(given) else given


def matrix_lines(dims, axis, patterns):
    """The patterns of each line, and its width."""
    rows, columns = (dims[0], prod(dims[1:])) if dims else (1, 1)
    if 0 in dims:
        return [], 0
    if axis:
        return [patterns[column::columns] for column in range(columns)], rows
    return [patterns[row * columns :][:columns] for row in range(rows)], columns


def banded_sections(
    dtype, dims, weights, plan, *, parts=None, lines=None, counts=None, streams=None, last_state=0
):
    """The two sections of banded: a sound frame's, but for what is given.

    Parameters
    ----------
    weights : the patterns, in C order
    parts : bytes of the description by name, in place of those that the plan gives; names as in
        the dict `description` below, and `end`
    lines : (gap, symbol) pairs of each line, in place of those of the weights
    counts : the number of entries which each line says that it has
    streams : bytes, by stream, in place of those coded
    last_state : in which each coded stream ends
    """
    axis = plan.axis if plan.axis in (0, 1) else 0
    found, width = matrix_lines(dims, axis, list(weights))
    if plan.joined:  # the lines of a stream are one
        step = plan.lines_per_stream
        found = [
            [p for line in found[k : k + step] for p in line] for k in range(0, len(found), step)
        ]
        plan = replace(plan, bands=None, scan=1)
    order, book = plan.order(width), plan.patterns
    if book is None:
        scanned = (line if plan.joined else [line[q] for q in order] for line in found)
        book = list(dict.fromkeys(p for line in scanned for p in line if p))
    if lines is None:
        lines, symbols = [], {pattern: symbol for symbol, pattern in enumerate(book)}
        for line in found:
            scanned = line if plan.joined else [line[place] for place in order]
            places = [k for k, pattern in enumerate(scanned) if pattern]
            gaps = [k - before - 1 for before, k in zip([-1, *places], places, strict=False)]
            lines.append([(g, symbols[scanned[k]]) for g, k in zip(gaps, places, strict=True)])
    counts = [len(line) for line in lines] if counts is None else counts
    gap_map, value_map = plan.maps()
    numbers = []  # by line: the table, as a pair of its kind and its number, and the number coded
    for line, count in zip(lines, counts, strict=True):
        numbers.append([] if plan.joined else [(("count", 0), count, 4)])
        for (gap, symbol), (g, v) in zip(line, plan.contexts(line, width), strict=True):
            numbers[-1].append((("gap", gap_map[g]), gap, plan.gap_bits))
            numbers[-1].append((("value", value_map[v]), symbol, 8))
    used = {}
    for name, number, direct in (step for line in numbers for step in line):
        tally = used.setdefault(name, {})
        k = klass(number, direct)[0]
        tally[k] = tally.get(k, 0) + 1
    tables = {("count", 0): plan.count_table or weights_of(used.get(("count", 0)))}
    for kind, given, n in (
        ("gap", plan.gap_tables, plan.n_gap_tables),
        ("value", plan.value_tables, plan.n_value_tables),
    ):
        for k in range(n):
            tables[kind, k] = given[k] if given else weights_of(used.get((kind, k)))
    per, n_entries = plan.lines_per_stream, [len(line) for line in lines]
    per = 1 if plan.joined else per
    if streams is None and not book:
        streams = [b""] * len(lines[::per])
    elif streams is None:
        rows = {name: table(tables[name], plan.log_size) for name in used}
        streams = []
        for first in range(0, len(lines), per):
            steps = [
                (rows[name], *klass(number, direct))
                for line in numbers[first : first + per]
                for name, number, direct in line
            ]
            streams.append(forge.bits(stream(steps, plan.log_size, last_state)))
    varint, kinds = forge.varint, (plan.kinds or [0] * len(book))[: min(len(book), 256)]
    named = isinstance(plan.scan, list)
    description = {
        "axis": varint(plan.axis),
        "lines_per_stream": varint(plan.lines_per_stream),
        "n_entries": varint(sum(n_entries)),
        "log_size": varint(plan.log_size),
        "codebook": forge.codebook(dtype, book),
        "n_bands": varint(plan.n_bands),
        "bands": packed(plan.bands or [0] * width, width_for(plan.n_bands)),
        "scan": varint(2 if named else plan.scan),
        "places": packed(plan.scan, width_for(width)) if named else b"",
        "n_classes": varint(len(plan.thresholds) + 1),
        "thresholds": varint(*plan.thresholds),
        "level_bits": varint(plan.level_bits),
        "memory_bits": varint(plan.memory_bits),
        "n_kinds": varint(plan.n_kinds),
        "kinds": packed(kinds, width_for(plan.n_kinds)),
        "form": varint(plan.value_grid + 2 * (plan.gap_bits - 4) + 10 * plan.joined),
        "count_table": b"" if plan.joined else stored_table(tables["count", 0]),
        "n_gap_tables": varint(plan.n_gap_tables),
        "n_value_tables": varint(plan.n_value_tables),
        "gap_map": packed(gap_map, width_for(plan.n_gap_tables)),
        "value_map": packed(value_map, width_for(plan.n_value_tables)),
        "gap_tables": b"".join(stored_table(tables["gap", k]) for k in range(plan.n_gap_tables)),
        "value_tables": b"".join(
            stored_table(tables["value", k]) for k in range(plan.n_value_tables)
        ),
        "streams": b"".join(
            varint(sum(n_entries[k * per : (k + 1) * per]), len(coded))
            for k, coded in enumerate(streams)
        ),
        "end": b"",
    }
    if not book:  # BND-2
        kept = ("axis", "lines_per_stream", "n_entries", "log_size", "codebook", "streams", "end")
        description = {name: description[name] for name in kept}
    assert (parts or {}).keys() <= description.keys()
    description |= parts or {}
    return [b"".join(description.values()), b"".join(streams)]


FAULTS = ("parts", "lines", "counts", "streams", "last_state")


def banded(dtype, dims, weights, plan=None, **how):
    """A frame; `how`: of `banded_sections`, of `Plan` where there is none, and of `forge.frame`."""
    plan, faults = take_plan(plan, how)
    sections = banded_sections(dtype, dims, weights, plan, **faults)
    return forge.frame(BANDED, dtype, dims, sections, **how)


def masked(dtype, dims, weights, plan=None, *, entries=None, **how):
    """As `banded`; `entries`: the third section."""
    plan, faults = take_plan(plan, how)
    sections = banded_sections("bool", dims, [int(p > 0) for p in weights], plan, **faults)
    if entries is None:
        size = forge.size_of(dtype)
        kept = b"".join(p.to_bytes(size, "little") for p in weights if p)
        entries = forge.planes([(dtype, kept)])
    return forge.frame(MASKED, dtype, dims, [*sections, entries], **how)


def take_plan(plan, how):
    """The plan, and what else `banded_sections` takes; the rest is left in `how`."""
    faults = {name: how.pop(name) for name in FAULTS if name in how}
    if plan is None:
        plan = Plan(**{name: how.pop(name) for name in Plan.__annotations__ if name in how})
    return plan, faults


# Any description


def any_plan(rng: random.Random, dims, patterns, most_tables=8):
    """A sound plan for weights of these dims and of these distinct patterns, but 0."""
    axis = rng.randrange(2)
    lines, width = matrix_lines(dims, axis, [0] * prod(dims))
    book = rng.sample(patterns, len(patterns))
    n_bands = rng.choice((1, 1, 2, 3, 5, 8, 64))
    n_classes = rng.choice((1, 2, 3, 5))
    level_bits = rng.choice((1, 2))
    n_kinds = rng.choice((1, 2, 3, 4, 5, 16))
    n_gap_tables, n_value_tables = rng.randint(1, most_tables), rng.randint(1, most_tables)
    seed, scan = rng.randrange(1 << 30), rng.choice((0, 1, 2))
    joined = int(rng.random() < 0.2)
    if joined:
        n_bands, n_classes, scan = 1, 1, 1
    return Plan(
        axis=axis,
        lines_per_stream=rng.randint(1, max(1, min(len(lines), rng.choice((1, 3, 1000))))),
        log_size=rng.randint(11, 12) if len(book) > 300 else rng.randint(9, 12),
        patterns=book,
        n_bands=n_bands,
        bands=[rng.randrange(n_bands) for _ in range(width)],
        scan=rng.sample(range(width), width) if scan == 2 else scan,
        thresholds=tuple(sorted(rng.sample(range(max(width, 4) + 2), n_classes - 1))),
        level_bits=level_bits,
        memory_bits=level_bits * rng.randint(0, 6 // level_bits),
        n_kinds=n_kinds,
        kinds=[rng.randrange(n_kinds) for _ in book],
        value_grid=rng.randrange(2),
        gap_bits=rng.choice((4, 4, 5, 6, 8)),
        joined=joined,
        n_gap_tables=n_gap_tables,
        n_value_tables=n_value_tables,
        gap_map=lambda context: random.Random(seed ^ context).randrange(n_gap_tables),
        value_map=lambda context: random.Random(seed + context).randrange(n_value_tables),
    )

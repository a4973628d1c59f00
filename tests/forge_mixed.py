"""Frames of mixed from any description at all; no cnnzip in it.

A writer that chooses nothing: codebook, layout, orders, form and rates are given, or plain. Its
predictions are those of spec/reference, which is asked for each decision as a reader would be; so a
frame shows whether the reference and the library predict alike.
"""

import random
from dataclasses import dataclass, field
from math import prod

from spec.reference import mixed as reference
from tests import forge

MIXED = 8


class Coder:
    """A coded number that is being written (MXG-5): of Python's integers, which carry by themselves."""

    def __init__(self):
        self.wanted = []  # the next decisions, the first one last
        self.total, self.span, self.n_words = 0, (1 << 64) - 1, 0

    def decision(self, probability):
        """As of the reference's `CodedNumber`; the answer is what is wanted."""
        b = self.wanted.pop()
        bound = (self.span >> 16) * probability
        if b:
            self.span = bound
        else:
            self.total += bound
            self.span -= bound
        if self.span < 1 << 32:
            self.total, self.span = self.total << 32, self.span << 32
            self.n_words += 1
        return b

    def data(self):
        """The shortest string in the interval."""
        n_bits = 64 + 32 * self.n_words
        for n_bytes in range(max(0, 4 * self.n_words - 8), n_bits // 8 + 1):
            unit = 1 << (n_bits - 8 * n_bytes)
            number = -(-self.total // unit)
            if number * unit < self.total + self.span:
                return number.to_bytes(n_bytes, "big").rstrip(b"\0")
        raise AssertionError("an interval of no number")


def coded_number(decisions):
    """Bytes of (probability, decision) pairs."""
    coder = Coder()
    coder.wanted = [b for _, b in reversed(decisions)]
    for probability, _ in decisions:
        coder.decision(probability)
    return coder.data()


class Writing(reference.Stream):
    """A stream that is written; `symbol_at`: by line and place, a symbol or None."""

    def __init__(self, found, symbol_at):
        super().__init__(found, b"")
        self.coded, self.symbol_at, self.at_line = Coder(), symbol_at, None

    def read_entry(self, near):
        symbol = self.symbol_at(self.at_line, self.found.places[near.place.number])
        digits = "" if symbol is None else f"1{symbol:0{self.n_digits}b}"[: 1 + self.n_digits]
        self.coded.wanted = [int(digit) for digit in reversed(digits or "0")]
        return super().read_entry(near)


@dataclass
class Plan:
    """What a description says, the lengths of the streams apart."""

    patterns: list | None = None  # the codebook, or the distinct ones in the order met
    n_low: int = 0
    layout: int = 0
    lines_per_stream: int | None = None  # or all lines in one
    form: int = 3
    entry_shift: int = 16
    value_shift: int = 15
    chance: int = 20_000
    lines: list = field(default_factory=list)  # those named, in their order
    places: list = field(default_factory=list)


def order_bits(named, n):
    """The bits, as text, that name these of n things (MIX-3)."""
    left, text = list(range(n)), ""
    for item in named:
        n_bits = next(b for b in range(64) if 2**b >= len(left))
        x, unused = left.index(item), 2**n_bits - len(left)
        if n_bits:
            text += f"{x:0{n_bits - 1}b}" if x < unused else f"{x + unused:0{n_bits}b}"
        left.remove(item)
    return text


def order(named, n):
    return forge.varint(len(named)) + forge.bits(order_bits(named, n))


def mixed_sections(dtype, dims, weights, plan, *, parts=None, symbols=None, streams=None):
    """The two sections of mixed: a sound frame's, but for what is given.

    Parameters
    ----------
    weights : the patterns, in C order
    parts : bytes of the description by name, in place of those that the plan gives; names as in
        the dict `description` below
    symbols : by place in C order, in place of the codebook's numbers of the weights
    streams : bytes, by stream, in place of those coded
    """
    book = plan.patterns
    if book is None:
        book = list(dict.fromkeys(p for p in weights if p))
    layout = plan.layout if plan.layout < 12 else 0
    n_lines, width = reference.lines_and_width(tuple(dims), layout) if prod(dims) else (0, 0)
    per_stream = plan.lines_per_stream or max(n_lines, 1)
    numbers = {pattern: symbol for symbol, pattern in enumerate(book)} | (symbols or {})

    def all_of(named, n):
        return named + [k for k in range(n) if k not in set(named)]

    if streams is None:
        found = reference.Description(
            book, plan.n_low, layout, per_stream, plan.form % 2, plan.form // 2 % 2,
            plan.entry_shift, plan.value_shift, plan.chance, all_of(plan.lines, n_lines),
            all_of(plan.places, width), [],
        )  # fmt: skip

        def symbol_at(line, place):
            at = reference.c_order(tuple(dims), layout, line, place)
            return numbers.get(weights[at])

        streams = []
        for first in range(0, n_lines if book else 0, per_stream):
            stream = Writing(found, symbol_at)
            for line in found.lines[first : first + per_stream]:
                stream.at_line = line
                stream.line()
            streams.append(stream.coded.data())
    varint = forge.varint
    description = {
        "codebook": forge.codebook(dtype, book),
        "n_low": varint(plan.n_low),
        "layout": varint(plan.layout),
        "lines_per_stream": varint(per_stream),
        "form": varint(plan.form),
        "entry_shift": varint(plan.entry_shift),
        "value_shift": varint(plan.value_shift),
        "chance": varint(plan.chance),
        "lines": order(plan.lines, n_lines),
        "places": order(plan.places, width),
        "streams": varint(*map(len, streams)),
        "end": b"",
    }
    if not book:  # MIX-1
        description = {name: description[name] for name in ("codebook", "end")}
    assert (parts or {}).keys() <= description.keys()
    description |= parts or {}
    return [b"".join(description.values()), b"".join(streams)]


def mixed(dtype, dims, weights, plan=None, *, parts=None, symbols=None, streams=None, **how):
    """A frame; `how`: of `Plan` where there is none, and of `forge.frame`."""
    if plan is None:
        plan = Plan(**{name: how.pop(name) for name in Plan.__annotations__ if name in how})
    faults = {"parts": parts, "symbols": symbols, "streams": streams}
    sections = mixed_sections(dtype, dims, weights, plan, **faults)
    return forge.frame(MIXED, dtype, dims, sections, **how)


def any_plan(rng: random.Random, dims, patterns):
    """A sound plan for weights of these dims and of these distinct patterns, but 0."""
    layout = rng.randrange(12)
    n_lines, width = reference.lines_and_width(tuple(dims), layout) if prod(dims) else (0, 0)

    def some(n):
        return rng.sample(range(n), rng.choice((0, n, rng.randint(0, n))))

    return Plan(
        patterns=rng.sample(patterns, len(patterns)),
        n_low=rng.choice((0, len(patterns), rng.randint(0, len(patterns)))),
        layout=layout,
        form=rng.randrange(4),
        entry_shift=rng.randint(10, 20),
        value_shift=rng.randint(10, 20),
        chance=rng.choice((1, 65_535, rng.randint(1, 65_535))),
        lines=some(n_lines),
        places=some(width),
    )

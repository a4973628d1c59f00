"""mixed, codec 8 (MIX), written to be read."""

from dataclasses import dataclass
from math import prod

from spec.reference.codebook import read_codebook
from spec.reference.errors import CorruptError, TruncatedError
from spec.reference.lines import split
from spec.reference.mixing import CodedNumber, Counter, Mixer, clip, signed32, squash
from spec.reference.numbers import Cursor, check_padding

SECTIONS = 2  # MIX-1

AXES = ("OIK", "OKI", "IOK", "IKO", "KOI", "KIO")  # MIX-2, by layout // 2
MAX_WIDTH = 1 << 20
MAX_ORDERED = 1 << 14  # MIX-3
LEAST_STREAM = 1 << 18  # MIX-4: weights of a stream, where there are several
MAX_VALUES = 65_535  # MIX-5
MAX_CLASS = 255

#: MIX-8 and MIX-9: the first weight of each input; the last one's table holds what MIX-10 foretells
ENTRY_WEIGHTS = [6_554, 22_938, 13_107, 16_384, 0, 6_554, 9_830, 7_864]
VALUE_WEIGHTS = [8_192, 8_192, 16_384, 12_288, 12_288, 6_554, 6_554, 16_384]
FEW_INPUTS = 4  # of the weights above, where not full
VALUE_START = 1 << 21, 0  # MIX-9
FORETOLD_WEIGHTS = [20_000, 0, 20_000, 0, 0, 0, 0, 0]  # MIX-10
MAX_FORETOLD = 1023


@dataclass(frozen=True, slots=True)
class Description:
    book: list  # patterns
    n_low: int
    layout: int
    lines_per_stream: int
    is_sorted: int
    is_full: int
    entry_shift: int
    value_shift: int
    chance: int
    lines: list  # by their place in the order, their natural numbers
    places: list
    stream_bytes: list

    def rank(self, symbol):
        """MIX-5."""
        return symbol - self.n_low + (symbol >= self.n_low)

    @property
    def largest(self):
        """The largest magnitude of a rank (MIX-5)."""
        return max(self.n_low, len(self.book) - self.n_low)


def describe(frame):
    cursor = Cursor(frame.sections[0], "MIX-1")
    book = read_codebook(cursor, frame.dtype, zero="MIX-5")  # in any order
    if not book:
        cursor.end()
        return None
    if len(book) > MAX_VALUES:
        raise CorruptError("MIX-5", f"{len(book)} values, at most {MAX_VALUES}")
    n_low = read_number(cursor, 0, len(book), "MIX-5")
    layout = read_number(cursor, 0, 2 * len(AXES) - 1, "MIX-1")
    lines_per_stream = cursor.varint()
    form = read_number(cursor, 0, 3, "MIX-1")
    entry_shift = read_number(cursor, 10, 20, "MIX-1")
    value_shift = read_number(cursor, 10, 20, "MIX-1")
    chance = read_number(cursor, 1, 65_535, "MIX-1")
    if frame.n_weights == 0:
        raise CorruptError("MIX-2", f"{len(book)} values of no weights")
    n_lines, width = lines_and_width(frame.dims, layout)
    n_streams = count_streams(n_lines, width, lines_per_stream, "MIX-2", "MIX-4")
    lines = read_order(cursor, n_lines)
    places = read_order(cursor, width)
    stream_bytes = cursor.varints(n_streams)
    cursor.end()
    return Description(
        book, n_low, layout, lines_per_stream, form % 2, form // 2, entry_shift, value_shift,
        chance, lines, places, stream_bytes,
    )  # fmt: skip


def read_number(cursor, least, most, clause):
    n = cursor.varint()
    if not least <= n <= most:
        raise CorruptError(clause, f"{n} where {least} to {most} may be")
    return n


def axes(dims, layout):
    """Of each axis, in the order of the layout: its length, and the step to its next in C order."""
    o, i, *rest = *dims, *(1,) * (2 - len(dims))
    k = prod(rest)
    found = {"O": (o, i * k), "I": (i, k), "K": (k, 1)}  # MIX-2
    return [found[name] for name in AXES[layout // 2]]


def lines_and_width(dims, layout):
    (first, _), (second, _), (third, _) = axes(dims, layout)
    return (first * second, third) if layout % 2 else (first, second * third)  # MIX-2


def count_streams(n_lines, width, lines_per_stream, of_width, of_streams):
    """Limits of lines and streams (MIX-2, MIX-4); the clauses that break are given."""
    if width > MAX_WIDTH:
        raise CorruptError(of_width, f"lines of {width} places")
    if not 1 <= lines_per_stream <= n_lines:
        raise CorruptError(of_streams, f"{lines_per_stream} of {n_lines} lines in a stream")
    n_streams = -(-n_lines // lines_per_stream)
    if n_streams > 1 and lines_per_stream * width < LEAST_STREAM:
        raise CorruptError(of_streams, f"streams of {lines_per_stream} x {width} weights")
    return n_streams


def c_order(dims, layout, line, place):
    """Where the weight at this place of this line lies in C order."""
    (_, step_1), (n_2, step_2), (n_3, step_3) = axes(dims, layout)
    number = line * lines_and_width(dims, layout)[1] + place  # in C order of the three axes
    line_and_second, third = divmod(number, n_3)
    first, second = divmod(line_and_second, n_2)
    return first * step_1 + second * step_2 + third * step_3


def read_order(cursor, n):
    """What comes first, second, ... of n things (MIX-3)."""
    n_named = cursor.varint()
    if n_named > (0 if n > MAX_ORDERED else n):
        raise CorruptError("MIX-3", f"{n_named} named of {n}")
    order, left, bits = [], list(range(n)), Bits(cursor)
    for _ in range(n_named):
        order.append(left.pop(bits.below(len(left))))
    bits.end()
    return order + left


class Bits:
    """Numbers of a bit string, whose length follows from them (MIX-3)."""

    def __init__(self, cursor):
        self.cursor = cursor
        self.text = ""

    def take(self, n):
        while len(self.text) < n:
            if not self.cursor.left:
                raise TruncatedError("MIX-3", "an order cut short")
            self.text += f"{self.cursor.unsigned(1):08b}"
        found, self.text = self.text[:n], self.text[n:]
        return int(found or "0", 2)

    def below(self, n):
        n_bits = (n - 1).bit_length()
        if n_bits == 0:
            return 0
        unused = (1 << n_bits) - n
        x = self.take(n_bits - 1)
        return x if x < unused else 2 * x + self.take(1) - unused

    def end(self):
        check_padding(self.text, "MIX-3")


def decode(frame):
    found = describe(frame)
    data = bytearray(frame.n_bytes)
    streams = split(frame.sections[1], found.stream_bytes if found else [])  # LIN-5
    size = frame.dtype.size
    for i, coded in enumerate(streams):
        stream = Stream(found, coded)
        first = i * found.lines_per_stream
        for line in found.lines[first : first + found.lines_per_stream]:
            for place, symbol in stream.line():
                to = c_order(frame.dims, found.layout, line, found.places[place]) * size
                data[to : to + size] = found.book[symbol].to_bytes(size, "little")
        stream.coded.end()
    return bytes(data)


def axis(frame):
    return 0  # MIX-11: as we like


class Place:
    """What is known of a place of the lines (MIX-6)."""

    __slots__ = ("counter", "decisions", "number", "u", "uu", "uuu", "v1", "v2")

    def __init__(self, number, counter):
        self.number = number
        self.counter = counter
        self.decisions = 0  # the last 8, the last one in the lowest bit
        self.u = self.uu = self.uuu = 0  # ranks in the last three lines
        self.v1 = self.v2 = 0  # ranks of the last two entries

    def learn(self, rank):
        """Go on to the next line."""
        self.u, self.uu, self.uuu = rank, self.u, self.uu
        self.decisions = (2 * self.decisions + e(rank)) % 256
        if rank:
            self.v1, self.v2 = rank, self.v1


def e(rank):
    return int(rank != 0)  # MIX-7


class Stream:
    """A stream, read line by line; it starts with nothing known (MIX-4)."""

    def __init__(self, found, data):
        self.found = found
        self.coded = CodedNumber(data)
        self.places = [Place(k, self.entry_counter()) for k in range(len(found.places))]
        self.entry_counters = {}  # by table and number
        self.value_counters = {}
        self.entry_mixers = {}
        self.value_mixers = {}
        self.n_inputs = len(ENTRY_WEIGHTS) if found.is_full else FEW_INPUTS
        self.n_digits = (len(found.book) - 1).bit_length()
        self.foretold_weights = list(FORETOLD_WEIGHTS)
        self.class_shift = 0  # MIX-5
        while ((found.largest - 1) >> self.class_shift) + 1 > MAX_CLASS:
            self.class_shift += 1
        self.g = 0  # MIX-10
        while found.largest << (self.g + 1) <= MAX_FORETOLD:
            self.g += 1

    def entry_counter(self):
        return Counter(64 * self.found.chance, 6)  # MIX-8

    def line(self):
        """The place and the symbol of each entry of the next line."""
        line, entries = Line(self.entry_counter()), []
        ranks = []
        for k in range(len(self.places)):
            rank = 0
            near = Near(self.places, k, line)
            if self.read_entry(near):
                symbol = self.read_symbol(near)
                rank = self.found.rank(symbol)
                self.learn_near(near, rank)
                entries.append((self.places[k].number, symbol))
            ranks.append(rank)
            line.learn(rank)
        for place, rank in zip(self.places, ranks, strict=True):
            place.learn(rank)
        if self.found.is_sorted:  # MIX-6: places of equal keys keep their order
            self.places.sort(key=lambda place: place.u == 0)
        return entries

    def read_entry(self, near):
        """Whether the weight is an entry (MIX-8)."""
        line, place = near.line, near.place
        near.line_level = level(line.counter)
        near.place_level = level(place.counter)
        numbers = [24 * near.line_level + near.place_level]
        numbers.append(4 * (self.class_of(place.v1) + 255) + e(place.u) + 2 * e(place.uu))
        if self.found.is_full:
            pattern = 0
            for k in range(-2, 3):
                pattern = 2 * pattern + e(near.u(k))
            above = 4 * e(near.uu(-1)) + 2 * e(place.uu) + e(near.uu(1))
            pattern += 32 * above + 256 * e(place.uuu) + 512 * (line.decisions % 8)
            numbers += [
                6 * (self.class_of(place.u) + 255) + 3 * e(line.l1) + min(abs(place.uu), 2),
                pattern,
                8 * place.decisions + line.decisions % 8,
                min(line.gap, 511) + 512 * min(line.gap_before, 127),
            ]
        counters = [line.counter, place.counter]
        for numbered in enumerate(numbers):
            if numbered not in self.entry_counters:
                self.entry_counters[numbered] = self.entry_counter()
            counters.append(self.entry_counters[numbered])
        inputs = [counter.stretch() for counter in counters]
        t = 3 * min(abs(line.l1), 2) + min(abs(place.u), 2)
        mixers = []
        for chosen in (("t", t), ("q", near.place_level)):
            if chosen not in self.entry_mixers:
                weights = ENTRY_WEIGHTS[: self.n_inputs]
                self.entry_mixers[chosen] = Mixer(weights, self.found.entry_shift)
            mixers.append(self.entry_mixers[chosen])
        a, b = (mixer.sum(inputs) for mixer in mixers)
        decision = self.coded.decision(squash((a + b) >> 1))
        for mixer, found in zip(mixers, (a, b), strict=True):
            mixer.learn(inputs, found, decision)
        for counter in counters:
            counter.learn(decision)
        return decision

    def read_symbol(self, near):
        """The symbol of an entry (MIX-9)."""
        line, place = near.line, near.place
        numbers = [
            self.class_of(place.u) + 255,
            32 * (self.class_of(line.l1) % 32) + self.class_of(line.l2) % 32,
            12 * (near.line_level >> 1) + (near.place_level >> 1),
            32 * (self.class_of(place.v1) % 32) + self.class_of(place.v2) % 32,
            self.class_of(line.v) + 255,
            self.class_of(place.uu) + 255,
            self.class_of(place.uuu) + 255,
            self.foretell(near),
        ]
        node = 1
        for k in range(self.n_digits):
            if k < 8:
                digit = self.read_digit(numbers, (e(place.u), e(line.l1), node))
            else:
                counter = self.value_counters.setdefault(node, Counter(*VALUE_START))
                digit = self.coded.decision(clip(counter.p >> 6, 3, 65_533))
                counter.learn(digit)
            node = 2 * node + digit
        return min(node - (1 << self.n_digits), len(self.found.book) - 1)

    def read_digit(self, numbers, chosen):
        """A digit of a symbol; `chosen`: e(u), e(l1) and the node, which say the mixer."""
        node, counters = chosen[-1], []
        for table, number in enumerate(numbers):
            numbered = table, number, node
            if numbered not in self.value_counters:
                self.value_counters[numbered] = Counter(*VALUE_START)
            counters.append(self.value_counters[numbered])
        if chosen not in self.value_mixers:
            self.value_mixers[chosen] = Mixer(VALUE_WEIGHTS, self.found.value_shift)
        mixer = self.value_mixers[chosen]
        inputs = [counter.stretch() for counter in counters]
        found = mixer.sum(inputs)
        digit = self.coded.decision(squash(found))
        mixer.learn(inputs, found, digit)
        for counter in counters:
            counter.learn(digit)
        return digit

    def foretell(self, near):
        """A number from 0 to 1,023 that says which rank is expected (MIX-10)."""
        near.values = [rank << self.g for rank in near.ranks()]
        near.sum = sum(x * w for x, w in zip(near.values, self.foretold_weights, strict=True)) >> 16
        return clip((near.sum >> max(self.g - 1, 0)) + 512, 0, MAX_FORETOLD)

    def learn_near(self, near, rank):
        d = clip((rank << self.g) - near.sum, -MAX_FORETOLD, MAX_FORETOLD)
        self.foretold_weights = [
            signed32(w + ((d * x) >> 9))
            for x, w in zip(near.values, self.foretold_weights, strict=True)
        ]

    def class_of(self, rank):
        """MIX-5."""
        found = ((abs(rank) - 1) >> self.class_shift) + 1 if rank else 0
        return -found if rank < 0 else found


def level(counter):
    """l and q of MIX-8."""
    return clip((counter.stretch() + 1536) >> 7, 0, 23)


class Line:
    """What is known of a line before its next weight (MIX-7)."""

    def __init__(self, counter):
        self.counter = counter
        self.l1 = self.l2 = 0
        self.v = 0
        self.gap = self.gap_before = 0
        self.decisions = 0  # all of them, the last one in the lowest bit

    def learn(self, rank):
        self.l1, self.l2 = rank, self.l1
        self.decisions = (2 * self.decisions + e(rank)) % 8
        if rank:
            self.v = rank
            self.gap, self.gap_before = 0, self.gap + 1
        else:
            self.gap += 1


class Near:
    """The weight that is read, its line and its neighbours; each of them is 0 where there is none."""

    def __init__(self, places, k, line):
        self.places = places
        self.k = k
        self.place = places[k]
        self.line = line
        self.line_level = self.place_level = None  # l and q of MIX-8
        self.gd = self.sum = None  # MIX-10

    def u(self, k):
        return self.places[self.k + k].u if 0 <= self.k + k < len(self.places) else 0

    def uu(self, k):
        return self.places[self.k + k].uu if 0 <= self.k + k < len(self.places) else 0

    def ranks(self):
        """The near of MIX-10."""
        line, place = self.line, self.place
        return (
            line.l1, line.l2, place.u, self.u(-1), self.u(1), place.uu, place.uuu, self.uu(-1),
        )  # fmt: skip

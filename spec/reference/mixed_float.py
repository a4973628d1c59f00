"""mixed-float, codec 9 (FLM), written to be read."""

from dataclasses import dataclass

from spec.reference.errors import CorruptError
from spec.reference.lines import split
from spec.reference.mixed import AXES, c_order, count_streams, lines_and_width
from spec.reference.mixing import CodedNumber, Counter, Mixer, clip, signed32, squash
from spec.reference.numbers import Cursor
from spec.reference.planes import read_planes

SECTIONS = 3  # FLM-1

EXPONENT_BITS = {  # FLM-1
    "float8_e4m3fn": 4,
    "float8_e4m3fnuz": 4,
    "float8_e5m2": 5,
    "float8_e5m2fnuz": 5,
    "float16": 5,
    "bfloat16": 8,
    "float32": 8,
    "float64": 11,
}
MAX_RATE = 15
FAR, ZERO = 14, 15  # FLM-4
MAX_FORETOLD = 131_071  # FLM-5
LEAST_ENERGY = 16_384
FIRST_MEAN = 32_768  # FLM-6
MOST_OF_ALL, MOST_OF_ONE = 1_000, 250
CLASS_WEIGHTS, CLASS_SHIFT = [18_000] * 4, 16  # FLM-7
OTHER_WEIGHTS, OTHER_SHIFT = [24_000] * 2, 15  # FLM-8, FLM-9
MIXED_DIGITS = 3  # FLM-9


@dataclass(frozen=True, slots=True)
class Description:
    layout: int
    lines_per_stream: int
    is_sparse: int
    top: int
    rate: int
    n_lines: int
    width: int
    exponent_bits: int
    mantissa_bits: int
    stream_bytes: list


def head_bytes(dtype):
    return 1 if EXPONENT_BITS[dtype.name] < 8 else 2  # FLM-1


def describe(frame):
    if frame.dtype.name not in EXPONENT_BITS:
        raise CorruptError("FLM-1", f"mixed-float of {frame.dtype.name}")
    cursor = Cursor(frame.sections[0], "FLM-1")
    if not frame.n_weights:
        cursor.end()
        return None
    exponent_bits = EXPONENT_BITS[frame.dtype.name]
    layout, lines_per_stream, form, top, rate = cursor.varints(5)
    limits = 2 * len(AXES) - 1, 1, 2**exponent_bits - 1, MAX_RATE
    if any(n > most for n, most in zip((layout, form, top, rate), limits, strict=True)):
        raise CorruptError("FLM-1", f"layout {layout}, form {form}, top {top}, rate {rate}")
    n_lines, width = lines_and_width(frame.dims, layout)
    n_streams = count_streams(n_lines, width, lines_per_stream, "FLM-3", "FLM-3")
    stream_bytes = cursor.varints(n_streams)
    cursor.end()
    mantissa_bits = 8 * head_bytes(frame.dtype) - 1 - exponent_bits
    return Description(
        layout, lines_per_stream, form, top, rate, n_lines, width, exponent_bits, mantissa_bits,
        stream_bytes,
    )  # fmt: skip


def decode(frame):
    found = describe(frame)
    heads = [0] * frame.n_weights
    streams = split(frame.sections[1], found.stream_bytes if found else [])  # LIN-5
    for i, coded in enumerate(streams):
        stream = Stream(found, coded)
        first = i * found.lines_per_stream
        for line in range(first, min(first + found.lines_per_stream, found.n_lines)):
            for place, head in enumerate(stream.line()):
                heads[c_order(frame.dims, found.layout, line, place)] = head
        stream.coded.end()
    n_head = head_bytes(frame.dtype)
    n_low = frame.dtype.size - n_head
    has_low = [bool(head) or not found.is_sparse for head in heads]  # FLM-2
    (low,) = read_planes(frame.sections[2], [(n_low, sum(has_low))])
    data, at = bytearray(), 0
    for head, has in zip(heads, has_low, strict=True):
        data += low[at : at + n_low] if has else bytes(n_low)
        data += head.to_bytes(n_head, "little")
        at += n_low * has
    return bytes(data)


def axis(frame):
    return 0  # FLM-10: as we like


class Mean:
    """A mean of classes (FLM-6)."""

    def __init__(self, mean, n, most):
        self.mean, self.n, self.most = mean, n, most

    def learn(self, k):
        self.mean += ((4096 * k - self.mean) * (655_360 // (10 * self.n + 16))) >> 16
        self.n = min(self.n + 1, self.most)


class Place:
    """What is known of a place of the lines."""

    def __init__(self):
        self.mean = None  # until its first weight is read
        self.k = ZERO  # FLM-7
        self.values = [0, 0, 0, 0]  # u1 to u4


class Stream:
    """A stream, read line by line; it starts with nothing known (FLM-3)."""

    def __init__(self, found, data):
        self.found = found
        self.coded = CodedNumber(data)
        self.places = [Place() for _ in range(found.width)]
        self.all = Mean(FIRST_MEAN, 0, MOST_OF_ALL)
        self.counters = {}  # by table, number and node
        self.mixers = {}
        self.weights = [0] * 6  # FLM-5

    def counter(self, key, n=0):
        return self.counters.setdefault(key, Counter(1 << 21, n))  # FLM-3

    def line(self):
        """The heads of the next line."""
        line, k_left, left = Mean(self.all.mean, 2, MOST_OF_ONE), ZERO, [0, 0]
        heads = []
        for place in self.places:
            if place.mean is None:
                place.mean = Mean(self.all.mean, 2, MOST_OF_ONE)
            both = clip((line.mean + place.mean.mean - self.all.mean) >> 7, 0, 511)
            near = [*left, *place.values]
            foretold = sum(x * w for x, w in zip(near, self.weights, strict=True)) >> 16
            foretold = clip(foretold, -MAX_FORETOLD, MAX_FORETOLD)
            weight = Weight(self, place, both, near, foretold, k_left)
            heads.append(weight.read())
            self.learn(near, foretold, weight.value)
            for mean in (line, place.mean, self.all):
                mean.learn(weight.k)
            place.k = k_left = weight.k
            place.values = [weight.value, *place.values[:3]]
            left = [weight.value, left[0]]
        return heads

    def learn(self, near, foretold, value):
        """FLM-5."""
        step = ((value - foretold) << 24) // (LEAST_ENERGY + sum(x * x for x in near))
        self.weights = [
            signed32(w + ((x * step) >> (24 - self.found.rate)))
            for x, w in zip(near, self.weights, strict=True)
        ]

    def mixed(self, mixer, counters):
        """A decision that several counters predict."""
        inputs = [counter.stretch() for counter in counters]
        total = mixer.sum(inputs)
        b = self.coded.decision(squash(total))
        mixer.learn(inputs, total, b)
        for counter in counters:
            counter.learn(b)
        return b

    def alone(self, counter):
        """A decision that one counter predicts (FLM-4, FLM-9)."""
        b = self.coded.decision(clip(counter.p >> 6, 3, 65_533))
        counter.learn(b)
        return b


class Weight:
    """A weight that is about to be read, and what is known of it."""

    def __init__(self, stream, place, both, near, foretold, k_left):
        self.stream, self.place, self.both, self.near = stream, place, both, near
        self.foretold, self.k_left, self.value = foretold, k_left, 0
        self.k = None

    def read(self):
        """The head (FLM-4)."""
        found = self.stream.found
        n_exponents, m = 2**found.exponent_bits, found.mantissa_bits
        self.k = self.read_class()
        if self.k == ZERO:
            return 0
        d = self.k
        if d == FAR:
            node = 1
            while node < n_exponents:
                node = 2 * node + self.stream.alone(self.stream.counter(("d", node)))
            d = node - n_exponents
        exponent = (found.top - d) % n_exponents
        sign = self.read_sign()
        mantissa = self.read_mantissa(sign)
        if self.k != FAR:
            self.value = ((2**m + mantissa) << (16 - m)) >> self.k  # FLM-5
            self.value *= -1 if sign else 1
        return (sign * n_exponents + exponent) * 2**m + mantissa

    def read_class(self):
        """FLM-7."""
        size = abs(self.foretold)
        b = size.bit_length()
        numbers = {
            "of the place": self.place.mean.mean >> 8,
            "of both": self.both,
            "neighbours": 16 * self.k_left + self.place.k,
            "foretold": size if b <= 4 else 8 * b + (size >> (b - 4)) % 8,
        }
        node = 1
        while node < 16:
            mixer = self.mixer(("class", node), CLASS_WEIGHTS, CLASS_SHIFT)
            counters = [self.stream.counter((*item, node)) for item in numbers.items()]
            node = 2 * node + self.stream.mixed(mixer, counters)
        return node - 16

    def read_sign(self):
        """FLM-8."""
        l1, u1 = self.near[0], self.near[2]
        foretold = 32 * (self.foretold < 0) + min((8 * abs(self.foretold)) >> (16 - self.k), 31)
        neighbours = 512 * (l1 < 0) + 32 * self.k_left + 2 * self.place.k + (u1 < 0)
        counters = [
            self.stream.counter(("sign, foretold", foretold)),
            self.stream.counter(("sign, neighbours", neighbours)),
        ]
        return self.stream.mixed(self.mixer("sign", OTHER_WEIGHTS, OTHER_SHIFT), counters)

    def read_mantissa(self, sign):
        """FLM-9."""
        m = self.stream.found.mantissa_bits
        ahead = (-self.foretold if sign else self.foretold) - (1 << (16 - self.k))
        step = clip((8 * ahead) >> (16 - self.k), -16, 31) + 16
        numbers = {
            "mantissa, both": self.both // 16 * 16 + self.k,
            "mantissa, foretold": 16 * step + self.k,
        }
        node = 1
        while node < 2**m:
            if node < 2**MIXED_DIGITS:
                mixer = self.mixer(("mantissa", node), OTHER_WEIGHTS, OTHER_SHIFT)
                counters = [self.stream.counter((*item, node), 4) for item in numbers.items()]
                b = self.stream.mixed(mixer, counters)
            else:
                b = self.stream.alone(self.stream.counter(("mantissa", node), 60))
            node = 2 * node + b
        return node - 2**m

    def mixer(self, key, first_weights, shift):
        return self.stream.mixers.setdefault(key, Mixer(first_weights, shift))

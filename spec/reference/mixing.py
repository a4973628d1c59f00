"""Mixing (MXG), written to be read."""

from bisect import bisect_left

from spec.reference.errors import CorruptError

ONE = (1 << 22) - 1  # MXG-1: the probability to which a decision 1 pulls
MOST_DECISIONS = 1020
DOMAIN = 2559  # MXG-2: of squash, on both sides of 0
BIAS = 256  # MXG-4: the last input of every mixer
SPAN = (1 << 64) - 1  # MXG-5
KNOTS = [
    3, 5, 8, 13, 22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625,
    24743, 32768, 40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269,
    65374, 65438, 65476, 65500, 65514, 65523, 65528, 65531, 65533,
]  # fmt: skip


def clip(x, low, high):
    return max(low, min(x, high))


def signed32(x):
    """x modulo 2^32, as a number in two's complement (MXG-4)."""
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def squash(d):
    j, i = divmod(d + 2560, 128)
    return (KNOTS[j] * (128 - i) + KNOTS[j + 1] * i + 64) >> 7  # MXG-2


SQUASHED = [squash(d) for d in range(-DOMAIN, DOMAIN + 1)]  # they increase: see STRETCHED
STRETCHED = [  # MXG-3: by the 12 high bits of a probability
    min(bisect_left(SQUASHED, 16 * p + 8) - DOMAIN, DOMAIN) for p in range(1 << 12)
]


class Counter:
    """The probability of a 1, learnt from the decisions it has seen (MXG-1)."""

    __slots__ = ("n", "p")

    def __init__(self, p, n):
        self.p = p
        self.n = n

    def stretch(self):
        return STRETCHED[self.p >> 10]  # MXG-3

    def learn(self, b):
        self.p += ((b * ONE - self.p) * (655_360 // (10 * self.n + 16))) >> 16
        self.n = min(self.n + 1, MOST_DECISIONS)


class Mixer:
    """Weights of inputs, which learn from the error of their sum (MXG-4)."""

    __slots__ = ("shift", "weights")

    def __init__(self, first_weights, shift):
        self.weights = [*first_weights, 0]
        self.shift = shift

    def sum(self, inputs):
        total = sum(x * w for x, w in zip([*inputs, BIAS], self.weights, strict=True))
        return clip(total >> 16, -DOMAIN, DOMAIN)

    def learn(self, inputs, found, b):
        """`found`: the sum of these inputs, `b`: the decision that it foretold."""
        error = 65_535 * b - SQUASHED[found + DOMAIN]
        half, shift = 1 << (self.shift - 1), self.shift
        self.weights = [
            signed32(w + ((x * error + half) >> shift))
            for x, w in zip([*inputs, BIAS], self.weights, strict=True)
        ]


class CodedNumber:
    """The decisions that a byte string holds (MXG-5)."""

    def __init__(self, data):
        if data[-1:] == b"\0":
            raise CorruptError("MXG-5", "a coded number that ends in a zero byte")
        self.data = data
        self.at = 0
        self.span = SPAN
        self.point = self.take(8)
        if self.point >= self.span:
            raise CorruptError("MXG-5", "a point that is not below its span")

    def take(self, n):
        """The next n bytes as an integer, the most significant first; zeros follow the last."""
        found = self.data[self.at : self.at + n]
        self.at += n
        return int.from_bytes(found.ljust(n, b"\0"), "big")

    def decision(self, probability):
        """0 or 1; `probability` is that of a 1, in 1/65,536."""
        bound = (self.span >> 16) * probability
        b = int(self.point < bound)
        if b:
            self.span = bound
        else:
            self.span -= bound
            self.point -= bound
        if self.span < 1 << 32:
            self.span <<= 32
            self.point = (self.point << 32) + self.take(4)
        return b

    def end(self):
        if self.at < len(self.data):
            raise CorruptError("MXG-5", f"{len(self.data) - self.at} bytes that nothing read")

"""Products (MAT), written to be read: floats here are doubles, rounded where the text says so."""

import math
import struct

from spec.reference.errors import RefusedError
from spec.reference.frame import CODECS, decode
from spec.reference.lines import lines_of
from spec.reference.numbers import patterns_of

WIDE = {"float64", "int32", "uint32", "int64", "uint64"}  # MAT-2
NO_PRODUCT = {"complex64", "complex128", "float8_e8m0fnu"}  # MAT-2
SMALL_FLOATS = {  # bits of exponent and of mantissa, bias, form of what is not finite
    "float16": (5, 10, 15, "ieee"),
    "bfloat16": (8, 7, 127, "ieee"),
    "float8_e5m2": (5, 2, 15, "ieee"),
    "float8_e4m3fn": (4, 3, 7, "fn"),  # no infinity, all ones are a NaN
    "float8_e4m3fnuz": (4, 3, 8, "fnuz"),  # no infinity, and the one NaN is where -0 would be
    "float8_e5m2fnuz": (5, 2, 16, "fnuz"),
}


def round32(value):
    """The float32 nearest to a double.

    A double has more than twice the bits of a float32: the sum or product of two float32,
    rounded to a double and then to a float32, is what one rounding gives.
    """
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def small_float(pattern, exponent_bits, mantissa_bits, bias, form):
    mantissa = pattern & ((1 << mantissa_bits) - 1)
    exponent = pattern >> mantissa_bits & ((1 << exponent_bits) - 1)
    negative = pattern >> (mantissa_bits + exponent_bits)
    top = exponent == (1 << exponent_bits) - 1
    if form == "ieee" and top:
        magnitude = math.nan if mantissa else math.inf
    elif (form == "fn" and top and mantissa == (1 << mantissa_bits) - 1) or (
        form == "fnuz" and negative and not exponent and not mantissa
    ):
        magnitude = math.nan
    else:
        significand = mantissa | (1 << mantissa_bits if exponent else 0)
        magnitude = math.ldexp(significand, max(exponent, 1) - bias - mantissa_bits)
    return -magnitude if negative else magnitude


def value_of(dtype, pattern):
    """The number which a pattern stands for, rounded to a double (MAT-2)."""
    if dtype.name in SMALL_FLOATS:
        return small_float(pattern, *SMALL_FLOATS[dtype.name])
    if dtype.name in ("float32", "float64"):
        code = "<f" if dtype.name == "float32" else "<d"
        return struct.unpack(code, pattern.to_bytes(dtype.size, "little"))[0]
    n_bits = 8 * dtype.size
    if dtype.name in ("int4", "uint4"):
        n_bits, pattern = 4, pattern & 15  # DTY-2: the high four bits mean nothing
    signed = dtype.name.startswith("int") and pattern >> (n_bits - 1)
    return float(pattern - (1 << n_bits) if signed else pattern)


class Product:
    """W or its transpose, ready to be multiplied: its lines of entries, and how to round."""

    def __init__(self, frame, transpose, x_dtype):
        codec = CODECS[frame.codec]
        if frame.dtype.name in NO_PRODUCT or not hasattr(codec, "axis"):
            raise RefusedError("MAT-2", f"{frame.dtype.name} of codec {frame.codec}: no product")
        wide = frame.dtype.name in WIDE or x_dtype == "float64"  # MAT-2
        self.round = float if wide else round32
        self.layout = lines_of(codec.axis(frame), 1, frame.dims)
        self.gathers = (self.layout.axis == 1) == transpose  # MAT-3, MAT-4
        sides = self.layout.width, self.layout.n_lines
        self.n_in, self.n_out = sides if self.gathers else reversed(sides)
        patterns = patterns_of(frame.dtype, decode(frame))
        scan = codec.scan(frame) if hasattr(codec, "scan") else range(self.layout.width)  # BND-9
        self.lines = []
        for line in range(self.layout.n_lines):
            numbered = ((place, patterns[self.layout.c_order(line, place)]) for place in scan)
            self.lines.append(
                [(p, value_of(frame.dtype, pattern)) for p, pattern in numbered if pattern]  # MAT-1
            )
        self.tokens = codec.token_numbers(frame) if hasattr(codec, "token_numbers") else None

    def terms(self, line, x):
        """The result and the rounded product of each entry of a line, by place (MAT-2)."""
        for place, weight in self.lines[line]:
            source, result = (place, line) if self.gathers else (line, place)
            yield result, self.round(weight * x[source])

    def check(self, x):
        if len(x) != self.n_in:
            raise ValueError(f"{len(x)} inputs, not {self.n_in}")
        return [self.round(value) for value in x]  # MAT-2

    def add_in_order(self, x):
        """Add the terms by line, then by place (MAT-4)."""
        x = self.check(x)
        y = [0.0] * self.n_out
        for line in range(self.layout.n_lines):
            for result, term in self.terms(line, x):
                y[result] = self.round(y[result] + term)
        return y

    def gather(self, x):
        """Add the terms of each line in four partial sums, by the numbers of the entries (MAT-3)."""
        x, y = self.check(x), []
        for line in range(self.layout.n_lines):
            s = self.partial_sums(4, range(len(self.lines[line])), line, x)
            y.append(self.round(self.round(s[0] + s[1]) + self.round(s[2] + s[3])))
        return y

    def gather_by_tokens(self, x):
        """Add the terms of each line in sixteen partial sums, by the numbers of tokens (MAT-3)."""
        x, y = self.check(x), []
        for line in range(self.layout.n_lines):
            s = self.partial_sums(16, self.tokens[line], line, x)
            for half in (8, 4, 2, 1):
                s = [self.round(s[j] + s[j + half]) for j in range(half)]
            y.append(s[0])
        return y

    def partial_sums(self, n_sums, numbers, line, x):
        s = [0.0] * n_sums
        for j, (_, term) in zip(numbers, self.terms(line, x), strict=True):
            s[j % n_sums] = self.round(s[j % n_sums] + term)
        return s


def matvec(frame, x, transpose=False, x_dtype="float32"):
    """W x, or W^T x."""
    product = Product(frame, transpose, x_dtype)
    if not product.gathers:
        return product.add_in_order(x)
    return product.gather(x) if product.tokens is None else product.gather_by_tokens(x)


def matmat(frame, X, transpose=False, x_dtype="float32"):  # noqa: N803 as in the text
    """W X, or W^T X; X and the result are lists of rows."""
    product = Product(frame, transpose, x_dtype)
    add = product.gather if product.gathers else product.add_in_order  # MAT-5, fast too
    columns = [add(column) for column in zip(*X, strict=True)]
    return [[column[i] for column in columns] for i in range(product.n_out)]

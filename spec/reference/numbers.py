"""Numbers (NUM), element types (DTY), versions (VER), written to be read."""

import zlib
from typing import NamedTuple

from spec.reference.errors import CorruptError, TruncatedError, VersionError

MAJOR = 1


class Dtype(NamedTuple):
    name: str
    size: int  # bytes a weight


DTYPES = {  # DTY-1
    0: Dtype("bool", 1),
    1: Dtype("uint8", 1),
    2: Dtype("int8", 1),
    3: Dtype("uint16", 2),
    4: Dtype("int16", 2),
    5: Dtype("uint32", 4),
    6: Dtype("int32", 4),
    7: Dtype("uint64", 8),
    8: Dtype("int64", 8),
    16: Dtype("float16", 2),
    17: Dtype("bfloat16", 2),
    18: Dtype("float32", 4),
    19: Dtype("float64", 8),
    24: Dtype("float8_e4m3fn", 1),
    25: Dtype("float8_e5m2", 1),
    26: Dtype("float8_e4m3fnuz", 1),
    27: Dtype("float8_e5m2fnuz", 1),
    28: Dtype("float8_e8m0fnu", 1),
    32: Dtype("complex64", 8),
    33: Dtype("complex128", 16),
    40: Dtype("int4", 1),
    41: Dtype("uint4", 1),
}


class Cursor:
    """A place in bytes that are read from front to back.

    `clause` is the one that says what these bytes hold: it is broken where they end too soon, or
    where some are left.
    """

    def __init__(self, data, clause):
        self.data = data
        self.clause = clause
        self.at = 0

    @property
    def left(self):
        return len(self.data) - self.at

    def take(self, n):
        if n > self.left:
            raise TruncatedError(self.clause, f"{n} bytes wanted, {self.left} left")
        self.at += n
        return self.data[self.at - n : self.at]

    def unsigned(self, size):
        return int.from_bytes(self.take(size), "little")  # NUM-1

    def varint(self):
        value = 0
        for shift in range(0, 56, 7):  # NUM-2: below 2^56
            byte = self.unsigned(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise CorruptError("NUM-2", "a varint that ends in a zero byte")
                return value
        raise CorruptError("NUM-2", "a varint of 2^56 or more")

    def varints(self, n):
        if n > self.left:  # each takes a byte or more: never loop over what cannot be there
            raise TruncatedError(self.clause, f"{n} varints wanted, {self.left} bytes left")
        return [self.varint() for _ in range(n)]

    def end(self):
        if self.left:
            raise CorruptError(self.clause, f"{self.left} bytes too many")


def bits_of(data):
    """The bits of a bit string, as a str of 0s and 1s."""
    return "".join(f"{byte:08b}" for byte in data)  # NUM-3: the most significant first


def check_padding(bits, clause):
    """Refuse what follows the last bit used: `clause` for whole bytes, NUM-3 for ones."""
    if len(bits) >= 8:
        raise CorruptError(clause, f"{len(bits)} bits too many")
    if "1" in bits:
        raise CorruptError("NUM-3", "an unused bit that is not zero")


def crc32(data):
    return zlib.crc32(data)  # NUM-4


def read_dtype(cursor):
    number = cursor.unsigned(1)
    if number not in DTYPES:
        raise VersionError("DTY-1", f"dtype {number}")
    return DTYPES[number]


def check_patterns(dtype, data):
    if dtype.name == "bool" and not set(data) <= {0, 1}:
        raise CorruptError("DTY-2", "a bool that is neither 0 nor 1")


def patterns_of(dtype, data):
    """The pattern of each weight of `data` (DTY-2)."""
    starts = range(0, len(data), dtype.size)
    return [int.from_bytes(data[k : k + dtype.size], "little") for k in starts]


def check_version(major, clause):
    """Refuse another major version. The minor version is not looked at (VER-2)."""
    if major > MAJOR:
        raise VersionError("VER-1", f"version {major}, at most {MAJOR}")
    if major < MAJOR:
        raise CorruptError(clause, f"version {major} never was")

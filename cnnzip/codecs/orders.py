"""Orders of lines and of places, as a description holds them (MIX-3)."""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from cnnzip.entropy.varints import Cursor, encode_varint
from cnnzip.errors import CorruptError, TruncatedError

MAX_ORDERED = 1 << 14  # MIX-3
NATURAL = np.zeros(0, np.intp)


def write_order(named: NDArray[np.intp], n: int) -> bytes:
    """Write which of `n` come first, in their order; the others follow in theirs."""
    left = list(range(n if named.size else 0))
    bits = []
    for item in named.tolist():
        at = bisect_left(left, item)
        n_bits, spare = _width(len(left))
        if n_bits:
            bits.append(f"{at:0{n_bits - 1}b}" if at < spare else f"{at + spare:0{n_bits}b}")
        del left[at]
    whole = "".join(bits)
    n_bytes = -(-len(whole) // 8)
    packed = int(whole.ljust(8 * n_bytes, "0") or "0", 2).to_bytes(n_bytes, "big")
    return encode_varint(named.size) + packed


def parse_order(cursor: Cursor, n: int) -> NDArray[np.intp]:
    """Invert `write_order`."""
    n_named = cursor.varint()
    if not n_named:
        return NATURAL
    if n > MAX_ORDERED or n_named > n:
        raise CorruptError("MIX-3", cursor.where, f"an order that names {n_named} of {n}")
    left = list(range(n))
    named = np.empty(n_named, np.intp)
    given = bytes(cursor.data[cursor.at : cursor.at + -(-n_named * _width(n)[0] // 8)])
    bits = format(int.from_bytes(given, "big"), f"0{8 * len(given)}b") if given else ""
    used = 0

    def take(n_bits: int) -> int:
        nonlocal used
        used += n_bits
        if used > len(bits):
            raise TruncatedError("MIX-3", f"{cursor.where}, byte {cursor.at}", "an order cut short")
        return int(bits[used - n_bits : used] or "0", 2)

    for i in range(n_named):
        at = 0
        n_bits, spare = _width(len(left))
        if n_bits:
            at = take(n_bits - 1)
            if at >= spare:
                at = 2 * at + take(1) - spare
        named[i] = left.pop(at)
    if take(-used % 8):
        raise CorruptError("NUM-3", cursor.where, "a padding bit that is set")
    cursor.take(used // 8)
    return named


def whole_order(named: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """All of `n`, those named first; intp (n,)."""
    is_named = np.zeros(n, bool)
    is_named[named] = True
    return np.concatenate([named, np.flatnonzero(~is_named)])


def _width(n_left: int) -> tuple[int, int]:
    """Bits of the longer numbers for one of `n_left`, and how many numbers take one bit less."""
    n_bits = max(n_left - 1, 0).bit_length()
    return n_bits, (1 << n_bits) - n_left

"""Asymmetric numeral systems (ANS), written to be read."""

from math import isqrt

from spec.reference.errors import CorruptError
from spec.reference.numbers import bits_of, check_padding

LOG_SIZES = range(9, 13)
MAX_SYMBOLS = 320
WEIGHT_BITS = 5


def read_log_size(cursor):
    log_size = cursor.varint()
    if log_size not in LOG_SIZES:
        raise CorruptError("ANS-1", f"tables of 2^{log_size} states")
    return log_size


def read_weights(cursor):
    """The weight of each symbol of a table (ANS-1)."""
    n_symbols = cursor.varint()
    if not 1 <= n_symbols <= MAX_SYMBOLS:
        raise CorruptError("ANS-1", f"{n_symbols} symbols in a table, 1 to {MAX_SYMBOLS}")
    weights = read_integers(cursor, n_symbols, WEIGHT_BITS, "ANS-1")
    if not any(weights):
        raise CorruptError("ANS-2", "no symbol occurs")
    if weights[-1] == 0:
        raise CorruptError("ANS-2", f"the last of {n_symbols} symbols does not occur")
    return weights


def read_integers(cursor, n, width, clause):
    """A bit string of n integers of `width` bits, which begins at a byte and ends with one (NUM-3)."""
    bits = bits_of(cursor.take(-(-n * width // 8)))
    check_padding(bits[n * width :], clause)
    return [int(bits[k * width : (k + 1) * width] or "0", 2) for k in range(n)]


def frequencies(weights, log_size):
    """How many of the 2^log_size states each symbol has."""
    masses = [isqrt(1 << 11 + w) if w else 0 for w in weights]  # ANS-2
    total, size = sum(masses), 1 << log_size
    found = [max(1, mass * size // total) if mass else 0 for mass in masses]  # ANS-3
    if sum(found) < size:
        found[masses.index(max(masses))] += size - sum(found)
    while sum(found) > size:
        found[found.index(max(found))] -= 1
    return found


def spread(frequencies, log_size):
    """The symbol of each state (ANS-4)."""
    size = 1 << log_size
    step = (size >> 1) + (size >> 3) + 3
    symbols, state = [None] * size, 0
    for symbol, frequency in enumerate(frequencies):
        for _ in range(frequency):
            symbols[state] = symbol
            state = (state + step) % size
    return symbols


def table(weights, log_size):
    """The symbol, the n_bits and the base of each state (ANS-5)."""
    numbers, rows = frequencies(weights, log_size), []
    for symbol in spread(numbers, log_size):
        n = numbers[symbol]  # f, and 2f - 1 in the last state of this symbol
        numbers[symbol] += 1
        n_bits = log_size - (n.bit_length() - 1)
        rows.append((symbol, n_bits, (n << n_bits) - (1 << log_size)))
    return rows


class Stream:
    """Symbols and numbers of one bit string (LIN-5), all of them decoded by one state."""

    def __init__(self, data, log_size):
        self.bits = bits_of(data)
        self.at = 0
        self.state = self.take(log_size)  # ANS-6

    def take(self, n):
        """The next n bits as an integer, the most significant first."""
        if n > len(self.bits) - self.at:
            raise CorruptError("LIN-5", f"{n} bits wanted, {len(self.bits) - self.at} left")
        self.at += n
        return int(self.bits[self.at - n : self.at] or "0", 2)

    def symbol(self, rows):
        symbol, n_bits, base = rows[self.state]
        self.state = base + self.take(n_bits)  # ANS-5
        return symbol

    def number(self, rows, direct):
        """A number of which the classes below 2^direct stand for themselves (ANS-7)."""
        found = self.symbol(rows)
        if found < 1 << direct:
            return found
        above, b = divmod(found - (1 << direct), 2)
        e = direct + above
        return (2 + b << e - 1) + self.take(e - 1)

    def end(self):
        if self.state != 0:
            raise CorruptError("ANS-6", f"a stream that ends in state {self.state}")
        check_padding(self.bits[self.at :], "LIN-5")

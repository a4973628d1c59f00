"""Tables of asymmetric numeral systems, built from frequencies (ANS)."""

import numpy as np

from cnnzip_native._jit import kernel

# A decoding entry, uint32: bits 0-3 the bits to read, bits 4-15 the base of the next state,
# bits 16-24 the symbol.


@kernel
def spread_symbols(frequencies, log_size, spread):
    """Give each state its symbol.

    Parameters
    ----------
    frequencies : int64 (n_symbols,)
        They add up to ``2**log_size``; n_symbols is at most 512.
    log_size : int64
        9 to 12.
    spread : uint16 (2**log_size,), written

    Source: ANS-4.
    """
    size = 1 << log_size
    step = (size >> 1) + (size >> 3) + 3
    state = 0
    for symbol in range(frequencies.size):
        for _ in range(frequencies[symbol]):
            spread[state] = symbol
            state = (state + step) & (size - 1)


@kernel
def build_decoding(spread, log_size, numbers, table):
    """Tabulate symbol, bits and next base of every state.

    Parameters
    ----------
    spread : uint16 (2**log_size,)
    log_size : int64
    numbers : int64 (n_symbols,), updated
        The frequencies at the start, twice as much at the end.
    table : uint32 (2**log_size,), written

    Source: ANS-5.
    """
    size = 1 << log_size
    for state in range(size):
        symbol = np.int64(spread[state])
        number = numbers[symbol]
        numbers[symbol] = number + 1
        n_bits = 0
        while (number << n_bits) < size:
            n_bits += 1
        base = (number << n_bits) - size
        table[state] = np.uint32(n_bits | (base << 4) | (symbol << 16))


@kernel
def build_encoding(spread, places, states):
    """List the states of each symbol, in increasing order.

    Parameters
    ----------
    spread : uint16 (2**log_size,)
    places : int64 (n_symbols,), updated
        Where each symbol's states begin in `states`; where they end, at the end.
    states : uint16 (2**log_size,), written

    Source: ANS-5.
    """
    for state in range(spread.size):
        symbol = np.int64(spread[state])
        states[places[symbol]] = state
        places[symbol] += 1

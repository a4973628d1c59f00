"""Indices of a fixed width: 1, 2, 4, 8 or 16 bits each, packed from the most significant bit."""

import numpy as np

from cnnzip_native._jit import kernel
from cnnzip_native.status import OK, SYMBOL_PAST_END


@kernel
def pack_indices(symbols, width, out):
    """Pack one index a symbol.

    Parameters
    ----------
    symbols : uint16 (n,)
        Each below ``2**width``.
    width : int64
        1, 2, 4, 8 or 16 bits.
    out : uint8 (n_bytes,), updated
        All 0 at the start.

    Source: IMP-3, NUM-3.
    """
    for i in range(symbols.size):
        symbol = np.int64(symbols[i])
        if width == 16:
            out[2 * i] = np.uint8(symbol >> 8)
            out[2 * i + 1] = np.uint8(symbol & 255)
        else:
            bit = i * width
            out[bit >> 3] |= np.uint8(symbol << (8 - width - (bit & 7)))


@kernel
def unpack_indices(buffer, width, first, n_values, symbols):
    """Invert `pack_indices` from the index `first` on. Returns OK or SYMBOL_PAST_END.

    Parameters
    ----------
    buffer : uint8 (n_bytes,)
    width : int64
        1, 2, 4, 8 or 16 bits.
    first : int64
    n_values : int64
    symbols : uint16 (n,), written

    Trusts
    ------
    `buffer` holds ``first + n`` indices: the codec checks its length when it parses.

    Source: IMP-3, IMP-4, NUM-3.
    """
    mask = (1 << width) - 1
    for i in range(symbols.size):
        at = first + i
        if width == 16:
            symbol = (np.int64(buffer[2 * at]) << 8) | np.int64(buffer[2 * at + 1])
        else:
            bit = at * width
            symbol = (np.int64(buffer[bit >> 3]) >> (8 - width - (bit & 7))) & mask
        if symbol >= n_values:
            return SYMBOL_PAST_END
        symbols[i] = np.uint16(symbol)
    return OK

"""Bit strings: codewords written, and the ends of streams checked."""

import numpy as np

from cnnzip_native._jit import kernel
from cnnzip_native.status import OK, STREAM_LENGTH, STREAM_PADDING


@kernel
def encode_streams(symbols, ends, codewords, lengths, out, stream_bytes):
    """Write each stream's codewords as a bit string of whole bytes. Returns the bytes written.

    Parameters
    ----------
    symbols : uint16 (n,)
    ends : int64 (n_streams,)
        Stream i holds the symbols before ``ends[i]`` that stream i - 1 does not.
    codewords : uint32 (n_symbols,)
        Right-aligned.
    lengths : uint8 (n_symbols,)
        Bits of each codeword, at most 24.
    out : uint8 (n_bytes,), written
    stream_bytes : int64 (n_streams,), written

    Trusts
    ------
    `out` holds all bits of all streams: the codecs add up ``counts * lengths`` first.

    Source: NUM-3, LIN-5.
    """
    at = 0
    i = 0
    for stream in range(ends.size):
        first = at
        held = np.uint64(0)  # bits not yet written, right-aligned
        n_held = np.uint64(0)
        while i < ends[stream]:
            s = symbols[i]
            held = (held << np.uint64(lengths[s])) | np.uint64(codewords[s])
            n_held += np.uint64(lengths[s])
            i += 1
            while n_held >= np.uint64(8):
                n_held -= np.uint64(8)
                out[at] = np.uint8((held >> n_held) & np.uint64(255))
                at += 1
        if n_held > np.uint64(0):
            out[at] = np.uint8((held << (np.uint64(8) - n_held)) & np.uint64(255))
            at += 1
        stream_bytes[stream] = at - first
    return at


@kernel
def check_end(buffer, bit, end_byte):
    """Check that a stream's last codeword ends at `bit` and the stream at `end_byte`.

    Returns OK, STREAM_LENGTH or STREAM_PADDING.

    Source: NUM-3, LIN-5.
    """
    if (bit + np.uint64(7)) >> np.uint64(3) != end_byte or end_byte > np.uint64(buffer.size):
        return STREAM_LENGTH
    used = bit & np.uint64(7)
    if used > np.uint64(0):
        padding = np.uint64(buffer[end_byte - np.uint64(1)]) << used
        if padding & np.uint64(255):
            return STREAM_PADDING
    return OK

"""Coded numbers as kernels read and write them (MXG-5)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cnnzip.errors import CorruptError

Words = NDArray[np.uint32]


def write(coder: Callable[[Words], int], n_words: int) -> bytes:
    """What a coder writes, which says -1 where there is no room."""
    while True:
        words = np.empty(n_words, np.uint32)
        n_bytes = coder(words)
        if n_bytes >= 0:
            return words[: -(-n_bytes // 4)].astype(">u4").tobytes()[:n_bytes]
        n_words *= 4


def read(decoder: Callable[[Words], int], coded: bytes | memoryview, where: str) -> None:
    """Let a decoder read, which says how many words it wanted; all must be read."""
    if len(coded) and not coded[-1]:
        raise CorruptError("MXG-5", where, "a last byte of 0")
    if bytes(coded[:8]) == b"\xff" * 8:
        raise CorruptError("MXG-5", where, "a point that is not below the span")
    padded = bytes(coded) + bytes(-len(coded) % 4)
    words = np.frombuffer(padded, ">u4").astype(np.uint32)
    n_read = decoder(words)
    if n_read < words.size:
        raise CorruptError("MXG-5", where, f"{words.size - n_read} words not read")

"""Bytes of the same significance side by side, each plane stored or zstd (PLN)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnzip.entropy.varints import Bytes, Cursor, encode_varint
from cnnzip.errors import CorruptError, LimitError

ZSTD_LEVEL = 3
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAX_BLOB_BYTES = 16 << 20  # PLN-5
Tensors = Sequence[tuple[NDArray[np.uint8], int]]  # bytes and itemsize of each


def compress(data: Bytes, level: int = ZSTD_LEVEL) -> bytes | None:
    """One zstd frame, or None where that is not smaller (PLN-4)."""
    import zstandard

    if not len(data):
        return None
    coded = zstandard.ZstdCompressor(level=level).compress(data)
    return coded if len(coded) < len(data) else None


def decompress(coded: memoryview, n_bytes: int, where: str) -> bytes:
    """Invert `compress`; the stated size is checked before anything is allocated (PLN-4)."""
    import zstandard

    if len(coded) >= n_bytes or bytes(coded[:4]) != ZSTD_MAGIC:
        raise CorruptError("PLN-4", where, f"{len(coded)} bytes are no zstd frame of {n_bytes}")
    try:
        stated = zstandard.get_frame_parameters(coded)
        if stated.content_size != n_bytes or stated.dict_id:
            raise CorruptError("PLN-4", where, f"states {stated.content_size} bytes, not {n_bytes}")
        data = zstandard.ZstdDecompressor().decompress(
            coded, max_output_size=n_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise CorruptError("PLN-4", where, str(error)) from None
    if len(data) != n_bytes:
        raise CorruptError("PLN-4", where, f"{len(data)} bytes, not {n_bytes}")
    return data


def encode_planes(tensors: Tensors, level: int = ZSTD_LEVEL) -> bytes:
    """Write the planes of one or many tensors (PLN-1, PLN-2)."""
    lengths, bodies = b"", []
    for p in range(max((itemsize for _, itemsize in tensors), default=0)):
        plane = np.concatenate([data[p::itemsize] for data, itemsize in tensors if itemsize > p])
        coded = compress(plane.data, level) or b""
        length = encode_varint(len(coded))
        if not coded or len(length) + len(coded) > plane.size:
            length, coded = encode_varint(0), plane.tobytes()
        lengths += length
        bodies.append(coded)
    return lengths + b"".join(bodies)


def decode_planes(section: memoryview, tensors: Tensors) -> None:
    """Invert `encode_planes` into the arrays of `tensors`, whose lengths say what is due."""
    cursor = Cursor(section, "planes", "PLN-2")
    stored = cursor.varints(max((itemsize for _, itemsize in tensors), default=0))
    for p, n_stored in enumerate(stored):
        sharers = [(data, itemsize) for data, itemsize in tensors if itemsize > p]
        n_bytes = sum(data.size // itemsize for data, itemsize in sharers)
        body = cursor.take(n_stored or n_bytes)
        plane = np.frombuffer(
            decompress(body, n_bytes, f"plane {p}") if n_stored else body, np.uint8
        )
        at = 0
        for data, itemsize in sharers:
            n = data.size // itemsize
            data[p::itemsize] = plane[at : at + n]
            at += n
    cursor.finish("PLN-3")


def encode_blob(data: bytes, plainly: bool = False) -> bytes:
    """Write a blob; `plainly` keeps zstd out (PLN-5, ENV-6)."""
    if len(data) > MAX_BLOB_BYTES:
        raise LimitError(f"names and shapes take {len(data)} bytes, at most {MAX_BLOB_BYTES}")
    coded = None if plainly else compress(data)
    if coded is None or len(data) > 64 * len(coded) + 4096:
        coded = data
    return encode_varint(len(data)) + coded


def decode_blob(section: memoryview, where: str) -> bytes:
    """Invert `encode_blob` (PLN-5)."""
    cursor = Cursor(section, where, "PLN-5")
    n_bytes = cursor.varint()
    body = cursor.take(cursor.left)
    if n_bytes > min(MAX_BLOB_BYTES, 64 * len(body) + 4096):
        raise CorruptError("PLN-5", where, f"{n_bytes} bytes announced by {len(body)}")
    if len(body) < n_bytes:
        return decompress(body, n_bytes, where)
    if len(body) > n_bytes:
        raise CorruptError("PLN-5", where, f"{len(body) - n_bytes} bytes too many")
    return bytes(body)

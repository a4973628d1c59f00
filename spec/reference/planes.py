"""Planes and blobs (PLN), written to be read."""

import zstandard

from spec.reference.errors import CorruptError
from spec.reference.numbers import Cursor

ZSTD_MAGIC = bytes.fromhex("28b52ffd")  # RFC 8878, 3.1.1: not that of a skippable frame
MAX_BLOB = 16 << 20


def read_planes(section, tensors):
    """The bytes of each tensor; `tensors` are pairs: bytes a weight, number of weights."""
    cursor = Cursor(section, "PLN-2")
    n_planes = max((size for size, _ in tensors), default=0)  # PLN-1
    planes = []
    for p, stored_bytes in enumerate(cursor.varints(n_planes)):
        n = sum(count for size, count in tensors if size > p)  # PLN-1
        if stored_bytes:  # PLN-2
            planes.append(Cursor(decompress(cursor.take(stored_bytes), n), "PLN-1"))
        else:
            planes.append(Cursor(cursor.take(n), "PLN-1"))
    cursor.clause = "PLN-3"
    cursor.end()
    return [weave([plane.take(count) for plane in planes[:size]]) for size, count in tensors]


def weave(planes):
    """The weights whose bytes of significance p are `planes[p]` (PLN-1)."""
    data = bytearray(sum(map(len, planes)))
    for p, plane in enumerate(planes):
        data[p :: len(planes)] = plane
    return bytes(data)


def decompress(stored, n):
    """Invert one zstd frame of n bytes (PLN-4)."""
    if len(stored) >= n:
        raise CorruptError("PLN-4", f"{n} bytes compressed to {len(stored)}, which is not smaller")
    if stored[:4] != ZSTD_MAGIC:
        raise CorruptError("PLN-4", "not a zstd frame")
    try:
        stated = zstandard.get_frame_parameters(stored)
        if stated.content_size != n or stated.dict_id:  # before anything is allocated
            raise CorruptError("PLN-4", f"a zstd frame of {stated.content_size} bytes, not {n}")
        data = zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptError("PLN-4", str(error)) from error
    if len(data) != n:
        raise CorruptError("PLN-4", f"a zstd frame that holds {len(data)} bytes, not {n}")
    return data


def read_blob(data):
    """The bytes of the blob which `data` is (PLN-5)."""
    cursor = Cursor(data, "PLN-5")
    raw_bytes = cursor.varint()
    rest = cursor.take(cursor.left)
    if raw_bytes > MAX_BLOB or raw_bytes > 64 * len(rest) + 4096:
        raise CorruptError("PLN-5", f"a blob of {raw_bytes} bytes out of {len(rest)}")
    if len(rest) > raw_bytes:
        raise CorruptError("PLN-5", f"a blob of {raw_bytes} bytes stored as {len(rest)}")
    return rest if len(rest) == raw_bytes else decompress(rest, raw_bytes)

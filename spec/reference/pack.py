"""pack, codec 16 (PCK), written to be read."""

from math import prod
from typing import NamedTuple

from spec.reference.errors import CorruptError
from spec.reference.numbers import Cursor, Dtype, check_patterns, read_dtype
from spec.reference.planes import read_blob, read_planes
from spec.reference.shape import read_dims, read_name

SECTIONS = 2  # PCK-1
MAX_TENSORS = 1 << 20
BIG = 1024  # bytes; ENV-8


class Place(NamedTuple):
    """What the index says of one tensor."""

    name: str
    dtype: Dtype
    dims: tuple[int, ...]

    @property
    def n_bytes(self):
        return self.dtype.size * prod(self.dims)


def read_index(frame, n_items=None):
    """The tensors of a pack, without their bytes: n_items of them, where a directory says so."""
    if frame.dtype.name != "uint8" or len(frame.dims) != 1:
        raise CorruptError("PCK-1", f"a pack of dtype {frame.dtype.name}, dims {frame.dims}")
    cursor = Cursor(read_blob(frame.sections[0]), "PCK-2")
    index, n_tensors = [], cursor.varint()
    if n_items not in (None, n_tensors):
        raise CorruptError("ENV-5", f"a pack of {n_tensors} tensors, the directory has {n_items}")
    if n_tensors > MAX_TENSORS:
        raise CorruptError("PCK-2", f"{n_tensors} tensors, at most {MAX_TENSORS}")
    while len(index) < n_tensors:
        place = Place(read_name(cursor), read_dtype(cursor), read_dims(cursor))  # PCK-2
        if place.n_bytes >= BIG:
            raise CorruptError("PCK-2", f"{place.name!r} of {place.n_bytes} bytes in a pack")
        index.append(place)
    cursor.end()
    n = sum(place.n_bytes for place in index)
    if n != frame.n_bytes:
        raise CorruptError("PCK-2", f"tensors of {n} bytes, the pack is of {frame.n_bytes}")
    return index


def read_tensors(frame):
    """The bytes of each tensor of the index (PCK-1)."""
    index = read_index(frame)
    tensors = read_planes(frame.sections[1], [(dtype.size, prod(dims)) for _, dtype, dims in index])
    for (_, dtype, _), data in zip(index, tensors, strict=True):
        check_patterns(dtype, data)
    return tensors


def decode(frame):
    return b"".join(read_tensors(frame))

"""Shapes (FRM-3) and names (ENV-4): frames, packs and envelopes share them."""

from math import prod

from spec.reference.errors import CorruptError

MAX_DIMS = 16
MAX_NAME = 1024
RESERVED = {"__metadata__", "__cnnzip__"}


def read_dims(cursor):
    n_dims = cursor.varint()
    if n_dims > MAX_DIMS:
        raise CorruptError("FRM-3", f"{n_dims} dims, at most {MAX_DIMS}")
    dims = tuple(cursor.varints(n_dims))
    if prod(n for n in dims if n) >= 1 << 48:  # FRM-3: also where another dim is 0
        raise CorruptError("FRM-3", f"the dims {dims}")
    return dims


def read_name(cursor):
    n = cursor.varint()
    if not 1 <= n <= MAX_NAME:
        raise CorruptError("ENV-4", f"a name of {n} bytes, 1 to {MAX_NAME}")
    try:
        name = cursor.take(n).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptError("ENV-4", "a name that is not UTF-8") from error
    if not is_name(name):
        raise CorruptError("ENV-4", f"the name {name!r}")
    return name


def is_name(text):
    try:
        n = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    controls = any(c < " " or c == "\x7f" for c in text)
    return 1 <= n <= MAX_NAME and not controls and text not in RESERVED

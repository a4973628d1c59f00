"""Which codec codes a tensor: the one that was asked for, or the smallest."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from cnnzip.codecs.base import CannotEncodeError, Codec
from cnnzip.codecs.registry import CODECS
from cnnzip.codecs.source import Source
from cnnzip.errors import ArgumentError

NAMES = {codec.name: codec for codec in CODECS.values()}
#: Which codecs are tried where no one codec is asked for.
CHOICES: dict[str, Callable[[type[Codec]], bool]] = {
    "auto": lambda codec: not codec.is_slow,
    "direct": lambda codec: codec.multiplies,
    "smallest": lambda codec: True,
}


def encode_source(source: Source, codec: str = "auto") -> Codec:
    """Code a tensor.

    Parameters
    ----------
    source : Source
    codec : str
        A codec's name; "auto": the one whose sections are the smallest, of those that are decoded
        fast; "direct": the smallest of those that multiply from the coded form; "smallest": the
        smallest of all.

    Raises
    ------
    ArgumentError
        No such codec, or it cannot hold this tensor.
    """
    if codec not in (*CHOICES, *NAMES):
        raise ArgumentError(
            f"no codec {codec!r}; there are {', '.join(CHOICES)}, {', '.join(NAMES)}"
        )
    try:
        if codec in NAMES:
            return NAMES[codec].encode(source)
        return _smallest(source, [c for c in NAMES.values() if CHOICES[codec](c)])
    except CannotEncodeError as error:
        raise ArgumentError(f"{codec} cannot hold this tensor: {error}; try codec='auto'") from None


def _smallest(source: Source, codecs: Sequence[type[Codec]]) -> Codec:
    bounds = []
    for codec in codecs:
        with suppress(CannotEncodeError):
            bounds.append((codec.least_bytes(source), codec))
    if not bounds:
        raise CannotEncodeError("more than 65,536 distinct weights [BOK-1]")
    # raw promises nothing and zstd is slow to try: last, when there is something to beat.
    bounds.sort(key=lambda bound: (not bound[1].multiplies, bound[0]))
    best = bounds[0][1].encode(source)
    for least, codec in bounds[1:]:
        if least < best.stored_bytes:
            coded = codec.encode(source)
            if coded.stored_bytes < best.stored_bytes:
                best = coded
    return best

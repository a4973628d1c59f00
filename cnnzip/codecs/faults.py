"""Status codes of the kernels, worded."""

from cnnzip.errors import CorruptError
from cnnzip_native import status

_WORDS = {
    status.SYMBOL_PAST_END: ("an index outside the codebook", "IMP-4"),
    status.PLACE_PAST_END: ("a place outside its line", "SHM-4"),
    status.PLACE_NOT_INCREASING: ("places of a line that do not increase", "SHM-4"),
    status.STREAM_LENGTH: ("a stream that does not end with its last codeword", "LIN-5"),
    status.STREAM_PADDING: ("a padding bit that is set", "NUM-3"),
    status.ENTRY_COUNT: ("lines with more or fewer entries than announced", "BND-7"),
    status.LINE_END: ("a line whose last token is no entry", "FST-5"),
    status.LAST_STATE: ("a stream whose last state is not 0", "ANS-6"),
}


def check(code: int, where: str, clause: str = "") -> None:
    """Raise what a kernel's status means; `where` says what it read, `clause` what forbids it."""
    if code != status.OK:
        words, usual = _WORDS[code]
        raise CorruptError(clause or usual, where, words)

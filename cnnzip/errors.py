"""Everything cnnzip raises.

CnnzipError
├── ArgumentError (ValueError)    what the caller gave cannot be done
├── LimitError (ValueError)       decoding would take more memory than the caller allows
└── FormatError (ValueError)      the bytes are not a valid file
    ├── TruncatedError            they end too soon
    ├── CorruptError              they break a clause of the specification
    │   └── ChecksumError         they are not the bytes that were written
    └── VersionError              they need a newer reader
"""

from collections.abc import Iterator
from contextlib import contextmanager


class CnnzipError(Exception):
    """Root of the tree."""


class ArgumentError(CnnzipError, ValueError):
    """The caller's array, model or option cannot be used; the message says what can."""


class LimitError(CnnzipError, ValueError):
    """Decoding would exceed a limit; the message says which argument raises it."""


class FormatError(CnnzipError, ValueError):
    """Broken data. `clause` names the rule of the specification, `where` the place."""

    def __init__(self, clause: str, where: str, found: str) -> None:
        super().__init__(clause, where, found)
        self.clause = clause
        self.where = where
        self.found = found

    def __str__(self) -> str:
        return f"{self.where}: {self.found} [{self.clause}]"


class TruncatedError(FormatError):
    """The bytes end before what they announce."""


class CorruptError(FormatError):
    """The bytes break a clause."""


class ChecksumError(CorruptError):
    """A checksum does not match: the bytes are not those that were written."""


class VersionError(FormatError):
    """A newer version of cnnzip wrote this."""


@contextmanager
def located(place: str) -> Iterator[None]:
    """Put `place` (a file, a tensor) in front of the place that a FormatError names."""
    try:
        yield
    except FormatError as error:
        error.where = f"{place}: {error.where}"
        raise

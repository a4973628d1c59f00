"""Why a reader refuses bytes. Every error names the clause that they break."""


class RefusedError(ValueError):
    """A reader does not go on. Raised itself where the bytes may be good (FRM-8, MAT-2)."""

    def __init__(self, clause, found):
        super().__init__(f"{found} [{clause}]")
        self.clause = clause


class CorruptError(RefusedError):
    """The bytes break a clause."""


class TruncatedError(CorruptError):
    """The bytes end too soon."""


class VersionError(RefusedError):
    """The bytes may be good for a newer reader."""

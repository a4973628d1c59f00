"""What a reader believes, and how much it decodes, before it allocates (FRM-8, ENV-6)."""

from dataclasses import dataclass

from cnnzip.errors import LimitError

MAX_DIMS = 16  # FRM-3
MAX_WEIGHTS = 1 << 48  # FRM-3
MAX_HEADER_BYTES = 1 << 16  # FRM-2
MAX_SECTIONS = 16  # FRM-4
MAX_NAME_BYTES = 1024  # ENV-4
MAX_METADATA_BYTES = 1 << 20  # ENV-7
MAX_ITEMS = 1 << 20  # ENV-6
FREE_BYTES = 256 << 20  # decoded bytes below which no ratio is too large


@dataclass(frozen=True)
class Limits:
    """Bounds on what decoding may take.

    Attributes
    ----------
    max_decoded_bytes : int
        Bytes of all tensors that one call decodes.
    allow_ratio : float
        Decoded bytes over coded bytes; asked only above 256 MiB decoded.
    """

    max_decoded_bytes: int = 16 << 30
    allow_ratio: float = 4096

    def check(self, decoded_bytes: int, coded_bytes: int, what: str) -> None:
        """Refuse to decode what exceeds these limits."""
        if decoded_bytes > self.max_decoded_bytes:
            raise LimitError(
                f"{what}: decodes to {decoded_bytes:,} bytes, at most {self.max_decoded_bytes:,} "
                "are allowed [FRM-8]; if you trust the file, pass a larger max_decoded_bytes="
            )
        ratio = decoded_bytes / max(coded_bytes, 1)
        if decoded_bytes > FREE_BYTES and ratio > self.allow_ratio:
            raise LimitError(
                f"{what}: {coded_bytes:,} bytes decode to {decoded_bytes:,}, {ratio:,.0f} times as "
                f"many, at most {self.allow_ratio:,.0f} times are allowed [FRM-8]; if you trust the "
                "file, pass a larger allow_ratio="
            )


DEFAULT_LIMITS = Limits()

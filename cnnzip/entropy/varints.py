"""Varints and the cursor that reads descriptions (NUM-1, NUM-2)."""

from cnnzip.errors import CorruptError, TruncatedError

Bytes = bytes | bytearray | memoryview
LARGEST = (1 << 56) - 1


def encode_varint(number: int) -> bytes:
    """Write an unsigned LEB128 number below 2**56 (NUM-2)."""
    if not 0 <= number <= LARGEST:
        raise ValueError(f"{number} does not fit a varint")
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


class Cursor:
    """A place in a description, moved forward by what is read. Never reads past the end.

    Attributes
    ----------
    data : memoryview of bytes
    where : str
        What the bytes are, for messages.
    clause : str
        What says how many bytes are due: it is broken where they end too soon.
    at : int
        Bytes read so far.
    """

    __slots__ = ("at", "clause", "data", "where")

    def __init__(self, data: Bytes, where: str, clause: str = "NUM-1") -> None:
        self.data = memoryview(data)
        self.where = where
        self.clause = clause
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.data) - self.at

    def take(self, n_bytes: int) -> memoryview:
        """Read `n_bytes` bytes."""
        if n_bytes > self.left:
            raise TruncatedError(
                self.clause,
                f"{self.where}, byte {self.at}",
                f"{n_bytes} bytes due, {self.left} left",
            )
        self.at += n_bytes
        return self.data[self.at - n_bytes : self.at]

    def unsigned(self, n_bytes: int) -> int:
        """Read a fixed-width number (NUM-1)."""
        return int.from_bytes(self.take(n_bytes), "little")

    def varint(self) -> int:
        """Read a varint (NUM-2)."""
        if self.left and self.data[self.at] < 128:  # nearly all
            self.at += 1
            return self.data[self.at - 1]
        start, number = self.at, 0
        for shift in range(0, 56, 7):
            byte = self.take(1)[0]
            number |= (byte & 127) << shift
            if byte < 128:
                if byte == 0 and shift:
                    raise CorruptError("NUM-2", f"{self.where}, byte {start}", "an overlong varint")
                return number
        raise CorruptError("NUM-2", f"{self.where}, byte {start}", "a varint of more than 8 bytes")

    def varints(self, count: int) -> list[int]:
        """Read `count` varints; `count` is believed only as far as bytes are left."""
        if count > self.left:
            raise TruncatedError(
                self.clause,
                f"{self.where}, byte {self.at}",
                f"{count} numbers due, {self.left} bytes",
            )
        return [self.varint() for _ in range(count)]

    def finish(self, clause: str) -> None:
        """Refuse bytes after the end of what was described."""
        if self.left:
            raise CorruptError(
                clause, f"{self.where}, byte {self.at}", f"{self.left} bytes too many"
            )

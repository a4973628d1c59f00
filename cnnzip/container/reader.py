"""Reading files: everything is checked before it is believed, and nothing is decoded unasked."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.names import PACK_ID
from cnnzip.codecs.planes import decode_planes
from cnnzip.codecs.source import MatrixShape
from cnnzip.container.directory import ALIAS, FRAME, PACKED, Directory, PackIndex, parse_pack_index
from cnnzip.container.envelope import (
    PREFIX_BYTES,
    SAFETENSORS,
    TAIL_BYTES,
    Tail,
    check_tail,
    prefix_version,
    refuse_newer,
    sniff,
    write_prefix,
)
from cnnzip.container.frame import LONGEST_START, Header, name_crc, parse_sections
from cnnzip.container.limits import DEFAULT_LIMITS, MAX_HEADER_BYTES, Limits
from cnnzip.dtypes import check_bools
from cnnzip.errors import CorruptError, TruncatedError, located

if TYPE_CHECKING:
    from cnnzip.tensor import CodedTensor


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies: a frame of its own, or a place in the pack."""

    start: int
    n_bytes: int
    packed: int = -1


class CodedFile(Mapping[str, "CodedTensor"]):
    """The tensors of a `.cnnz` or coded `.safetensors` file, by name, read when asked for.

    Attributes
    ----------
    envelope : str
        "cnnz" or "safetensors".
    file_bytes : int
    metadata : dict of str to str
    aliases : dict of str to str
        Further names of tied tensors, each with the name that it stands for.
    limits : Limits

    Raises
    ------
    OSError
        The file cannot be read.
    FormatError
        The bytes are not a file of cnnzip, or are damaged; the message says where.
    LimitError
        A tensor would decode to more than `limits` allow.
    """

    def __init__(self, path: str | os.PathLike[str], limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._where = os.fspath(path)
        self._read_file(open(path, "rb"))  # noqa: SIM115 - closed by `close`

    @classmethod
    def of_file(cls, file: BinaryIO, where: str) -> "CodedFile":
        """Read an open binary file; it is closed with the result."""
        self = cls.__new__(cls)
        self.limits = DEFAULT_LIMITS
        self._where = where
        self._read_file(file)
        return self

    def _read_file(self, file: BinaryIO) -> None:
        self._file = file
        try:
            with located(self._where):
                self._read_directory()
        except BaseException:
            file.close()
            raise

    # Opening

    def _read_directory(self) -> None:
        self.file_bytes = os.fstat(self._file.fileno()).st_size
        start = self._read(0, min(PREFIX_BYTES, self.file_bytes))
        self.envelope = sniff(start)
        if self.envelope == SAFETENSORS:
            refuse_newer(self._read(0, min(64, self.file_bytes)))
        if self.file_bytes < PREFIX_BYTES + TAIL_BYTES:
            raise TruncatedError(
                "ENV-1", "file", f"{self.file_bytes} bytes hold no prefix and tail"
            )
        tail_at = self.file_bytes - TAIL_BYTES
        tail = Tail.parse(self._read(tail_at, TAIL_BYTES), self.file_bytes, self.envelope)
        prefix_bytes = PREFIX_BYTES
        if self.envelope == SAFETENSORS:
            prefix_bytes += int.from_bytes(start, "little")
            if prefix_bytes > tail_at:
                raise TruncatedError("ENV-9", "prefix", f"a header of {prefix_bytes - 8} bytes")
        directory_at = tail_at - tail.directory_bytes
        if directory_at < prefix_bytes:
            raise CorruptError("ENV-5", "tail", f"a directory of {tail.directory_bytes} bytes")
        prefix = self._read(0, prefix_bytes)
        stored = self._read(directory_at, tail.directory_bytes)
        check_tail(tail, prefix, stored)
        directory = Directory.parse(memoryview(stored), self.file_bytes)
        frames_end = prefix_bytes + directory.pack_bytes
        frames_end += sum(item.value for item in directory.items if item.kind == FRAME)
        if frames_end != directory_at:
            raise CorruptError(
                "ENV-5", "directory", f"frames end at byte {frames_end}, not at {directory_at}"
            )
        self._place(directory, prefix_bytes)
        version = prefix_version(self.envelope, prefix)
        rest_bytes = self.file_bytes - self._rest_at
        due = write_prefix(self.envelope, directory.items, rest_bytes, version)
        if prefix != due:
            raise CorruptError("ENV-11", "prefix", "a header that is not the directory's")
        self.metadata = dict(directory.metadata)

    def _place(self, directory: Directory, at: int) -> None:
        """Find where each tensor lies (ENV-5)."""
        self._entries: dict[str, Entry] = {}
        self.aliases: dict[str, str] = {}
        for item in directory.items:
            if item.kind == FRAME:
                at += item.value
        self._rest_at = at
        self._pack: tuple[Header, PackIndex] | None = None
        packed: PackIndex = []
        if directory.pack_bytes:
            with located("pack"):
                n_packed = sum(item.kind == PACKED for item in directory.items)
                packed = self._open_pack(at, directory.pack_bytes, n_packed)
        names: list[str] = []
        frame_at, n = at - sum(i.value for i in directory.items if i.kind == FRAME), 0
        for item in directory.items:
            name = item.name
            if item.kind == FRAME:
                entry = Entry(frame_at, item.value)
                frame_at += item.value
            elif item.kind == ALIAS:
                self.aliases[name] = names[item.value]
                entry = self._entries[names[item.value]]
            else:
                name, entry = packed[n][0], Entry(at, directory.pack_bytes, n)
                n += 1
            if name in self._entries:
                raise CorruptError("ENV-4", "directory", f"{name!r} occurs twice")
            self._entries[name] = entry
            names.append(name)

    def _open_pack(self, at: int, n_bytes: int, n_tensors: int) -> PackIndex:
        frame = self._read(at, n_bytes)
        header = Header.parse(frame)
        if header.codec_id != PACK_ID:
            raise CorruptError("ENV-5", "frame", f"{header.codec} where the pack is due")
        if header.name_crc:
            raise CorruptError("ENV-13", "frame", "a pack with a name")
        if header.shape.dtype.name != "uint8" or len(header.shape.dims) != 1:
            raise CorruptError("PCK-1", "frame", f"{header.shape.dtype.name} {header.shape.dims}")
        sections = parse_sections(frame, header)
        if len(sections) != 2 and not (header.has_extensions and len(sections) > 2):
            raise CorruptError("FRM-4", "sections", f"{len(sections)}, pack has 2")
        index = parse_pack_index(sections[0], n_tensors, header.shape.n_bytes)
        self._pack = header, index
        self._packed_planes = sections[1]
        self._packed_data: list[NDArray[np.uint8]] | None = None
        return index

    def _read(self, at: int, n_bytes: int) -> bytes:
        """Read exactly these bytes, at any time and from any thread."""
        if hasattr(os, "pread"):
            data = os.pread(self._file.fileno(), n_bytes, at)
            while 0 < len(data) < n_bytes:  # a read gives at most 2 GiB at a time
                more = os.pread(self._file.fileno(), n_bytes - len(data), at + len(data))
                if not more:
                    break
                data += more
        else:
            self._file.seek(at)
            data = self._file.read(n_bytes)
        if len(data) != n_bytes:
            raise TruncatedError("ENV-1", f"byte {at}", f"{len(data)} bytes of {n_bytes}")
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"CodedFile({self._where!r}, {len(self)} tensors, {self.file_bytes:,} bytes)"

    # Tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            from difflib import get_close_matches

            near = get_close_matches(name, self._entries, 3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise KeyError(f"{self._where}: no tensor {name!r} among {len(self)}{hint}")
        return self._entries[name]

    def frame(self, name: str) -> bytes:
        """The frame of a tensor, unchecked; not for packed tensors."""
        entry = self._entry(name)
        return self._read(entry.start, entry.n_bytes)

    def header(self, name: str) -> Header:
        """What a frame says of itself: codec, type, shape. For packed tensors, the pack's codec."""
        entry = self._entry(name)
        with located(f"{self._where}: tensor {name!r}"):
            if entry.packed >= 0:
                assert self._pack is not None
                header, index = self._pack
                return Header(PACK_ID, index[entry.packed][1], 0, (), header.header_bytes)
            most = min(entry.n_bytes, MAX_HEADER_BYTES + LONGEST_START + 4)
            try:  # nearly all headers are short
                header = Header.parse(self._read(entry.start, min(most, 256)))
            except TruncatedError:
                header = Header.parse(self._read(entry.start, most))
            self._check_name(name, header)
            return header

    def _check_name(self, name: str, header: Header) -> None:
        owner = self.aliases.get(name, name)
        if header.name_crc != name_crc(owner):
            raise CorruptError("ENV-13", "frame", f"it is not the frame of {owner!r}")
        if header.codec_id == PACK_ID:
            raise CorruptError("ENV-5", "frame", "a pack where one tensor is due")

    def is_packed(self, name: str) -> bool:
        """Whether a tensor shares the pack's frame."""
        return self._entry(name).packed >= 0

    def frame_bytes(self, name: str) -> int:
        """Bytes of the tensor's frame; of a packed one, its share of the pack's."""
        entry = self._entry(name)
        if entry.packed < 0:
            return entry.n_bytes
        assert self._pack is not None
        header, index = self._pack
        # Shares that add up: by the bytes of the tensors up to this one.
        before = sum(shape.n_bytes for _, shape in index[: entry.packed])
        after = before + index[entry.packed][1].n_bytes
        total = max(header.shape.n_bytes, 1)
        return entry.n_bytes * after // total - entry.n_bytes * before // total

    def __getitem__(self, name: str) -> "CodedTensor":
        from cnnzip.codecs.raw import Raw
        from cnnzip.codecs.source import Source
        from cnnzip.container.frame import codec_of
        from cnnzip.tensor import CodedTensor

        entry = self._entry(name)
        if entry.packed >= 0:
            shape, data = self._packed(entry.packed)
            return CodedTensor(Raw.encode(Source(shape, data)))
        with located(f"{self._where}: tensor {name!r}"):
            frame = self._read(entry.start, entry.n_bytes)
            header = Header.parse(frame)
            self._check_name(name, header)
            self.limits.check(header.shape.n_bytes, len(frame), f"{self._where}: tensor {name!r}")
            return CodedTensor(codec_of(header, parse_sections(frame, header)))

    def _packed(self, number: int) -> tuple[MatrixShape, NDArray[np.uint8]]:
        assert self._pack is not None
        header, index = self._pack
        if self._packed_data is None:
            n_coded = header.coded_bytes
            self.limits.check(header.shape.n_bytes, n_coded, f"{self._where}: pack")
            data = [np.empty(shape.n_bytes, np.uint8) for _, shape in index]
            with located(f"{self._where}: pack"):
                decode_planes(
                    self._packed_planes,
                    [(d, s.dtype.itemsize) for d, (_, s) in zip(data, index, strict=True)],
                )
                for d, (name, shape) in zip(data, index, strict=True):
                    check_bools(shape.dtype, d, f"tensor {name!r}")
            self._packed_data = data
        return index[number][1], self._packed_data[number]

    # Whole files

    def check_limits(self) -> None:
        """Refuse to decode all tensors where that exceeds the limits (FRM-8)."""
        owners = [name for name in self if name not in self.aliases]
        decoded = sum(self.header(name).shape.n_bytes for name in owners)
        self.limits.check(decoded, self.file_bytes, self._where)

    def verify(self, quick: bool = False) -> int:
        """Check every byte against its checksum, and, unless `quick`, decode every tensor.

        Returns the number of tensors. Raises what reading raises.
        """
        if not quick:
            self.check_limits()
        for name in self:
            if name in self.aliases:
                continue
            if self.is_packed(name):
                if not quick:
                    self._packed(self._entry(name).packed)
            elif quick:
                with located(f"{self._where}: tensor {name!r}"):
                    parse_sections(self.frame(name), self.header(name))
            else:
                coded = self[name].coded
                with located(f"{self._where}: tensor {name!r}"):
                    coded.validate()
        return len(self)

"""Writing files: tensor by tensor into a temporary file, verified, then put in place at once."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnzip.codecs.names import PACK_ID
from cnnzip.codecs.planes import encode_planes
from cnnzip.codecs.source import MatrixShape
from cnnzip.container.atomic import replacing
from cnnzip.container.directory import (
    ALIAS,
    FRAME,
    PACK_BYTES,
    PACKED,
    Directory,
    Item,
    check_name,
    encode_pack_index,
)
from cnnzip.container.envelope import (
    CNNZ,
    PREFIX_BYTES,
    TAIL_BYTES,
    write_prefix,
    write_tail,
)
from cnnzip.container.frame import rename_frame, write_frame
from cnnzip.container.limits import MAX_ITEMS
from cnnzip.container.reader import CodedFile
from cnnzip.dtypes import BY_NAME
from cnnzip.errors import ArgumentError


class Pending(Protocol):
    """A tensor to be written; it is asked for its bytes once, when its turn comes."""

    name: str
    #: Of the plain tensor.
    n_bytes: int

    def frame(self) -> bytes:
        """The tensor's frame, under any name."""

    def plain(self) -> tuple[MatrixShape, NDArray[np.uint8]]:
        """The plain tensor's shape and bytes; asked of tensors that go into the pack."""


def write_file(
    path: str | os.PathLike[str],
    tensors: Sequence[Pending],
    aliases: Mapping[str, str],
    metadata: Mapping[str, str],
    *,
    envelope: str,
    verify: bool,
    durable: bool = True,
    done: Callable[[Any], object] = lambda _: None,
) -> int:
    """Write a file. Returns its length in bytes.

    Parameters
    ----------
    aliases : dict
        Further names of tensors, each with the name of one of `tensors`.
    envelope : str
        "cnnz" or "safetensors".
    verify : bool
        Read the file back, and check every byte, before it takes the place of `path`.
    durable : bool
        As of `replacing`.
    done : callable
        Is called with each tensor that has been coded.

    Raises
    ------
    ArgumentError
        A name cannot be stored.
    OSError
        The file at `path` is then what it was.
    """
    _check_names(tensors, aliases)
    with replacing(path, durable) as file:
        n_bytes = _write(file, tensors, aliases, metadata, envelope, done)
        if verify:
            file.flush()
            with CodedFile.of_file(os.fdopen(os.dup(file.fileno()), "rb"), os.fspath(path)) as back:
                back.verify(quick=True)
    return n_bytes


def _check_names(tensors: Sequence[Pending], aliases: Mapping[str, str]) -> None:
    owned = {tensor.name for tensor in tensors}
    if len(owned) + len(aliases) != len(owned | set(aliases)) or len(owned) != len(tensors):
        raise ArgumentError("a tensor name occurs twice [ENV-4]")
    if len(tensors) + len(aliases) > MAX_ITEMS:
        raise ArgumentError(f"more than {MAX_ITEMS:,} tensors [ENV-6]; save them in several files")
    for name in (*owned, *aliases):
        check_name(name)
    for alias, name in aliases.items():
        if name not in owned:
            raise ArgumentError(f"{alias!r} stands for {name!r}, which is not there [ENV-3]")


def _write(
    file: BinaryIO,
    tensors: Sequence[Pending],
    aliases: Mapping[str, str],
    metadata: Mapping[str, str],
    envelope: str,
    done: Callable[[Any], object],
) -> int:
    small = [t.n_bytes < PACK_BYTES for t in tensors]
    if tensors and all(small):
        small[max(range(len(tensors)), key=lambda i: tensors[i].n_bytes)] = False  # ENV-8
    items: list[Item] = []
    with ExitStack() as stack:
        frames = file
        if envelope == CNNZ:
            file.write(write_prefix(envelope, (), 0))
        else:  # the header states the frames' lengths: they wait in a second file
            frames = stack.enter_context(tempfile.TemporaryFile())
        for tensor, packed in zip(tensors, small, strict=True):
            if packed:
                items.append(Item(PACKED, "", 0))
                continue
            frame = rename_frame(tensor.frame(), tensor.name)
            frames.write(frame)
            items.append(Item(FRAME, tensor.name, len(frame)))
            done(tensor)
        numbers = {tensor.name: i for i, tensor in enumerate(tensors)}
        items += [Item(ALIAS, alias, numbers[name]) for alias, name in aliases.items()]
        frames_bytes = sum(item.value for item in items if item.kind == FRAME)
        pack, directory = _write_rest(tensors, small, items, metadata, frames_bytes)
        rest_bytes = len(pack) + len(directory) + TAIL_BYTES
        prefix = write_prefix(envelope, items, rest_bytes)
        if envelope != CNNZ:
            file.write(prefix)
            frames.seek(0)
            shutil.copyfileobj(frames, file, 1 << 20)
    n_bytes = len(prefix) + frames_bytes + rest_bytes
    file.write(pack + directory + write_tail(prefix, directory, n_bytes))
    return n_bytes


def _write_rest(
    tensors: Sequence[Pending],
    small: Sequence[bool],
    items: Sequence[Item],
    metadata: Mapping[str, str],
    frames_bytes: int,
) -> tuple[bytes, bytes]:
    """The pack frame and the directory; stored plainly where they compress too well (ENV-6)."""
    packed = [(t.name, *t.plain()) for t, is_small in zip(tensors, small, strict=True) if is_small]
    plainly = False
    while True:
        pack = _write_pack(packed, plainly) if packed else b""
        directory = Directory(items, len(pack), metadata).write(plainly)
        least = PREFIX_BYTES + frames_bytes + len(pack) + len(directory) + TAIL_BYTES
        if len(items) <= least // 8 + 4096:
            return pack, directory
        if plainly:
            raise ArgumentError(f"{len(items):,} names in {least:,} bytes [ENV-6]; leave some out")
        plainly = True


def _write_pack(
    packed: Sequence[tuple[str, MatrixShape, NDArray[np.uint8]]], plainly: bool
) -> bytes:
    index = encode_pack_index([(name, shape) for name, shape, _ in packed], plainly)
    planes = encode_planes([(data, shape.dtype.itemsize) for _, shape, data in packed])
    n_bytes = sum(shape.n_bytes for _, shape, _ in packed)
    return write_frame(PACK_ID, MatrixShape(BY_NAME["uint8"], (n_bytes,)), (index, planes))


def convert(
    source: CodedFile, path: str | os.PathLike[str], *, envelope: str, durable: bool = True
) -> int:
    """Write the same tensors in another envelope; their frames are copied, not coded again."""
    return write_file(
        path,
        [_Copy(source, name) for name in source if name not in source.aliases],
        source.aliases,
        source.metadata,
        envelope=envelope,
        verify=True,
        durable=durable,
    )


class _Copy:
    """A tensor of another file."""

    def __init__(self, source: CodedFile, name: str) -> None:
        self.name = name
        self.n_bytes = source.header(name).shape.n_bytes
        self._source = source

    def frame(self) -> bytes:
        if self._source.is_packed(self.name):  # the other file's first tensor, perhaps
            return self._source[self.name].to_frame()
        return self._source.frame(self.name)

    def plain(self) -> tuple[MatrixShape, NDArray[np.uint8]]:
        coded = self._source[self.name].coded
        return coded.shape, coded.decode()

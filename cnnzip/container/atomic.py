"""Files that are either the old one or the new one, whatever happens while they are written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: no stale files are looked for
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".cnnzip-tmp"


@contextmanager
def replacing(path: str | os.PathLike[str], durable: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on leaving, put it in the place of `path`.

    The file that a symbolic link points to is replaced, not the link; permissions are kept. What
    a killed process left behind is removed. On an error nothing is changed and nothing is left.

    Parameters
    ----------
    durable : bool
        Force the bytes to the disk before the name points to them, and the name after.

    Raises
    ------
    OSError
    """
    target = Path(os.path.realpath(path))
    _remove_stale(target)
    descriptor, name = _locked_temporary(target)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            os.chmod(name, _mode(target))
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    if durable:
        _sync_folder(target.parent)


def _locked_temporary(target: Path) -> tuple[int, str]:
    """A temporary file that `_remove_stale` of another process leaves alone."""
    while True:
        descriptor, name = tempfile.mkstemp(SUFFIX, f".{target.name}.", target.parent)
        if fcntl is None:
            return descriptor, name
        taken = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            taken = True
        except OSError:  # no locks on this file system: nothing is taken for stale there
            return descriptor, name
        if not taken and os.path.exists(name):
            return descriptor, name
        os.close(descriptor)  # taken for stale before it was locked: make another


def _mode(target: Path) -> int:
    """Permissions of the file to be replaced, or those that a new file gets."""
    try:
        return target.stat().st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _remove_stale(target: Path) -> None:
    """Remove temporary files of `target` that no living process holds locked."""
    if fcntl is None:
        return
    for entry in os.scandir(target.parent):
        if entry.name.startswith(f".{target.name}.") and entry.name.endswith(SUFFIX):
            with suppress(OSError), open(entry.path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry.path)


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

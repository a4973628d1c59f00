"""The golden files as bytes, and how a user would read damaged ones."""

import os
import pathlib

from cnnzip.container.limits import Limits
from cnnzip.container.reader import CodedFile

VECTORS = pathlib.Path(__file__).parents[2] / "spec" / "vectors"
GOOD = {path.name: path.read_bytes() for path in sorted((VECTORS / "v1").iterdir())}
INVALID = {path.name: path.read_bytes() for path in sorted((VECTORS / "invalid").iterdir())}
SMALL = {name: data for name, data in GOOD.items() if len(data) <= 4096}


def open_memory(data, limits=None):
    """A `CodedFile` of these bytes, in memory."""
    descriptor = os.memfd_create("golden") if hasattr(os, "memfd_create") else _temporary()
    os.write(descriptor, data)
    found = CodedFile.of_file(os.fdopen(descriptor, "rb"), "golden")
    found.limits = limits or Limits()
    return found


def _temporary():
    import tempfile

    descriptor, name = tempfile.mkstemp()
    os.unlink(name)
    return descriptor


def read(path):
    """Open and decode as a user does."""
    with CodedFile(path) as file:
        for name in file:
            file[name].decode()

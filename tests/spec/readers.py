"""The library and the reference behind one face: bytes in, what the file holds out."""

import hashlib
import re
import tempfile

import cnnzip
from spec.reference import envelopes

#: Kinds of errors as MANIFEST.json and the vectors name them.
LIBRARY_ERRORS = {
    "corrupt": cnnzip.CorruptError,
    "truncated": cnnzip.TruncatedError,
    "version": cnnzip.VersionError,
    "limit": cnnzip.LimitError,
    "refused": cnnzip.LimitError,
}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def open_bytes(data):
    """A `CodedFile` of these bytes."""
    from cnnzip.container.reader import CodedFile

    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the result
    file.write(data)
    file.flush()
    return CodedFile.of_file(file, "bytes")


def read_by_library(data):
    """(tensors by name: dtype, dims, bytes; order; aliases; metadata), as `cnnzip.load` reads."""
    with open_bytes(data) as file:
        file.check_limits()
        tensors = {}
        for name in file:
            tensor = file[name]
            tensors[name] = tensor.dtype, list(tensor.shape), tensor.decode().tobytes()
        return tensors, list(file), file.aliases, file.metadata


def read_by_reference(data):
    found = envelopes.read_file(data)
    tensors = {name: (t.dtype_name, list(t.dims), t.data) for name, t in found.tensors.items()}
    owners = {id(found.tensors[name]): name for name in reversed(found.order)}
    aliases = {n: owners[id(t)] for n, t in found.tensors.items() if owners[id(t)] != n}
    return tensors, found.order, aliases, found.metadata


def clause_of(error):
    """The clause that an error of either reader names."""
    if hasattr(error, "clause"):
        return error.clause
    return re.search(r"\[([A-Z]{3}-\d+)\]", str(error))[1]  # LimitError says it in its text

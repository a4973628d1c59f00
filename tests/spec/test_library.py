"""The library against the vectors of spec/vectors/*.json, which the reference passes too."""

import json
import math
import pathlib

import numpy as np
import pytest

import cnnzip
from cnnzip.codecs.codebook import CodedValues, check_increasing, parse_patterns
from cnnzip.codecs.lines import Lines
from cnnzip.codecs.planes import decode_blob, decode_planes
from cnnzip.codecs.source import MatrixShape
from cnnzip.container.limits import Limits
from cnnzip.container.reader import CodedFile
from cnnzip.container.structure import STRUCTURE, Structure
from cnnzip.dtypes import dtype_by_id, dtype_by_name
from cnnzip.entropy.ans import AnsTable
from cnnzip.entropy.canonical import CanonicalCode
from cnnzip.entropy.varints import Cursor
from cnnzip_native import _mixing_tables, mixing
from tests import forge
from tests.spec.readers import LIBRARY_ERRORS, clause_of, open_bytes

VECTORS = pathlib.Path(__file__).parents[2] / "spec" / "vectors"
#: What the library has no function of its own for, and why.
NOT_ASKED = {
    "bits": "kernels read bit strings: ham, sham and index-map vectors",
    "crc": "zlib's",
    "stream": "kernels read streams: bnd vectors",
    "coded": "a kernel reads coded numbers, and a codec refuses them: test_mixing and mix vectors",
}
NOT_HELD = {
    "frm/another-name": "the library reads named frames from files: ENV-13",
    "bok/zero-where-it-may-not-be": "the codec refuses it: shm/zero-in-the-codebook",
    "mat/no-weights": "to a user, and so to `CodedTensor`, such a tensor is not 0 x 0",
    "pck/no-tensors": "no file has such a pack: ENV-5",
    "pck/2^55-tensors": "no directory has as many items: ENV-5 comes first",
    "pck/2^20-tensors-and-one": "as above",
}


def varint(v):
    cursor = Cursor(bytes.fromhex(v["varint"]), "vector", "NUM-2")
    value = cursor.varint()
    cursor.finish("NUM-2")
    return {"value": value}


def unsigned(v):
    data = bytes.fromhex(v["unsigned"])
    return {"value": Cursor(data, "vector").unsigned(len(data))}


def dtype(v):
    found = dtype_by_id(v["dtype"])
    return {"name": found.name, "size": found.itemsize}


def section(v):
    types = [(dtype_by_name(name).itemsize, n) for name, n in v["tensors"]]
    arrays = [(np.zeros(size * n, np.uint8), size) for size, n in types]
    decode_planes(memoryview(bytes.fromhex(v["section"])), arrays)
    return {"decoded": [data.tobytes().hex() for data, _ in arrays]}


def blob(v):
    return {"decoded": decode_blob(memoryview(bytes.fromhex(v["blob"])), "vector").hex()}


def code(v):
    cursor = Cursor(bytes.fromhex(v["code"]), "vector", "HUF-1")
    found = CanonicalCode.parse(cursor, v["n_symbols"])
    cursor.finish("HUF-1")
    lengths, words = found.lengths.tolist(), found.codewords().tolist()
    pairs = zip(lengths, words, strict=True)
    return {"codewords": [f"{word:0{n}b}" if n else "" for n, word in pairs]}


def table(v):
    cursor = Cursor(bytes.fromhex(v["table"]), "vector", "ANS-1")
    found = AnsTable.parse(cursor)
    cursor.finish("ANS-1")
    frequencies = found.frequencies(v["log_size"])
    return {"weights": found.weights.tolist(), "frequencies": frequencies.tolist()}


def codebook(v):
    data, kind = bytes.fromhex(v["codebook"]), dtype_by_name(v["dtype"])
    if len(v["groups"]) > 1:
        cursor = Cursor(data + forge.code(v["groups"]), "vector", "BOK-1")
        patterns = CodedValues.parse(cursor, kind).patterns
    else:
        cursor = Cursor(data, "vector", "BOK-1")
        patterns = parse_patterns(cursor, kind)
        check_increasing(patterns)
    cursor.finish("BOK-1")
    return {"patterns": patterns.tolist()}


def counter(v):
    p, n = v["counter"]
    one, found = np.uint32(p << 10 | n), []
    for b in v["decisions"]:
        one = np.uint32(mixing.moved(one, int(b)))
        found.append([int(one) >> 10, int(one) & 1023])
    return {"found": found}


def squash(v):
    return {
        "probabilities": [int(_mixing_tables.SQUASH[d + _mixing_tables.LIMIT]) for d in v["squash"]]
    }


def stretch(v):
    return {"sums": [int(mixing.stretched(np.uint32(p << 10))) for p in v["stretch"]]}


def mixer(v):
    """Of four inputs; the kernels keep the last weight first."""
    weights, sums = np.array([0, *v["weights"]], np.int32), []
    for found, b in v["steps"]:
        inputs = [np.int64(x) for x in found]
        total = mixing.bias(weights, 0) + mixing.weighed(weights, 1, *inputs)
        sums.append(int(mixing.closed(total)))
        missed = 65_535 * b - int(_mixing_tables.SQUASH[sums[-1] + _mixing_tables.LIMIT])
        mixing.learn_bias(weights, 0, missed, v["mixer"])
        mixing.learn(weights, 1, missed, v["mixer"], *inputs)
    return {"sums": sums, "after": [*weights[1:].tolist(), int(weights[0])]}


def layout(v):
    shape = MatrixShape(dtype_by_name("uint8"), tuple(v["dims"]))
    found = Lines(shape, v["axis"], v["lines_per_stream"])
    ends = found.ends.tolist()
    return {
        "n_lines": found.n_lines,
        "width": found.width,
        "streams": [list(pair) for pair in zip([0, *ends], ends, strict=False)],
    }


def coded(v):
    most = v.get("max_decoded_bytes", 1 << 62)
    limits = Limits(most, math.inf if v.get("allow_ratio") else 4096)
    return cnnzip.CodedTensor.from_frame(bytes.fromhex(v["frame"]), limits)


def tensor(v):
    data = bytes.fromhex(v["frame"])
    if v["id"].startswith("pck/"):
        return packed(data)
    found = coded(v)
    decoded = found.decode().tobytes().hex()
    return {"dtype": found.dtype, "dims": list(found.shape), "decoded": decoded}


def packed(data):
    """A pack's tensors, read from a file that has as many items of kind 1."""
    sections = forge.take_frame(data)[2]
    n_tensors, _ = forge.read_varint(forge.read_blob(sections[0]), 0)
    own = forge.index_map("uint8", [2, 3], 0, [7], [])
    items = [forge.owned("w", len(own)), *[forge.PACKED] * max(n_tensors, 1)]
    with open_bytes(forge.cnnz({"w": own}, data, items)) as file:
        return {
            "pack": [
                [n, file[n].dtype, list(file[n].shape), file[n].decode().tobytes().hex()]
                for n in file
                if n != "w"
            ]
        }


def product(v):
    try:
        found = coded(v)
        x = np.array(v.get("X", v.get("x")), float).astype(v.get("x_dtype", "float32"))
        if "X" in v:
            y = found.rmatmat(x) if v.get("transpose") else found.matmat(x)
            return {"Y": [list(map(to_the_bit, row)) for row in y.tolist()]}
        y = found.rmatvec(x) if v.get("transpose") else found.matvec(x)
        return {"y": list(map(to_the_bit, y.tolist()))}
    except cnnzip.ArgumentError as error:
        raise cnnzip.LimitError(str(error)) from error  # "refused", as the vectors say


def to_the_bit(value):
    value = float(value)
    return "nan" if math.isnan(value) else value.hex()


def file(v):
    limits = Limits(v.get("max_decoded_bytes", 1 << 62))
    with open_bytes(bytes.fromhex(v["file"])) as found:
        found.limits = limits
        found.check_limits()
        tensors = {n: found[n] for n in found if n not in found.aliases}
        assert found.aliases == v.get("aliases", {})
        return {
            "tensors": {
                n: [t.dtype, list(t.shape), t.decode().tobytes().hex()] for n, t in tensors.items()
            },
            "order": list(found),
            "metadata": found.metadata,
        }


def structure(v):
    found = Structure.parse({STRUCTURE: v["structure"]})
    assert Structure.parse(found.metadata()) == found
    return {"removed": list(found.removed), "resized": found.resized}


READERS = {  # by the key under which a vector holds what is read
    "varint": varint,
    "unsigned": unsigned,
    "section": section,
    "blob": blob,
    "code": code,
    "counter": counter,
    "squash": squash,
    "stretch": stretch,
    "mixer": mixer,
    "codebook": codebook,
    "axis": layout,
    "x": product,
    "X": product,
    "frame": tensor,
    "file": file,
    "dtype": dtype,
    "table": table,
    "structure": structure,
}


def vectors(with_fault):
    found = []
    for path in sorted(VECTORS.glob("*.json")):
        cases = json.loads(path.read_text(encoding="utf-8"))
        for v in cases if isinstance(cases, list) else ():  # MANIFEST.json is an object
            asked = v["id"] not in NOT_HELD and not NOT_ASKED.keys() & v.keys()
            if ("fault" in v) == with_fault and asked:
                found.append(pytest.param(v, id=v["id"]))
    return found


def read(v):
    return next(reader for key, reader in READERS.items() if key in v)(v)


def expected(v):
    if "y" in v:
        return {"y": list(map(to_the_bit, v["y"]))}
    if "Y" in v:
        return {"Y": [list(map(to_the_bit, row)) for row in v["Y"]]}
    if "file" in v:  # "003c*512" is 003c, 512 times
        tensors = {}
        for name, (dtype_name, dims, data) in v["tensors"].items():
            digits, _, times = data.partition("*")
            tensors[name] = [dtype_name, dims, digits * int(times or 1)]
        return {**v, "tensors": tensors}
    return v


@pytest.mark.parametrize("v", vectors(with_fault=False))
def test_library_reads_what_the_vector_says(v):
    found = read(v)
    assert found == {key: expected(v)[key] for key in found}


@pytest.mark.parametrize("v", vectors(with_fault=True))
def test_library_refuses_what_the_spec_refuses(v):
    error = v.get("error", "corrupt")
    with pytest.raises(LIBRARY_ERRORS[error]) as caught:
        read(v)
    assert clause_of(caught.value) == v["fault"]
    assert isinstance(caught.value, cnnzip.TruncatedError) == (error == "truncated")


def test_codedfile_is_what_the_readers_open():
    with open_bytes(forge.cnnz({})) as empty:
        assert isinstance(empty, CodedFile)
        assert list(empty) == []

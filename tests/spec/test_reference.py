"""The reference reader against the vectors, and both against the clauses."""

import ast
import json
import math
import pathlib
import re
import sys

import pytest

from spec.reference import (
    ans,
    codebook,
    envelopes,
    frame,
    huffman,
    lines,
    mixing,
    numbers,
    pack,
    planes,
    products,
)
from spec.reference.errors import CorruptError, RefusedError, TruncatedError, VersionError

SPEC = pathlib.Path(__file__).parents[2] / "spec"
ERRORS = {
    "corrupt": CorruptError,
    "truncated": TruncatedError,
    "version": VersionError,
    "refused": RefusedError,
}
DTYPES = {dtype.name: dtype for dtype in numbers.DTYPES.values()}


def vectors(with_fault):
    found = []
    for path in sorted((SPEC / "vectors").glob("*.json")):
        cases = json.loads(path.read_text(encoding="utf-8"))
        for v in cases if isinstance(cases, list) else ():  # MANIFEST.json is an object
            if ("fault" in v) == with_fault:
                found.append(pytest.param(v, id=v["id"]))
    return found


def varint(v):
    cursor = numbers.Cursor(bytes.fromhex(v["varint"]), "NUM-2")
    value = cursor.varint()
    cursor.end()
    return {"value": value}


def unsigned(v):
    data = bytes.fromhex(v["unsigned"])
    return {"value": numbers.Cursor(data, "NUM-1").unsigned(len(data))}


def bits(v):
    found = numbers.bits_of(bytes.fromhex(v["bits"]))
    numbers.check_padding(found[v["n_bits"] :], "NUM-3")
    return {"value": found[: v["n_bits"]]}


def crc(v):
    return {"value": numbers.crc32(bytes.fromhex(v["crc"]))}


def dtype(v):
    found = numbers.read_dtype(numbers.Cursor(bytes([v["dtype"]]), "DTY-1"))
    return {"name": found.name, "size": found.size}


def section(v):
    tensors = [(DTYPES[name].size, count) for name, count in v["tensors"]]
    found = planes.read_planes(bytes.fromhex(v["section"]), tensors)
    return {"decoded": [data.hex() for data in found]}


def blob(v):
    return {"decoded": planes.read_blob(bytes.fromhex(v["blob"])).hex()}


def code(v):
    cursor = numbers.Cursor(bytes.fromhex(v["code"]), "HUF-1")
    counts = huffman.read_code(cursor, v["n_symbols"])
    cursor.end()
    return {"codewords": huffman.codewords(counts, v["n_symbols"])}


def table(v):
    cursor = numbers.Cursor(bytes.fromhex(v["table"]), "ANS-1")
    weights = ans.read_weights(cursor)
    cursor.end()
    rows = ans.table(weights, v["log_size"])
    return {
        "weights": weights,
        "frequencies": ans.frequencies(weights, v["log_size"]),
        "rows": {state: list(rows[int(state)]) for state in v["rows"]},
    }


def stream(v):
    rows = ans.table(
        ans.read_weights(numbers.Cursor(bytes.fromhex(v["table"]), "ANS-1")), v["log_size"]
    )
    found = ans.Stream(bytes.fromhex(v["stream"]), v["log_size"])
    decoded = [found.number(rows, v["direct"]) for _ in v["numbers"]]
    found.end()
    return {"numbers": decoded}


def counter(v):
    one, found = mixing.Counter(*v["counter"]), []
    for b in v["decisions"]:
        one.learn(int(b))
        found.append([one.p, one.n])
    return {"found": found}


def squash(v):
    return {"probabilities": [mixing.squash(d) for d in v["squash"]]}


def stretch(v):
    return {"sums": [mixing.Counter(p, 0).stretch() for p in v["stretch"]]}


def mixer(v):
    one, sums = mixing.Mixer(v["weights"], v["mixer"]), []
    for inputs, b in v["steps"]:
        sums.append(one.sum(inputs))
        one.learn(inputs, sums[-1], b)
    return {"sums": sums, "after": one.weights}


def coded_number(v):
    one = mixing.CodedNumber(bytes.fromhex(v["coded"]))
    decisions = "".join(str(one.decision(p)) for p in v["probabilities"])
    one.end()
    return {"decisions": decisions}


def values(v):
    cursor = numbers.Cursor(bytes.fromhex(v["codebook"]), "BOK-1")
    zero = None if v.get("zero", True) else "BOK-3"
    patterns = codebook.read_codebook(cursor, DTYPES[v["dtype"]], zero)
    codebook.check_order(patterns, v["groups"])
    cursor.end()
    return {"patterns": patterns}


def layout(v):
    found = lines.lines_of(v["axis"], v["lines_per_stream"], v["dims"])
    ranges = [found.stream(i) for i in range(found.n_streams)]
    return {
        "n_lines": found.n_lines,
        "width": found.width,
        "streams": [[here.start, here.stop] for here in ranges],
    }


def tensor(v):
    parsed = frame.parse_frame(bytes.fromhex(v["frame"]), v.get("name"))
    decoded = frame.decode(parsed, v.get("max_decoded_bytes"), v.get("allow_ratio", False))
    if frame.CODECS[parsed.codec] is pack:
        pairs = zip(pack.read_index(parsed), pack.read_tensors(parsed), strict=True)
        return {"pack": [[p.name, p.dtype.name, list(p.dims), d.hex()] for p, d in pairs]}
    return {"dtype": parsed.dtype.name, "dims": list(parsed.dims), "decoded": decoded.hex()}


def product(v):
    parsed = frame.parse_frame(bytes.fromhex(v["frame"]))
    how = {"transpose": v.get("transpose", False), "x_dtype": v.get("x_dtype", "float32")}
    if "X" in v:
        found = products.matmat(parsed, [list(map(float, row)) for row in v["X"]], **how)
        return {"Y": [list(map(to_the_bit, row)) for row in found]}
    return {"y": list(map(to_the_bit, products.matvec(parsed, list(map(float, v["x"])), **how)))}


def file(v):
    found = envelopes.read_file(bytes.fromhex(v["file"]), v.get("max_decoded_bytes"))
    aliases = v.get("aliases", {})
    assert all(found.tensors[a] is found.tensors[b] for a, b in aliases.items())
    return {
        "tensors": {n: as_vector(t) for n, t in found.tensors.items() if n not in aliases},
        "order": found.order,
        "metadata": found.metadata,
    }


def structure(v):
    removed, resized = envelopes.read_structure(v["structure"])
    return {"removed": removed, "resized": resized}


def as_vector(tensor):
    return [tensor.dtype_name, list(tensor.dims), tensor.data.hex()]


def to_the_bit(value):
    """Tell -0.0 from 0.0, and hold one NaN as good as another."""
    value = float(value)
    return "nan" if math.isnan(value) else value.hex()


def expected(v):
    """What the vector says, in the form in which the readers above answer."""
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


READERS = {  # by the key under which a vector holds what is read
    "varint": varint,
    "unsigned": unsigned,
    "bits": bits,
    "crc": crc,
    "section": section,
    "blob": blob,
    "code": code,
    "stream": stream,  # which has a table
    "table": table,
    "counter": counter,
    "squash": squash,
    "stretch": stretch,
    "mixer": mixer,
    "coded": coded_number,
    "codebook": values,
    "axis": layout,
    "x": product,
    "X": product,
    "frame": tensor,
    "file": file,
    "dtype": dtype,
    "structure": structure,
}


def read(v):
    return next(reader for key, reader in READERS.items() if key in v)(v)


@pytest.mark.parametrize("v", vectors(with_fault=False))
def test_reference_reads_what_the_vector_says(v):
    found = read(v)
    assert found == {key: expected(v)[key] for key in found}


@pytest.mark.parametrize("v", vectors(with_fault=True))
def test_reference_refuses_what_the_spec_refuses(v):
    error = ERRORS[v.get("error", "corrupt")]
    with pytest.raises(error, match=re.escape(f"[{v['fault']}]")) as caught:
        read(v)
    assert type(caught.value) is error
    assert v["fault"] in v["clauses"]


def good_files():
    return [p for p in vectors(with_fault=False) if p.id in ("env/cnnz", "env/safetensors")]


@pytest.mark.parametrize("v", good_files())
def test_a_file_cut_anywhere_is_truncated(v):
    data = bytes.fromhex(v["file"])
    for n in range(len(data)):
        with pytest.raises(TruncatedError):
            envelopes.read_file(data[:n])


@pytest.mark.parametrize("v", good_files())
def test_a_file_with_any_bit_flipped_is_refused(v):
    data = bytearray.fromhex(v["file"])
    for k in range(8 * len(data)):
        data[k // 8] ^= 1 << k % 8
        with pytest.raises(RefusedError):
            envelopes.read_file(bytes(data))
        data[k // 8] ^= 1 << k % 8


def good_frames():
    return [
        p for p in vectors(with_fault=False) if "frame" in p.values[0] and "y" not in p.values[0]
    ]


@pytest.mark.parametrize("v", good_frames())
def test_a_frame_cut_anywhere_is_truncated(v):
    data = bytes.fromhex(v["frame"])
    for n in range(len(data)):
        with pytest.raises(TruncatedError):
            frame.parse_frame(data[:n])


def cited(pattern):
    text = "".join(p.read_text(encoding="utf-8") for p in SPEC.glob(pattern))
    return set(re.findall(r"\b[A-Z]{3}-\d+\b", text))


def defined():
    text = "".join(p.read_text(encoding="utf-8") for p in SPEC.glob("*.md"))
    return set(re.findall(r"\*\*\[([A-Z]+-\d+)\]\*\*", text))


def test_every_clause_is_cited_by_the_reference():
    assert defined() <= cited("reference/*.py"), "clause without reference code"


def test_every_clause_has_a_vector():
    named = {c for f in (False, True) for p in vectors(f) for c in p.values[0]["clauses"]}
    assert defined() <= named, "clause without a test vector"
    assert named <= defined(), "a vector of a clause that does not exist"


def test_the_reference_cites_no_clause_that_does_not_exist():
    series = "|".join({clause[:3] for clause in defined()})
    named = {clause for clause in cited("reference/*.py") if re.match(series, clause)}
    assert named <= defined()


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_the_reference_imports_the_standard_library_and_zstandard_alone():
    allowed = sys.stdlib_module_names | {"spec", "zstandard"}
    for path in (SPEC / "reference").glob("*.py"):
        assert {name.split(".")[0] for name in imported(path)} <= allowed, path.name

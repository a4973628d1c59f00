"""The golden files, by both readers."""

import json
import pathlib

import pytest

import cnnzip
from spec.reference import errors
from tests.spec.readers import (
    LIBRARY_ERRORS,
    clause_of,
    read_by_library,
    read_by_reference,
    sha256,
)

VECTORS = pathlib.Path(__file__).parents[2] / "spec" / "vectors"
MANIFEST = json.loads((VECTORS / "MANIFEST.json").read_text(encoding="utf-8"))
GOOD, INVALID = MANIFEST["v1"], MANIFEST["invalid"]
REFERENCE_ERRORS = {
    "corrupt": errors.CorruptError,
    "truncated": errors.TruncatedError,
    "version": errors.VersionError,
    "limit": errors.RefusedError,
}
READERS = pytest.mark.parametrize("read", [read_by_library, read_by_reference])


def test_manifest_lists_every_file_and_no_other():
    for folder, entries in (("v1", GOOD), ("invalid", INVALID)):
        found = {path.name: sha256(path.read_bytes()) for path in (VECTORS / folder).iterdir()}
        assert found == {name: entry["sha256"] for name, entry in entries.items()}


def test_goldens_are_many_and_small():
    sizes = [path.stat().st_size for path in VECTORS.glob("*/*")]
    assert len(GOOD) >= 60
    assert len(INVALID) >= 40
    assert sum(sizes) <= 300_000


@READERS
@pytest.mark.parametrize("name", GOOD)
def test_golden_decodes_to_what_the_manifest_says(name, read):
    entry = GOOD[name]
    tensors, order, aliases, metadata = read((VECTORS / "v1" / name).read_bytes())
    assert order == list(entry["tensors"])
    assert aliases == entry["aliases"]
    assert metadata == entry["metadata"]
    for tensor, due in entry["tensors"].items():
        dtype, shape, data = tensors[tensor]
        assert {"dtype": dtype, "shape": shape, "sha256": sha256(data)} == due


@READERS
@pytest.mark.parametrize("name", INVALID)
def test_invalid_file_is_refused_by_its_clause(name, read):
    entry = INVALID[name]
    of_reader = LIBRARY_ERRORS if read is read_by_library else REFERENCE_ERRORS
    data = (VECTORS / "invalid" / name).read_bytes()
    with pytest.raises((errors.RefusedError, cnnzip.CnnzipError)) as caught:
        read(data)
    assert clause_of(caught.value) == entry["clause"]
    assert isinstance(caught.value, of_reader[entry["error"]])
    truncated = isinstance(caught.value, of_reader["truncated"])
    assert truncated == (entry["error"] == "truncated")


def test_each_series_of_clauses_has_an_invalid_file():
    broken = {entry["clause"][:3] for entry in INVALID.values()}
    of_bytes = {"BOK", "DTY", "ENV", "FRM", "FST", "HAM", "HUF", "IMP", "LIN", "NUM", "PCK", "PLN"}
    assert broken == of_bytes | {"ANS", "BND", "FLM", "MIX", "MSK", "MXG", "SHM", "VER"}

"""Prefix and tail of both envelopes."""

import json
import struct

import pytest

import cnnzip
from cnnzip.container.directory import FRAME, PACKED, Item
from cnnzip.container.envelope import (
    CNNZ,
    SAFETENSORS,
    Tail,
    check_tail,
    envelope_of,
    prefix_version,
    refuse_newer,
    sniff,
    write_prefix,
    write_tail,
)
from tests import forge

ITEMS = [Item(FRAME, 'a"\\é\U0001f600/~', 40), Item(PACKED, "", 0), Item(FRAME, "b", 48)]


def test_envelope_is_chosen_by_the_name():
    assert envelope_of("a.safetensors") == SAFETENSORS
    assert envelope_of("a.cnnz") == envelope_of("a.safetensors.bak") == envelope_of("") == CNNZ


def test_cnnz_prefix():
    assert write_prefix(CNNZ, ITEMS, 100) == b"\x89CNNZ\n\1\0"
    assert prefix_version(CNNZ, b"\x89CNNZ\n\1\7") == (1, 7)
    assert sniff(b"\x89CNNZ\n\1\7") == CNNZ


def test_safetensors_prefix_is_the_json_of_the_spec():
    prefix = write_prefix(SAFETENSORS, ITEMS, 100)
    sizes = [(item.name, item.value) for item in ITEMS if item.kind == FRAME]
    text = forge.safetensors_header([*sizes, ("__cnnzip__", 100)])
    assert prefix[8:].rstrip(b" ") == text
    assert struct.unpack("<Q", prefix[:8])[0] == len(prefix) - 8
    assert len(prefix) % 8 == 0
    header = json.loads(prefix[8:])
    assert header["__cnnzip__"]["data_offsets"] == [88, 188]
    assert prefix_version(SAFETENSORS, prefix) == (1, 0)
    assert sniff(prefix[:8]) == SAFETENSORS


def test_other_safetensors_headers_are_refused():
    with pytest.raises(cnnzip.CorruptError, match="ENV-11"):
        prefix_version(SAFETENSORS, bytes(8) + b'{"__metadata__":{"format":"pt"}}')


def test_newer_safetensors_headers_are_refused_at_once():
    start = bytes(8) + b'{"__metadata__":{"format":"pt","cnnzip":"%b"}'
    refuse_newer(start % b"1.99")
    refuse_newer(bytes(64))
    with pytest.raises(cnnzip.VersionError, match="VER-1"):
        refuse_newer(start % b"2.0")
    with pytest.raises(cnnzip.CorruptError, match="ENV-11"):
        refuse_newer(start % b"0.1")


def test_headers_have_at_most_100_megabytes(monkeypatch):
    class Long(str):
        __slots__ = ()

    monkeypatch.setattr("cnnzip.container.envelope._quoted", lambda _: '"' + "n" * 10**8 + '"')
    with pytest.raises(cnnzip.ArgumentError, match="envelope"):
        write_prefix(SAFETENSORS, ITEMS, 100)


@pytest.mark.parametrize(
    ("start", "error"),
    [
        (b"", cnnzip.TruncatedError),
        (b"\x89CNNZ\n\1", cnnzip.TruncatedError),
        (b"\x89CNNZ\n\2\0", cnnzip.VersionError),
        (b"\x89CNNZ\n\0\1", cnnzip.CorruptError),
        (b"PK\3\4\x14\0\0\0", cnnzip.CorruptError),
        (bytes(8), cnnzip.CorruptError),
        (b"\x01\xe1\xf5\x05\0\0\0\0", cnnzip.CorruptError),  # 100,000,001
    ],
)
def test_what_is_no_file_of_ours(start, error):
    with pytest.raises(error):
        sniff(start)


def test_an_archive_gets_a_hint():
    with pytest.raises(cnnzip.CorruptError, match="cnnzip compress"):
        sniff(b"PK\3\4\x14\0\0\0")


@pytest.mark.parametrize("envelope", [CNNZ, SAFETENSORS])
def test_tail_is_read_as_it_was_written(envelope):
    data = write_tail(b"prefix", b"directory", 1000)
    assert len(data) == 20
    tail = Tail.parse(data, 1000, envelope)
    assert tail[:2] == (1000, 9)
    check_tail(tail, b"prefix", b"directory")
    for prefix, directory in ((b"prefiy", b"directory"), (b"prefix", b"directorz")):
        with pytest.raises(cnnzip.ChecksumError, match="ENV-1"):
            check_tail(tail, prefix, directory)
    with pytest.raises(cnnzip.TruncatedError, match="1000 bytes, the file has 999"):
        Tail.parse(data, 999, envelope)
    with pytest.raises(cnnzip.CorruptError, match="1000 bytes, the file has 1001"):
        Tail.parse(data, 1001, envelope)
    with pytest.raises(cnnzip.TruncatedError, match="cut short"):
        Tail.parse(data[1:] + b"\0", 1000, envelope)

"""Directories, pack indices and metadata."""

import json

import pytest

import cnnzip
from cnnzip.codecs.source import MatrixShape
from cnnzip.container.directory import (
    ALIAS,
    FRAME,
    PACKED,
    Directory,
    Item,
    check_name,
    encode_metadata,
    encode_pack_index,
    name_fault,
    parse_metadata,
    parse_pack_index,
)
from cnnzip.dtypes import dtype_by_name
from tests import forge

ITEMS = [Item(FRAME, "w", 40), Item(PACKED, "", 0), Item(ALIAS, "tied", 1), Item(ALIAS, "é", 0)]


def parsed(data, file_bytes=1 << 20):
    return Directory.parse(memoryview(data), file_bytes)


@pytest.mark.parametrize("plainly", [False, True])
def test_directory_is_read_as_it_was_written(plainly):
    directory = Directory(ITEMS, 64, {"a": "b"})
    assert parsed(directory.write(plainly)) == directory
    assert parsed(Directory([]).write()) == Directory([], 0, {})


def test_directory_equals_the_forged_one():
    items = [forge.owned("w", 40), forge.PACKED, forge.alias("tied", 1), forge.alias("é", 0)]
    assert Directory(ITEMS, 64, {"a": "b"}).write(True) == forge.directory(items, 64, b'{"a":"b"}')


@pytest.mark.parametrize(
    ("items", "pack_bytes", "clause"),
    [
        ([Item(PACKED, "", 0)], 64, "ENV-8"),
        ([Item(FRAME, "w", 40)], 64, "ENV-5"),
        ([Item(FRAME, "w", 40), Item(PACKED, "", 0)], 0, "ENV-5"),
        ([Item(FRAME, "w", 23)], 0, "ENV-5"),
        ([Item(FRAME, "w", 40), Item(PACKED, "", 0)], 23, "ENV-5"),
        ([Item(ALIAS, "w", 0)], 0, "ENV-3"),
        ([Item(FRAME, "w", 40), Item(ALIAS, "a", 0), Item(ALIAS, "b", 1)], 0, "ENV-3"),
        ([Item(3, "w", 40)], 0, "ENV-3"),
    ],
)
def test_directory_refuses_what_the_spec_refuses(items, pack_bytes, clause):
    with pytest.raises(cnnzip.CorruptError, match=clause):
        parsed(Directory(items, pack_bytes).write())


def test_items_are_bounded_by_the_file():
    items = [Item(FRAME, "w", 40), *[Item(PACKED, "", 0)] * 4100]
    data = Directory(items, 64).write(plainly=True)
    assert len(parsed(data, 40).items) == 4101
    with pytest.raises(cnnzip.CorruptError, match="ENV-6"):
        parsed(data, 39)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("a", None),
        ("é" * 512, None),
        ("\x80", None),
        ("", "0 bytes"),
        ("é" * 513, "1026 bytes"),
        ("\x1f", "control"),
        ("a\x7f", "control"),
        ("\udc80", "Unicode"),
        ("__cnnzip__", "reserved"),
    ],
)
def test_names(name, fault):
    found = name_fault(name)
    if fault is None:
        assert found is None
        check_name(name)
    else:
        assert fault in found
        with pytest.raises(cnnzip.ArgumentError, match="ENV-4"):
            check_name(name)


@pytest.mark.parametrize(
    "metadata", [{}, {"a": "b", "": ""}, {"é\U0001f600\n": '"\\\x00'}, {"lone": "\ud800"}]
)
def test_metadata_is_read_as_it_was_written(metadata):
    data = encode_metadata(metadata)
    assert parse_metadata(memoryview(data)) == metadata
    assert (not data) == (not metadata)


@pytest.mark.parametrize(
    "data", [b"[]", b"{", b'{"a":1}', b'{"a":null}', b"\xff", b"[" * 10_000, b'{"a":' + b"9" * 5000]
)
def test_metadata_refuses_what_the_spec_refuses(data):
    with pytest.raises(cnnzip.CorruptError, match="ENV-7"):
        parse_metadata(memoryview(data))


def test_metadata_is_bounded():
    room = (1 << 20) - len('{"a":""}')
    assert len(encode_metadata({"a": "x" * room})) == 1 << 20
    with pytest.raises(cnnzip.ArgumentError, match="1,048,577 bytes"):
        encode_metadata({"a": "x" * (room + 1)})
    with pytest.raises(cnnzip.ArgumentError, match="strings"):
        encode_metadata({"a": 1})
    assert json.loads(encode_metadata({"a": "x"})) == {"a": "x"}


def index_of(*dims):
    shapes = [MatrixShape(dtype_by_name("float16"), d) for d in dims]
    return [(f"t{i}", shape) for i, shape in enumerate(shapes)], sum(s.n_bytes for s in shapes)


@pytest.mark.parametrize("plainly", [False, True])
def test_pack_index_is_read_as_it_was_written(plainly):
    index, n_bytes = index_of((), (3,), (0, 5), (511,))
    data = memoryview(encode_pack_index(index, plainly))
    assert parse_pack_index(data, 4, n_bytes) == index
    with pytest.raises(cnnzip.CorruptError, match="PCK-2"):
        parse_pack_index(data, 4, n_bytes + 1)
    with pytest.raises(cnnzip.CorruptError, match="ENV-5"):
        parse_pack_index(data, 3, n_bytes)


def test_pack_index_refuses_large_tensors():
    index, n_bytes = index_of((512,))
    with pytest.raises(cnnzip.CorruptError, match="PCK-2"):
        parse_pack_index(memoryview(encode_pack_index(index)), 1, n_bytes)

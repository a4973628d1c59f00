"""Frames: what is written is read, and what is broken is refused."""

import numpy as np
import pytest

import cnnzip
from cnnzip.codecs.source import MatrixShape
from cnnzip.container.frame import (
    Header,
    codec_of,
    frame_bytes,
    name_crc,
    parse_sections,
    parse_shape,
    rename_frame,
    write_frame,
)
from cnnzip.dtypes import DTYPES, dtype_by_name
from cnnzip.entropy.varints import Cursor
from tests import forge

F16 = dtype_by_name("float16")


def shape(*dims, dtype=F16):
    return MatrixShape(dtype, dims)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("dims", [(), (0,), (3,), (2, 0, 3), (1,) * 16])
def test_frame_is_read_as_it_was_written(dtype, dims):
    sections = (b"", b"one", bytes(200))
    frame = write_frame(2, shape(*dims, dtype=dtype), sections, "name")
    header = Header.parse(frame)
    assert (header.codec, header.shape) == ("index-map", shape(*dims, dtype=dtype))
    assert header.name_crc == name_crc("name")
    assert [bytes(section) for section in parse_sections(frame, header)] == list(sections)
    assert len(frame) % 8 == 0
    assert len(frame) == frame_bytes(header.coded_bytes, dims)


def test_frame_equals_the_forged_one():
    frame = write_frame(1, shape(2, 3), (b"abc",), "w")
    assert frame == forge.frame(1, "float16", [2, 3], [b"abc"])
    assert write_frame(1, shape(2, 3), (b"abc",)) == forge.frame(
        1, "float16", [2, 3], [b"abc"], name=""
    )


def test_frame_never_has_its_tensors_shape():
    for n in range(100):
        frame = write_frame(2, shape(n), (b"abc", b""))
        assert (len(frame),) != (n,)
        header = Header.parse(frame)
        assert len(frame) - header.coded_bytes < 16
        parse_sections(frame, header)
    assert frame_bytes(33, (40,)) == 48
    assert frame_bytes(33, (40, 1)) == 40
    assert frame_bytes(40, ()) == 40


@pytest.mark.parametrize("name", ["", "a", "é" * 300])
def test_renaming_changes_the_name_alone(name):
    frame = write_frame(1, shape(2), (b"abc",), "old")
    assert rename_frame(frame, name) == write_frame(1, shape(2), (b"abc",), name)


def test_names_crc_is_0_for_no_name():
    assert name_crc("") == 0
    assert name_crc("w") == forge.crc32(b"w")


def test_pack_is_no_single_tensor():
    frame = forge.pack([])
    header = Header.parse(frame)
    with pytest.raises(cnnzip.CorruptError, match="PCK-1"):
        codec_of(header, parse_sections(frame, header))


def test_optional_features_may_bring_sections():
    sections = [forge.planes([("uint8", b"\7")]), b"new"]
    frame = forge.frame(forge.RAW, "uint8", [1], sections, optional=4)
    assert cnnzip.CodedTensor.from_frame(frame).decode().tolist() == [7]
    frame = forge.frame(forge.RAW, "uint8", [1], sections)
    with pytest.raises(cnnzip.CorruptError, match="FRM-4"):
        cnnzip.CodedTensor.from_frame(frame)


def test_checksum_errors_say_what_was_found():
    frame = bytearray(write_frame(1, shape(2), (b"abcd",)))
    frame[-1 - (-len(frame) % 8)] ^= 0
    at = bytes(frame).index(b"abcd")
    frame[at] ^= 1
    with pytest.raises(cnnzip.ChecksumError, match=r"section 0, bytes \d+ to \d+.*is stored"):
        parse_sections(bytes(frame), Header.parse(bytes(frame)))
    frame[8] ^= 1
    with pytest.raises(cnnzip.ChecksumError, match="FRM-2"):
        Header.parse(bytes(frame))


@pytest.mark.parametrize(
    ("dims", "fits"),
    [
        ([1 << 47], True),
        ([(1 << 48) - 1, 0], True),
        ([1 << 48], False),
        ([1 << 24, 0, 1 << 24], False),
    ],
)
def test_number_of_weights_is_bounded(dims, fits):
    cursor = Cursor(bytes([16]) + forge.varint(len(dims), *dims), "vector")
    if fits:
        assert parse_shape(cursor).dims == tuple(dims)
    else:
        with pytest.raises(cnnzip.CorruptError, match="FRM-3"):
            parse_shape(cursor)


def test_tensor_and_frame_agree_on_their_length():
    for array in (np.zeros(0), np.arange(9.0), np.ones((40, 40), np.float16)):
        for codec in ("raw", "ham", "sham", "index-map", "fast"):
            tensor = cnnzip.encode(array, codec)
            assert tensor.nbytes == len(tensor.to_frame()) == len(tensor.to_frame("name"))


def test_renaming_keeps_what_newer_versions_wrote():
    sections = [forge.planes([("uint8", b"\7")]), b"new"]
    how = {"optional": 1 << 40, "version": (1, 7)}
    frame = forge.frame(forge.RAW, "uint8", [1], sections, name="old", **how)
    assert rename_frame(frame, "new") == forge.frame(
        forge.RAW, "uint8", [1], sections, name="new", **how
    )

"""Plaintext of sources, in pieces, and what is wrong with it."""

import io
import os
import random
import zipfile
import zlib

import pytest

from p2pshare.dicom.sources import DEFLATED, STORED, FileSource, PrefixSource, ZipEntrySource, read_chunks, reader_of
from p2pshare.errors import Bomb, MediumTrouble, Truncated, Unreadable

DATA = random.Random(5).randbytes(300_000) + bytes(3_000_000)


def packed(data=DATA):
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@pytest.fixture
def entry(opened):
    def make(body=None, *, size=len(DATA), method=DEFLATED, crc=zlib.crc32(DATA)):
        body = packed() if body is None else body
        return ZipEntrySource(opened(b"before" + body + b"after").fd, 6, len(body), size, method, crc)

    return make


def test_a_file_comes_in_pieces(opened):
    pieces = list(read_chunks(opened(DATA), 1 << 20))
    assert b"".join(pieces) == DATA
    assert {len(piece) for piece in pieces[:-1]} == {1 << 20}


def test_a_file_does_not_grow_while_it_is_read(opened):
    assert b"".join(read_chunks(FileSource(opened(DATA).fd, 1000))) == DATA[:1000]


def test_a_file_that_shrank_is_truncated(opened):
    with pytest.raises(Truncated):
        list(read_chunks(FileSource(opened(DATA).fd, len(DATA) + 1)))


def test_a_prefix_gives_the_prefix(opened):
    assert b"".join(read_chunks(PrefixSource(opened(DATA).fd, len(DATA), 70_000))) == DATA[:70_000]


def test_a_medium_that_cannot_be_read_is_an_error_of_ours():
    reading, writing = os.pipe()
    try:
        with pytest.raises(MediumTrouble):
            list(read_chunks(FileSource(reading, 10)))
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_an_entry_is_unpacked(entry, method):
    body = DATA if method == STORED else packed()
    assert b"".join(read_chunks(entry(body, method=method), 100_000)) == DATA


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_an_entry_can_be_read_at_any_offset(entry, method):
    reader = reader_of(entry(DATA if method == STORED else packed(), method=method))
    chance = random.Random(6)
    for _ in range(30):
        offset, length = chance.randrange(len(DATA)), chance.randrange(400_000)
        assert reader.read_at(offset, length) == DATA[offset : offset + length]


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_a_wrong_checksum_is_refused(entry, method):
    with pytest.raises(Unreadable, match="checksum"):
        list(read_chunks(entry(DATA if method == STORED else packed(), method=method, crc=1)))


def test_an_entry_that_unpacks_to_more_than_it_declares_is_a_bomb(entry):
    with pytest.raises(Bomb):
        list(read_chunks(entry(size=len(DATA) - 1)))


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_an_entry_that_unpacks_to_less_than_it_declares_is_truncated(entry, method):
    with pytest.raises(Truncated):
        list(read_chunks(entry(DATA if method == STORED else packed(), size=len(DATA) + 1, method=method)))


def test_an_entry_that_is_cut_off_is_truncated(entry):
    with pytest.raises(Truncated):
        list(read_chunks(entry(packed()[:-4])))


def test_an_entry_that_is_not_deflate_is_unreadable(entry):
    with pytest.raises(Unreadable):
        list(read_chunks(entry(b"\xff" * 1000)))


def test_entries_made_by_others_are_unpacked(opened):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", DATA)
        info = archive.getinfo("x")
    source = opened(buffer.getvalue())
    entry = ZipEntrySource(source.fd, 30 + 1, info.compress_size, info.file_size, DEFLATED, info.CRC)
    assert b"".join(read_chunks(entry)) == DATA

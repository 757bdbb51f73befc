"""Entries of archives give what they declare, at any offset, or say what is wrong."""

import random
import zlib

import pytest

from p2pshare.dicom.readers import PrefixEnds
from p2pshare.dicom.sources import DEFLATED, STORED, PrefixSource, ZipEntrySource, read_chunks, reader_of
from p2pshare.errors import Bomb, Truncated, Unreadable

DATA = random.Random(5).randbytes(300_000) + bytes(3_000_000)
CRC = zlib.crc32(DATA)
SIZE = len(DATA)


def packed(data=DATA):
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@pytest.fixture
def entry(opened):
    def make(body=None, *, size=SIZE, method=DEFLATED, crc=CRC):
        body = packed() if body is None else body
        return ZipEntrySource(opened(b"before" + body + b"after").fd, 6, len(body), size, method, crc)

    return make


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


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_an_entry_is_unpacked(entry, method):
    body = DATA if method == STORED else packed()
    assert b"".join(read_chunks(entry(body, method=method), 100_000)) == DATA


def test_reading_on_after_a_prefix_is_an_error_of_its_own(opened):
    reader = reader_of(PrefixSource(opened(DATA).fd, len(DATA), 1000))
    assert reader.read_at(990, 100) == DATA[990:1000]
    with pytest.raises(PrefixEnds):
        reader.read_at(1000, 1)
    assert reader.read_at(len(DATA), 1) == b""

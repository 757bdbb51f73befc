"""Plaintext of sources, in pieces, and what is wrong with it."""

import io
import os
import random
import zipfile

import pytest

from p2pshare.dicom.sources import DEFLATED, FileSource, PrefixSource, ZipEntrySource, read_chunks
from p2pshare.errors import MediumTrouble, Truncated

DATA = random.Random(5).randbytes(300_000) + bytes(3_000_000)


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


def test_entries_made_by_others_are_unpacked(opened):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", DATA)
        info = archive.getinfo("x")
    source = opened(buffer.getvalue())
    entry = ZipEntrySource(source.fd, 30 + 1, info.compress_size, info.file_size, DEFLATED, info.CRC)
    assert b"".join(read_chunks(entry)) == DATA

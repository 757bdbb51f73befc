"""An archive's directory is checked as a whole before any of its entries is used."""

import io
import struct
import zipfile

import pytest

from p2pshare.dicom import zipdir
from p2pshare.dicom.zipdir import ZipDirectory, data_offset
from p2pshare.errors import Bomb, Malformed, RemoteError, TooLarge, Unreadable


def made(entries, method=zipfile.ZIP_DEFLATED, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, **options) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return bytearray(buffer.getvalue())


@pytest.fixture
def directory(opened):
    def open_(data):
        source = opened(bytes(data))
        return ZipDirectory(source.fd, source.size), source.fd

    return open_


def test_entries_are_what_zipfile_says(directory):
    data = made({"a/b": b"x" * 5000, "ä": b"", "folder/": b""})
    entries, fd = directory(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry, info in zip(entries, archive.infolist(), strict=True):
            assert (entry.name, entry.size, entry.compressed_size) == (
                info.filename,
                info.file_size,
                info.compress_size,
            )
            assert (entry.crc, entry.method, entry.header_offset) == (info.CRC, info.compress_type, info.header_offset)
            assert entry.is_folder == info.is_dir()
            assert data_offset(fd, entry) == info.header_offset + 30 + len(info.filename.encode())


def test_zip64_entries_are_read(opened):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("big", "w", force_zip64=True) as file:
        file.write(b"hello")
    data = bytearray(buffer.getvalue())
    central = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    extra = struct.pack("<HHQQ", 1, 16, 5, 5)
    entry = data[central:end]
    struct.pack_into("<LL", entry, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, len(extra))
    entry = entry[:46] + b"big" + extra
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, len(entry), central)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, central + len(entry), 1)
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    source = opened(bytes(data[:central] + entry + end64 + locator + tail))
    (only,) = ZipDirectory(source.fd, source.size)
    assert (only.name, only.size, only.compressed_size, only.header_offset) == ("big", 5, 5, 0)


def test_bytes_before_the_archive_are_allowed(directory):
    entries, fd = directory(b"self-extractor" + made({"a": b"hello"}))
    assert [data_offset(fd, entry) for entry in entries] == [14 + 30 + 1]


def test_an_encrypted_entry_is_said(directory):
    data = made({"a": b"hello"})
    data[data.index(b"PK\x01\x02") + 8] |= 1
    entries, _ = directory(data)
    assert [entry.problem for entry in entries] == ["it is password-protected"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_said(directory, method):
    entries, _ = directory(made({"a": b"hello"}, method))
    assert "not supported" in next(iter(entries)).problem


def test_an_entry_that_unpacks_to_far_more_is_said(directory):
    entries, _ = directory(made({"a": bytes(9 << 20)}))
    assert "200 times" in next(iter(entries)).problem


def test_an_archive_that_unpacks_to_far_more_is_refused(directory, monkeypatch):
    monkeypatch.setattr(zipdir, "TOTAL_FREE", 1 << 20)
    with pytest.raises(Bomb):
        directory(made({f"{number}": bytes(1 << 20) for number in range(3)}))


def test_overlapping_entries_are_refused(directory):
    data = made({"a": b"x" * 1000, "b": b"y" * 1000}, zipfile.ZIP_STORED)
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    struct.pack_into("<L", data, second + 42, 0)  # both begin at the first
    with pytest.raises(Malformed, match="overlap"):
        directory(data)


def test_an_entry_that_goes_on_into_the_directory_is_refused(directory):
    data = made({"a": b"x" * 1000}, zipfile.ZIP_STORED)
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 20, 1100)
    with pytest.raises(Malformed):
        directory(data)


def test_too_many_entries_are_refused(directory, monkeypatch):
    monkeypatch.setattr(zipdir, "ENTRIES_MAX", 2)
    with pytest.raises(TooLarge):
        directory(made({"a": b"", "b": b"", "c": b""}))


def test_a_directory_that_claims_more_entries_than_it_has_is_refused(directory):
    data = made({"a": b"hello"})
    struct.pack_into("<HH", data, data.index(b"PK\x05\x06") + 8, 2, 2)
    with pytest.raises(Malformed):
        directory(data)


def test_a_local_header_that_contradicts_the_directory_is_refused(directory):
    data = made({"a": b"hello"})
    struct.pack_into("<H", data, 8, 0)
    entries, fd = directory(data)
    with pytest.raises(Unreadable):
        data_offset(fd, next(iter(entries)))


def test_every_flipped_byte_of_a_directory_is_read_or_refused(opened):
    data = made({"a": b"hello", "b": b"world"})
    start = data.index(b"PK\x01\x02")
    for position in range(start, len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 0xFF
        source = opened(bytes(flipped))
        try:
            for entry in ZipDirectory(source.fd, source.size):
                assert entry.header_offset + entry.compressed_size <= len(data)
        except RemoteError:
            continue


@pytest.mark.corpus
def test_archives_made_to_escape_are_only_read(corpus, opened):
    folder = corpus / "archives" / "google-safearchive" / "zip"
    seen = 0
    for path in sorted(folder.glob("*.zip")):
        source = opened(path)
        for entry in ZipDirectory(source.fd, source.size):
            seen += 1
            if not entry.is_folder:
                assert data_offset(source.fd, entry) + entry.compressed_size <= source.size
    assert seen > 10

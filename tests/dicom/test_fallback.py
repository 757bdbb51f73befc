"""What the scanner leaves to pydicom gives the same record, and truncation is noticed there too."""

import struct

import pytest

from p2pshare.dicom import fallback, parse
from p2pshare.dicom.fallback import read_elements
from p2pshare.errors import TooDeep, Unreadable
from p2pshare.model.dicom import ReadVerdict

BIG = "1.2.840.10008.1.2.2"


def big(tag, vr, value):
    return struct.pack(">HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def big_endian_file(dicom, pixels=32):
    return (
        dicom.head(BIG)
        + big(0x00080018, b"UI", b"1.2.3.4.5\0")
        + big(0x00100010, b"PN", b"Doe^Jane")
        + big(0x0020000D, b"UI", b"1.2.3\0")
        + big(0x0020000E, b"UI", b"1.2.3.4\0")
        + big(0x00280010, b"US", struct.pack(">H", 4))
        + big(0x00280011, b"US", struct.pack(">H", 4))
        + big(0x00280100, b"US", struct.pack(">H", 16))
        + struct.pack(">HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 32)
        + bytes(pixels)
    )


def test_big_endian_files_are_read(dicom, report_of):
    record = report_of(big_endian_file(dicom)).record
    assert (record.sop_uid, record.patient_name, record.rows, record.bits_allocated) == ("1.2.3.4.5", "Doe^Jane", 4, 16)
    assert report_of(big_endian_file(dicom, pixels=31)).verdict is ReadVerdict.TRUNCATED


def test_nesting_that_pydicom_cannot_follow_is_too_deep(dicom):
    once = dicom.element(0x00081140, "SQ", b"", dicom.undefined) + dicom.implicit(0xFFFEE000, b"", dicom.undefined)
    with pytest.raises(TooDeep):
        read_elements(once * 5000, base=0, whole=True, implicit=False, big_endian=False)


def test_an_irregular_file_that_is_larger_than_a_snapshot_is_refused(dicom, report_of, monkeypatch):
    monkeypatch.setattr(parse, "SNAPSHOT_MAX", 1000)
    odd = struct.pack("<HH2sH", 0x0009, 0x1010, b"ZZ", 2) + b"xx"
    report = report_of(dicom.head() + odd + dicom.identity() + dicom.element(0x00420011, "OB", bytes(2000)))
    assert report.verdict is ReadVerdict.BROKEN
    assert "irregular" in report.why


def test_what_pydicom_raises_becomes_ours(monkeypatch):
    def fail(*_, **__):
        raise KeyError("inside pydicom")

    monkeypatch.setattr(fallback, "data_element_generator", fail)
    with pytest.raises(Unreadable):
        read_elements(b"", base=0, whole=True, implicit=False, big_endian=False)


def test_an_unknown_representation_is_read_by_pydicom(dicom, report_of):
    odd = struct.pack("<HH2sH", 0x0009, 0x1010, b"ZZ", 2) + b"xx"
    data = dicom.head() + odd + dicom.identity() + dicom.image() + dicom.element(0x7FE00010, "OW", bytes(32))
    assert report_of(data).record.rows == 4
    assert report_of(data[:-1]).verdict is ReadVerdict.TRUNCATED

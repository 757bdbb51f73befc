"""Files begin in many ways; what begins in none of them is not DICOM."""

import pytest

from p2pshare.model.dicom import ReadVerdict


@pytest.mark.parametrize("start", [0, 128])
def test_files_without_preamble_are_read(dicom, report_of, start):
    assert report_of(dicom.file()[start:]).verdict is ReadVerdict.INSTANCE


@pytest.mark.parametrize("from_", ["meta", "data set"])
def test_files_without_marker_are_read(dicom, report_of, from_):
    data = dicom.file()
    start = 132 if from_ == "meta" else data.index(b"\x08\x00\x16\x00")
    report = report_of(data[start:])
    assert report.verdict is ReadVerdict.INSTANCE
    assert report.record.transfer_syntax == dicom.syntax
    assert bool(report.record.warnings) == (from_ == "data set")


def test_implicit_data_that_is_declared_explicit_is_read(dicom, report_of):
    identity = b"".join(
        dicom.implicit(tag, value)
        for tag, value in ((0x00080018, b"1.2\0"), (0x0020000D, b"1.3\0"), (0x0020000E, b"1.4\0"))
    )
    report = report_of(dicom.head() + identity)
    assert report.record.sop_uid == "1.2"
    assert report.record.warnings == ("it is encoded in another way than it says",)


def test_a_program_in_the_preamble_is_said(dicom, report_of):
    report = report_of(dicom.file(preamble=b"MZ" + bytes(126)))
    assert report.verdict is ReadVerdict.INSTANCE
    assert report.record.warnings == ("it begins like a program; never run it",)


@pytest.mark.parametrize(
    "data", [b"", b"x", b"MZ" + bytes(500), b"%PDF-1.7\n" + bytes(500), b"\x89PNG\r\n\x1a\n" + bytes(500)]
)
def test_other_files_are_not_dicom(report_of, data):
    assert report_of(data).verdict is ReadVerdict.NOT_DICOM


def test_a_marker_and_nothing_else_is_truncated(report_of):
    assert report_of(bytes(128) + b"DICM").verdict is ReadVerdict.TRUNCATED

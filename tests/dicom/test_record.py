"""Raw values become a record: identity is strict, all else is taken as it can be."""

import pytest

from p2pshare.dicom import record
from p2pshare.dicom.scan import Elements
from p2pshare.model.dicom import ReadVerdict


def values(tag, value, *, big_endian=False):
    return record.Values(Elements(values={tag: value}, big_endian=big_endian))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(b"1", 1), (b" 12 ", 12), (b"-3", -3), (b"000000052637", 52637), (b"7.0", 7), (b"1\\2", None), (b"9" * 11, None)],
)
def test_integer_strings(raw, expected):
    found = values(record.SERIES_NUMBER, raw)
    assert found.integer(record.SERIES_NUMBER, "series number") == expected
    assert len(found.warnings) == (expected is None)


@pytest.mark.parametrize(
    ("raw", "expected"), [(b"20040119", "20040119"), (b"2004.01.19", "20040119"), (b"20041319", "")]
)
def test_dates(raw, expected):
    assert values(record.STUDY_DATE, raw).date(record.STUDY_DATE, "study date") == expected


@pytest.mark.parametrize(
    ("raw", "expected"), [(b"072731", "072731"), (b"07:27:31.5", "072731.5"), (b"07", "07"), (b"2561", ""), (b"x", "")]
)
def test_times(raw, expected):
    assert values(record.STUDY_TIME, raw).time(record.STUDY_TIME, "study time") == expected


def test_numbers_in_either_byte_order():
    assert values(record.ROWS, b"\x00\x02").unsigned(record.ROWS, "rows") == 512
    assert values(record.ROWS, b"\x02\x00", big_endian=True).unsigned(record.ROWS, "rows") == 512


def test_odd_attributes_cost_warnings_and_not_the_file(dicom, report_of):
    odd = (
        dicom.text(0x00080016, "UI", "not a uid")
        + dicom.text(0x00080018, "UI", "1.2.3.4.5")
        + dicom.text(0x00080020, "DA", "yesterday")
        + dicom.text(0x00080030, "TM", "99")
        + dicom.text(0x00100030, "DA", "1994.02.03")
        + dicom.text(0x0020000D, "UI", "1.2.3")
        + dicom.text(0x0020000E, "UI", "1.2.3.4")
        + dicom.text(0x00200011, "IS", "one")
        + dicom.text(0x00200013, "IS", "99999999999999999999")
        + dicom.element(0x00280010, "US", b"abc")
    )
    report = report_of(dicom.head() + odd)
    record = report.record
    assert report.verdict is ReadVerdict.INSTANCE
    assert (record.study_date, record.study_time, record.birth_date) == ("", "", "19940203")
    assert (record.series_number, record.instance_number, record.rows) == (None, None, 0)
    assert (record.sop_class, record.patient_name, record.modality) == ("", "", "")
    assert len(record.warnings) == 6


def test_long_texts_are_cut(dicom, report_of):
    data = (
        dicom.head()
        + dicom.identity()
        + dicom.text(0x00200011, "IS", "1")
        + dicom.element(0x00081030, "UT", b"x" * 9000)
    )
    assert len(report_of(data).record.study_description) == 1024


def test_the_sop_instance_uid_of_the_file_header_stands_in_for_a_missing_one(dicom, report_of):
    meta = dicom.text(0x00020003, "UI", "7.7.7") + dicom.text(0x00020010, "UI", dicom.syntax)
    data = bytes(128) + b"DICM" + meta + dicom.identity(sop="")
    assert report_of(data).record.sop_uid == "7.7.7"

"""Every real DICOM file gets a verdict, and the scanner's records are pydicom's."""

from collections import Counter

import pydicom
import pytest
from pydicom.errors import InvalidDicomError

from p2pshare.model.dicom import ReadVerdict

TEXTS = {
    "patient_id": "PatientID",
    "sex": "PatientSex",
    "study_description": "StudyDescription",
    "accession": "AccessionNumber",
    "institution": "InstitutionName",
    "modality": "Modality",
    "series_description": "SeriesDescription",
    "body_part": "BodyPartExamined",
}
DATES = {"study_date": "StudyDate", "birth_date": "PatientBirthDate"}
NUMBERS = {"series_number": "SeriesNumber", "instance_number": "InstanceNumber"}
# written otherwise than DICOM says, and left out of the record on purpose; each is in its warnings
NOT_DATES = "is not a date"


def files(corpus):
    return sorted(path for path in (corpus / "dicom").rglob("*") if path.is_file())


def text(value):
    joined = "\\".join(map(str, value)) if isinstance(value, pydicom.multival.MultiValue) else str(value or "")
    return joined.strip(" \0")[:1024]


@pytest.mark.corpus
@pytest.mark.linux
async def test_every_file_gets_a_verdict_from_the_sandbox(corpus, opened, workers):
    paths = files(corpus)
    reports = []
    for first in range(0, len(paths), 100):
        reports += await workers.read([opened(path) for path in paths[first : first + 100]])
    counts = Counter(report.verdict.value for report in reports)
    print(dict(counts))
    assert counts["instance"] > 700
    assert counts["dicomdir"] == 8
    assert counts["died"] == counts["broken"] == counts["bomb"] == counts["too-deep"] == 0
    truncated = {path.name for path, report in zip(paths, reports, strict=True) if report.verdict == "truncated"}
    assert truncated == {
        "bad.dcm",
        "MR_truncated.dcm",
        "rtplan_truncated.dcm",
        "emri_small_jpeg_2k_lossless_too_short.dcm",
    }


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_the_scanner_gives_the_record_that_pydicom_gives(corpus, report_of):
    compared = 0
    for path in files(corpus):
        report = report_of(path)
        try:
            ds = pydicom.dcmread(path, force=True)
        except (InvalidDicomError, EOFError, NotImplementedError):
            assert report.verdict is not ReadVerdict.INSTANCE, path.name
            continue
        if report.record is None:
            assert explained(report, ds), (path.name, report)
            continue
        compare(report.record, ds, path.name)
        compared += 1
    assert compared > 700


def explained(report, ds):
    match report.verdict:
        case ReadVerdict.DICOMDIR:
            return "DirectoryRecordSequence" in ds
        case ReadVerdict.BAD_IDENTITY:
            return not all(
                set(getattr(ds, name, "") or "-") <= set("0123456789.")
                for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
            )
        case ReadVerdict.NOT_DICOM:
            return "StudyInstanceUID" not in ds
        case _:
            return report.verdict is ReadVerdict.TRUNCATED


def compare(record, ds, name):
    assert record.study_uid == str(ds.StudyInstanceUID).strip(), name
    assert record.series_uid == str(ds.SeriesInstanceUID).strip(), name
    assert record.sop_uid == str(ds.get("SOPInstanceUID") or ds.file_meta.MediaStorageSOPInstanceUID), name
    assert record.patient_name == text(ds.get("PatientName")).rstrip("="), name
    for ours, theirs in TEXTS.items():
        assert getattr(record, ours) == text(ds.get(theirs)), (name, theirs)
    for ours, theirs in NUMBERS.items():
        raw = text(ds.get_item(theirs).value.decode() if theirs in ds and ds.get_item(theirs).value else "")
        if raw.lstrip("+-").isdigit():
            assert getattr(record, ours) == int(raw), (name, theirs)
    for ours, theirs in DATES.items():
        plain = text(ds.get(theirs)).replace(".", "")  # as it was written before 1993
        assert getattr(record, ours) == plain or any(NOT_DATES in warning for warning in record.warnings), name
    assert record.study_time == text(ds.get("StudyTime")).replace(":", ""), name
    compare_image(record, ds, name)


def compare_image(record, ds, name):
    pixels = next((ds.get_item(k) for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if k in ds), None)
    if pixels is None:
        assert (record.rows, record.columns, record.frames, record.encapsulated) == (0, 0, 0, False), name
        return
    assert (record.rows, record.columns) == (ds.get("Rows") or 0, ds.get("Columns") or 0), name
    assert record.bits_allocated == (ds.get("BitsAllocated") or 0), name
    assert record.encapsulated == (pixels.length == 0xFFFFFFFF), name
    if not any("frames" in warning for warning in record.warnings):
        assert record.frames == int(ds.get("NumberOfFrames") or 1), name

"""What a worker says is foreign: only a report that can be honest passes."""

import msgspec
import pytest

from p2pshare.dicom import messages
from p2pshare.dicom.sources import FileSource, PrefixSource, ZipEntrySource
from p2pshare.errors import Malformed, TooLarge
from p2pshare.model.dicom import ReadReport, ReadVerdict
from p2pshare.model.packed import encode

SOURCES = [FileSource(3, 10), ZipEntrySource(3, 1, 2, 3, 8, 4), PrefixSource(3, 10, 5)]


def test_sources_travel_without_their_descriptors():
    batch = messages.Batch(tuple(messages.task_of(source) for source in SOURCES))
    buffer = bytearray(messages.frame(batch))
    received = messages.opened(messages.next_body(buffer), messages.Batch)
    assert [messages.source_of(task, 3) for task in received.tasks] == SOURCES
    assert not buffer


def test_frames_come_apart_however_they_arrive():
    stream = messages.frame(messages.Ready(("a",))) + messages.frame(messages.Ready(()))
    buffer, bodies = bytearray(), []
    for byte in stream:
        buffer.append(byte)
        while (body := messages.next_body(buffer)) is not None:
            bodies.append(messages.opened(body, messages.Ready))
    assert bodies == [messages.Ready(("a",)), messages.Ready(())]


def test_a_length_beyond_the_limit_is_refused_before_it_arrives():
    with pytest.raises(TooLarge):
        messages.next_body(bytearray(b"\xff\xff\xff\xff"))


@pytest.fixture
def report(dicom, report_of):
    return report_of(dicom.file())


def test_an_honest_report_passes(report):
    assert messages.checked(report, FileSource(3, report.size)) is report
    refusal = ReadReport(ReadVerdict.BROKEN, "why", None, 10, 0, b"")
    assert messages.checked(refusal, FileSource(3, 10)) is refusal


@pytest.mark.parametrize(
    "lie",
    [
        {"size": 1},
        {"covered": -1},
        {"covered": 1 << 40},
        {"prefix_sha256": b""},
        {"record": None},
        {"verdict": ReadVerdict.BROKEN},
        {"why": "x" * 5000},
    ],
)
def test_a_report_that_cannot_be_honest_is_refused(report, lie):
    with pytest.raises(Malformed):
        messages.checked(msgspec.structs.replace(report, **lie), FileSource(3, report.size))


@pytest.mark.parametrize(
    "lie",
    [
        {"study_uid": "../../x"},
        {"sop_uid": ""},
        {"sop_class": "x"},
        {"patient_name": "x" * 5000},
        {"warnings": ("x",) * 100},
        {"warnings": ("x" * 5000,)},
        {"rows": 1 << 60},
        {"series_number": -(1 << 60)},
    ],
)
def test_a_record_that_cannot_be_honest_is_refused(report, lie):
    record = msgspec.structs.replace(report.record, **lie)
    with pytest.raises(Malformed):
        messages.checked(msgspec.structs.replace(report, record=record), FileSource(3, report.size))


@pytest.mark.parametrize("body", [b"", b"\x80", b"\xc1", encode(messages.Ready(())), b"\x81" * 10_000])
def test_anything_but_a_report_is_malformed(body):
    with pytest.raises(Malformed):
        messages.opened(body, ReadReport)

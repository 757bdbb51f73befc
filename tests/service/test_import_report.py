"""What an import tells."""

import pytest

from p2pshare.model.dicom import FileOutcome
from p2pshare.service.import_report import ImportProgress, ImportReport


def test_every_file_is_counted_and_only_what_has_a_reason_is_listed() -> None:
    report = ImportReport()
    report.add(FileOutcome.STORED, "a", size=10)
    report.add(FileOutcome.UNREADABLE, "b", "cut off")
    report.seen("1.2.3", 5)
    assert report.counts == {FileOutcome.STORED: 1, FileOutcome.UNREADABLE: 1, FileOutcome.DUPLICATE: 1}
    assert [(p.file, p.why) for p in report.problems] == [("b", "cut off")]
    assert report.bytes == 15
    assert report.known_studies == {"1.2.3"}


@pytest.mark.parametrize(
    ("done", "total", "seconds", "left"),
    [(25, 100, 10.0, 30.0), (100, 100, 10.0, 0.0), (120, 100, 10.0, 0.0), (0, 100, 10.0, None), (50, None, 10.0, None),
     (50, 100, 0.5, None), (0, 0, 10.0, None)],
)  # fmt: skip
def test_the_time_left_is_told_from_the_bytes_so_far_if_there_is_anything_to_go_by(
    done: int, total: int | None, seconds: float, left: float | None
) -> None:
    assert ImportProgress(1, 2, done, total, seconds).seconds_left == left

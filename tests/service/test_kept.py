"""Files kept as they are."""

from p2pshare.service.kept import kept_record


def test_a_kept_file_has_no_uid_and_says_why_it_was_kept() -> None:
    record = kept_record("it ends too early")
    assert record.sop_uid == ""
    assert record.warnings == ("it ends too early",)
    assert kept_record("").warnings == ()


def test_kept_files_are_one_scan_that_no_study_can_be() -> None:
    assert kept_record("a").study_uid == kept_record("b").study_uid
    assert not kept_record("a").study_uid[0].isdigit()

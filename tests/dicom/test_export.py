"""Exported files have names of ours, are whole and synced, and replace nothing."""

import random
from pathlib import PurePosixPath

import pytest

from p2pshare.dicom import export
from p2pshare.dicom.export import ExportItem, export_names, write_file
from p2pshare.errors import AlreadyExists, DiskTrouble

NAME = PurePosixPath("SE0001/IM00001.dcm")


def item(number, series="1.1", sop=None, series_number=1, instance=None):
    return ExportItem(bytes([number]), series, sop or f"9.{number}", series_number, instance)


def names(items):
    return {key[0]: str(path) for key, path in export_names(items).items()}


def test_instances_are_named_in_the_order_of_series_and_instance_number():
    items = [
        item(1, "2.2", series_number=5, instance=1),
        item(2, instance=10),
        item(3, instance=2),
        item(4, series_number=None, series="0"),
    ]
    assert names(items) == {
        1: "SE0002/IM00001.dcm",
        2: "SE0001/IM00002.dcm",
        3: "SE0001/IM00001.dcm",
        4: "SE0003/IM00001.dcm",
    }


def test_names_do_not_depend_on_the_order_they_come_in():
    items = [item(n, f"1.{n % 3}", series_number=n % 2 or None, instance=n % 5 or None) for n in range(200)]
    expected = names(items)
    assert len(set(expected.values())) == 200
    random.Random(1).shuffle(items)
    assert names(items) == expected


def test_conflicting_copies_are_kept_under_names_of_their_own():
    items = [item(1, sop="9"), item(2, sop="9"), item(3, sop="9"), item(4, sop="99")]
    assert names(items) == {
        1: "SE0001/IM00001.dcm",
        2: "SE0001/IM00001-2.dcm",
        3: "SE0001/IM00001-3.dcm",
        4: "SE0001/IM00002.dcm",
    }


def test_the_same_series_number_in_two_series_makes_two_folders():
    assert names([item(1, "1.1"), item(2, "1.2")]) == {1: "SE0001/IM00001.dcm", 2: "SE0002/IM00001.dcm"}


def test_a_file_is_written_byte_for_byte(tmp_path):
    write_file(tmp_path, NAME, [b"abc", memoryview(b"def")])
    assert (tmp_path / NAME).read_bytes() == b"abcdef"
    assert [path.name for path in tmp_path.rglob("*")] == ["SE0001", "IM00001.dcm"]
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0


def test_an_identical_file_is_left_as_it_is(tmp_path):
    write_file(tmp_path, NAME, [b"abc"])
    before = (tmp_path / NAME).stat()
    write_file(tmp_path, NAME, [b"a", b"bc"])
    assert (tmp_path / NAME).stat().st_mtime_ns == before.st_mtime_ns
    assert len(list(tmp_path.rglob("*"))) == 2


@pytest.mark.parametrize("other", [b"abd", b"ab", b""])
def test_another_file_is_not_replaced(tmp_path, other):
    write_file(tmp_path, NAME, [other])
    with pytest.raises(AlreadyExists):
        write_file(tmp_path, NAME, [b"abc"])
    assert (tmp_path / NAME).read_bytes() == other
    assert len(list(tmp_path.rglob("*"))) == 2


@pytest.mark.parametrize("target", ["file", "nothing"])
def test_a_link_in_the_files_place_is_not_followed(tmp_path, target):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "SE0001").mkdir()
    (tmp_path / NAME).symlink_to(tmp_path / target)
    with pytest.raises(AlreadyExists):
        write_file(tmp_path, NAME, [b"abc"])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["IM00001.dcm", "SE0001", "file"]


def test_a_link_in_the_folders_place_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "SE0001").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AlreadyExists):
        write_file(tmp_path, NAME, [b"abc"])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_chosen_folder_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_file(tmp_path / "link", NAME, [b"abc"])
    assert (tmp_path / "real" / NAME).read_bytes() == b"abc"


def test_where_there_are_no_hard_links_files_are_renamed_and_still_replace_nothing(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")  # what FAT answers

    monkeypatch.setattr(export.os, "link", refuse)
    write_file(tmp_path, NAME, [b"abc"])
    with pytest.raises(AlreadyExists):
        write_file(tmp_path, NAME, [b"abd"])
    assert (tmp_path / NAME).read_bytes() == b"abc"
    assert len(list(tmp_path.rglob("*"))) == 2


def test_a_source_that_fails_leaves_nothing_behind(tmp_path):
    def chunks():
        yield b"abc"
        raise DiskTrouble("the vault's disk")

    with pytest.raises(DiskTrouble):
        write_file(tmp_path, NAME, chunks())
    assert [path.name for path in tmp_path.rglob("*")] == ["SE0001"]


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.os, "write", full)
    with pytest.raises(DiskTrouble, match="No space"):
        write_file(tmp_path, NAME, [b"abc"])
    assert [path.name for path in tmp_path.rglob("*")] == ["SE0001"]

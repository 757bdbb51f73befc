"""File systems are told by mountinfo, and only those that keep ctime are trusted."""

import pytest

from p2pshare.dicom.mounts import Mount, Mounts, parse_mountinfo

LINE = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"


def test_a_line_of_mountinfo_is_parsed():
    assert parse_mountinfo(LINE) == ("36", "ext3", "/dev/root")
    assert parse_mountinfo("29 1 0:26 / / rw,relatime shared:1 - vfat /dev/my\\040disk rw") == (
        "29",
        "vfat",
        "/dev/my disk",
    )
    assert parse_mountinfo("no mountinfo") is None


@pytest.mark.parametrize(
    ("kind", "kept"), [("ext4", True), ("xfs", True), ("iso9660", False), ("exfat", False), ("nfs", False)]
)
def test_only_some_file_systems_keep_ctime(kind, kept):
    assert Mount(kind, "u").keeps_ctime is kept


@pytest.mark.linux
def test_the_mount_of_a_folder_is_found(tmp_path):
    mounts = Mounts()
    mount = mounts.of_folder(tmp_path)
    assert mount is not None
    assert mount.kind
    assert mount.filesystem
    assert mounts.of_folder(tmp_path) is mount


def test_a_folder_that_is_not_there_has_none(tmp_path):
    assert Mounts().of_folder(tmp_path / "nothing") is None

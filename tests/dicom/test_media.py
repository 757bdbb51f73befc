"""Every file of a medium comes up once, to be read or with a reason, and nothing else is touched."""

import io
import os
import socket
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from p2pshare.dicom.media import NESTED, find
from p2pshare.dicom.mounts import Mount
from p2pshare.dicom.parse import read_report
from p2pshare.dicom.sources import close, read_chunks
from p2pshare.errors import MediumTrouble, Unreadable


def named(root, paths=None):
    return {candidate.name.removeprefix(f"{root}/"): candidate for candidate in find(paths or [root])}


def content(candidate):
    source = candidate.open()
    try:
        return b"".join(read_chunks(source))
    finally:
        close(source)


def test_files_of_folders_come_in_the_order_of_their_names(tmp_path):
    for name in ("b/2", "b/1", "a", "c/d/e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = named(tmp_path)
    assert list(found) == ["a", "b/1", "b/2", "c/d/e"]
    assert {name: content(candidate).decode() for name, candidate in found.items()} == {name: name for name in found}


def test_files_can_be_named_directly(tmp_path):
    (tmp_path / "x").write_text("x")
    (candidate,) = find([tmp_path / "x"])
    assert (candidate.name, candidate.size, content(candidate)) == (str(tmp_path / "x"), 1, b"x")


def test_what_is_not_there_is_a_problem(tmp_path):
    (candidate,) = find([tmp_path / "nothing"])
    assert candidate.problem == "no such file or directory"
    with pytest.raises(MediumTrouble):
        candidate.open()


def test_special_and_empty_files_are_skipped_without_being_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(tmp_path / "socket"))
        found = named(tmp_path)
    assert {name: candidate.skip for name, candidate in found.items()} == {
        "empty": "it is empty",
        "pipe": "a pipe",
        "socket": "a socket",
    }
    (named_pipe,) = find([tmp_path / "pipe"])
    assert named_pipe.skip == "a pipe"


def test_links_are_followed_only_when_named(tmp_path):
    inside, outside = tmp_path / "disc", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "file").write_text("x")
    (inside / "loop").symlink_to(inside)
    (inside / "escape").symlink_to(outside)
    (inside / "passwd").symlink_to(outside / "file")
    found = named(inside)
    assert {name for name, candidate in found.items() if candidate.readable} == {"file"}
    assert {name for name, candidate in found.items() if "a link" in candidate.skip} == {"loop", "escape", "passwd"}
    (followed,) = find([inside / "passwd"])
    assert content(followed) == b"x"


def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    listdir = os.listdir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert named(tmp_path)["closed"].problem == "permission denied"


def test_a_file_that_was_replaced_meanwhile_is_not_opened(tmp_path):
    (tmp_path / "x").write_text("x")
    (candidate,) = find([tmp_path / "x"])
    (tmp_path / "y").write_text("y")
    (tmp_path / "y").rename(tmp_path / "x")
    with pytest.raises(MediumTrouble):
        candidate.open()


@pytest.mark.parametrize("kind", ["link", "pipe", "gone"])
def test_what_takes_a_files_place_is_not_opened(tmp_path, kind):
    path = tmp_path / "x"
    path.write_text("x")
    (candidate,) = find([path])
    path.unlink()
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(MediumTrouble):
        candidate.open()


def test_names_that_are_not_unicode_are_found(tmp_path):
    (tmp_path / os.fsdecode(b"IM\xff\x1b[2J")).write_bytes(b"x")
    (candidate,) = find([tmp_path])
    assert os.fsencode(candidate.name).endswith(b"IM\xff\x1b[2J")
    assert content(candidate) == b"x"


@pytest.mark.linux
def test_a_file_has_an_identity_that_changes_with_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("p2pshare.dicom.mounts.Mounts.of_folder", lambda *_: Mount("ext4", "some-uuid"))
    (tmp_path / "x").write_text("x")
    first = named(tmp_path)["x"].identity
    assert first == named(tmp_path)["x"].identity
    os.utime(tmp_path / "x", ns=(1, first.mtime_ns))
    (tmp_path / "x").write_text("y")
    os.utime(tmp_path / "x", ns=(1, first.mtime_ns))
    second = named(tmp_path)["x"].identity
    assert (first.mtime_ns, first.size, first.inode) == (second.mtime_ns, second.size, second.inode)
    assert first != second


def test_files_of_other_file_systems_have_no_identity(tmp_path, monkeypatch):
    (tmp_path / "x").write_text("x")
    for mount in (None, Mount("vfat", "u"), Mount("iso9660", "u"), Mount("nfs4", "u"), Mount("fuseblk", "u")):
        monkeypatch.setattr("p2pshare.dicom.mounts.Mounts.of_folder", lambda *_, mount=mount: mount)
        assert named(tmp_path)["x"].identity is None


def archive(path, entries, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return path


def test_archives_are_looked_into(tmp_path, dicom):
    archive(
        tmp_path / "disc.zip",
        {"DICOM/": b"", "DICOM/IM1": dicom.file(), "../../escape": b"text", "/etc/x": b"y", "e": b""},
    )
    found = named(tmp_path)
    assert list(found) == ["disc.zip/DICOM/IM1", "disc.zip/../../escape", "disc.zip//etc/x", "disc.zip/e"]
    assert content(found["disc.zip/DICOM/IM1"]) == dicom.file()
    assert content(found["disc.zip/../../escape"]) == b"text"
    assert found["disc.zip/e"].skip == "it is empty"
    assert all(candidate.identity is None for candidate in found.values())
    source = found["disc.zip/DICOM/IM1"].open()
    assert read_report(source).verdict == "instance"
    close(source)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["disc.zip"]


def test_an_archive_inside_an_archive_is_skipped(tmp_path):
    archive(tmp_path / "a.zip", {"b.zip": b"PK", "c.tar.gz": b"x"})
    assert {candidate.skip for candidate in find([tmp_path])} == {NESTED}


def test_a_broken_archive_is_a_problem(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (candidate,) = find([tmp_path])
    assert "not a ZIP archive" in candidate.problem


def test_an_archive_that_was_cut_off_after_it_was_looked_at_is_noticed(tmp_path):
    path = archive(tmp_path / "a.zip", {"x": os.urandom(5000)})
    (candidate,) = find([path])
    os.truncate(path, 1000)
    with pytest.raises(Unreadable):
        candidate.open()


def test_thousands_of_entries_take_little_memory(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for number in range(5_000):
            made.writestr(zipfile.ZipInfo(f"DICOM/SE{number % 100:05}/IM{number:06}"), b"x")
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    del buffer, made
    tracemalloc.start()
    try:
        count = sum(1 for _ in find([tmp_path]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 5_000
    assert peak < 2 << 20

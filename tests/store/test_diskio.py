"""Durable writes, and what happens when the disk refuses."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pshare.errors import DiskTrouble
from p2pshare.store.diskio import disk_trouble, in_words, make_folder, remove_durably, sync_folder, write_whole


def failing(call: str, number: int, monkeypatch: pytest.MonkeyPatch, *, at: int = 1) -> list[int]:
    """Let the `at`-th call of `os.<call>` fail with errno `number`; the list counts the calls."""
    original: Callable[..., Any] = getattr(os, call)
    calls = [0]

    def fail(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            raise OSError(number, os.strerror(number))
        return original(*args, **kwargs)

    monkeypatch.setattr(os, call, fail)
    return calls


def test_a_file_holds_what_was_written_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_whole(tmp_path / "a", b"first")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o600
    write_whole(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_pieces_are_written_one_after_another(tmp_path: Path) -> None:
    pieces = [b"", *(bytes([n % 251]) * (n % 7) for n in range(5000)), bytearray(b"x"), memoryview(b"abc")[1:], b""]
    write_whole(tmp_path / "a", pieces)
    assert (tmp_path / "a").read_bytes() == b"".join(pieces)
    write_whole(tmp_path / "a", [])
    assert (tmp_path / "a").read_bytes() == b""


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.writev
    monkeypatch.setattr(os, "writev", lambda file, pieces: original(file, [memoryview(pieces[0])[:3]]))
    write_whole(tmp_path / "a", [b"0123456789", b"ab", b"cdef"])
    assert (tmp_path / "a").read_bytes() == b"0123456789abcdef"


@pytest.mark.parametrize(
    ("call", "number", "words"),
    [
        ("open", errno.EROFS, "read-only"),
        ("open", errno.EMFILE, "too many files"),
        ("writev", errno.ENOSPC, "no space left"),
        ("writev", errno.EDQUOT, "quota"),
        ("writev", errno.EIO, "fault"),
        ("fdatasync", errno.EIO, "fault"),
        ("fdatasync", errno.ENOSPC, "no space left"),
        ("rename", errno.ENOSPC, "no space left"),
    ],
)
def test_a_write_that_fails_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, words: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    calls = failing(call, number, monkeypatch)
    with pytest.raises(DiskTrouble, match=words) as caught:
        write_whole(path, b"new")
    monkeypatch.undo()
    assert calls == [1]  # never tried again, least of all a sync
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    assert str(tmp_path) not in str(caught.value)


def test_a_folder_that_does_not_sync_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = failing("fsync", errno.EIO, monkeypatch)
    with pytest.raises(DiskTrouble, match="fault"):
        write_whole(tmp_path / "a", b"new")
    assert calls == [1]


def test_the_order_is_write_sync_rename_sync_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    for call in ("writev", "fdatasync", "rename", "fsync"):
        original = getattr(os, call)
        monkeypatch.setattr(
            os, call, lambda *args, _call=call, _original=original: (done.append(_call), _original(*args))[1]
        )
    write_whole(tmp_path / "a", b"new")
    assert done == ["writev", "fdatasync", "rename", "fsync"]


def test_a_real_full_device_is_disk_trouble() -> None:
    with (
        pytest.raises(DiskTrouble, match=r"it cannot be kept: there is no space left"),
        disk_trouble("it cannot be kept"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")


def test_a_file_that_may_not_grow_leaves_nothing(tmp_path: Path) -> None:
    program = f"""
import resource
from pathlib import Path
from p2pshare.errors import DiskTrouble
from p2pshare.store.diskio import write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_whole(Path({str(tmp_path / "a")!r}), [bytes(60_000)] * 3)
except DiskTrouble as error:
    print(error.what)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "a cannot be written: the file may not grow that large"
    assert list(tmp_path.iterdir()) == []


def test_a_killed_write_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    program = f"""
import os, signal
from pathlib import Path
from p2pshare.store.diskio import write_whole
os.fdatasync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
write_whole(Path({str(path)!r}), b"new")
"""
    result = subprocess.run([sys.executable, "-c", program])
    assert result.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert sorted(entry.suffix for entry in tmp_path.iterdir()) == ["", ".tmp"]


def test_a_folder_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    make_folder(tmp_path / "f")
    make_folder(tmp_path / "f")
    assert (tmp_path / "f").stat().st_mode & 0o7777 == 0o700
    with pytest.raises(DiskTrouble, match="the folder is gone"):
        make_folder(tmp_path / "no" / "f")


def test_removing_goes_over_what_is_gone_and_syncs_each_folder_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = failing("fsync", errno.EIO, monkeypatch, at=-1)
    paths = [tmp_path / folder / name for folder in "ab" for name in "xyz"]
    for path in paths[:-1]:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    remove_durably([*paths, tmp_path / "missing" / "x"])
    assert calls == [2]
    assert not any(path.exists() for path in paths)


def test_removing_stops_where_the_disk_refuses_and_what_went_is_gone_durably(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "xyz":
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    calls = failing("fsync", errno.EIO, monkeypatch, at=-1)
    with pytest.raises(DiskTrouble, match="folder cannot be removed"):
        remove_durably([tmp_path / "x", tmp_path / "folder", tmp_path / "z"])
    assert calls == [1]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "y", "z"]


def test_a_missing_folder_cannot_be_synced(tmp_path: Path) -> None:
    with pytest.raises(DiskTrouble):
        sync_folder(tmp_path / "no")


def test_every_reason_has_words_without_a_path() -> None:
    assert in_words(OSError(errno.ENOSPC, "x", "secret")) == "there is no space left"
    assert in_words(OSError(errno.ETXTBSY, "Text file busy", "secret")) == "text file busy"
    assert in_words(OSError()) == "oserror"

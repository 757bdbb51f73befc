"""Files for a person: theirs alone, whole, and never over one that may be needed."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pshare.errors import AlreadyExists, UsageError
from p2pshare.service.handing_out import write_new, write_over

Write = Callable[[Path, bytes], None]
both = pytest.mark.parametrize("write", [write_new, write_over])


@both
def test_it_is_there_whole_and_for_its_owner_alone(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "sheet", b"code")
    assert (tmp_path / "sheet").read_bytes() == b"code"
    assert stat.S_IMODE((tmp_path / "sheet").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["sheet"]


def test_a_new_file_never_replaces_one(tmp_path: Path) -> None:
    (tmp_path / "sheet").write_bytes(b"old")
    with pytest.raises(AlreadyExists):
        write_new(tmp_path / "sheet", b"new")
    assert (tmp_path / "sheet").read_bytes() == b"old"


def test_the_other_kind_replaces_one_but_not_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "card").symlink_to(tmp_path / "elsewhere")
    write_over(tmp_path / "card", b"card")
    assert (tmp_path / "card").read_bytes() == b"card"
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


@both
def test_what_cannot_be_written_is_said_and_leaves_nothing(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError):
        write(tmp_path / "no such folder" / "card", b"card")
    with pytest.raises(UsageError):
        write(tmp_path, b"card") if write is write_over else write(tmp_path / "x" / "y", b"card")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space"):
        write(tmp_path / "card", b"card")
    assert not list(tmp_path.iterdir())

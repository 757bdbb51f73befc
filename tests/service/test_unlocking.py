"""What opens a vault, from where a person keeps it."""

import stat
from pathlib import Path

import pytest

from p2pshare.errors import AlreadyExists, UsageError
from p2pshare.service import unlocking
from p2pshare.service.unlocking import PassphraseSecret


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"six random words\n", "six random words"),
        (b"six random words\r\nand a second line\n", "six random words"),
        (b"no newline", "no newline"),
        (b"\xef\xbb\xbfwritten by Notepad\r\n", "written by Notepad"),
        (" with spaces and Ünïcode \n".encode(), " with spaces and Ünïcode "),
    ],
)
def test_the_passphrase_is_the_first_line_of_its_file(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "pw").write_bytes(content)
    assert unlocking.passphrase_from(tmp_path / "pw").text == text


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 70_000], ids=["empty", "blank", "binary", "huge"])
def test_a_file_without_a_passphrase_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pw").write_bytes(content)
    with pytest.raises(UsageError):
        unlocking.passphrase_from(tmp_path / "pw")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for reading in (unlocking.passphrase_from, unlocking.key_from, unlocking.recovery_from):
        with pytest.raises(UsageError, match="nowhere"):
            reading(tmp_path / "nowhere")


def test_a_short_passphrase_is_called_weak() -> None:
    assert unlocking.is_weak(PassphraseSecret("hunter2"))
    assert not unlocking.is_weak(PassphraseSecret("correct horse battery"))


def test_a_new_key_file_opens_what_it_was_made_for_and_is_for_its_owner_only(tmp_path: Path) -> None:
    made = unlocking.new_key_file(tmp_path / "key")
    assert unlocking.key_from(tmp_path / "key") == made
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    with pytest.raises(AlreadyExists):
        unlocking.new_key_file(tmp_path / "key")
    assert unlocking.key_from(tmp_path / "key") == made


@pytest.mark.parametrize(
    "name", ["Ana", "", "7", "0123 4567", "山田 太郎", "{code}", "Code:", "ABCD-EFGH-JKMN-PQRS-TVWX-YZ01-2345"]
)
def test_the_recovery_sheet_gives_its_code_back_whoever_it_is_for(tmp_path: Path, name: str) -> None:
    made = unlocking.new_recovery_sheet(tmp_path / "sheet", name)
    assert unlocking.recovery_from(tmp_path / "sheet") == made


def test_a_typing_error_in_the_code_is_noticed(tmp_path: Path) -> None:
    unlocking.new_recovery_sheet(tmp_path / "sheet", "Ana")
    lines = (tmp_path / "sheet").read_text().split("\n")
    at = lines.index("Code:") + 2
    first = lines[at].strip()[0]
    lines[at] = lines[at].replace(first, "7" if first != "7" else "8", 1)
    (tmp_path / "sheet").write_text("\n".join(lines))
    with pytest.raises(UsageError):
        unlocking.recovery_from(tmp_path / "sheet")


def test_an_old_recovery_sheet_is_never_overwritten(tmp_path: Path) -> None:
    made = unlocking.new_recovery_sheet(tmp_path / "sheet", "Ana")
    with pytest.raises(AlreadyExists):
        unlocking.new_recovery_sheet(tmp_path / "sheet", "Ana")
    assert unlocking.recovery_from(tmp_path / "sheet") == made


def test_no_secret_shows_when_it_is_printed(tmp_path: Path) -> None:
    key = unlocking.new_key_file(tmp_path / "key")
    code = unlocking.new_recovery_sheet(tmp_path / "sheet", "Ana")
    shown = f"{key} {code} {PassphraseSecret('correct horse')}"
    assert key.content.hex() not in shown
    assert str(key.content) not in shown
    assert str(code.code) not in shown
    assert "correct horse" not in shown

"""The commands that ask, answer and tell on a real terminal: tmux draws it, types into it, and shows what is on it."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.hostile import dicom_file
from tests.cli.running import Cli

SECONDS = 30.0


class Tmux:
    """One terminal of 100 x 30, with a shell that runs commands on one vault."""

    def __init__(self, socket: Path, record: Path) -> None:
        self._base = ["tmux", "-u", "-S", str(socket), "-f", os.devnull]
        self._env: dict[str, str] = {}
        self._record = record

    def open(self, cli: Cli) -> None:
        """Begin, in the folder of `cli`."""
        self._env = {**cli.env, "P": f"{sys.executable} -m p2pshare"}
        self._tmux("new-session", "-d", "-x", "100", "-y", "30", "-c", str(cli.folder), "sh")
        self._tmux("pipe-pane", f"cat > {shlex.quote(str(self._record))}")
        self.type("PS1='> '; printf 'rea%s\\n' dy")
        self.shows("ready")

    def _tmux(self, *words: str) -> str:
        command = [*self._base, *words]
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=self._env).stdout

    def type(self, text: str, *, enter: bool = True) -> None:
        """Type `text`, as keys."""
        self._tmux("send-keys", "-l", text)
        if enter:
            self._tmux("send-keys", "Enter")

    def press(self, key: str) -> None:
        """Press one key by tmux's name for it."""
        self._tmux("send-keys", key)

    @property
    def screen(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p", "-J")

    @property
    def record(self) -> str:
        """Every byte that reached the terminal so far."""
        return self._record.read_bytes().decode("utf-8", "replace")

    def shows(self, text: str) -> str:
        """Wait until `text` is on the screen; return the screen."""
        return self._wait(lambda: self.screen, text)

    def showed(self, text: str, times: int = 1) -> str:
        """Wait until `text` has reached the terminal so often, even if it is gone again; return the record."""
        return self._wait(lambda: self.record, text, times)

    def _wait(self, look: Callable[[], str], text: str, times: int = 1) -> str:
        end = time.monotonic() + SECONDS
        while (seen := look()).count(text) < times:
            assert time.monotonic() < end, f"{text!r} did not come: {seen}"
            time.sleep(0.05)
        return seen

    @property
    def cursor_column(self) -> int:
        """In which column the terminal thinks that the cursor is."""
        return int(self._tmux("display-message", "-p", "#{cursor_x}"))

    def close(self) -> None:
        """End the terminal and all that runs on it."""
        subprocess.run([*self._base, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def tmux(ana: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tmux]:
    """A terminal in Ana's folder."""
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux (on Debian: apt install tmux)")
    beside = tmp_path_factory.mktemp("t")
    terminal = Tmux(beside / "s", beside / "record")
    try:
        terminal.open(ana)
        yield terminal
    finally:
        terminal.close()


def test_a_new_passphrase_is_typed_twice_and_never_seen(tmux: Tmux, ana: Cli) -> None:
    tmux.type("$P --vault new setup --name Ana --recovery-file new.txt; echo code=$?")
    screen = tmux.shows("New passphrase:")
    assert "Nobody can reset it" in screen
    tmux.type("seven little foxes 1")
    tmux.shows("The same again:")
    tmux.type("seven little foxes 2")
    tmux.shows("The two were not the same.")
    for asked in ("New passphrase:", "The same again:"):
        tmux.showed(asked, times=2)
        tmux.type("seven little foxes 3")
    assert "Your vault is at new" in tmux.shows("code=0")
    assert "foxes" not in tmux.record
    assert "little" not in tmux.record
    (ana.folder / "typed").write_text("seven little foxes 3\n")
    assert ana.bare("--vault", "new", "--passphrase-file", "typed", "unlock", "--check").code == 0


def test_no_vault_is_made_when_the_passphrase_is_never_the_same(tmux: Tmux, ana: Cli) -> None:
    tmux.type("$P --vault new setup --name Ana --recovery-file new.txt; echo code=$?")
    for number in range(3):
        tmux.showed("New passphrase:", times=number + 1)
        tmux.type(f"one thing {number}")
        tmux.showed("The same again:", times=number + 1)
        tmux.type(f"another thing {number}")
    tmux.shows("code=9")
    assert not (ana.folder / "new").exists()
    assert not (ana.folder / "new.txt").exists()


def test_a_passphrase_is_asked_for_and_never_seen(tmux: Tmux) -> None:
    tmux.type("$P --vault vault scan ls; echo code=$?")
    tmux.shows("Passphrase:")
    tmux.type("six words that nobody else knows")
    assert "CompressedSamples CT1" in tmux.shows("code=0")
    assert "nobody else" not in tmux.record


def test_control_c_at_the_passphrase_ends_the_command_and_gives_the_echo_back(tmux: Tmux) -> None:
    tmux.type("$P --vault vault scan ls; echo code=$?")
    tmux.shows("Passphrase:")
    tmux.press("C-c")
    screen = tmux.shows("code=130")
    assert "What was stored is safe" in screen
    assert "Traceback" not in screen
    tmux.type("echo seen")
    tmux.shows("> echo seen")


def test_control_d_at_the_passphrase_is_no_answer(tmux: Tmux) -> None:
    tmux.type("$P --vault vault scan ls; echo code=$?")
    tmux.shows("Passphrase:")
    tmux.press("C-d")
    tmux.shows("code=9")


def test_erasing_asks_for_a_word_and_another_word_erases_nothing(tmux: Tmux, ana: Cli, ct_scan: str) -> None:
    command = f"$P --vault vault --key-file vault.key scan erase {ct_scan[:8]}; echo code=$?"
    tmux.type(command)
    screen = tmux.shows(f"Type {ct_scan[:6]} to go on:")
    assert "Erase e+1, 1 image, for good? This cannot be undone." in screen
    tmux.type("yes")
    tmux.shows("code=9")
    assert ana.run("scan", "show", ct_scan).code == 0
    tmux.type("clear")
    tmux.type(command)
    tmux.shows(f"Type {ct_scan[:6]} to go on:")
    tmux.type(ct_scan[:6])
    tmux.shows("code=0")
    assert ana.run("scan", "show", ct_scan).code == 4


def test_control_c_at_the_question_erases_nothing(tmux: Tmux, ana: Cli, ct_scan: str) -> None:
    tmux.type(f"$P --vault vault --key-file vault.key scan erase {ct_scan[:8]}; echo code=$?")
    tmux.shows("to go on:")
    tmux.press("C-c")
    tmux.shows("code=130")
    assert ana.run("scan", "show", ct_scan).code == 0


def test_an_import_tells_how_far_it_is_on_one_line_that_goes_away(tmux: Tmux, ana: Cli, ct_small: Path) -> None:
    (ana.folder / "many").mkdir()
    for number in range(120):
        shutil.copy(ct_small, ana.folder / "many" / f"{number}.dcm")
    tmux.type("$P --vault vault --key-file vault.key import many; echo code=$?")
    tmux.shows("code=0")
    assert " files, " in tmux.showed("\r\x1b[K")
    screen = tmux.screen
    assert "0 images saved; 120 already here." in screen
    assert " files, " not in screen


def test_the_json_of_a_terminal_is_the_json_of_a_pipe(tmux: Tmux, ana: Cli) -> None:
    tmux.type("$P --vault vault --key-file vault.key scan ls --json > out.json; echo code=$?")
    tmux.shows("code=0")
    assert json.loads((ana.folder / "out.json").read_text()) == ana.value("scan", "ls")


def test_wide_combining_and_right_to_left_names_leave_the_columns_in_line(tmux: Tmux, ana: Cli) -> None:
    names = [
        "Müller^Anna",
        "山田^太郎",
        "한국^어",
        "עברית^שם",
        "محمد^علی",
        "e\u0301te\u0301",
        "ไทย",
        "ｗｉｄｅ",
        "x" * 60,
    ]
    for number, name in enumerate(names):
        (ana.folder / f"{number}.dcm").write_bytes(dicom_file(name, f"1.2.3.{number}", f"1.2.3.{number}.1", ""))
    ana.ok("import", *(f"{number}.dcm" for number in range(len(names))))
    rows = [row for row in ana.ok("scan", "ls").splitlines() if " 2024-01-01 " in row]
    assert len(rows) == len(names)
    columns = set()
    for number, row in enumerate(rows):
        (ana.folder / "row").write_text(row[: row.index("  OT  ")])
        tmux.type(f"clear; cat row; printf '\\0337\\n\\nrow %s' {number}; printf '\\0338'; read x")
        tmux.shows(f"row {number}")
        columns.add(tmux.cursor_column)
        tmux.press("Enter")
    assert len(columns) == 1

import io
import json
import sys

import pytest

from p2pshare.cli.output import Output, counted, date_text, name_text, size_text, table
from p2pshare.errors import NotFound
from p2pshare.model.width import width
from tests.cli.hostile import OWN, acting
from tests.cli.running import Cli


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stdout and stderr one terminal of 60 columns; called in the test, before which pytest sets its own."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def output(**options: bool) -> Output:
    return Output(**{"json": False, "plain": False, "quiet": False, "verbose": False, "color": True, **options})


def test_data_is_one_json_line_or_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    output(json=True).data({"a": "é\x7f\x9b\n"}, ["never shown"])
    printed = capsys.readouterr().out
    assert printed == '{"schema":1,"a":"\\u00e9\\u007f\\u009b\\n"}\n'
    assert json.loads(printed)["a"] == "é\x7f\x9b\n"
    output().data({"a": 1}, ["one", "two"])
    assert capsys.readouterr().out == "one\ntwo\n"


@pytest.mark.parametrize("text", OWN)
def test_everything_that_is_said_is_made_safe(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = output(verbose=True)
    out.say(text)
    out.failed(NotFound(text))
    out.event("x", {}, text)
    out.data({}, [*table(["A", "B"], [[text, text]], plain=False), *out.quoted(text)])
    output(json=True).data({"x": text})
    output(json=True).failed(NotFound(text))
    printed = capsys.readouterr()
    assert acting(printed.out + printed.err) == []


def test_messages_go_to_stderr_and_quiet_stops_them_but_not_errors(capsys: pytest.CaptureFixture[str]) -> None:
    out = output(quiet=True)
    out.say("hello")
    out.progress("half")
    out.failed(NotFound("x"))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"p2pshare: x: {NotFound().advice}\n"


def test_progress_stays_on_one_line_of_the_terminal_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    out = output()
    out.progress("one of two " * 20)
    out.progress("too soon to be shown again")
    out.data({}, ["done"])
    first, last = terminal.getvalue().split("…")
    assert first.startswith("\r\x1b[Kone of two")
    assert width(first.removeprefix("\r\x1b[K")) == 58
    assert last == "\r\x1b[Kdone\n"


def test_progress_elsewhere_comes_seldom_and_without_controls(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = output()
    out.progress("at once")
    monkeypatch.setattr("time.monotonic", lambda: 1e9)
    out.progress("later")
    assert capsys.readouterr().err == "later\n"


@pytest.mark.parametrize("way", ["NO_COLOR", "TERM", "plain", "no-color", "pipe"])
def test_colours_and_live_lines_stop_where_they_are_not_wanted(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    assert output().bold("x") == "\x1b[1mx\x1b[0m"
    if way == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    elif way == "TERM":
        monkeypatch.setenv("TERM", "dumb")
    elif way == "pipe":
        monkeypatch.setattr(sys, "stdout", io.StringIO())
    out = output(plain=way == "plain", color=way != "no-color")
    assert out.bold("x") == "x"
    if way in ("TERM", "plain"):
        out.progress("half")
        assert "\x1b" not in terminal.getvalue()


def test_a_quotation_never_wraps_into_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    lines = output().quoted("word " * 40 + "\nsecond\n\nlast")
    assert all(line.startswith("  | ") for line in lines)
    assert all(width(line) < 60 for line in lines)
    assert lines[-3:] == ["  | second", "  | ", "  | last"]


def test_a_table_is_in_columns_whatever_the_script() -> None:
    heads, *rows = table(
        ["ID", "NAME", "END"], [["1", "山田太郎", "x"], ["2", "Anna", "x"], ["3", "עברית", "x"]], plain=False
    )
    assert {width(row[: row.index("x")]) for row in rows} == {width(heads[: heads.index("END")])}


def test_a_cell_that_is_too_wide_is_cut_and_the_last_has_more_room() -> None:
    row = table(["A", "B"], [["\u202e" * 100, "b" * 100]], plain=False)[1]
    first, last = row.split("  ")
    assert (width(first), first[-1], last) == (40, "…", "b" * 100)


def test_plain_is_whole_cells_with_tabs_and_no_heads() -> None:
    assert table(["A", "B"], [["a\tb", "x" * 500]], plain=True) == ["a␉b\t" + "x" * 500]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (39206, "39.2 KB"), (999_999, "1000 KB"), (123_456_789, "123 MB"),
     (5e12, "5000 GB")],
)  # fmt: skip
def test_a_size_is_told_for_people(size: float, text: str) -> None:
    assert size_text(int(size)) == text


def test_dates_and_names_are_told_for_people() -> None:
    assert (date_text("20240115"), date_text("2024"), date_text("")) == ("2024-01-15", "2024", "")
    assert name_text("Doe^Jane^^Dr.") == "Doe Jane Dr."
    assert name_text("Yamada^Tarou=山田^太郎=やまだ^たろう") == "Yamada Tarou (山田 太郎, やまだ たろう)"
    assert name_text("=山田^太郎") == "山田 太郎"
    assert name_text("") == ""


def test_numbers_agree_with_their_nouns() -> None:
    assert [counted(0, "scan"), counted(1, "scan"), counted(2, "study", "studies")] == [
        "0 scans",
        "1 scan",
        "2 studies",
    ]


def test_a_sign_that_the_encoding_of_the_terminal_lacks_is_no_crash(ana: Cli, ct_scan: str) -> None:
    ran = Cli(ana.folder, more_env={"PYTHONIOENCODING": "ascii"}).run("scan", "show", ct_scan)
    assert ran.code == 0
    assert "e+1 \\xb7 2004-01-19" in ran.out

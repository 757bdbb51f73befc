"""What is printed: data on stdout, everything else on stderr, and no foreign text that could act on a terminal.

Rule 1: every text for people passes the one sanitiser (model/text.py); JSON is ASCII, so that it is inert too.
Rule 2: with --json there is one line, an object with "schema": 1; its keys are in docs/cli.md and tests/cli/schemas.
Rule 3: what we say about foreign text stands before it, where its length cannot push it out of sight.
"""

import io
import json as json_format
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from p2pshare.errors import P2PShareError
from p2pshare.model.text import shown, shown_lines
from p2pshare.model.width import clipped, folded, padded, width

_TELL_EVERY = 0.5  # seconds between progress lines on a terminal
_TELL_PLAIN = 10.0  # and elsewhere
_CELLS = 40  # how much of a line one column may take,
_LAST_CELLS = 120  # and the last one
_CELL_CHARS = 400  # characters of a cell that are looked at: marks that combine take no room


class Output:
    """Prints for one command."""

    def __init__(self, *, json: bool, plain: bool, quiet: bool, verbose: bool, color: bool) -> None:
        """As the global options say, and NO_COLOR and TERM."""
        _never_fail_to_print(sys.stdout)
        self.json = json
        self.plain = plain
        self.verbose = verbose
        self._quiet = quiet
        able = os.environ.get("TERM", "dumb") != "dumb"
        self._color = color and able and not plain and not os.environ.get("NO_COLOR") and sys.stdout.isatty()
        self._live = able and not plain and not quiet and sys.stderr.isatty()
        self._told = time.monotonic() - (_TELL_EVERY if self._live else 0)
        self._telling = False

    def data(self, value: Mapping[str, Any], lines: Sequence[str] = ()) -> None:
        """The result: one JSON object with --json, otherwise `lines` (every foreign text in them already shown)."""
        self._end_progress()
        printed = [_json_line({"schema": 1, **value})] if self.json else lines
        if printed:
            print("\n".join(printed), flush=True)

    def event(self, name: str, value: Mapping[str, Any], line: str) -> None:
        """One of several results of a command that goes on."""
        print(_json_line({"event": name, **value}) if self.json else shown(line), flush=True)

    def say(self, message: str) -> None:
        """Something for the person that is not the result."""
        self._end_progress()
        if not self._quiet:
            for line in shown_lines(message):
                print(line, file=sys.stderr, flush=True)

    def progress(self, message: str) -> None:
        """How far it has come; shown now and then."""
        now = time.monotonic()
        if self._quiet or self.json or now - self._told < (_TELL_EVERY if self._live else _TELL_PLAIN):
            return
        self._told = now
        if self._live:
            one_line = clipped(shown(message), shutil.get_terminal_size().columns - 1)
            print(f"\r\x1b[K{one_line}", end="", file=sys.stderr, flush=True)
            self._telling = True
        else:
            print(shown(message), file=sys.stderr, flush=True)

    def failed(self, error: P2PShareError) -> None:
        """What happened, whether the data is safe, what to do."""
        self._end_progress()
        if self.json:
            said = {"code": error.code, "what": error.what, "advice": error.advice}
            print(_json_line({"schema": 1, "error": said}), flush=True)
        print(f"p2pshare: {shown(str(error))}", file=sys.stderr, flush=True)

    def _end_progress(self) -> None:
        if self._telling:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._telling = False

    def bold(self, text: str) -> str:
        """`text` made to stand out, where that is wanted."""
        return f"\x1b[1m{text}\x1b[0m" if self._color else text

    def quoted(self, text: str) -> list[str]:
        """What somebody else wrote, each line marked as theirs and too short to wrap into one that looks ours."""
        room = shutil.get_terminal_size().columns - 6
        lines = shown_lines(text)
        return [f"  | {part}" for line in lines for part in (folded(line, room) if not self.plain else [line])]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, plain: bool) -> list[str]:
    """Lines of a table; every cell is made safe here. Plain: whole cells with tabs between them, and no heads."""
    if plain:
        return ["\t".join(shown(cell) for cell in row) for row in rows]
    room = [_CELLS] * (len(heads) - 1) + [_LAST_CELLS]
    safe = [[clipped(shown(c, limit=_CELL_CHARS), most) for c, most in zip(row, room, strict=True)] for row in rows]
    columns = [max(width(cells[i]) for cells in [list(heads), *safe]) for i in range(len(heads))]
    return [
        "  ".join(padded(cell, cells) for cell, cells in zip(row, columns, strict=True)).rstrip()
        for row in [list(heads), *safe]
    ]


def counted(number: int, one: str, many: str = "") -> str:
    """`1 scan`, `2 scans`; `many` where an s does not do."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def size_text(size: int) -> str:
    """A size for people."""
    value = float(size)
    for unit in ("bytes", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return str(size)


def date_text(date: str) -> str:
    """A DICOM date (DA) for people: 2024-01-15; anything else as it is."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdigit() else date


def name_text(name: str) -> str:
    """A DICOM person name (PN, PS3.5 §6.2.1) for people: the groups apart, their parts spaced."""
    groups = [" ".join(part for part in group.split("^") if part) for group in name.split("=")]
    first, *others = [group for group in groups if group] or [""]
    return f"{first} ({', '.join(others)})" if others else first


def _json_line(value: Mapping[str, Any]) -> str:
    """`value` in printable ASCII; json.dumps escapes every control character but DEL."""
    return json_format.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f")


def _never_fail_to_print(stream: TextIO) -> None:
    """A name that the terminal's encoding lacks is shown by its code points; stderr does so by itself."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")

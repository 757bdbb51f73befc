"""Ways to run p2pshare as programs and people do: with pipes, on a terminal of its own, and (for many runs) in here."""

import contextlib
import fcntl
import io
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import jsonschema

from p2pshare.cli.main import run as run_here

ROOT = Path(__file__).parents[2]
SCHEMAS = json.loads((Path(__file__).parent / "schemas" / "output.json").read_text("utf-8"))
PASSPHRASE = "six words that nobody else knows"
TIMEOUT = 60.0


@dataclass(frozen=True)
class Ran:
    """One finished run."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The one JSON line that stdout is."""
        assert self.out.endswith("\n"), self
        assert self.out.count("\n") == 1, self
        assert self.out.isascii(), self.out
        assert self.out[:-1].isprintable(), self.out
        return json.loads(self.out)


@dataclass(frozen=True)
class Shown:
    """One finished run on a terminal: every byte that reached it."""

    code: int
    stream: bytes

    @property
    def text(self) -> str:
        """As text, with a terminal's line ends made plain."""
        return self.stream.decode("utf-8").replace("\r\n", "\n")


@dataclass(frozen=True)
class Cli:
    """Commands on one vault, run in `folder`; no settings of this computer count."""

    folder: Path
    vault: str = "vault"
    key_file: str = "vault.key"
    more_env: Mapping[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The environment of every run."""
        home = self.folder / "home"
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            **self.more_env,
        }

    def words(self, *words: str) -> list[str]:
        """A command on this vault, opened by its key file."""
        return ["--vault", self.vault, "--key-file", self.key_file, *words]

    def bare(self, *words: str, stdin: str = "", **options: Any) -> Ran:
        """Run `p2pshare` with exactly these words, as a process with pipes."""
        ran = subprocess.run(
            [sys.executable, "-m", "p2pshare", *words], cwd=self.folder, env=self.env, input=stdin,
            capture_output=True, check=False, timeout=TIMEOUT, encoding="utf-8", **options,
        )  # fmt: skip
        assert "Traceback" not in ran.stderr, ran.stderr
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def run(self, *words: str) -> Ran:
        """Run a command on this vault."""
        return self.bare(*self.words(*words))

    def ok(self, *words: str) -> str:
        """What a command that succeeds prints; run in this process."""
        ran = self.here(*words)
        assert ran.code == 0, ran
        return ran.out

    def value(self, *words: str, code: int = 0) -> Any:
        """What a command prints with --json, as its schema says; run in this process."""
        ran = self.here(*words, "--json")
        assert ran.code == code, ran
        matches_schema(words, ran.value)
        return ran.value

    def here(self, *words: str) -> Ran:
        """Run a command on this vault in this process: quicker, where there are many."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.env, clear=True),
            mock.patch("sys.stdin", io.StringIO()),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run_here(self.words(*words))
        assert not any(line in err.getvalue() for line in ("Traceback", "fault in p2pshare")), err.getvalue()
        return Ran(code, out.getvalue(), err.getvalue())

    def on_terminal(self, *words: str, columns: int = 100) -> Shown:
        """Run a command on this vault with a terminal for stdin, stdout and stderr; nobody types."""
        with terminal(columns) as (master, slave):
            process = subprocess.Popen(
                [sys.executable, "-m", "p2pshare", *self.words(*words)], cwd=self.folder, env=self.env,
                stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            )  # fmt: skip
            os.close(slave)
            stream = b"".join(iter(lambda: read_terminal(master), b""))
            return Shown(process.wait(TIMEOUT), stream)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command that goes on."""
        return subprocess.Popen(
            [sys.executable, "-m", "p2pshare", *self.words(*words)], cwd=self.folder, env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip

    @contextlib.contextmanager
    def serving(self, *words: str) -> Iterator[str]:
        """A node for this vault runs during the block; gives its address."""
        process = self.start("serve", "--listen", "127.0.0.1:0", "--json", *words)
        try:
            assert process.stdout is not None
            event = json.loads(process.stdout.readline())
            matches_schema(["serve"], event)
            yield event["address"]
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=TIMEOUT)
            assert (process.returncode, out, err) == (0, "", "")


def matches_schema(words: Sequence[str], value: Any) -> None:
    """Fail unless `value` is what the command, or a failure of it, prints."""
    known = [name for length in (2, 1) if (name := "-".join(words[:length])) in SCHEMAS["$defs"]]
    assert known, f"no schema for {words}"
    name = "error" if "error" in value else known[0]
    jsonschema.validate(value, {"$ref": f"#/$defs/{name}", **SCHEMAS})


@contextlib.contextmanager
def terminal(columns: int) -> Iterator[tuple[int, int]]:
    """Both ends of a new terminal; the caller closes the second."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    try:
        yield master, slave
    finally:
        os.close(master)


def read_terminal(master: int) -> bytes:
    """What comes next on a terminal; nothing when the last process on it has gone (Linux says EIO then)."""
    try:
        return os.read(master, 65536)
    except OSError:
        return b""


def copied(source: Path, target: Path) -> Path:
    """A copy of a closed vault's folder and what lies beside it."""
    import shutil

    shutil.copytree(source, target, dirs_exist_ok=True)
    return target

"""Processes that a benchmark starts: timed, bounded, and each ended by its own id whatever happens.

Rule 1: every process begins a session of its own, so that what it starts ends with it.
Rule 2: CPU seconds are those of the process and of all that it waited for.
"""

import json
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_FOREIGN: Final = ("P2PSHARE_", "RESTIC_", "RSYNC_", "SSH_")  # settings of whoever runs this must not count
_STOP_SECONDS: Final = 20.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class BenchFailed(Exception):
    """A measurement could not be made, and why."""


class NotHere(BenchFailed):
    """Something that a measurement needs is not on this computer: it is skipped, and the results say so."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended with exit code 0: wall seconds from its start to its end, CPU seconds, what it printed."""

    seconds: float
    cpu: float
    output: str

    def json(self) -> dict[str, Any]:
        """Its output as the one JSON object that it is."""
        value = json.loads(self.output)
        if not isinstance(value, dict):
            raise BenchFailed(f"not a JSON object: {self.output[:200]}")
        return value


def run(argv: Sequence[str | Path], *, timeout: float = 900.0, cwd: Path | None = None) -> Ran:
    """Run a command to its end. Raises BenchFailed when it fails or takes longer than `timeout` seconds."""
    before, began = _children_cpu(), time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment(), cwd=cwd, start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise BenchFailed(f"{_name(argv)} took longer than {timeout:.0f} s") from None
    finally:
        if process.returncode is None:
            _kill_session(process)
    seconds = time.monotonic() - began
    if process.returncode:
        raise BenchFailed(f"{_name(argv)} ended with {process.returncode}: {(errors or output).strip()[-500:]}")
    return Ran(seconds, _children_cpu() - before, output)


class Service:
    """A process that runs until it is stopped; use as a context manager."""

    def __init__(self, argv: Sequence[str | Path], log: Path) -> None:
        """Start it; what it says on standard error goes to `log`."""
        self._name = _name(argv)
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                text=True, env=environment(), start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether it ended by itself, and not well."""
        return (self._process.poll() or 0) > 0

    def first_line(self, timeout: float = 30.0) -> str:
        """The first line that it prints. Raises BenchFailed when none comes."""
        output = self._process.stdout
        if output is None or not select.select([output], [], [], timeout)[0]:
            raise BenchFailed(f"{self._name} did not say that it is ready")
        line = output.readline()
        if not line:
            raise BenchFailed(f"{self._name} ended: {self.log()}")
        return str(line)

    def log(self) -> str:
        """The end of what it said on standard error."""
        return self._log.read_text(errors="replace").strip()[-500:]

    def finish(self, timeout: float = 900.0) -> None:
        """Wait until it ends by itself. Raises BenchFailed when it does not, or not well."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise BenchFailed(f"{self._name} took longer than {timeout:.0f} s") from None
        if code:
            raise BenchFailed(f"{self._name} ended with {code}: {self.log()}")

    def kill(self) -> None:
        """SIGKILL to that one process, as a crash would end it."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help in time."""
        if self.running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        _kill_session(self._process)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def environment() -> dict[str, str]:
    """The environment for what is measured: this one's, without settings of the programs that are measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, "XDG_CONFIG_HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}


def family(roots: Iterable[int]) -> list[int]:
    """`roots` that are alive, and all that descend from them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid for pid in roots if Path(f"/proc/{pid}").exists()]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds that these processes have used until now, with those of children that they waited for."""
    ticks = 0
    for pid in pids:
        with suppress(OSError, IndexError, ValueError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _kill_session(process: subprocess.Popen[str]) -> None:
    """End what is left of the process's own session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _name(argv: Sequence[str | Path]) -> str:
    return " ".join([Path(argv[0]).name, *(str(word) for word in argv[1:] if len(str(word)) < 40)][:8])

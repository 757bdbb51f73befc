"""Finds every disk call that a process makes below a folder, and makes one of them fail, or be its last.

strace(1) does both. Its `when=N` counts the calls of one name in each thread, so the fault meets whichever thread comes
to that number first; a fault that met none is an error of the test.
"""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

CALLS = (
    "openat,mkdir,mkdirat,write,writev,pwrite64,pwritev,ftruncate,fallocate,fsync,fdatasync,sync_file_range,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,fchmod,chmod,fchmodat"
)
_LINE = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_CHANGING_OPEN = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_DIRECTORY")


@dataclass(frozen=True, slots=True)
class DiskCall:
    """The `number`-th call named `name` that one thread makes."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Ran:
    """How a process with a fault ended."""

    returncode: int  # -9 when it was killed
    stderr: str


def disk_calls(command: Sequence[str], below: Path, log: Path) -> list[DiskCall]:
    """Run `command` to its end and return each of its disk calls that concerns the folder `below`, once."""
    _strace(["-e", f"trace={CALLS}"], command, log).check_returncode()
    counted: Counter[tuple[str, str]] = Counter()
    found: dict[DiskCall, None] = {}
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        call = _LINE.match(line)
        if call is None:
            continue
        counted[call["thread"], call["name"]] += 1
        if str(below) in call["rest"] and (call["name"] != "openat" or _CHANGING_OPEN.search(call["rest"])):
            found[DiskCall(call["name"], counted[call["thread"], call["name"]])] = None
    return list(found)


def with_fault(command: Sequence[str], at: DiskCall, fault: str, log: Path) -> Ran:
    """Run `command`; when it comes to `at`, do what strace's inject calls `fault` ("signal=KILL", "error=ENOSPC")."""
    ran = _strace(["-e", f"trace={at.name}", "-e", f"inject={at.name}:{fault}:when={at.number}"], command, log)
    told = log.read_text(encoding="utf-8", errors="replace")
    if "(INJECTED)" not in told and "killed by SIGKILL" not in told:
        pytest.fail(f"{at} did not come, so nothing was tested", pytrace=False)
    return Ran(ran.returncode, ran.stderr)


def _strace(options: Sequence[str], command: Sequence[str], log: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("strace")
    if program is None:
        pytest.fail("these tests need strace (on Debian: apt install strace)", pytrace=False)
    return subprocess.run(
        [program, "-f", "-qq", "-y", "-s", "4096", "-o", str(log), *options, *command],
        check=False,
        capture_output=True,
        text=True,
    )

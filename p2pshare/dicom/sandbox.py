"""The walls around a worker: what a process that reads hostile files gives up for good.

Rule 1: limits on memory, files and processes hold everywhere; the rest is Linux's and is said to be missing elsewhere.
Rule 2: every step stands alone: one that a kernel does not know leaves the others standing.
"""

import ctypes
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Final

from p2pshare.dicom.landlock import deny_files_and_network
from p2pshare.dicom.seccomp import deny_system_calls
from p2pshare.model.limits import MIB

MEMORY_MAX: Final = 256 * MIB  # address space; a worker begins with 40 MiB of it
CPU_SECONDS: Final = 30  # for one file
_FILES_MAX: Final = 64  # a batch's descriptors and a few more

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38


def enter_sandbox() -> tuple[str, ...]:
    """Give up what reading does not need; return, in words, what could not be given up here."""
    missing: list[str] = []
    _be_first_to_go()
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, _FILES_MAX),
        (resource.RLIMIT_AS, MEMORY_MAX),
    ):
        try:
            resource.setrlimit(limit, (value, value))
        except (OSError, ValueError):
            missing.append(f"limit {limit}")
    if sys.platform != "linux":
        return (*missing, "no file access", "no network", "no other sockets", "no new privileges")
    if not _prctl(_PR_SET_NO_NEW_PRIVS, 1):
        missing.append("no new privileges")
    if not _prctl(_PR_SET_DUMPABLE, 0):
        missing.append("no core dumps")
    missing.extend(deny_files_and_network())
    missing.extend(deny_system_calls())
    return tuple(missing)


def die_with_parent(parent: int) -> None:
    """Arrange to be killed when the parent ends; `parent` is its process id as known before."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that
        os._exit(1)


def grant_cpu(seconds: int = CPU_SECONDS) -> None:
    """Let this process use `seconds` more of processor time, then die by SIGXCPU."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + seconds, hard))


def _be_first_to_go() -> None:
    """Prefer to be the one the kernel ends when the machine runs out of memory."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return


def _prctl(option: int, value: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    return bool(libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero) == 0)

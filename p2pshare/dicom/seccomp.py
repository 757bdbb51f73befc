"""A filter of system calls (seccomp, Linux): what Landlock does not know of: datagrams, Unix sockets, new processes.

A call in `_DENIED` fails with EPERM, for good; calls of another instruction set end the process. See seccomp(2).
"""

import ctypes
import errno
import platform
import struct
import sys
from dataclasses import dataclass
from typing import Final

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2

# <linux/bpf_common.h>: load a word of the call's description; compare and jump; return
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT, _PROCESS_AT = 0, 4, 16  # the last is the first argument's low word: process ids have no more
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_X32: Final = 0x40000000  # x86-64's second set of numbers

# name: its number on x86-64 and on AArch64 (None: it has none)
_DENIED: Final[dict[str, tuple[int, int | None]]] = {
    "socket": (41, 198), "socketpair": (53, 199), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "connect": (42, 203), "accept4": (288, 242), "sendmmsg": (307, 269),
    "clone": (56, 220), "clone3": (435, 435), "fork": (57, None), "vfork": (58, None),
    "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "setpriority": (141, 140),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274), "ioprio_set": (251, 30),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "io_uring_setup": (425, 425), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Machine:
    arch: int  # AUDIT_ARCH_… of <linux/audit.h>
    column: int
    prlimit: int  # allowed for oneself, whom it calls process 0: `grant_cpu` needs it


_MACHINES: Final = {"x86_64": _Machine(0xC000003E, 0, 302), "aarch64": _Machine(0xC00000B7, 1, 261)}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def deny_system_calls() -> tuple[str, ...]:
    """Forbid them for good; return, in words, what could not be forbidden here. Needs no_new_privs."""
    machine = _MACHINES.get(platform.machine())
    if machine is None or sys.maxsize < 2**32:  # a 32-bit program has numbers of its own
        return ("no other sockets",)
    numbers = [entry[machine.column] for entry in _DENIED.values()]
    code = _filter(machine.arch, machine.prlimit, [number for number in numbers if number is not None])
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    done = libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program), zero, zero)
    return () if done == 0 else ("no other sockets",)


def _filter(arch: int, prlimit: int, numbers: list[int]) -> bytes:
    count = len(numbers)
    steps = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_JUMP_IF_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_IF_AT_LEAST, count + 2, 0, _X32),
        (_JUMP_IF_EQUAL, count + 2, 0, prlimit),
        *((_JUMP_IF_EQUAL, count - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _PROCESS_AT),
        (_JUMP_IF_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)

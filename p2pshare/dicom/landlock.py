"""Landlock (Linux 5.13 and later): a worker opens no file by name, connects to nothing, signals nobody.

Through raw system calls, whose numbers are the same on every architecture that Python runs on; glibc has no
functions for them. See the kernel's Documentation/userspace-api/landlock.rst.
"""

import ctypes
import os
from typing import Final

_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
_GET_VERSION: Final = 1

# all access rights by the version of the interface that brought the last of them
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_RIGHTS: Final = 0b11  # bind and connect TCP, from version 4
_SCOPES: Final = 0b11  # abstract Unix sockets and signals, from version 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


def deny_files_and_network() -> tuple[str, ...]:
    """Forbid it for good, with no exception; return, in words, what this kernel cannot forbid.

    Descriptors that are open stay usable. Needs no_new_privs.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    version = _call(libc, _CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_GET_VERSION))
    if version < 1:
        return ("no file access", "no network")
    rules = _Ruleset((1 << _FILE_RIGHTS[min(version, 5)]) - 1, _NET_RIGHTS * (version >= 4), _SCOPES * (version >= 6))
    size = 8 + 8 * (version >= 4) + 8 * (version >= 6)
    ruleset = _call(libc, _CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return ("no file access", "no network")
    denied = _call(libc, _RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0
    os.close(ruleset)
    if not denied:
        return ("no file access", "no network")
    return () if version >= 4 else ("no network",)


def _call(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    return int(libc.syscall(ctypes.c_long(number), *arguments))

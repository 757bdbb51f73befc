"""The two advisory locks of a vault: one engine per vault, and maintenance apart from pack writing.

Rule 1: a lock lives on an open file description, so the kernel drops it when its process dies, however it dies.
Rule 2: nothing here blocks: a lock is tried, and tried again after a pause of the event loop.
Rule 3: everything Linux-specific about locks is in this file. Maintenance uses flock(2), which has a shared mode and
        conflicts within a process as well. The engine uses an open-file-description lock (fcntl(2), F_OFD_SETLK), for
        it can be asked about (F_OFD_GETLK) without taking it; an flock can only be probed by taking it, and a probe
        at the wrong moment would turn an engine away.
Rule 4: lock files are empty, are never removed, and may lie on a read-only disk.
"""

import asyncio
import errno
import fcntl
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from p2pshare.errors import EngineTaken, VaultBusy
from p2pshare.store.diskio import disk_trouble
from p2pshare.store.folder import VaultFolder

PATIENCE = 30.0  # seconds; a pack is written in well under one

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.02  # shorter than the gap in which a steady writer holds nothing is likely to be missed often
_FLOCK = struct.Struct("@hhqqi0q")  # struct flock of fcntl(2): type, whence, start, length, pid
_BUSY = (errno.EWOULDBLOCK, errno.EACCES)  # either, says fcntl(2)


@asynccontextmanager
async def maintenance(folder: VaultFolder, exclusive: bool, *, patience: float = PATIENCE) -> AsyncIterator[None]:
    """Hold the maintenance lock: shared from a pack's temporary file to its commit, exclusively to tidy up.

    Raises:
        VaultBusy: it could not be had within `patience` seconds.
        DiskTrouble: the lock file cannot be opened.
    """
    descriptor = _open_lock_file(folder.maintenance_lock)
    try:
        await _lock_patiently(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, patience)
        yield
    finally:
        os.close(descriptor)  # lets go of the lock


class EngineLock:
    """The right to send and receive for a vault, as long as it is not released; made by `take`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, folder: VaultFolder) -> "EngineLock":
        """Take the engine of `folder`.

        Raises:
            EngineTaken: another process, or another part of this one, has it.
            DiskTrouble: the lock file cannot be opened, or not for writing.
        """
        with disk_trouble(f"{folder.engine_lock.name} cannot be opened"):
            descriptor = os.open(folder.engine_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with disk_trouble(f"{folder.engine_lock.name} cannot be locked"):
                _take_whole(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        """Give the engine up; a second time does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def engine_held(folder: VaultFolder) -> bool:
    """Whether anybody has the engine of `folder`; asking disturbs nobody.

    Raises:
        DiskTrouble: the lock file cannot be opened.
    """
    with disk_trouble(f"{folder.engine_lock.name} cannot be read"):
        try:
            descriptor = os.open(folder.engine_lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        finally:
            os.close(descriptor)
    kind: int = _FLOCK.unpack(answer)[0]
    return kind != fcntl.F_UNLCK


def _take_whole(descriptor: int) -> None:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError as error:
        if error.errno in _BUSY:
            raise EngineTaken from None
        raise


async def _lock_patiently(descriptor: int, mode: int, patience: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    pause = _FIRST_PAUSE
    while not _try_lock(descriptor, mode):
        if loop.time() >= deadline:
            raise VaultBusy
        await asyncio.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)


def _try_lock(descriptor: int, mode: int) -> bool:
    with disk_trouble("the vault cannot be locked"):
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
    return True


def _open_lock_file(path: Path) -> int:
    """Open a lock file, made if need be; on a read-only disk as it is, for flock(2) does not mind."""
    with disk_trouble(f"{path.name} cannot be opened"):
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

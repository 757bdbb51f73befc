"""Durable writes: the one place that decides when bytes are safe on a disk.

Rule 1: a file appears whole or not at all: temporary name in the same folder, write, sync, rename, sync the folder.
Rule 2: a failed sync is never tried again. The kernel may have dropped the dirty pages and report success the second
        time, so the temporary file is removed and the error raised.
Rule 3: an `OSError` leaves this package only as `DiskTrouble` (or `DamagedPack`, `NoVault`, ... where that says more).
"""

import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from p2pshare.errors import DiskTrouble

TEMP_SUFFIX = ".tmp"

Piece = bytes | bytearray | memoryview

_WRITEV_PIECES = 1024  # IOV_MAX on Linux
_WORDS = {
    errno.ENOSPC: "there is no space left",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file may not grow that large",
    errno.EROFS: "it is read-only",
    errno.EIO: "the disk reports a fault",
    errno.EACCES: "access is not allowed",
    errno.EPERM: "access is not allowed",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
    errno.ENODEV: "the disk is gone",
    errno.ENXIO: "the disk is gone",
    errno.ESTALE: "the disk is gone",
    errno.ENOTCONN: "the disk is gone",
    errno.ENOENT: "the folder is gone",
    errno.ENOTDIR: "a file is where a folder should be",
    errno.EISDIR: "a folder is where a file should be",
}


def write_whole(path: Path, data: Piece | Sequence[Piece]) -> None:
    """Make `path` hold exactly `data` (a sequence is written piece after piece, uncopied), replacing what was there.

    When this returns, the file survives a power cut. When it raises, `path` is as it was; only if the last step, the
    sync of the folder, fails may the new content be there, without being safe.

    Raises:
        DiskTrouble: the disk refused; no temporary file is left.
    """
    pieces = [data] if isinstance(data, bytes | bytearray | memoryview) else data
    temp = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMP_SUFFIX}")
    with disk_trouble(f"{path.name} cannot be written"):
        try:
            _write_synced(temp, pieces)
            temp.rename(path)
        except BaseException:
            with suppress(OSError):
                temp.unlink()
            raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in the folder `path` durable.

    Raises:
        DiskTrouble: the disk refused.
    """
    with disk_trouble(f"the folder {path.name} cannot be synced"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make the folder `path` (mode 0700), if it is not there, and its name durable.

    Raises:
        DiskTrouble: the disk refused.
    """
    with disk_trouble(f"the folder {path.name} cannot be made"):
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            return
    sync_folder(path.parent)


def remove_durably(paths: Iterable[Path]) -> None:
    """Remove files (those that are gone already are no error), then make that durable, once for each folder.

    Raises:
        DiskTrouble: the disk refused; what could be removed until then is removed, and durably so.
    """
    folders: set[Path] = set()
    try:
        for path in paths:
            with disk_trouble(f"{path.name} cannot be removed"), suppress(FileNotFoundError):
                path.unlink()
            folders.add(path.parent)
    finally:
        for folder in sorted(folders):
            if folder.is_dir():
                sync_folder(folder)


@contextmanager
def disk_trouble(what: str) -> Iterator[None]:
    """Turn every `OSError` of the block into `DiskTrouble`, saying `what` failed and why."""
    try:
        yield
    except OSError as error:
        raise DiskTrouble(f"{what}: {in_words(error)}") from None


def in_words(error: OSError) -> str:
    """The reason of `error` for a person; no path in it."""
    return _WORDS.get(error.errno or 0) or (error.strerror or type(error).__name__).lower()


def _write_synced(temp: Path, pieces: Sequence[Piece]) -> None:
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _write_all(pieces, lambda batch: os.writev(descriptor, batch))
        os.fdatasync(descriptor)  # size and data; nobody relies on the times
    finally:
        os.close(descriptor)


def _write_all(pieces: Sequence[Piece], write: Callable[[Sequence[Piece]], int]) -> None:
    """Hand all of `pieces` to `write`, going on where a short write stopped."""
    waiting = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
    at = 0
    while at < len(waiting):
        written = write(waiting[at : at + _WRITEV_PIECES])
        while at < len(waiting) and written >= len(waiting[at]):
            written -= len(waiting[at])
            at += 1
        if written:
            waiting[at] = waiting[at][written:]

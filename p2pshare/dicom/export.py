"""Files for other people: names of our own, and bytes as they were received.

Rule 1: no part of a name comes from a file; a received name is never a path.
Rule 2: a file appears whole and synced under its name, or not at all; what is there is never replaced.
Rule 3: below the chosen folder no link is followed.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from p2pshare.errors import AlreadyExists, DiskTrouble
from p2pshare.model.limits import MIB

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LAST: Final = 0x80000000  # sorts instances without a number behind all others


@dataclass(frozen=True, slots=True)
class ExportItem:
    """What decides the place of one stored instance; `object_id` tells conflicting copies apart."""

    object_id: bytes
    series_uid: str
    sop_uid: str
    series_number: int | None
    instance_number: int | None


def export_names(items: Iterable[ExportItem]) -> dict[bytes, PurePosixPath]:
    """A path such as `SE0001/IM00001.dcm` for each object id.

    The same set of instances always gets the same names. Instances that share a SOP Instance UID and differ in their
    bytes are all exported: the second as `IM00001-2.dcm`, and so on.
    """
    names: dict[bytes, PurePosixPath] = {}
    series: list[str] = []
    image, copy, last = 0, 1, ("", "")
    for item in sorted(items, key=_order):
        if not series or series[-1] != item.series_uid:
            series.append(item.series_uid)
            image = 0
        image, copy = (image, copy + 1) if last == (item.series_uid, item.sop_uid) else (image + 1, 1)
        last = (item.series_uid, item.sop_uid)
        mark = f"-{copy}" if copy > 1 else ""
        names[item.object_id] = PurePosixPath(f"SE{len(series):04}/IM{image:05}{mark}.dcm")
    return names


def write_file(root: Path, name: PurePosixPath, chunks: Iterable[bytes | memoryview]) -> None:
    """Write `chunks` to `name` below the existing folder `root`, making the folders between.

    A file that is there already with the same bytes is left as it is.

    Raises:
        AlreadyExists: something else is there.
        DiskTrouble: the disk refused; nothing is left behind.
    """
    try:
        with _folder(root, name.parent) as folder:
            _write(folder, name.name, chunks)
    except FileExistsError:
        raise AlreadyExists(str(name)) from None
    except OSError as error:
        raise DiskTrouble(os.strerror(error.errno or 0)) from None


def _order(item: ExportItem) -> tuple[int, str, int, str, bytes]:
    return (
        _LAST if item.series_number is None else item.series_number,
        item.series_uid,
        _LAST if item.instance_number is None else item.instance_number,
        item.sop_uid,
        item.object_id,
    )


@contextmanager
def _folder(root: Path, below: PurePosixPath) -> Iterator[int]:
    """A descriptor of `root`/`below`; its parts are made where they are missing, and are folders, not links."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in below.parts:
            fd = _enter(fd, part)
        yield fd
    finally:
        os.close(fd)


def _enter(parent: int, name: str) -> int:
    """Descend into `name`, making it if need be; the parent is closed if that succeeds."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
        os.fsync(parent)
    except FileExistsError:
        pass
    try:
        child = os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        raise _taken(error) from None
    os.close(parent)
    return child


def _write(folder: int, name: str, chunks: Iterable[bytes | memoryview]) -> None:
    temporary = f".{secrets.token_hex(8)}.part"
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        for chunk in chunks:
            _write_all(fd, chunk)
        os.fsync(fd)
        if not _same_file_is_there(folder, name, fd):
            _place(folder, temporary, name)
            os.fsync(folder)
    finally:
        os.close(fd)
        _remove(folder, temporary)


def _write_all(fd: int, chunk: bytes | memoryview) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def _place(folder: int, temporary: str, name: str) -> None:
    """Give the file its name unless that is taken: by a link, or by renaming where there are none (FAT, exFAT)."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        if _exists(folder, name):
            raise FileExistsError from None
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _remove(folder: int, temporary: str) -> None:
    try:
        os.unlink(temporary, dir_fd=folder)
    except FileNotFoundError:
        return  # it was renamed


def _same_file_is_there(folder: int, name: str, written: int) -> bool:
    """Whether `name` is a file with the bytes that were written; raises `FileExistsError` if it is something else."""
    if not _exists(folder, name):
        return False
    try:
        there = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise _taken(error) from None
    try:
        if not stat.S_ISREG(os.fstat(there).st_mode) or not _equal(there, written):
            raise FileExistsError
    finally:
        os.close(there)
    return True


def _taken(error: OSError) -> OSError:
    """`error`, as `FileExistsError` when a link or another kind of thing has the name."""
    return FileExistsError() if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO) else error


def _equal(one: int, other: int) -> bool:
    if os.fstat(one).st_size != os.fstat(other).st_size:
        return False
    offset = 0
    while piece := os.pread(one, MIB, offset):
        if piece != os.pread(other, MIB, offset):
            return False
        offset += len(piece)
    return True

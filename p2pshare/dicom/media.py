"""What lies on a medium: every file of folders and ZIP archives, one after another, as something to open or a reason.

Rule 1: nothing is trusted to be an index; files are found by looking, also where there is a DICOMDIR.
Rule 2: nothing on the medium is followed out of it, executed, or written; names are for showing only.
Rule 3: every file comes up exactly once: to read, skipped and why, or in trouble and why.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from p2pshare.dicom.mounts import Mount, Mounts
from p2pshare.dicom.sources import FileSource, Source, ZipEntrySource
from p2pshare.dicom.zipdir import Entry, ZipDirectory, data_offset
from p2pshare.errors import DiskTrouble, MediumTrouble, RemoteError, Unreadable

NESTED: Final = "an archive inside an archive"
_ARCHIVES: Final = (".zip",)
_NESTED_ARCHIVES: Final = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".iso")
_KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link; name what it leads to, to import it",
}


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What stays the same exactly as long as a file's bytes do, on file systems that keep ctime."""

    filesystem: str
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file found: to read if neither `skip` nor `problem` says why not.

    `name` is as the medium has it, unsanitised; `identity` is None where a change might not show in it.
    """

    name: str
    size: int = 0
    identity: FileIdentity | None = None
    skip: str = ""
    problem: str = ""
    _path: Path | None = None
    _inode: tuple[int, int] | None = None  # device and inode: what was looked at is what is opened
    _entry: Entry | None = None

    @property
    def readable(self) -> bool:
        """Whether it can be opened."""
        return not (self.skip or self.problem)

    def open(self) -> Source:
        """Open it for reading; the caller closes the source (`sources.close`).

        Raises:
            MediumTrouble: the operating system does not let it be opened, or it was replaced meanwhile.
            Unreadable: the archive contradicts itself about this entry.
        """
        if self._path is None or not self.readable:
            raise MediumTrouble(self.skip or self.problem)
        fd, status = _open_file(self._path)
        try:
            return self._source(fd, status)
        except BaseException:
            os.close(fd)
            raise

    def _source(self, fd: int, status: os.stat_result) -> Source:
        if (status.st_dev, status.st_ino) != self._inode:
            raise MediumTrouble("it was replaced while it was looked at")
        if self._entry is None:
            return FileSource(fd, status.st_size)
        return _entry_source(fd, status.st_size, self._entry)


def find(paths: Sequence[Path]) -> Iterator[Candidate]:
    """Every file that `paths` name or hold, folders in the order of their names; archives are looked into.

    A link is followed only where it is itself one of `paths`.
    """
    mounts = Mounts()
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            yield Candidate(str(path), problem=_reason(error))
            continue
        resolved = path.resolve()
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(resolved, str(path), mounts)
        else:
            yield from _look_at(resolved, str(path), mounts.of_folder(resolved.parent))


def _walk(folder: Path, shown: str, mounts: Mounts) -> Iterator[Candidate]:
    """All that is below `folder`; one list of names for each level is held."""
    stack = [(folder, shown, *_list(folder))]
    while stack:
        here, name, entries, problem = stack[-1]
        if problem:
            yield Candidate(name, problem=problem)
        mount = mounts.of_folder(here) if entries else None
        while entries:
            child = entries.pop()
            path, label = here / child, os.path.join(name, child)  # noqa: PTH118 - keeps what the user typed
            if _is_folder(path):
                stack.append((path, label, *_list(path)))
                break
            yield from _look_at(path, label, mount)
        else:
            stack.pop()


def _list(folder: Path) -> tuple[list[str], str]:
    """The names in a folder, last first, and what kept us from reading them."""
    try:
        return sorted(os.listdir(folder), reverse=True), ""  # noqa: PTH208 - names, not 100,000 Path objects
    except OSError as error:
        return [], _reason(error)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _look_at(path: Path, name: str, mount: Mount | None) -> Iterator[Candidate]:
    """What is at `path`: one candidate, or those in the archive that it is."""
    try:
        status = path.lstat()
    except OSError as error:
        yield Candidate(name, problem=_reason(error))
        return
    if not stat.S_ISREG(status.st_mode):
        yield Candidate(name, skip=_KINDS.get(stat.S_IFMT(status.st_mode), "not a file"))
    elif status.st_size == 0:
        yield Candidate(name, skip="it is empty")
    elif path.suffix.lower() in _ARCHIVES:
        yield from _look_into(path, name)
    else:
        yield Candidate(
            name,
            size=status.st_size,
            identity=_identity(status, mount),
            _path=path,
            _inode=(status.st_dev, status.st_ino),
        )


def _identity(status: os.stat_result, mount: Mount | None) -> FileIdentity | None:
    if mount is None or not mount.keeps_ctime:
        return None
    return FileIdentity(mount.filesystem, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _look_into(path: Path, name: str) -> Iterator[Candidate]:
    """The entries of an archive, each opened later by itself."""
    try:
        fd, status = _open_file(path)
    except MediumTrouble as error:
        yield Candidate(name, problem=error.what)
        return
    try:
        for entry in ZipDirectory(fd, status.st_size):
            if not entry.is_folder:
                yield _entry_candidate(path, f"{name}/{entry.name}", (status.st_dev, status.st_ino), entry)
    except (RemoteError, DiskTrouble) as error:
        yield Candidate(name, problem=str(error))
    finally:
        os.close(fd)


def _entry_candidate(path: Path, name: str, inode: tuple[int, int], entry: Entry) -> Candidate:
    if entry.problem:
        return Candidate(name, entry.size, problem=entry.problem)
    if entry.name.lower().endswith(_NESTED_ARCHIVES):
        return Candidate(name, entry.size, skip=NESTED)
    if entry.size == 0:
        return Candidate(name, skip="it is empty")
    return Candidate(name, entry.size, _path=path, _inode=inode, _entry=entry)


def _entry_source(fd: int, archive_size: int, entry: Entry) -> ZipEntrySource:
    offset = data_offset(fd, entry)
    if offset + entry.compressed_size > archive_size:
        raise Unreadable("the archive ends before it does")
    return ZipEntrySource(fd, offset, entry.compressed_size, entry.size, entry.method, entry.crc)


def _open_file(path: Path) -> tuple[int, os.stat_result]:
    """A descriptor for a regular file and its status; never waits for a pipe, never follows a last link."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise MediumTrouble(_reason(error)) from None
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise MediumTrouble("it is not a file any more")
    return fd, status


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "it cannot be read"

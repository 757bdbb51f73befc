"""Reads from pack files: a few descriptors stay open, shared by all threads, and every failure names its pack.

Rule 1: a descriptor is closed only when no thread reads from it.
Rule 2: a file that was removed, here or by another process, is not read any more, though its bytes may still be there.
Rule 3: what is wrong with the file is `DamagedPack`; what is wrong with this computer is `DiskTrouble`.
"""

import errno
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final

from p2pshare.errors import DamagedPack, DiskTrouble
from p2pshare.model.limits import PACK_MAX
from p2pshare.store.diskio import in_words

_OPEN_FILES: Final = 32
_FILE_FAULTS: Final = {
    errno.ENOENT: "it is missing",
    errno.ENOTDIR: "it is missing",
    errno.EISDIR: "a folder is in its place",
    errno.ELOOP: "a link is in its place",
    errno.EIO: "the disk cannot read it",
    errno.EBADMSG: "the disk cannot read it",  # ext4, XFS: a checksum of the file system
    errno.EUCLEAN: "the disk cannot read it",
}


class PackReader:
    """Reads spans of files named `<pack id>.p2pk`."""

    def __init__(self, limit: int = _OPEN_FILES) -> None:
        """`limit` is how many files stay open."""
        self._limit = limit
        self._lock = Lock()
        self._open: OrderedDict[Path, _OpenFile] = OrderedDict()  # the least recently used first

    def size(self, path: Path) -> int:
        """The length of the file. Raises as `read`."""
        with _faults_of(path), self._using(path) as file:
            return os.fstat(file).st_size

    def read(self, path: Path, spans: Iterable[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length) of `spans`.

        Raises:
            DamagedPack: the file is missing, too short, or the disk cannot read it.
            DiskTrouble: this computer cannot open it now.
        """
        with _faults_of(path), self._using(path) as file:
            return [_read_exactly(file, path, offset, length) for offset, length in spans]

    def forget(self, paths: Iterable[Path]) -> None:
        """Close the descriptors of `paths`, as soon as nobody reads from them."""
        with self._lock:
            for path in paths:
                self._drop(path)

    def close(self) -> None:
        """Close all descriptors, as soon as nobody reads from them; reading opens them again."""
        with self._lock:
            for path in list(self._open):
                self._drop(path)

    @contextmanager
    def _using(self, path: Path) -> Iterator[int]:
        with self._lock:
            file = self._take(path)
            file.users += 1
        try:
            yield file.descriptor
        finally:
            with self._lock:
                file.users -= 1
                file.close_if_done()

    def _take(self, path: Path) -> "_OpenFile":
        file = self._open.get(path)
        if file is not None and os.fstat(file.descriptor).st_nlink == 0:
            self._drop(path)
            file = None
        if file is None:
            file = _OpenFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK))
            self._open[path] = file
        self._open.move_to_end(path)
        while len(self._open) > self._limit:
            self._drop(next(iter(self._open)))
        return file

    def _drop(self, path: Path) -> None:
        file = self._open.pop(path, None)
        if file is not None:
            file.dropped = True
            file.close_if_done()


class _OpenFile:
    __slots__ = ("descriptor", "dropped", "users")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.users = 0
        self.dropped = False

    def close_if_done(self) -> None:
        if self.dropped and self.users == 0:
            os.close(self.descriptor)


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fault = _FILE_FAULTS.get(error.errno or 0)
        if fault is None:
            raise DiskTrouble(f"pack {path.stem} cannot be read: {in_words(error)}") from None
        raise DamagedPack(f"pack {path.stem}: {fault}") from None


def _read_exactly(file: int, path: Path, offset: int, length: int) -> bytes:
    if offset < 0 or not 0 <= length <= PACK_MAX:
        raise ValueError("no span of a pack")
    data = os.pread(file, length, offset)
    while len(data) < length:  # a signal may cut a read short, and so does the end of the file
        more = os.pread(file, length - len(data), offset + len(data))
        if not more:
            raise DamagedPack(f"pack {path.stem}: it is too short")
        data += more
    return data

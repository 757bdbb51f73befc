"""What a worker is handed: an open descriptor and what it means, never a path.

Rule 1: a descriptor's offset is shared with whoever else holds it, so everything here reads at explicit offsets.
Rule 2: a source's size is fixed when it is opened; bytes beyond it do not exist, and missing ones are an error.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from p2pshare.dicom.readers import FileReader, PrefixReader, Reader, ZipEntryReader
from p2pshare.errors import Truncated
from p2pshare.model.limits import CHUNK_SIZE

STORED: Final = 0  # APPNOTE 4.4.5
DEFLATED: Final = 8

# The `why` of a report on a `PrefixSource` that is too short to judge: give more of the object, and ask again.
NEEDS_MORE: Final = "more of the file is needed to judge it"
# The `why` beside the record of a `PrefixSource` that ends within its image data.
NOT_CHECKED_TO_END: Final = "its image data was not looked at to the end"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A whole file of `size` bytes."""

    fd: int
    size: int


@dataclass(frozen=True, slots=True)
class ZipEntrySource:
    """One entry of a ZIP archive: `compressed_size` bytes at `offset` of the archive that unpack to `size` bytes."""

    fd: int
    offset: int
    compressed_size: int
    size: int
    method: int  # STORED or DEFLATED
    crc: int


@dataclass(frozen=True, slots=True)
class PrefixSource:
    """The first `covered` bytes of an object of `size` bytes, for what was received and lies in chunks."""

    fd: int
    size: int
    covered: int


Source = FileSource | ZipEntrySource | PrefixSource


def reader_of(source: Source) -> Reader:
    """A reader of the source's plaintext; the caller keeps the descriptor open while using it."""
    match source:
        case FileSource(fd, size):
            return FileReader(fd, size)
        case PrefixSource(fd, size, covered):
            return PrefixReader(fd, size, covered)
        case ZipEntrySource(fd, offset, compressed_size, size, method, crc):
            return ZipEntryReader(fd, offset, compressed_size, size, deflated=method == DEFLATED, crc=crc)


def read_chunks(source: Source, size: int = CHUNK_SIZE) -> Iterator[bytes]:
    """Yield the source's plaintext in pieces of `size` bytes, the last one shorter; of a prefix, the prefix.

    Raises:
        Truncated: there are fewer bytes than the source's size says.
        Bomb: an archive's entry unpacks to more than it declares.
        Unreadable: an archive's entry is damaged.
        MediumTrouble: the operating system could not read it.
    """
    total = source.covered if isinstance(source, PrefixSource) else source.size
    reader = reader_of(source)
    if isinstance(source, FileSource):
        _read_ahead(source.fd)
    for offset in range(0, total, size):
        wanted = min(size, total - offset)
        piece = reader.read_at(offset, wanted)
        if len(piece) < wanted:
            raise Truncated(f"it ends after {offset + len(piece)} of {total} bytes")
        yield piece


def close(source: Source) -> None:
    """Close the source's descriptor."""
    os.close(source.fd)


def _read_ahead(fd: int) -> None:
    """Let the kernel read ahead; what cannot be advised is read all the same."""
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    except (AttributeError, OSError):
        return

"""Readers of foreign bytes at explicit offsets: a file, the beginning of an object, an entry of a ZIP archive.

Rule 1: a reader's `size` is what was promised; it never gives a byte beyond it.
Rule 2: fewer bytes than asked for mean the end; trouble with the medium is an error of its own.
"""

import os
import zlib
from collections.abc import Callable
from typing import Final, Protocol

from p2pshare.dicom.inflate import Inflater
from p2pshare.errors import Bomb, MediumTrouble, Truncated, Unreadable
from p2pshare.model.limits import MIB

_STEP: Final = MIB  # largest piece that is unpacked at once
_INPUT_STEP: Final = 256 * 1024


class Reader(Protocol):
    """Bytes by offset."""

    @property
    def size(self) -> int:
        """How many bytes there are, as promised when it was opened."""

    def read_at(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset`; fewer only where the bytes end."""


class PrefixEnds(Truncated):
    """More of the object is needed to judge it. Nothing was stored."""


class FileReader:
    """A file, or any descriptor that can be read at offsets."""

    __slots__ = ("_fd", "size")

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset`; fewer only where the file ends."""
        return read_exactly(self._fd, offset, min(length, self.size - offset))


class PrefixReader:
    """The first bytes of an object of which the rest is elsewhere; reading on raises `PrefixEnds`."""

    __slots__ = ("_covered", "_fd", "size")

    def __init__(self, fd: int, size: int, covered: int) -> None:
        self._fd = fd
        self._covered = min(covered, size)
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset`; fewer where the prefix ends, an error beyond it."""
        if length > 0 and self._covered <= offset < self.size:
            raise PrefixEnds("the part that was given ends too early")
        return read_exactly(self._fd, offset, min(length, self._covered - offset))


class ZipEntryReader:
    """An entry of a ZIP archive, read forwards; going back unpacks it again from its beginning.

    Memory stays at a few pieces of a megabyte. The checksum is compared once every byte has passed.
    """

    def __init__(self, fd: int, offset: int, compressed_size: int, size: int, *, deflated: bool, crc: int) -> None:
        self.size = size
        self._packed = _Span(fd, offset, compressed_size)
        self._deflated = deflated
        self._crc = crc
        self._checked = 0  # bytes from the beginning that are in `_sum`
        self._sum = 0
        self._inflater: Inflater | None = None
        self._block = b""  # the piece unpacked last
        self._at = 0  # where it begins

    def read_at(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset`; fewer only where the entry ends.

        Raises:
            Bomb: it unpacks to more than it declares.
            Truncated: it unpacks to less.
            Unreadable: its checksum does not fit, or it is not deflate at all.
        """
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        if not self._deflated:
            piece = self._packed.read_at(offset, length)
            self._check(offset, piece)
            return piece
        return self._inflated(offset, length)

    def _inflated(self, offset: int, length: int) -> bytes:
        if self._inflater is None or offset < self._at:
            self._inflater = Inflater(self._packed.feed())
            self._block, self._at = b"", 0
        parts: list[bytes] = []
        while length > 0:
            start = offset - self._at
            piece = self._block[start : start + length]
            if not piece:
                self._at += len(self._block)
                self._block = self._unpack(self._inflater)
                continue
            parts.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(parts)

    def _unpack(self, inflater: Inflater) -> bytes:
        piece = inflater.read(min(_STEP, self.size - inflater.produced))
        if not piece:
            raise Truncated(f"it unpacks to {inflater.produced} bytes instead of {self.size}")
        if inflater.produced == self.size and inflater.read(1):
            raise Bomb(f"it unpacks to more than the {self.size} bytes that the archive declares")
        self._check(self._at, piece)
        return piece

    def _check(self, offset: int, piece: bytes) -> None:
        if offset != self._checked or not piece:
            return
        self._sum = zlib.crc32(piece, self._sum)
        self._checked += len(piece)
        if self._checked == self.size and self._sum != self._crc:
            raise Unreadable("its checksum in the archive does not fit")


class _Span:
    """A stretch of a file."""

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self._fd = fd
        self._offset = offset
        self._length = length

    def read_at(self, offset: int, length: int) -> bytes:
        return read_exactly(self._fd, self._offset + offset, min(length, self._length - offset))

    def feed(self) -> Callable[[], bytes]:
        position = 0

        def piece() -> bytes:
            nonlocal position
            data = self.read_at(position, _INPUT_STEP)
            position += len(data)
            return data

        return piece


def read_exactly(fd: int, offset: int, length: int) -> bytes:
    """The `length` bytes at `offset` of a descriptor, fewer only at its end; its own offset stays where it is.

    Raises:
        MediumTrouble: the operating system could not read it.
    """
    if length <= 0:
        return b""
    try:
        piece = os.pread(fd, length, offset)
        if len(piece) == length or not piece:
            return piece
        parts = [piece]
        got = len(piece)
        while got < length and (piece := os.pread(fd, length - got, offset + got)):
            parts.append(piece)
            got += len(piece)
    except OSError as error:
        raise MediumTrouble(os.strerror(error.errno or 0)) from None
    return b"".join(parts)

"""What a record is made of: the bytes of a source in order, each read once and hashed as it is read.

Rule 1: whoever parses looks through a `Window` and at nothing else, so the bytes hashed are the bytes parsed.
Rule 2: a window holds a few blocks, however large the file is.
"""

import hashlib
from collections.abc import Callable
from typing import Final

from p2pshare.dicom.readers import Reader
from p2pshare.model.limits import KIB, MIB

_FIRST_BLOCK: Final = 8 * KIB  # the attributes of a CT or MR image fit
_BLOCK: Final = 64 * KIB
_SKIP_BLOCK: Final = MIB


class Tape:
    """A source read forwards, once; `position` is how much of it the hash covers."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._hash = hashlib.sha256()
        self.position = 0

    def read(self, length: int) -> bytes:
        """The next bytes, at most `length`; none at the end."""
        piece = self._reader.read_at(self.position, length)
        self._hash.update(piece)
        self.position += len(piece)
        return piece

    def drain(self) -> None:
        """Read to the end, so that the hash covers the whole."""
        while self.read(_SKIP_BLOCK):
            pass

    def digest(self) -> bytes:
        """SHA-256 of the bytes read so far."""
        return self._hash.digest()


class Window:
    """A view that moves forwards over what `feed` gives; offset 0 is `feed`'s first byte, plus `base`.

    `end` is the offset of the end where it is known beforehand.
    """

    __slots__ = ("_feed", "_next", "base", "buf", "end")

    def __init__(self, feed: Callable[[int], bytes], *, base: int = 0, end: int | None = None) -> None:
        self._feed = feed
        self._next = _FIRST_BLOCK
        self.buf = b""
        self.base = base
        self.end = end

    def ensure(self, position: int, length: int) -> bool:
        """Make the `length` bytes at `position` part of `buf`; False where the bytes end before."""
        while (have := self.base + len(self.buf)) < position + length:
            if position >= have:
                block = self._feed(min(_SKIP_BLOCK, max(self._next, position - have)))
                self.base, self.buf = have, block
            else:
                block = self._feed(max(self._next, position + length - have))
                self.buf = self.buf[position - self.base :] + block
                self.base = position
            self._next = _BLOCK
            if not block:
                return False
        return True

    def take(self, position: int, length: int) -> bytes:
        """The `length` bytes at `position`, fewer at the end."""
        self.ensure(position, length)
        start = position - self.base
        return self.buf[start : start + length] if start >= 0 else b""

    def lacks(self, position: int) -> bool:
        """Whether it is known beforehand that the bytes end before `position`."""
        return self.end is not None and position > self.end

    def reaches(self, position: int) -> bool:
        """Whether there are `position` bytes; moves there only where that is not known beforehand."""
        if self.end is not None:
            return position <= self.end
        return position <= self.base + len(self.buf) or self.ensure(position - 1, 1)

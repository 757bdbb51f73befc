"""Deflate (RFC 1951) taken apart in bounded steps: an unpacked byte exists only when somebody asked for it."""

import zlib
from collections.abc import Callable
from typing import Final

from p2pshare.errors import Bomb, Truncated, Unreadable
from p2pshare.model.limits import MIB

RATIO_FREE: Final = 8 * MIB  # up to here any ratio passes: a small black image packs 1000:1
RATIO_MAX: Final = 200
INFLATED_MAX: Final = 512 * MIB


class Inflater:
    """One raw deflate stream; `feed` gives its next input bytes, none at the end."""

    def __init__(self, feed: Callable[[], bytes]) -> None:
        self._feed = feed
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._input = b""
        self._more = False
        self.consumed = 0
        self.produced = 0

    def read(self, limit: int) -> bytes:
        """The next bytes, at most `limit` (which is above 0); none once the stream has ended.

        Raises:
            Truncated: the input ends before the stream does.
            Unreadable: it is not a deflate stream.
        """
        while not self._stream.eof:
            if not self._input and not self._more:
                self._input = self._feed()
                self.consumed += len(self._input)
                if not self._input:
                    raise Truncated("its compressed data ends too early")
            try:
                piece = self._stream.decompress(self._input, limit)
            except zlib.error:
                raise Unreadable("its compressed data is damaged") from None
            self._input = self._stream.unconsumed_tail
            self._more = len(piece) == limit  # zlib may hold back output although it has taken all input
            if piece:
                self.produced += len(piece)
                return piece
        return b""

    def refuse_bomb(self) -> None:
        """Raise `Bomb` when more came out than any real image holds, or far more than went in."""
        if self.produced > INFLATED_MAX:
            raise Bomb(f"it unpacks to more than {INFLATED_MAX // MIB} MiB")
        if self.produced > RATIO_FREE and self.produced > RATIO_MAX * self.consumed:
            raise Bomb(f"it unpacks to more than {RATIO_MAX} times its size")

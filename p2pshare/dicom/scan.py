"""The header scanner: walks Explicit and Implicit VR Little Endian (PS3.5 §7) and collects what a record needs.

Rule 1: no recursion, and no memory that grows with what a length claims.
Rule 2: what it is not sure of it leaves to pydicom, by raising `Odd`; it never guesses.
Rule 3: a malformed part inside a sequence of known length costs a warning, not the file.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from p2pshare.dicom.tape import Window
from p2pshare.errors import P2PShareError, TooDeep, Truncated, Unreadable

UNDEFINED: Final = 0xFFFFFFFF
DEPTH_MAX: Final = 64  # sequences within sequences; real files have fewer than ten
VALUE_MAX: Final = 16 * 1024  # bytes kept of one value

ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

EXPLICIT: Final = Struct("<HH2sH")
IMPLICIT: Final = Struct("<HHL")
LONG: Final = Struct("<L")
# PS3.5 table 7.1-1 and 7.1-2
LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
SHORT_VRS: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_PLAIN_LONG_VRS: Final = LONG_VRS - {b"SQ"}
_ITEM_BYTES: Final = b"\xfe\xff\x00\xe0"
_PIXEL_GROUP: Final = 0x7FE0


class Odd(P2PShareError):
    """Not plainly regular; pydicom decides. Nothing was stored."""


class _Malformed(P2PShareError):
    """A nested part contradicts itself. Nothing was stored."""


@dataclass(slots=True)
class Level:
    """A container that is being walked: a sequence, an item, or the fragments of an encapsulated value."""

    kind: str
    end: int | None  # where its length says it ends
    bound: int | None  # where the innermost container of known length ends
    implicit: bool


@dataclass(slots=True)
class PixelElement:
    """A Pixel Data element of any kind (PS3.3 C.7.6.3.1.4): where its value begins; `length` None if undefined."""

    tag: int
    position: int
    length: int | None


@dataclass(slots=True)
class Elements:
    """What was found: raw values by tag, and the pixel data where the walk stopped."""

    values: dict[int, bytes] = field(default_factory=dict)
    pixels: PixelElement | None = None
    warnings: list[str] = field(default_factory=list)
    big_endian: bool = False


class Scanner:
    """One walk over the top level of a data set."""

    def __init__(self, window: Window, *, implicit: bool, wanted: Collection[int]) -> None:
        self._window = window
        self._implicit = implicit
        self._wanted = wanted
        self.found = Elements()

    def walk(self, position: int) -> None:
        """Walk from `position` to pixel data or the end.

        Raises:
            Truncated: an element runs past the end.
            TooDeep: sequences are nested deeper than `DEPTH_MAX`.
            Unreadable: the structure contradicts itself.
            Odd: it is not plainly regular.
        """
        run = self._run_implicit if self._implicit else self._run_explicit
        while (element := self._element(position := run(position), self._implicit)) is not None:
            tag, vr, length, value = element
            if tag in PIXELS:
                self.found.pixels = PixelElement(tag, value, None if length == UNDEFINED else length)
                break
            position = self._pass(tag, vr, length, value)

    def _run_explicit(self, position: int) -> int:
        """Pass over plain elements that lie in the window whole; return where the first other one begins."""
        buf, base, wanted, values = self._window.buf, self._window.base, self._wanted, self.found.values
        unpack, index, last = EXPLICIT.unpack_from, position - base, len(buf) - 12
        while 0 <= index <= last:
            group, element, vr, length = unpack(buf, index)
            value = index + 8
            if vr not in SHORT_VRS:
                if vr not in _PLAIN_LONG_VRS:
                    break
                (length,) = LONG.unpack_from(buf, value)
                value += 4
            if value + length > last or group >= _PIXEL_GROUP:
                break
            if (tag := group << 16 | element) in wanted:
                values[tag] = buf[value : value + min(length, VALUE_MAX)]
            index = value + length
        return base + index

    def _run_implicit(self, position: int) -> int:
        """The same for Implicit VR; a value that begins like a sequence's is not plain."""
        buf, base, wanted, values = self._window.buf, self._window.base, self._wanted, self.found.values
        unpack, index, last = IMPLICIT.unpack_from, position - base, len(buf) - 12
        while 0 <= index <= last:
            group, element, length = unpack(buf, index)
            value = index + 8
            if value + length > last or group >= _PIXEL_GROUP or buf.startswith(_ITEM_BYTES, value):
                break
            if (tag := group << 16 | element) in wanted:
                values[tag] = buf[value : value + min(length, VALUE_MAX)]
            index = value + length
        return base + index

    def _pass(self, tag: int, vr: bytes, length: int, value: int) -> int:
        """Go over one top-level element; return where the next begins."""
        if tag >> 16 == 0xFFFE:
            raise Odd("an item outside of a sequence")
        if length == UNDEFINED:
            return self._container(value, self._opened(vr, None, None, implicit=self._implicit))
        end = value + length
        if self._window.lacks(end):
            raise Truncated(f"element ({tag >> 16:04X},{tag & 0xFFFF:04X}) goes on past the end of the file")
        if tag in self._wanted:
            self.found.values[tag] = self._window.take(value, min(length, VALUE_MAX))
        elif length and (vr == b"SQ" or (self._implicit and self._holds_items(value, length))):
            return self._container(value, Level("sequence", end, end, self._implicit))
        return end

    def _element(self, position: int, implicit: bool) -> tuple[int, bytes, int, int] | None:
        """Tag, VR, length and value's offset of the element at `position`; None at the end."""
        window = self._window
        if not window.ensure(position, 8):
            if position == window.base + len(window.buf):
                return None
            raise Truncated("it ends within an element")
        index = position - window.base
        if implicit:
            group, element, length = IMPLICIT.unpack_from(window.buf, index)
            return group << 16 | element, b"", length, position + 8
        group, element, vr, short = EXPLICIT.unpack_from(window.buf, index)
        if vr in SHORT_VRS:
            return group << 16 | element, vr, short, position + 8
        if vr in LONG_VRS:
            if not window.ensure(position, 12):
                raise Truncated("it ends within an element")
            (length,) = LONG.unpack_from(window.buf, position - window.base + 8)
            return group << 16 | element, vr, length, position + 12
        if group == 0xFFFE:  # items and delimiters have no VR (PS3.5 §7.5)
            (length,) = LONG.unpack_from(window.buf, index + 4)
            return group << 16 | element, b"", length, position + 8
        raise Odd("an unknown value representation")

    def _holds_items(self, value: int, length: int) -> bool:
        """Whether a value without VR looks like a sequence."""
        return length >= 8 and self._window.take(value, 4) == _ITEM_BYTES

    def _opened(self, vr: bytes, end: int | None, bound: int | None, *, implicit: bool) -> Level:
        """The container that an element of this VR opens."""
        if vr in (b"SQ", b""):
            return Level("sequence", end, bound, implicit)
        if vr == b"UN":  # PS3.5 §6.2.2 note 2: implicit, whatever the transfer syntax
            return Level("sequence", end, bound, True)
        return Level("fragments", end, bound, implicit)

    def _container(self, position: int, outer: Level) -> int:
        """Walk a container and all within it; return where it ends."""
        stack = [outer]
        while stack:
            level = stack[-1]
            if level.end is not None and position >= level.end:
                stack.pop()
                continue
            try:
                position = self._step(position, level, stack)
            except (_Malformed, Odd) as trouble:
                position = self._recover(stack, trouble)
            if len(stack) > 2 * DEPTH_MAX:  # a sequence and an item for each depth
                raise TooDeep(f"more than {DEPTH_MAX} sequences within one another")
        return position

    def _recover(self, stack: list[Level], trouble: P2PShareError) -> int:
        """Leave the innermost container whose length is known; return where it ends."""
        while stack:
            level = stack.pop()
            if level.end is not None:
                if isinstance(trouble, _Malformed) and trouble.what not in self.found.warnings:
                    self.found.warnings.append(trouble.what)
                return level.end
        if isinstance(trouble, Odd):
            raise trouble
        raise Unreadable(trouble.what)

    def _step(self, position: int, level: Level, stack: list[Level]) -> int:
        """Go over one element within `level`; return where the next begins."""
        element = self._element(position, level.implicit)
        if element is None:
            raise Truncated("it ends within a sequence")
        tag, vr, length, value = element
        if level.kind == "item":
            return self._step_item(tag, vr, length, value, level, stack)
        if tag == SEQUENCE_END:
            if level.end is None:
                stack.pop()
            return value
        if tag != ITEM:
            raise _Malformed("a sequence holds something else than items")
        end = self._end_of(value, length, level)
        if level.kind == "fragments":
            if end is None:
                raise _Malformed("a fragment has no length")
            return end
        stack.append(Level("item", end, level.bound if end is None else end, level.implicit))
        return value

    def _step_item(self, tag: int, vr: bytes, length: int, value: int, level: Level, stack: list[Level]) -> int:
        """Go over one element of an item."""
        if tag == ITEM_END:
            if level.end is None:
                stack.pop()
            return value
        if tag >> 16 == 0xFFFE:
            raise _Malformed("an item is not ended")
        end = self._end_of(value, length, level)
        if end is None:
            stack.append(self._opened(vr, None, level.bound, implicit=level.implicit))
            return value
        if vr == b"SQ" and length:
            stack.append(Level("sequence", end, end, level.implicit))
            return value
        if level.implicit and self._holds_items(value, length):
            stack.append(Level("sequence", end, end, implicit=True))
            return value
        return end

    def _end_of(self, value: int, length: int, level: Level) -> int | None:
        """Where a nested element ends, None if its length is undefined; it may not end after what it is in."""
        if length == UNDEFINED:
            return None
        end = value + length
        if level.bound is not None and end > level.bound:
            raise _Malformed("a nested length is longer than what it is in")
        if level.bound is None and self._window.lacks(end):
            raise Truncated("it ends within a sequence")
        return end

"""Structured data as docs/format.md §1 has it: a small msgpack decoder, and the shape that a value must have.

Written from the msgpack specification and that page alone; it shares no code with p2pshare.
"""

from collections.abc import Callable
from typing import Any, Final

Shape = Callable[[Any], None]

_DEPTH_MAX: Final = 32
_WIDTHS: Final = {  # first byte: what follows it, and in how many bytes its length or value is written
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4), 0xCC: ("uint", 1), 0xCD: ("uint", 2), 0xCE: ("uint", 4),
    0xCF: ("uint", 8), 0xD0: ("int", 1), 0xD1: ("int", 2), 0xD2: ("int", 4), 0xD3: ("int", 8), 0xD9: ("str", 1),
    0xDA: ("str", 2), 0xDB: ("str", 4), 0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip


class Refused(Exception):
    """The input is not what docs/format.md says it must be."""


def unpack(data: bytes, shape: Shape) -> Any:
    """The one value that `data` holds, if it has `shape`."""
    decoder = _Decoder(data)
    value = decoder.value(0)
    if decoder.at != len(data):
        raise Refused("bytes after a packed value")
    shape(value)
    return value


def refuse_unless(true: object, what: str) -> None:
    """Raise Refused, saying what is wrong, unless `true`."""
    if not true:
        raise Refused(what)


def octets(length: int | None = None) -> Shape:
    """A byte string, of `length` bytes if that is given."""
    return lambda value: refuse_unless(type(value) is bytes and length in (None, len(value)), "a byte string")


def whole(low: int = 0, high: int = (1 << 63) - 1) -> Shape:
    """An integer from `low` to `high`."""
    return lambda value: refuse_unless(type(value) is int and low <= value <= high, "a number")


def text(*allowed: str) -> Shape:
    """A text, one of those given if any are."""
    return lambda value: refuse_unless(type(value) is str and (not allowed or value in allowed), "a text")


def boolean(value: Any) -> None:
    """True or false."""
    refuse_unless(type(value) is bool, "a truth value")


def maybe(shape: Shape) -> Shape:
    """Nil, or `shape`."""
    return lambda value: None if value is None else shape(value)


def listed(shape: Shape, most: int | None = None) -> Shape:
    """An array of at most `most` values, each with `shape`."""

    def check(value: Any) -> None:
        refuse_unless(type(value) is list and (most is None or len(value) <= most), "a list")
        for each in value:
            shape(each)

    return check


def record(**shapes: Shape) -> Shape:
    """A map with exactly these keys."""

    def check(value: Any) -> None:
        refuse_unless(type(value) is dict and set(value) == set(shapes), "a structure with other fields")
        for name, shape in shapes.items():
            shape(value[name])

    return check


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def value(self, depth: int) -> Any:
        refuse_unless(depth < _DEPTH_MAX, "nested too deeply")
        first = self._take(1)[0]
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 0x100
        if first in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[first]
        kind, length = self._kind(first)
        match kind:
            case "uint" | "int":
                return int.from_bytes(self._take(length), "big", signed=kind == "int")
            case "bin":
                return self._take(length)
            case "str":
                return self._text(length)
            case "array":
                return [self.value(depth + 1) for _ in range(length)]
            case _:
                return self._map(length, depth)

    def _kind(self, first: int) -> tuple[str, int]:
        if first < 0xC0:
            return (
                ("map", first & 15) if first < 0x90 else ("array", first & 15) if first < 0xA0 else ("str", first & 31)
            )
        refuse_unless(first in _WIDTHS, "a msgpack type that is not used here")
        kind, width = _WIDTHS[first]
        return (kind, width) if kind in ("uint", "int") else (kind, int.from_bytes(self._take(width), "big"))

    def _map(self, length: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(length):
            key = self.value(depth + 1)
            refuse_unless(type(key) is str and key not in found, "a map's key")
            found[key] = self.value(depth + 1)
        return found

    def _text(self, length: int) -> str:
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            raise Refused("a text that is not UTF-8") from None

    def _take(self, length: int) -> bytes:
        taken = self._data[self.at : self.at + length]
        refuse_unless(len(taken) == length, "the data ends too early")
        self.at += length
        return taken

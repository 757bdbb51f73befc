"""How a file begins: preamble, file meta information (PS3.10 §7.1), and how its data set is encoded.

Rule 1: files without preamble, without meta information or without either are read too, if they begin as a data set
does; anything else is not DICOM.
Rule 2: where the declared encoding contradicts the first element, the element is believed (pydicom does the same).
"""

from dataclasses import dataclass, field
from typing import Final

from p2pshare.dicom.scan import EXPLICIT, IMPLICIT, LONG, LONG_VRS, SHORT_VRS, VALUE_MAX
from p2pshare.dicom.tape import Window
from p2pshare.errors import NotDicom, Truncated

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
_IMPLICIT: Final = frozenset((IMPLICIT_LITTLE, "1.2.840.113619.5.2"))  # the second: GE private, big-endian pixels
_DEFLATED: Final = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))

_SOP_CLASS: Final = 0x0002
_SOP_INSTANCE: Final = 0x0003
_SYNTAX: Final = 0x0010
_META: Final = 0x0002
_FIRST: Final = 0x0008  # the group that a data set with a SOP Instance UID begins with


@dataclass(slots=True)
class Opening:
    """What is known before the data set, which begins at `start`."""

    marked: bool  # it carries DICM
    start: int
    syntax: str
    sop_class: str
    sop_uid: str
    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False
    warnings: list[str] = field(default_factory=list)


def read_opening(window: Window) -> Opening:
    """Read up to the data set.

    Raises:
        NotDicom: it begins neither with the marker nor as a data set does.
        Truncated: nothing follows.
    """
    head = window.take(0, 132)
    marked, position = _marker(head)
    if not marked and not _begins_a_data_set(head[:8]):
        raise NotDicom("it does not begin as a DICOM file does")
    start, meta = _read_meta(window, position)
    opening = Opening(
        marked=marked,
        start=start,
        syntax=_uid(meta.get(_SYNTAX, b"")),
        sop_class=_uid(meta.get(_SOP_CLASS, b"")),
        sop_uid=_uid(meta.get(_SOP_INSTANCE, b"")),
    )
    if head[:2] == b"MZ" or head[:4] == b"\x7fELF":
        opening.warnings.append("it begins like a program; never run it")
    _choose_encoding(opening, window.take(start, 8))
    return opening


def _marker(head: bytes) -> tuple[bool, int]:
    if head[128:132] == b"DICM":
        return True, 132
    if head[:4] == b"DICM":
        return True, 4
    return False, 0


def _begins_a_data_set(head: bytes) -> bool:
    """Whether these 8 bytes are a plausible first element of group 2 or 8."""
    if len(head) < 8:
        return False
    group, element, vr, _ = EXPLICIT.unpack(head)
    known = vr in SHORT_VRS or vr in LONG_VRS
    if group in (_META, _FIRST):
        _, _, length = IMPLICIT.unpack(head)
        return known or (element < 0x2000 and length <= VALUE_MAX)
    return known and group == _FIRST << 8  # big-endian


def _read_meta(window: Window, position: int) -> tuple[int, dict[int, bytes]]:
    """The elements of group 2 at `position`, and where they end; their Group Length is often wrong and not needed."""
    meta: dict[int, bytes] = {}
    while window.ensure(position, 8):
        group, element, vr, length = EXPLICIT.unpack_from(window.buf, position - window.base)
        if group != _META:
            break
        size = 8
        if vr in LONG_VRS:
            (length,), size = LONG.unpack(window.take(position, 12)[8:].ljust(4, b"\0")), 12
        elif vr not in SHORT_VRS:
            (length,) = LONG.unpack_from(window.buf, position - window.base + 4)
        position += size
        if window.lacks(position + length):
            raise Truncated("its file header goes on past the end of the file")
        meta[element] = window.take(position, min(length, VALUE_MAX))
        position += length
    return position, meta


def _choose_encoding(opening: Opening, first: bytes) -> None:
    """Set the encoding from the transfer syntax and the first 8 bytes of the data set."""
    if opening.syntax in _DEFLATED:
        opening.deflated = True
        return
    if len(first) < 8:
        raise Truncated("it ends before its data begins")
    group, _, vr, _ = EXPLICIT.unpack(first)
    opening.implicit = not (vr.isalpha() and vr.isupper())
    opening.big_endian = opening.syntax == EXPLICIT_BIG
    if not opening.syntax:
        opening.big_endian = not opening.implicit and group >= 0x0400
        opening.syntax = IMPLICIT_LITTLE if opening.implicit else (EXPLICIT_LITTLE, EXPLICIT_BIG)[opening.big_endian]
        opening.warnings.append("it does not say how it is encoded; that was found by looking")
    elif opening.implicit != (opening.syntax in _IMPLICIT):
        opening.warnings.append("it is encoded in another way than it says")


def _uid(value: bytes) -> str:
    return value.decode("latin-1").strip(" \0")

"""One file to one report; runs only in a sandboxed worker.

Rule 1: the record is made of the first `covered` bytes and the file's size alone: from the beginning to a little
after the header of the pixel data, or the whole of a file without pixel data or with a deflated data set.
Rule 2: what comes after is looked at for completeness only: it can refuse a file, not change whose it is.
Rule 3: whatever the bytes are, the answer is a report.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2pshare.dicom import record
from p2pshare.dicom.fallback import SNAPSHOT_MAX, read_elements
from p2pshare.dicom.inflate import Inflater
from p2pshare.dicom.pixels import Geometry, check_encapsulated, check_native
from p2pshare.dicom.preamble import Opening, read_opening
from p2pshare.dicom.readers import PrefixEnds, Reader
from p2pshare.dicom.scan import Elements, Odd, PixelElement, Scanner
from p2pshare.dicom.sources import NEEDS_MORE, NOT_CHECKED_TO_END, Source, reader_of
from p2pshare.dicom.tape import Tape, Window
from p2pshare.errors import (
    BadIdentity,
    Bomb,
    MediumTrouble,
    NotDicom,
    P2PShareError,
    TooDeep,
    Truncated,
    Unreadable,
)
from p2pshare.model.dicom import ReadReport, ReadVerdict
from p2pshare.model.limits import MIB

_DICOMDIR: Final = "1.2.840.10008.1.3.10"
_VERDICTS: Final[dict[type[P2PShareError], ReadVerdict]] = {
    NotDicom: ReadVerdict.NOT_DICOM,
    PrefixEnds: ReadVerdict.TRUNCATED,
    Truncated: ReadVerdict.TRUNCATED,
    Bomb: ReadVerdict.BOMB,
    TooDeep: ReadVerdict.TOO_DEEP,
    BadIdentity: ReadVerdict.BAD_IDENTITY,
}


def read_report(source: Source) -> ReadReport:
    """What `source` is: a DICOM instance with its record, or why not."""
    reader = reader_of(source)
    try:
        return _read(reader)
    except PrefixEnds:
        return refusal(ReadVerdict.TRUNCATED, NEEDS_MORE, reader.size)
    except (Unreadable, MediumTrouble) as error:
        return refusal(_VERDICTS.get(type(error), ReadVerdict.BROKEN), error.what, reader.size)


def refusal(verdict: ReadVerdict, why: str, size: int) -> ReadReport:
    """A report without a record."""
    return ReadReport(verdict, why, None, size, 0, b"")


@dataclass(slots=True)
class _DataSet:
    """A data set taken apart; `peek` and `reaches` look at what lies behind its header, in the same offsets."""

    found: Elements
    tape: Tape
    size: int | None  # None while nobody has unpacked it to its end
    peek: Callable[[int, int], bytes]
    reaches: Callable[[int], bool]


def _read(reader: Reader) -> ReadReport:
    tape = Tape(reader)
    window = Window(tape.read, end=reader.size)
    opening = read_opening(window)
    try:
        data = _take_apart(reader, tape, window, opening)
        if opening.sop_class == _DICOMDIR or record.DIRECTORY_RECORDS in data.found.values:
            return refusal(ReadVerdict.DICOMDIR, "it is the index of a disc", reader.size)
        return _instance(data, opening, reader.size)
    except (PrefixEnds, Truncated, TooDeep, Bomb):
        raise
    except Unreadable as error:
        if opening.marked:
            raise
        raise NotDicom(f"it has no DICOM marker, and {error.what}") from None


def _take_apart(reader: Reader, tape: Tape, window: Window, opening: Opening) -> _DataSet:
    """Find the elements: by the scanner, and where that is not sure, by pydicom."""
    if opening.deflated:
        return _inflated(tape, window, opening)
    if not opening.big_endian:
        try:
            found = _scan(window, opening.start, implicit=opening.implicit)
            return _DataSet(found, tape, reader.size, reader.read_at, lambda position: position <= reader.size)
        except Odd:
            pass
    again = Tape(reader)
    snapshot = _snapshot(again.read, opening.start + SNAPSHOT_MAX)
    found = read_elements(
        snapshot[opening.start :],
        base=opening.start,
        whole=len(snapshot) == reader.size,
        implicit=opening.implicit,
        big_endian=opening.big_endian,
    )
    return _DataSet(found, again, reader.size, reader.read_at, lambda position: position <= reader.size)


def _inflated(tape: Tape, window: Window, opening: Opening) -> _DataSet:
    """A deflated data set (PS3.5 §A.5); offsets are those of what it unpacks to, and its size is not known."""
    rest = [window.take(opening.start, len(window.buf) - (opening.start - window.base))]
    inflater = Inflater(lambda: rest.pop() if rest and rest[0] else tape.read(MIB))

    def unpack(length: int) -> bytes:
        piece = inflater.read(length)
        inflater.refuse_bomb()
        return piece

    inner = Window(unpack)
    first = inner.take(0, 6)
    implicit = not (first[4:6].isalpha() and first[4:6].isupper())
    try:
        found = _scan(inner, 0, implicit=implicit)
    except Odd:
        raise Unreadable("its compressed data set is irregular") from None
    return _DataSet(found, tape, None, inner.take, inner.reaches)


def _scan(window: Window, start: int, *, implicit: bool) -> Elements:
    scanner = Scanner(window, implicit=implicit, wanted=record.WANTED)
    scanner.walk(start)
    return scanner.found


def _snapshot(read: Callable[[int], bytes], limit: int) -> bytes:
    pieces: list[bytes] = []
    while limit > 0 and (piece := read(min(MIB, limit))):
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)


def _instance(data: _DataSet, opening: Opening, size: int) -> ReadReport:
    """The report on a data set whose elements were found."""
    values = record.Values(data.found)
    for warning in opening.warnings:
        values.warn(warning)
    uids = record.identity(values, opening.sop_uid)
    image, pixels, why = record.geometry(values), data.found.pixels, ""
    if pixels is None:
        if image.rows and image.columns:
            values.warn("it describes an image and has none")
    else:
        try:
            _check_pixels(pixels, image, data, opening, values)
        except PrefixEnds:
            why = NOT_CHECKED_TO_END
    if opening.deflated or pixels is None:
        data.tape.drain()
    result = record.record_of(
        values,
        uids,
        sop_class=opening.sop_class,
        syntax=opening.syntax,
        image=image if pixels else None,
        encapsulated=pixels is not None and pixels.length is None,
    )
    return ReadReport(ReadVerdict.INSTANCE, why, result, size, data.tape.position, data.tape.digest())


def _check_pixels(
    pixels: PixelElement, image: Geometry, data: _DataSet, opening: Opening, values: record.Values
) -> None:
    """Raise when the pixel data is not all there; warn of what follows it, if that is not DICOM."""
    if pixels.length is None:
        end = check_encapsulated(pixels, image, opening.syntax, data.peek)
    else:
        end = pixels.position + pixels.length
        if not data.reaches(end):
            raise Truncated("its image data goes on past the end of the file")
        check_native(pixels.length, image)
    if data.size is None or opening.big_endian or end >= data.size:
        return
    try:
        _walk_rest(data, end, implicit=opening.implicit)
    except PrefixEnds:
        raise
    except P2PShareError:
        values.warn("what follows its image data is cut off, or is not DICOM")


def _walk_rest(data: _DataSet, position: int, *, implicit: bool) -> None:
    """Walk the elements after pixel data."""

    def feed(length: int) -> bytes:
        nonlocal position
        piece = data.peek(position, length)
        position += len(piece)
        return piece

    window = Window(feed, base=position, end=data.size)
    Scanner(window, implicit=implicit, wanted=()).walk(position)

"""pydicom as the judge of last resort: data sets that the scanner does not find plainly regular.

Rule 1: pydicom sees a snapshot in memory, bounded, so that what was hashed is what it parsed.
Rule 2: it is asked for raw values only and converts nothing; text, numbers and UIDs are ours to judge.
"""

import io
import struct
import warnings
from typing import Final

from pydicom import config
from pydicom.dataelem import RawDataElement
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag

from p2pshare.dicom.scan import LONG_VRS, PIXELS, UNDEFINED, VALUE_MAX, Elements, PixelElement
from p2pshare.errors import TooDeep, Truncated, Unreadable
from p2pshare.model.limits import MIB

SNAPSHOT_MAX: Final = 32 * MIB  # attributes before pixel data; pydicom needs a few times as much
_TOO_LONG: Final = f"it is irregular, and longer than the {SNAPSHOT_MAX // MIB} MiB that are looked through"

# what pydicom was seen to raise on damaged data; MemoryError and signals are the worker's to handle
_TROUBLE: Final = (
    AttributeError, EOFError, IndexError, KeyError, NotImplementedError, OSError, OverflowError, TypeError, ValueError,
    struct.error,
)  # fmt: skip

config.settings.reading_validation_mode = config.IGNORE


def read_elements(snapshot: bytes, *, base: int, whole: bool, implicit: bool, big_endian: bool) -> Elements:
    """Read the data set that begins `snapshot`, up to pixel data; offsets found are `base` and more.

    `whole` says that the snapshot ends where the data does.

    Raises:
        Truncated: an element runs past the end.
        TooDeep: its sequences are nested too deeply to follow.
        Unreadable: pydicom does not make sense of it either.
    """
    stream = io.BytesIO(snapshot)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ours are in the record
            elements = list(data_element_generator(stream, implicit, not big_endian, stop_when=_is_pixels))
    except RecursionError:
        raise TooDeep("its sequences are nested too deeply to follow") from None
    except _TROUBLE as error:
        raise Unreadable(f"neither reader makes sense of it ({type(error).__name__})") from None
    found = Elements(big_endian=big_endian)
    for element in elements:
        _keep(found, element, len(snapshot), whole=whole)
    found.pixels = _pixels(snapshot, stream.tell(), base, implicit=implicit, big_endian=big_endian)
    if found.pixels is None and not whole:
        raise Unreadable(_TOO_LONG)
    return found


def _is_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag in PIXELS


def _keep(found: Elements, element: object, size: int, *, whole: bool) -> None:
    """Enter a raw element; sequences, which pydicom has parsed already, hold nothing that is wanted."""
    if not isinstance(element, RawDataElement):
        return
    value = element.value
    if element.length != UNDEFINED and element.value_tell + element.length > size:
        if not whole:
            raise Unreadable(_TOO_LONG)
        raise Truncated(f"element {element.tag} goes on past the end of the file")
    if isinstance(value, bytes):
        found.values[int(element.tag)] = value[:VALUE_MAX]


def _pixels(snapshot: bytes, start: int, base: int, *, implicit: bool, big_endian: bool) -> PixelElement | None:
    """The pixel data element at `start`, where pydicom stopped; None at the end."""
    order = ">" if big_endian else "<"
    head = snapshot[start : start + 12]
    if len(head) < 8:
        return None
    group, element, vr, length = struct.Struct(order + "HH2sH").unpack_from(head)
    tag = group << 16 | element
    if tag not in PIXELS:
        return None
    size = 8
    if implicit or not vr.isalpha():
        (length,) = struct.Struct(order + "L").unpack_from(head, 4)
    elif vr in LONG_VRS and len(head) == 12:
        (length,) = struct.Struct(order + "L").unpack_from(head, 8)
        size = 12
    return PixelElement(tag, base + start + size, None if length == UNDEFINED else length)

"""The directory of a ZIP archive (APPNOTE.TXT), read with bounds: nothing is unpacked and no name is believed.

Rule 1: the directory is checked as a whole before its first entry is used: how many, how large, none overlapping.
Rule 2: memory is some tens of bytes an entry for that check, and one block of the directory.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from p2pshare.dicom.readers import read_exactly
from p2pshare.errors import Bomb, Malformed, TooLarge, Unreadable
from p2pshare.model.limits import GIB, KIB, MIB

ENTRIES_MAX: Final = 500_000
DIRECTORY_MAX: Final = 128 * MIB
RATIO_FREE: Final = 8 * MIB  # of one entry
TOTAL_FREE: Final = GIB
RATIO_MAX: Final = 200

_END: Final = Struct("<4s4H2LH")  # §4.3.16
_LOCATOR64: Final = Struct("<4sLQL")  # §4.3.15
_END64: Final = Struct("<4sQ2H2L4Q")  # §4.3.14
_CENTRAL: Final = Struct("<4s6H3L5H2L")  # §4.3.12
_LOCAL: Final = Struct("<4s5H3L2H")  # §4.3.7
_COMMENT_MAX: Final = 65535
_BLOCK: Final = 256 * KIB
_FULL16: Final = 0xFFFF
_FULL32: Final = 0xFFFFFFFF
_ENCRYPTED: Final = 0x2041  # §4.4.4: bits 0, 6 and 13
_UTF8: Final = 0x0800
_METHODS: Final = (0, 8)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as the directory describes it; `name` is foreign and for showing only."""

    name: str
    header_offset: int
    compressed_size: int
    size: int
    method: int
    crc: int
    encrypted: bool

    @property
    def is_folder(self) -> bool:
        """Whether it stands for a folder."""
        return self.name.endswith(("/", "\\")) and self.size == 0

    @property
    def problem(self) -> str:
        """Why it cannot be read, in words; "" if it can."""
        if self.encrypted:
            return "it is password-protected"
        if self.method not in _METHODS:
            return f"it is compressed in a way that is not supported (method {self.method})"
        if self.size > RATIO_FREE and self.size > RATIO_MAX * self.compressed_size:
            return f"it would unpack to more than {RATIO_MAX} times its size"
        return ""


class ZipDirectory:
    """The entries of the archive behind a descriptor of `size` bytes.

    Raises:
        Malformed: it is not a ZIP archive, is damaged, or its entries overlap.
        TooLarge: it has too many entries.
        Bomb: its entries would unpack to far more than the archive.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._start, self._length, self._count, self._shift = _find_directory(fd, size)
        if self._count > ENTRIES_MAX or self._length > DIRECTORY_MAX:
            raise TooLarge("the archive's directory")
        self._check()

    def __iter__(self) -> Iterator[Entry]:
        """The entries, in the directory's order."""
        position, end = self._start, self._start + self._length
        block, base = b"", position
        for _ in range(self._count):
            need = min(end - position, _CENTRAL.size + 3 * _FULL16)
            if base + len(block) < position + need:
                block, base = read_exactly(self._fd, position, max(_BLOCK, need)), position
            entry, length = _parse_entry(block[position - base : position - base + need], self._shift)
            position += length
            yield entry

    def _check(self) -> None:
        offsets, ends = array("Q"), array("Q")
        packed = unpacked = 0
        for entry in self:
            offsets.append(entry.header_offset)
            ends.append(entry.header_offset + _LOCAL.size + entry.compressed_size)
            packed += entry.compressed_size
            unpacked += entry.size
        if unpacked > TOTAL_FREE and unpacked > RATIO_MAX * packed:
            raise Bomb("the archive")
        last = 0
        for index in sorted(range(len(offsets)), key=offsets.__getitem__):
            if offsets[index] < last:
                raise Malformed("the archive's entries overlap")
            last = ends[index]
        if last > self._start:
            raise Malformed("the archive's entries go on into its directory")


def data_offset(fd: int, entry: Entry) -> int:
    """Where the entry's data begins, by its local header.

    Raises:
        Unreadable: there is no such header, or it says something else than the directory.
    """
    head = read_exactly(fd, entry.header_offset, _LOCAL.size)
    if len(head) < _LOCAL.size:
        raise Unreadable("the archive ends before it")
    magic, _, flags, method, _, _, _, _, _, name_length, extra_length = _LOCAL.unpack(head)
    if magic != b"PK\x03\x04" or method != entry.method or bool(flags & _ENCRYPTED) != entry.encrypted:
        raise Unreadable("the archive contradicts itself about it")
    return entry.header_offset + _LOCAL.size + int(name_length) + int(extra_length)


def _find_directory(fd: int, size: int) -> tuple[int, int, int, int]:
    """Offset, length and entries of the directory, and by how much all offsets in it are short."""
    tail_start = max(0, size - _END.size - _COMMENT_MAX)
    tail = read_exactly(fd, tail_start, size - tail_start)
    found = tail.rfind(b"PK\x05\x06", 0, max(0, len(tail) - _END.size + 4))
    if found < 0:
        raise Malformed("it is not a ZIP archive, or its end is missing")
    _, disk, first_disk, _, count, length, offset, _ = _END.unpack_from(tail, found)
    end = tail_start + found
    if disk not in (0, _FULL16) or first_disk not in (0, _FULL16):
        raise Malformed("the archive is one part of several")
    if count == _FULL16 or length == _FULL32 or offset == _FULL32:
        count, length, offset, end = _find_directory64(fd, end) or (count, length, offset, end)
    shift = end - length - offset  # bytes put before the archive, as self-extracting ones have
    if shift < 0 or length < count * _CENTRAL.size:
        raise Malformed("the archive's directory is damaged")
    return end - length, length, count, shift


def _find_directory64(fd: int, end: int) -> tuple[int, int, int, int] | None:
    """Entries, length and offset of a ZIP64 directory and where it ends; None if it is not one after all."""
    locator = read_exactly(fd, end - _LOCATOR64.size, _LOCATOR64.size) if end >= _LOCATOR64.size else b""
    if len(locator) < _LOCATOR64.size or not locator.startswith(b"PK\x06\x07"):
        return None
    end -= _LOCATOR64.size + _END64.size
    record = read_exactly(fd, end, _END64.size) if end >= 0 else b""
    if len(record) < _END64.size or not record.startswith(b"PK\x06\x06"):
        raise Malformed("the archive's directory is damaged")
    _, _, _, _, disk, first_disk, _, count, length, offset = _END64.unpack(record)
    if disk or first_disk:
        raise Malformed("the archive is one part of several")
    return count, length, offset, end


def _parse_entry(data: bytes, shift: int) -> tuple[Entry, int]:
    """The entry that `data` begins with, and its length in the directory."""
    if len(data) < _CENTRAL.size or not data.startswith(b"PK\x01\x02"):
        raise Malformed("the archive's directory is damaged")
    fields = _CENTRAL.unpack_from(data)
    flags, method, crc, packed, size = fields[3], fields[4], fields[7], fields[8], fields[9]
    name_length, extra_length, comment_length, offset = fields[10], fields[11], fields[12], fields[16]
    length = _CENTRAL.size + name_length + extra_length + comment_length
    if len(data) < length:
        raise Malformed("the archive's directory is damaged")
    name = data[_CENTRAL.size : _CENTRAL.size + name_length]
    extra = data[_CENTRAL.size + name_length : _CENTRAL.size + name_length + extra_length]
    size, packed, offset = _wide(extra, (size, packed, offset))
    entry = Entry(
        name=name.decode("utf-8" if flags & _UTF8 else "cp437", errors="replace"),
        header_offset=offset + shift,
        compressed_size=packed,
        size=size,
        method=method,
        crc=crc,
        encrypted=bool(flags & _ENCRYPTED),
    )
    return entry, length


def _wide(extra: bytes, narrow: tuple[int, int, int]) -> tuple[int, int, int]:
    """Size, packed size and offset, each from the ZIP64 field (§4.5.3) where the narrow one is full."""
    if _FULL32 not in narrow:
        return narrow
    position = 0
    while position + 4 <= len(extra):
        kind, length = int.from_bytes(extra[position : position + 2], "little"), extra[position + 2]
        length |= extra[position + 3] << 8
        if kind == 1:
            words = iter(Struct(f"<{min(length, len(extra) - position - 4) // 8}Q").unpack_from(extra, position + 4))
            size, packed, offset = (next(words, _FULL32) if value == _FULL32 else value for value in narrow)
            return size, packed, offset
        position += 4 + length
    return narrow

"""A small encoder of DICOM, right and wrong, that shares no code with the readers; and ways to have bytes read."""

import os
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from p2pshare.dicom.parse import read_report
from p2pshare.dicom.sources import FileSource
from p2pshare.dicom.workers import Workers
from p2pshare.model.dicom import ReadReport

_LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}


class Encoder:
    """Elements and files as bytes."""

    undefined = 0xFFFFFFFF
    syntax = "1.2.840.10008.1.2.1"

    @staticmethod
    def element(tag: int, vr: str, value: bytes = b"", length: int | None = None) -> bytes:
        """An Explicit VR Little Endian element, with a length that may lie."""
        length = len(value) if length is None else length
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
        packed = struct.pack("<HL", 0, length) if vr in _LONG else struct.pack("<H", length)
        return head + packed + value

    @staticmethod
    def implicit(tag: int, value: bytes = b"", length: int | None = None) -> bytes:
        """An Implicit VR Little Endian element."""
        return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value

    def text(self, tag: int, vr: str, value: bytes | str) -> bytes:
        """A padded text element."""
        data = value.encode("latin-1") if isinstance(value, str) else value
        return self.element(tag, vr, data + (b"\0" if vr == "UI" else b" ") * (len(data) % 2))

    def head(self, syntax: str | None = None, *, preamble: bytes = bytes(128)) -> bytes:
        """Preamble, marker and file meta information."""
        meta = self.text(0x00020010, "UI", syntax or self.syntax)
        return preamble + b"DICM" + self.element(0x00020000, "UL", struct.pack("<L", len(meta))) + meta

    def identity(self, study: str = "1.2.3", series: str = "1.2.3.4", sop: str = "1.2.3.4.5") -> bytes:
        """The UIDs of an instance, without what lies between."""
        return (
            self.text(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2")
            + self.text(0x00080018, "UI", sop)
            + self.text(0x00080060, "CS", "CT")
            + self.text(0x00100010, "PN", "Doe^Jane")
            + self.text(0x0020000D, "UI", study)
            + self.text(0x0020000E, "UI", series)
        )

    def image(self, rows: int = 4, columns: int = 4, *, bits: int = 16, frames: int | None = None) -> bytes:
        """The elements that describe an image."""
        count = self.text(0x00280008, "IS", str(frames)) if frames is not None else b""
        return (
            self.element(0x00280002, "US", struct.pack("<H", 1))
            + count
            + self.element(0x00280010, "US", struct.pack("<H", rows))
            + self.element(0x00280011, "US", struct.pack("<H", columns))
            + self.element(0x00280100, "US", struct.pack("<H", bits))
        )

    def file(self, *, syntax: str | None = None, preamble: bytes = bytes(128)) -> bytes:
        """A whole, small CT image."""
        pixels = self.element(0x7FE00010, "OW", bytes(32))
        return self.head(syntax, preamble=preamble) + self.identity() + self.image() + pixels

    def fragments(self, *pieces: bytes, ended: bool = True) -> bytes:
        """Encapsulated pixel data: an empty offset table and `pieces`."""
        items = b"".join(self.implicit(0xFFFEE000, piece) for piece in (b"", *pieces))
        return self.element(0x7FE00010, "OB", items, self.undefined) + (self.implicit(0xFFFEE0DD) if ended else b"")


@pytest.fixture
def dicom() -> Encoder:
    return Encoder()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[bytes | Path], FileSource]]:
    """Open bytes, or a file, as a source; closed after the test."""
    fds: list[int] = []

    def open_(data: bytes | Path) -> FileSource:
        path = data if isinstance(data, Path) else tmp_path / f"source-{len(fds)}"
        if isinstance(data, bytes):
            path.write_bytes(data)
        fds.append(os.open(path, os.O_RDONLY))
        return FileSource(fds[-1], path.stat().st_size)

    yield open_
    for fd in fds:
        os.close(fd)


@pytest.fixture
def report_of(opened: Callable[[bytes | Path], FileSource]) -> Callable[[bytes | Path], ReadReport]:
    """Read bytes, or a file, here in this process."""
    return lambda data: read_report(opened(data))


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    async with await Workers.start(2, wall_seconds=20.0) as running:
        yield running

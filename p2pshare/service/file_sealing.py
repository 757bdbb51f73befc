"""Sealing files: read once, hashed on the way, and sealed; run in threads, a few small files to a job.

Rule 1: what a worker read counts only if its bytes are the bytes that were sealed.
Rule 2: one file's trouble is that file's: the others of the job are sealed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2pshare.crypto.codec import Codec
from p2pshare.crypto.stream import ObjectSealer, SealedChunk
from p2pshare.dicom import sources
from p2pshare.dicom.sources import Source
from p2pshare.errors import MediumTrouble, Unreadable
from p2pshare.model.dicom import ReadReport
from p2pshare.model.limits import CHUNK_SIZE
from p2pshare.model.objects import ObjectShape, chunk_count
from p2pshare.service.looking import ReadFile
from p2pshare.service.sealing import codec_for, shape_of


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file sealed whole; `chunks` is empty where they were handed on already."""

    key: bytes = field(repr=False)
    chunks: tuple[SealedChunk, ...]
    shape: ObjectShape
    sha256: bytes


def seal_files(files: Sequence[ReadFile]) -> list[SealedFile | Unreadable | MediumTrouble]:
    """Seal small files whole, each under a key of its own; for each, in order, the result or what was wrong.

    Each is closed when it was read.
    """
    return [_sealed_or_why(file) for file in files]


def hash_file(source: Source) -> bytes:
    """The SHA-256 of a source's plaintext."""
    whole = hashlib.sha256()
    for piece in sources.read_chunks(source, CHUNK_SIZE):
        whole.update(piece)
    return whole.digest()


class Hashing:
    """A source's plaintext, piece by piece, hashed on the way and compared with what the worker read."""

    def __init__(self, source: Source, report: ReadReport) -> None:
        """Begin at the first byte of `source`."""
        self._pieces = sources.read_chunks(source, CHUNK_SIZE)
        self._report = report
        self._whole = hashlib.sha256()
        self._prefix = hashlib.sha256()
        self._size = 0

    def next(self) -> bytes:
        """The next piece: one chunk's plaintext."""
        piece = next(self._pieces)
        self._whole.update(piece)
        if self._size < self._report.covered:
            self._prefix.update(memoryview(piece)[: self._report.covered - self._size])
        self._size += len(piece)
        return piece

    def finish(self) -> bytes:
        """The SHA-256 of the whole. Raises Unreadable when it is not what the worker read."""
        same = self._prefix.digest() == self._report.prefix_sha256 and self._size == self._report.size
        if self._report.record is not None and not same:
            raise Unreadable("it changed while it was being read")
        return self._whole.digest()


def codec_of(file: ReadFile) -> Codec:
    """The codec to try for a file."""
    return codec_for(file.report.record)


def _sealed_or_why(file: ReadFile) -> SealedFile | Unreadable | MediumTrouble:
    try:
        return _seal(file.source, file.report, codec_of(file))
    except (Unreadable, MediumTrouble) as error:
        return error
    finally:
        sources.close(file.source)


def _seal(source: Source, report: ReadReport, codec: Codec) -> SealedFile:
    sealer = ObjectSealer()
    plaintext = Hashing(source, report)
    count = chunk_count(source.size)
    chunks = tuple(
        sealer.seal(n, n == count - 1, plaintext.next() if source.size else b"", codec) for n in range(count)
    )
    return SealedFile(sealer.key, chunks, shape_of(sealer.commitment, source.size, chunks), plaintext.finish())

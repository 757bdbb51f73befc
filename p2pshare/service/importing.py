"""Import: files, folders and archives become scans; every file gets an outcome, and none is stored twice.

    looking (found, unchanged?, read by a worker) -> known? -> sealed -> packing line -> filed

Rule 1: a worker's record counts only if the bytes it was read from are the bytes that were stored.
Rule 2: a file is a duplicate by SHA-256 of the whole, or by its marks when every one of them is unchanged.
Rule 3: killed at any point, what was reported stored is stored, and the next run goes on with the rest.
"""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, assert_never

from p2pshare.crypto.codec import Codec
from p2pshare.crypto.stream import ObjectSealer, SealedChunk, object_id
from p2pshare.dicom import media, sources
from p2pshare.dicom.sources import Source
from p2pshare.dicom.workers import Workers
from p2pshare.errors import Unreadable
from p2pshare.model.dicom import DicomRecord, FileOutcome, ReadReport
from p2pshare.model.ids import ObjectId
from p2pshare.model.limits import CHUNK_SIZE, MIB
from p2pshare.model.objects import Identity, ObjectKind, ObjectShape, chunk_count
from p2pshare.model.pack import PackEnd
from p2pshare.service.clock import Clock
from p2pshare.service.import_report import ImportProgress, ImportReport
from p2pshare.service.kept import kept_record
from p2pshare.service.looking import Looking, ReadFile
from p2pshare.service.pack_line import PackLine
from p2pshare.service.sealing import codec_for, shape_of
from p2pshare.store import audit
from p2pshare.store.filing import FiledInstance, FiledObject, FileMark, remember_files
from p2pshare.store.seen import Known, kept_file, known_instances
from p2pshare.store.vault import Vault

_SMALL = 4 * MIB  # objects up to this size are sealed in one go by one thread
_THREADS = 2
_WINDOW = 6  # small objects being sealed at once

T = TypeVar("T")
Told = Callable[[ImportProgress], None]


@dataclass(frozen=True, slots=True)
class _Named:
    """What is said of a stored object in the report once it is filed."""

    name: str
    why: str
    size: int


class Importer:
    """One import run."""

    def __init__(
        self, vault: Vault, workers: Workers, now: Clock, told: Told, *, keep_unreadable: bool = False
    ) -> None:
        """`told` is called with the progress after every batch."""
        self._vault = vault
        self._now = now
        self._told = told
        self._report = ImportReport()
        self._looking = Looking(vault.db, workers, self._report, keep_unreadable=keep_unreadable)
        self._started = time.monotonic()
        self._total: tuple[int, int] | None = None
        self._threads = ThreadPoolExecutor(_THREADS, "seal")
        self._names: dict[ObjectId, _Named] = {}
        self._this_run: Known = {}  # what this run has sealed or is sealing
        self._again: list[tuple[FileMark, ObjectId]] = []  # files found to be duplicates: need not be read next time

    async def run(self, paths: Sequence[Path]) -> ImportReport:
        """Import everything under `paths`. Raises LocalError only when going on makes no sense (a full disk, say)."""
        counting = asyncio.create_task(asyncio.to_thread(self._count, paths))
        try:
            async with PackLine(self._vault, self._now, self._filed) as line:
                async for batch in self._looking.batches(paths):
                    await self._store_batch(line, batch)
                    self._tell()
        finally:
            counting.cancel()
            self._threads.shutdown(wait=False, cancel_futures=True)
        await self._finish()
        return self._report

    async def preview(self, paths: Sequence[Path]) -> ImportReport:
        """Say what `run` would do, and store nothing."""
        async for batch in self._looking.batches(paths):
            known = await known_instances(self._vault.db, [_uid(read) for read in batch])
            for read in batch:
                try:
                    same = await self._same(read, _uid(read), known)
                    clash = _uid(read) in known or bool(self._this_run.get(_uid(read)))
                    self._this_run.setdefault(_uid(read), {})[await self._in_thread(_hash_whole, read.source)] = (
                        ObjectId(b"")
                    )
                finally:
                    sources.close(read.source)
                outcome = FileOutcome.DUPLICATE if same else FileOutcome.CONFLICT if clash else FileOutcome.STORED
                self._report.add(outcome, read.candidate.name, size=read.source.size)
        self._threads.shutdown(wait=False)
        return self._report

    async def _finish(self) -> None:
        counts = {outcome.value: self._report.counts[outcome] for outcome in FileOutcome}
        async with self._vault.db.transaction() as tx:
            await remember_files(tx, self._again)
            await audit.enter(tx, self._vault.identity.device, "import", counts, self._now())
        self._tell()

    def _count(self, paths: Sequence[Path]) -> None:
        files = size = 0
        for candidate in media.find(paths):
            files += 1
            size += candidate.size
        self._total = (files, size)

    def _tell(self) -> None:
        files, size = self._total or (None, None)
        done = self._report.counts.total()
        self._told(ImportProgress(done, files, self._report.bytes, size, time.monotonic() - self._started))

    # --- storing ---

    async def _store_batch(self, line: PackLine, batch: Sequence[ReadFile]) -> None:
        """Seal the batch in threads, a window at a time, and add it to the line in order."""
        uids = [str(r.report.record.sop_uid) for r in batch if r.report.record]
        known = await known_instances(self._vault.db, uids)
        left = deque(batch)
        window: deque[tuple[ReadFile, asyncio.Task[_Step]]] = deque()
        try:
            while left or window:
                while left and len(window) < _WINDOW:
                    read = left.popleft()
                    window.append((read, asyncio.create_task(self._step(read, known, [t for _, t in window]))))
                read, task = window[0]
                try:
                    await self._take_step(line, read, await task)
                except Unreadable as error:
                    self._report.add(FileOutcome.UNREADABLE, read.candidate.name, str(error))
                window.popleft()
                sources.close(read.source)
        finally:
            for _, task in window:
                task.cancel()
            await asyncio.gather(*(task for _, task in window), return_exceptions=True)
            for read in [*(r for r, _ in window), *left]:
                sources.close(read.source)

    async def _step(self, read: ReadFile, known: Known, before: Sequence["asyncio.Task[_Step]"]) -> "_Step":
        """Seal a small file whole, unless it is a duplicate."""
        uid = _uid(read)
        if uid in known or uid in self._this_run or not uid:
            # Another with this UID may be under way: its hash is known when its step is done.
            await asyncio.gather(*before, return_exceptions=True)
            same = await self._same(read, uid, known)
            if same is not None:
                return same
        self._this_run.setdefault(uid, {})
        if read.source.size > _SMALL:
            return _Large()
        sealed = await self._in_thread(_seal_small, read.source, read.report, _codec(read))
        self._this_run[uid][sealed.sha256] = sealed.shape.id
        return sealed

    async def _same(self, read: ReadFile, uid: str, known: Known) -> "_Duplicate | None":
        sha256 = await self._in_thread(_hash_whole, read.source)
        object_id = known.get(uid, {}).get(sha256) or self._this_run.get(uid, {}).get(sha256)
        if object_id is None and not uid:
            object_id = await kept_file(self._vault.db, sha256)
        return _Duplicate(object_id) if object_id is not None else None

    async def _take_step(self, line: PackLine, read: ReadFile, step: "_Step") -> None:
        match step:
            case _Duplicate(object_id):
                self._report.add(FileOutcome.DUPLICATE, read.candidate.name, size=read.source.size)
                if read.mark:
                    self._again.append((read.mark, object_id))
            case _Sealed():
                study = _record(read).study_uid
                for number, chunk in enumerate(step.chunks):
                    await line.add_chunk(study, step.shape.commitment, step.key, number, chunk)
                self._end(line, read, step)
            case _Large():
                self._end(line, read, await self._seal_large(line, read))
            case _ as never:
                assert_never(never)

    def _end(self, line: PackLine, read: ReadFile, sealed: "_Sealed") -> None:
        record, shape = _record(read), sealed.shape
        kind = ObjectKind.DICOM if record.sop_uid else ObjectKind.FILE
        identity = (
            Identity(record.study_uid, record.series_uid, record.sop_uid, record.sop_class) if record.sop_uid else None
        )
        end = PackEnd(shape.object_id, shape.size, sealed.sha256, kind, identity)
        stored = FiledObject(shape.id, shape.commitment, sealed.key, shape.size, sealed.sha256, kind)
        file_name = "" if record.sop_uid else _as_text(Path(read.candidate.name).name)
        instance = FiledInstance(shape.id, sealed.sha256, record, file_name, read.mark)
        self._names[shape.id] = _Named(read.candidate.name, "; ".join(record.warnings), shape.size)
        line.finish(record.study_uid, end, stored, instance)

    async def _seal_large(self, line: PackLine, read: ReadFile) -> "_Sealed":
        """Seal an object chunk by chunk: reading and hashing go ahead while other threads seal."""
        sealer, codec, study, size = ObjectSealer(), _codec(read), _record(read).study_uid, read.source.size
        count = chunk_count(size)
        plaintext = _Hashing(read.source, read.report)
        sealing: deque[asyncio.Future[SealedChunk]] = deque()
        digests, number = bytearray(), 0
        lengths: list[int] = []
        while number < count or sealing:
            while number < count and len(sealing) < _THREADS + 1:
                piece = await self._in_thread(plaintext.next)
                sealing.append(self._in_thread(sealer.seal, number, number == count - 1, piece, codec))
                number += 1
            chunk = await sealing.popleft()
            await line.add_chunk(study, sealer.commitment, sealer.key, len(lengths), chunk)
            digests += chunk.digest
            lengths.append(len(chunk.data))
        sha256 = plaintext.finish()
        shape = ObjectShape(
            object_id(sealer.commitment, size, bytes(digests)), sealer.commitment, size, tuple(lengths), bytes(digests)
        )
        self._this_run[_uid(read)][sha256] = shape.id
        return _Sealed(sealer.key, (), shape, sha256)

    def _filed(self, instance: FiledInstance, outcome: FileOutcome) -> None:
        """An instance is durable and filed: now, and not before, it counts."""
        named = self._names.pop(instance.object_id)
        why = named.why if outcome is FileOutcome.STORED else _WHY.get(outcome, "")
        self._report.add(outcome, named.name, why, named.size)
        if outcome is not FileOutcome.DUPLICATE:
            self._report.studies.add(instance.record.study_uid)

    def _in_thread(self, work: Callable[..., T], *args: object) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


_WHY = {FileOutcome.CONFLICT: "another image with the same SOP Instance UID has other bytes; both are kept"}


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A file sealed whole; `chunks` is empty where they are in the line already."""

    key: bytes
    chunks: tuple[SealedChunk, ...]
    shape: ObjectShape
    sha256: bytes


@dataclass(frozen=True, slots=True)
class _Duplicate:
    """The same bytes are here already."""

    object_id: ObjectId


@dataclass(frozen=True, slots=True)
class _Large:
    """To be sealed chunk by chunk, in its turn."""


_Step = _Sealed | _Duplicate | _Large


class _Hashing:
    """A source's plaintext, piece by piece, hashed on the way and compared with what the worker read."""

    def __init__(self, source: Source, report: ReadReport) -> None:
        self._pieces = sources.read_chunks(source, CHUNK_SIZE)
        self._report = report
        self._whole = hashlib.sha256()
        self._prefix = hashlib.sha256()
        self._size = 0

    def next(self) -> bytes:
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


def _seal_small(source: Source, report: ReadReport, codec: Codec) -> _Sealed:
    sealer = ObjectSealer()
    plaintext = _Hashing(source, report)
    count = chunk_count(source.size)
    chunks = tuple(
        sealer.seal(n, n == count - 1, plaintext.next() if source.size else b"", codec) for n in range(count)
    )
    return _Sealed(sealer.key, chunks, shape_of(sealer.commitment, source.size, chunks), plaintext.finish())


def _hash_whole(source: Source) -> bytes:
    whole = hashlib.sha256()
    for piece in sources.read_chunks(source, CHUNK_SIZE):
        whole.update(piece)
    return whole.digest()


def _uid(read: ReadFile) -> str:
    return str(read.report.record.sop_uid) if read.report.record else ""


def _record(read: ReadFile) -> DicomRecord:
    return read.report.record or kept_record(read.report.why)


def _as_text(name: str) -> str:
    """A file name that can be stored: its bytes that are not UTF-8 become visible."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _codec(read: ReadFile) -> Codec:
    return codec_for(read.report.record)

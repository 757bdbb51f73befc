"""Import: files, folders and archives become scans; every file gets an outcome, and none is stored twice.

    looking (found, unchanged?, read by a worker) -> known? -> sealed -> packing line -> filed

Rule 1: a worker's record counts only if the bytes it was read from are the bytes that were stored.
Rule 2: a file is a duplicate by SHA-256 of the whole, or by its marks when every one of them is unchanged.
Rule 3: killed at any point, what was reported stored is stored, and the next run goes on with the rest.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from p2pshare.crypto.stream import ObjectSealer, SealedChunk, object_id
from p2pshare.dicom import media, sources
from p2pshare.dicom.sources import Source
from p2pshare.dicom.workers import Workers
from p2pshare.errors import MediumTrouble, Unreadable
from p2pshare.model.dicom import DicomRecord, FileOutcome
from p2pshare.model.ids import ObjectId
from p2pshare.model.limits import MIB
from p2pshare.model.objects import Identity, ObjectKind, ObjectShape, chunk_count
from p2pshare.model.pack import PackEnd
from p2pshare.service.clock import Clock
from p2pshare.service.file_sealing import Hashing, SealedFile, codec_of, hash_file, seal_files
from p2pshare.service.import_report import ImportProgress, ImportReport, Told
from p2pshare.service.kept import kept_record
from p2pshare.service.looking import Looking, ReadFile
from p2pshare.service.pack_line import PackLine
from p2pshare.store import audit
from p2pshare.store.filing import FiledInstance, FiledObject, FileMark, remember_files
from p2pshare.store.seen import Known, kept_file, known_instances
from p2pshare.store.vault import Vault

_SMALL = 4 * MIB  # objects up to this size are sealed in one go by one thread
_THREADS = 2
_JOBS = 3  # jobs under way at once
_LOT_FILES, _LOT_BYTES = 8, 4 * MIB  # what one job seals: each file costs the event loop less than a job of its own

T = TypeVar("T")


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
        self._open: set[Source] = set()
        self._names: dict[ObjectId, _Named] = {}
        self._this_run: Known = {}  # what this run has sealed or is sealing
        self._again: list[tuple[FileMark, ObjectId]] = []  # files found to be duplicates: need not be read next time

    @property
    def sandbox_missing(self) -> tuple[str, ...]:
        """What the readers' sandbox could not forbid on this system, in words; known after a run."""
        return self._looking.sandbox_missing

    async def run(self, paths: Sequence[Path]) -> ImportReport:
        """Import everything under `paths`. Raises LocalError only when going on makes no sense (a full disk, say)."""
        counting = asyncio.create_task(asyncio.to_thread(self._count, paths))
        try:
            async with PackLine(self._vault, self._now, self._filed) as line:
                await self._store_all(line, paths)
        finally:
            counting.cancel()
            self._threads.shutdown(wait=False)  # what was handed to a thread is closed by it
        await self._finish()
        return self._report

    async def preview(self, paths: Sequence[Path]) -> ImportReport:
        """Say what `run` would do, and store nothing."""
        async for batch in self._looking.batches(paths):
            known = await known_instances(self._vault.db, [_uid(read) for read in batch])
            for read in batch:
                try:
                    outcome = await self._would_be(read, known)
                    self._report.add(outcome, read.candidate.name, size=read.source.size)
                except (Unreadable, MediumTrouble) as error:
                    self._report.add(FileOutcome.UNREADABLE, read.candidate.name, str(error))
                finally:
                    sources.close(read.source)
        self._threads.shutdown(wait=False)
        return self._report

    async def _would_be(self, read: ReadFile, known: Known) -> FileOutcome:
        uid = _uid(read)
        if await self._same(read, known):
            return FileOutcome.DUPLICATE
        clash = bool(uid) and (uid in known or bool(self._this_run.get(uid)))
        self._this_run.setdefault(uid, {})[await self._in_thread(hash_file, read.source)] = ObjectId(bytes(32))
        return FileOutcome.CONFLICT if clash else FileOutcome.STORED

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

    async def _store_all(self, line: PackLine, paths: Sequence[Path]) -> None:
        """Seal what is new in threads, a few jobs ahead of the line; look closer at the rest, one by one."""
        jobs: deque[_Job] = deque()
        try:
            async for batch in self._looking.batches(paths):
                self._open.update(read.source for read in batch)
                known = await known_instances(self._vault.db, [_uid(read) for read in batch])
                fresh = [read for read in batch if self._is_fresh(read, known)]
                for files in _job_lots(fresh):
                    while len(jobs) >= _JOBS:
                        await self._take_job(line, jobs.popleft())
                    jobs.append(self._job(files))
                closer = [read for read in batch if read not in fresh]
                while closer and jobs:
                    await self._take_job(line, jobs.popleft())
                for read in closer:
                    await self._store_one(line, read, known)
                self._tell()
            while jobs:
                await self._take_job(line, jobs.popleft())
        finally:
            await asyncio.gather(*(job.sealing for job in jobs), return_exceptions=True)
            for source in self._open:
                sources.close(source)
            self._open.clear()

    def _is_fresh(self, read: ReadFile, known: Known) -> bool:
        """Whether a small file is surely new: nothing here, or in this run, has its UID. It is new only once."""
        uid = _uid(read)
        if not uid or uid in known or uid in self._this_run or read.source.size > _SMALL:
            return False
        self._this_run[uid] = {}
        return True

    def _job(self, files: Sequence[ReadFile]) -> "_Job":
        """Have a thread seal small files, and close them."""
        self._open.difference_update(read.source for read in files)
        return _Job(files, self._in_thread(seal_files, files))

    async def _take_job(self, line: PackLine, job: "_Job") -> None:
        for read, sealed in zip(job.files, await asyncio.shield(job.sealing), strict=True):
            if isinstance(sealed, SealedFile):
                await self._add(line, read, sealed)
            else:
                self._unreadable(read, sealed)

    async def _store_one(self, line: PackLine, read: ReadFile, known: Known) -> None:
        """Store a file that is large, or has a UID that is known, unless its very bytes are here."""
        uid = _uid(read)
        try:
            same = await self._same(read, known) if not uid or known.get(uid) or self._this_run.get(uid) else None
            if same is not None:
                self._report.add(FileOutcome.DUPLICATE, read.candidate.name, size=read.source.size)
                self._again += [(read.mark, same)] if read.mark else []
            elif read.source.size > _SMALL:
                await self._add(line, read, await self._seal_large(line, read))
            else:
                await self._take_job(line, self._job([read]))
        except (Unreadable, MediumTrouble) as error:
            self._unreadable(read, error)
        self._close(read)

    async def _same(self, read: ReadFile, known: Known) -> ObjectId | None:
        """The object that has the very bytes of this file, if there is one."""
        uid = _uid(read)
        sha256 = await self._in_thread(hash_file, read.source)
        found = known.get(uid, {}).get(sha256) or self._this_run.get(uid, {}).get(sha256)
        return found or (None if uid else await kept_file(self._vault.db, sha256))

    def _unreadable(self, read: ReadFile, error: Unreadable | MediumTrouble) -> None:
        self._report.add(FileOutcome.UNREADABLE, read.candidate.name, str(error))

    def _close(self, read: ReadFile) -> None:
        if read.source in self._open:
            self._open.discard(read.source)
            sources.close(read.source)

    async def _add(self, line: PackLine, read: ReadFile, sealed: SealedFile) -> None:
        study = _record(read).study_uid
        for number, chunk in enumerate(sealed.chunks):
            await line.add_chunk(study, sealed.shape.commitment, sealed.key, number, chunk)
        self._this_run.setdefault(_uid(read), {})[sealed.sha256] = sealed.shape.id
        self._end(line, read, sealed)

    def _end(self, line: PackLine, read: ReadFile, sealed: SealedFile) -> None:
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

    async def _seal_large(self, line: PackLine, read: ReadFile) -> SealedFile:
        """Seal an object chunk by chunk: reading and hashing go ahead while other threads seal."""
        sealer, codec, study, size = ObjectSealer(), codec_of(read), _record(read).study_uid, read.source.size
        count = chunk_count(size)
        plaintext = Hashing(read.source, read.report)
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
        return SealedFile(sealer.key, (), shape, sha256)

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
class _Job:
    """Small files that a thread is sealing."""

    files: Sequence[ReadFile]
    sealing: "asyncio.Future[list[SealedFile | Unreadable | MediumTrouble]]"


def _job_lots(files: Sequence[ReadFile]) -> Iterator[list[ReadFile]]:
    """Files in lots that are worth a job each."""
    lot: list[ReadFile] = []
    size = 0
    for file in files:
        if lot and (len(lot) >= _LOT_FILES or size + file.source.size > _LOT_BYTES):
            yield lot
            lot, size = [], 0
        lot.append(file)
        size += file.source.size
    if lot:
        yield lot


def _uid(read: ReadFile) -> str:
    return str(read.report.record.sop_uid) if read.report.record else ""


def _record(read: ReadFile) -> DicomRecord:
    return read.report.record or kept_record(read.report.why)


def _as_text(name: str) -> str:
    """A file name that can be stored: its bytes that are not UTF-8 become visible."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

"""The looking half of an import: candidates found, unchanged ones passed over, the others read by workers.

Rule 1: every candidate ends in exactly one outcome; those that end here are counted here.
Rule 2: a source handed on is open; whoever takes it closes it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from p2pshare.dicom import media, sources
from p2pshare.dicom.media import Candidate
from p2pshare.dicom.sources import Source
from p2pshare.dicom.workers import Workers
from p2pshare.errors import P2PShareError
from p2pshare.model.dicom import FileOutcome, ReadReport, ReadVerdict
from p2pshare.service.import_report import ImportReport
from p2pshare.store.db import Database
from p2pshare.store.filing import FileMark
from p2pshare.store.seen import unchanged

_BATCH = 50  # files looked at together; half of them go to each of two workers
_AHEAD = 3  # batches being looked at while one is being stored


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file that a worker has read and that may be stored; its source is open."""

    candidate: Candidate
    mark: FileMark | None
    source: Source
    report: ReadReport


class Looking:
    """Looks through paths once."""

    def __init__(self, db: Database, workers: Workers, report: ImportReport, *, keep_unreadable: bool) -> None:
        """Outcomes that need no storing go to `report`."""
        self._db = db
        self._workers = workers
        self._report = report
        self._keep = keep_unreadable
        self._named: set[str] = set()

    @property
    def sandbox_missing(self) -> tuple[str, ...]:
        """What the readers' sandbox could not forbid on this system, in words."""
        return self._workers.sandbox_missing

    async def batches(self, paths: Sequence[Path]) -> AsyncIterator[list[ReadFile]]:
        """Yield what may be stored, batch by batch in the order found, a few batches being read at once."""
        self._named = {str(p) for p in paths}
        candidates = media.find(paths)
        ahead: deque[asyncio.Task[list[ReadFile]]] = deque()
        more = True
        try:
            while more or ahead:
                while more and len(ahead) < _AHEAD:
                    group = await asyncio.to_thread(_take, candidates)
                    more = bool(group)
                    if group:
                        ahead.append(asyncio.create_task(self._look(group)))
                if ahead:
                    yield await ahead.popleft()
        finally:
            await _abandon(ahead)

    async def _look(self, group: Sequence[Candidate]) -> list[ReadFile]:
        marks = [_mark(c) for c in group]
        same = await unchanged(self._db, marks)
        to_open: list[tuple[Candidate, FileMark | None]] = []
        for candidate, mark, study_uid in zip(group, marks, same, strict=True):
            if candidate.problem:
                self._report.add(FileOutcome.UNREADABLE, candidate.name, candidate.problem)
            elif candidate.skip:
                self._report.add(FileOutcome.SKIPPED, candidate.name, candidate.skip)
            elif study_uid is not None:
                self._report.seen(study_uid, candidate.size)
            else:
                to_open.append((candidate, mark))
        found = await _opened([candidate for candidate, _ in to_open])
        opened: list[tuple[Candidate, FileMark | None, Source]] = []
        for (candidate, mark), source in zip(to_open, found, strict=True):
            if isinstance(source, P2PShareError):
                self._report.add(FileOutcome.UNREADABLE, candidate.name, str(source))
            else:
                opened.append((candidate, mark, source))
        return await self._read(opened)

    async def _read(self, opened: Sequence[tuple[Candidate, FileMark | None, Source]]) -> list[ReadFile]:
        try:
            reports = await self._workers.read([source for _, _, source in opened])
        except BaseException:
            for _, _, source in opened:
                sources.close(source)
            raise
        reads = [ReadFile(c, m, s, r) for (c, m, s), r in zip(opened, reports, strict=True)]
        return [read for read in reads if self._storable(read)]

    def _storable(self, read: ReadFile) -> bool:
        """Whether the file is to be stored; if not, it is counted and closed."""
        report, name = read.report, read.candidate.name
        if report.verdict is ReadVerdict.INSTANCE and report.record is not None:
            return True
        if report.verdict is ReadVerdict.DICOMDIR:
            self._report.add(FileOutcome.SKIPPED, name, "a DICOMDIR; the files themselves are read")
        elif report.verdict is ReadVerdict.NOT_DICOM and not (self._keep and name in self._named):
            self._report.add(FileOutcome.SKIPPED, name, report.why or "not a DICOM file")
        elif self._keep:
            return True
        else:
            self._report.add(FileOutcome.UNREADABLE, name, report.why or report.verdict.value)
        sources.close(read.source)
        return False


async def _opened(candidates: Sequence[Candidate]) -> list[Source | P2PShareError]:
    """The candidates' sources, open, or why one is not; if nobody waits any more, nothing stays open."""
    opening = asyncio.ensure_future(asyncio.to_thread(_open, candidates))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        for source in await opening:
            if not isinstance(source, P2PShareError):
                sources.close(source)
        raise


def _open(candidates: Sequence[Candidate]) -> list[Source | P2PShareError]:
    """The candidates' sources, open, or why one is not."""
    found: list[Source | P2PShareError] = []
    for candidate in candidates:
        try:
            found.append(candidate.open())
        except P2PShareError as error:
            found.append(error)
    return found


def _take(candidates: Iterator[Candidate]) -> list[Candidate]:
    return list(islice(candidates, _BATCH))


def _mark(candidate: Candidate) -> FileMark | None:
    found = candidate.identity
    if found is None:
        return None
    return FileMark(found.filesystem, found.inode, found.size, found.mtime_ns, found.ctime_ns)


async def _abandon(ahead: deque[asyncio.Task[list[ReadFile]]]) -> None:
    for task in ahead:
        task.cancel()
    for done in await asyncio.gather(*ahead, return_exceptions=True):
        if isinstance(done, list):
            for read in done:
                sources.close(read.source)

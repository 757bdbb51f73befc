"""The supervisor of the sandboxed readers: hands them sources, takes their reports, and outlives whatever they read.

Rule 1: a worker answers a batch file by file, so it is known which file one died over; that file is tried once more,
alone, and only if that worker dies too is it to blame. The rest of the batch goes on in another worker.
Rule 2: a worker that takes too long, or answers what cannot be, is killed, and the file is to blame.
Rule 3: workers that die before they are ready are not replaced for ever.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

from p2pshare.dicom.messages import BATCH_MAX
from p2pshare.dicom.reading import Died, ReadingWorker
from p2pshare.dicom.sources import Source
from p2pshare.dicom.zygote import Zygote
from p2pshare.errors import WorkersFailed
from p2pshare.model.dicom import ReadReport, ReadVerdict

WALL_SECONDS: Final = 120.0  # without a report: a slow disc is slower than a slow processor
_START_TRIES: Final = 3


class Workers:
    """A few sandboxed readers. Make it by `start`, before there is any key; use it as an async context manager."""

    def __init__(self, zygote: Zygote, count: int, wall_seconds: float) -> None:
        self._zygote = zygote
        self._count = count
        self._wall_seconds = wall_seconds
        self._idle: asyncio.LifoQueue[ReadingWorker | None] = asyncio.LifoQueue()
        self._all: set[ReadingWorker] = set()
        self._missing: tuple[str, ...] = ()
        self._closed = False
        for _ in range(count):
            self._idle.put_nowait(None)

    @classmethod
    async def start(cls, count: int = 2, *, wall_seconds: float = WALL_SECONDS) -> Self:
        """Start; returns at once, and the first read waits until the readers are there.

        Raises:
            WorkersFailed: the operating system does not let them start.
        """
        return cls(Zygote.start(), count, wall_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def memory_pids(self) -> tuple[int, ...]:
        """The process ids of the zygote and the workers, for whoever adds up memory."""
        return (self._zygote.pid, *(worker.pid for worker in self._all))

    @property
    def sandbox_missing(self) -> tuple[str, ...]:
        """What the sandbox could not forbid on this system, in words; known after the first read."""
        return self._missing

    async def read(self, sources: Sequence[Source]) -> list[ReadReport]:
        """Reports on `sources`, in their order; the caller keeps their descriptors open until then.

        Raises:
            WorkersFailed: there are no readers to be had, or they were closed.
        """
        reports: dict[int, ReadReport] = {}
        size = max(1, min(BATCH_MAX, -(-len(sources) // self._count)))
        batches = deque(list(enumerate(sources))[first : first + size] for first in range(0, len(sources), size))
        if len(batches) > 1:
            await self._share_out(batches, reports)
        else:
            await self._drain(batches, reports)
        return [reports[index] for index in range(len(sources))]

    async def close(self) -> None:
        """End the workers and the zygote; reads that are under way fail."""
        self._closed = True
        for worker in tuple(self._all):
            self._discard(worker)
        await self._zygote.close()

    async def _share_out(self, batches: deque[list[tuple[int, Source]]], reports: dict[int, ReadReport]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._count, len(batches))):
                    group.create_task(self._drain(batches, reports))
        except* WorkersFailed as failures:
            raise _first(failures) from None

    async def _drain(self, batches: deque[list[tuple[int, Source]]], reports: dict[int, ReadReport]) -> None:
        """Have batches read until none is left; what a dying worker leaves becomes batches of its own."""
        while batches:
            batch = batches.popleft()
            death = await self._read_batch(batch, reports)
            if death is None:
                continue
            suspect, *rest = [entry for entry in batch if entry[0] not in reports]
            if rest:
                batches.appendleft(rest)
            if not death.to_blame:
                death = await self._read_batch([suspect], reports)
            if death is not None:
                index, source = suspect
                reports[index] = ReadReport(ReadVerdict.DIED, death.what, None, source.size, 0, b"")

    async def _read_batch(self, batch: list[tuple[int, Source]], reports: dict[int, ReadReport]) -> Died | None:
        """Have one worker read `batch`; say how it died, if it did."""
        async with self._worker() as worker:
            try:
                await worker.send([source for _, source in batch])
                for index, source in batch:
                    reports[index] = await worker.report_on(source, self._wall_seconds)
            except Died as death:
                if self._closed:
                    raise WorkersFailed("they were closed") from None
                return death
        return None

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[ReadingWorker]:
        """A worker for one batch; it is kept for the next one if it answered all of this one."""
        worker = await self._idle.get()
        try:
            if worker is not None and not worker.usable:  # it ended while it was idle
                self._discard(worker)
                worker = None
            if worker is None:
                worker = await self._spawn()
            yield worker
        finally:
            if worker is not None and not worker.usable:
                self._discard(worker)
                worker = None
            self._idle.put_nowait(worker)

    async def _spawn(self) -> ReadingWorker:
        for _ in range(_START_TRIES):
            if self._closed:
                break
            if not self._zygote.alive:
                gone, self._zygote = self._zygote, Zygote.start()
                await gone.close()
            try:
                return await self._spawn_once(self._zygote)
            except (Died, WorkersFailed):
                continue
        raise WorkersFailed("they were closed" if self._closed else "they end as soon as they start")

    async def _spawn_once(self, zygote: Zygote) -> ReadingWorker:
        worker = ReadingWorker(await zygote.spawn(), zygote)
        self._all.add(worker)
        try:
            self._missing = (await worker.ready()).missing
        finally:
            if not worker.usable:
                self._discard(worker)
        return worker

    def _discard(self, worker: ReadingWorker) -> None:
        self._all.discard(worker)
        worker.end()


def _first(failures: BaseExceptionGroup[WorkersFailed]) -> WorkersFailed:
    """One of several equal failures."""
    failure = failures.exceptions[0]
    return failure if isinstance(failure, WorkersFailed) else WorkersFailed()

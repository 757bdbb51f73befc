"""The packing line: sealed objects go in, durable packs and filed instances come out, in batches.

Rule 1: an object is filed only when every pack that holds its chunks is durable.
Rule 2: packs of one study only; a pack closes when it is full, when its study has to make room, or at the end.
Rule 3: whoever adds waits while too many packs are behind; those that wait are written and entered together.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from p2pshare.crypto.stream import SealedChunk
from p2pshare.errors import VaultBusy
from p2pshare.model.dicom import FileOutcome
from p2pshare.model.ids import ObjectId, PackId
from p2pshare.model.limits import CHUNK_SIZE, PACK_CLOSES_AT
from p2pshare.model.pack import PackEnd, PackScope
from p2pshare.service.clock import Clock
from p2pshare.service.filing_packs import filed_pack
from p2pshare.service.pack_queue import PackQueue, finished
from p2pshare.store import filing, shares
from p2pshare.store.db import Transaction
from p2pshare.store.filing import FiledChunk, FiledInstance, FiledObject
from p2pshare.store.locks import maintenance
from p2pshare.store.packs import ClosedPack, PackBuilder, Placement
from p2pshare.store.vault import Vault

_OPEN_STUDIES = 4
_BEHIND = 3 * PACK_CLOSES_AT

Done = Callable[[FiledInstance, FileOutcome], None]


@dataclass(slots=True)
class _Open:
    """A study's pack being filled, and what becomes fileable when it is durable."""

    builder: PackBuilder
    study_uid: str
    finished: list[tuple[FiledObject, FiledInstance]] = field(default_factory=list)


class PackLine:
    """Use as an async context manager; leaving it writes and files everything that was added."""

    def __init__(self, vault: Vault, now: Clock, done: Done) -> None:
        """`done` is called for each instance once it is durable and filed, with what it turned out to be."""
        self._vault = vault
        self._now = now
        self._done = done
        self._open: dict[str, _Open] = {}
        self._placed: dict[bytes, list[tuple[PackId, Placement]]] = {}  # of objects that are not complete
        self._queue = PackQueue(self._write, _BEHIND)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                for study_uid in list(self._open):
                    await self._close(study_uid)
                await self._queue.drain()
        finally:
            await self._queue.abandon()

    async def add_chunk(self, study_uid: str, commitment: bytes, key: bytes, number: int, chunk: SealedChunk) -> None:
        """Add the next chunk of an object of a study."""
        opened = self._open.get(study_uid)
        if opened is not None and opened.builder.full(PACK_CLOSES_AT):
            await self._close(study_uid)
            opened = None
        if opened is None:
            if len(self._open) >= _OPEN_STUDIES:
                await self._close(next(iter(self._open)))
            owner = study_uid.encode()
            opened = self._open[study_uid] = _Open(PackBuilder(PackScope.STUDY, owner, self._now()), study_uid)
        opened.builder.add(commitment, key, number, chunk.data, chunk.digest)

    def finish(self, study_uid: str, end: PackEnd, stored: FiledObject, instance: FiledInstance) -> None:
        """The object whose last chunk was just added is complete."""
        opened = self._open[study_uid]
        opened.builder.end(stored.commitment, end)
        opened.finished.append((stored, instance))

    async def _close(self, study_uid: str) -> None:
        opened = self._open.pop(study_uid)
        await self._queue.put(opened, opened.builder.size)

    async def _write(self, items: Sequence[_Open]) -> None:
        async with maintenance(self._vault.folder, exclusive=False):
            writing = [asyncio.to_thread(self._vault.packs.write, item.builder) for item in items]
            await self._file(items, await finished(writing))

    async def _file(self, items: Sequence[_Open], written: Sequence[ClosedPack]) -> None:
        """Enter packs, and the objects that are complete with them, in one transaction."""
        packs = [
            filed_pack(closed, study_uid=item.study_uid, share=None)
            for item, closed in zip(items, written, strict=True)
        ]
        chunks: list[FiledChunk] = []
        for item, closed in zip(items, written, strict=True):
            for place in closed.placements:
                self._placed.setdefault(place.commitment, []).append((closed.pack_id, place))
            for stored, _ in item.finished:
                chunks += [_filed(stored.object_id, p, c) for p, c in self._placed.pop(stored.commitment)]
        finished = [pair for item in items for pair in item.finished]
        async with self._vault.db.transaction() as tx:
            await filing.enter_packs(tx, packs)
            await filing.enter_objects(tx, [stored for stored, _ in finished])
            await filing.enter_chunks(tx, chunks)
            await _check_large(tx, [stored for stored, _ in finished])
            outcomes = await filing.enter_instances(tx, [instance for _, instance in finished], self._now())
        for (_, instance), outcome in zip(finished, outcomes, strict=True):
            self._done(instance, outcome)


def _filed(object_id: ObjectId, pack_id: PackId, place: Placement) -> FiledChunk:
    return FiledChunk(object_id, place.number, pack_id, place.offset, place.length, place.digest)


async def _check_large(tx: Transaction, objects: Sequence[FiledObject]) -> None:
    """An object whose earlier packs were erased meanwhile, with its scan, must not be filed in part."""
    large = [o.object_id for o in objects if o.size > CHUNK_SIZE]
    if len(await shares.complete_objects(tx, large)) != len(large):
        raise VaultBusy("the scan was erased while it was being imported")

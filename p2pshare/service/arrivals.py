"""Arrivals: an accepted share on its way in, from its layout to its last durable chunk.

Rule 1: first the layout and keyring, then, once both were opened and checked, the images.
Rule 2: a chunk counts when its pack was verified, written and entered; a crash loses at most the packs before that.
Rule 3: only what this same person shares is taken as here already.
Rule 4: an arrival that lost chunks, or whose share ended, does nothing more; the next one works out what is missing.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from p2pshare.errors import DamagedPack, Malformed, RemoteError, ShareCorrupt, WrongChunk
from p2pshare.model.ids import ObjectId, PersonId, ShareId
from p2pshare.model.letters import ShareLetter
from p2pshare.model.limits import ARRIVALS_PACK_CLOSES_AT, MIB
from p2pshare.model.objects import Layout, ObjectKind, ObjectRef, ObjectShape, chunk_count
from p2pshare.model.pack import PackEnd, PackScope
from p2pshare.model.ports import MissingChunks, StoredChunk
from p2pshare.model.views import ShareState
from p2pshare.service.clock import Clock
from p2pshare.service.filing_packs import filed_chunks, filed_pack
from p2pshare.service.layouts import BASE_MISSING, check_keys, check_resolved, read_keyring, read_layout
from p2pshare.service.pack_queue import PackQueue, finished
from p2pshare.service.sealing import read_object
from p2pshare.store import audit, filing, scans, shares
from p2pshare.store.db import Database, Transaction
from p2pshare.store.locks import maintenance
from p2pshare.store.packs import PackBuilder
from p2pshare.store.shares import Direction, Share
from p2pshare.store.vault import Vault

_LIVE: Final = (ShareState.ACCEPTED, ShareState.SENDING, ShareState.DELIVERED)
_PACKS_PER_SHARE: Final = 128
_PACKS_BEHIND: Final = 2
_OPEN_PACKS: Final = 4  # scans arrive one after another; more are open only if a sender wants them to be


@dataclass(slots=True)
class _Expected:
    """An object on its way in: its shape, its scan's number, and the chunks not yet durable or in an open pack."""

    shape: ObjectShape
    scan: int
    waiting: set[int]
    asked: set[int] = field(default_factory=set)


class Arrival:
    """One accepted share coming in. Made anew for each engine run; all it knows comes from the database."""

    def __init__(self, vault: Vault, now: Clock, share: Share, letter: ShareLetter, term: int | None) -> None:
        """Continue `share`; call `resume` before anything else."""
        self.share = share
        self._vault = vault
        self._now = now
        self._letter = letter
        self._term = term
        self._expected: dict[ObjectId, _Expected] = {}
        self._order: deque[ObjectId] = deque()
        self._begun = False
        self._done = 0
        self._builders: dict[int, PackBuilder] = {}
        self._ends: dict[bytes, ObjectId] = {}
        self._unfinished: Counter[int] = Counter()  # by scan: objects with chunks that did not come yet
        self._stepping = asyncio.Lock()
        self._over = False
        # A crash costs what is not durable: of a small share, that is to be a small part too.
        self._pack_size = min(ARRIVALS_PACK_CLOSES_AT, max(MIB, share.stored_bytes // _PACKS_PER_SHARE))
        self._queue = PackQueue(self._write, _PACKS_BEHIND * self._pack_size)

    @property
    def complete(self) -> bool:
        """Every chunk of the share is durable here."""
        return self._begun and not self._expected

    async def resume(self) -> None:
        """Work out from the database what is here already."""
        own = (self._letter.layout, self._letter.keyring)
        for ref in own:
            await self._expect(ref.shape, -1)
        await self.flush()

    def missing(self, room: int) -> list[MissingChunks]:
        """Chunks to ask for next, at most `room` stored bytes, none named before."""
        found: list[MissingChunks] = []
        while self._order:
            expected = self._expected.get(self._order[0])
            numbers = sorted(expected.waiting - expected.asked) if expected else []
            if expected is None or not numbers:
                self._order.popleft()
                continue
            taken: list[int] = []
            for number in numbers:
                if expected.shape.lengths[number] > room:
                    break
                taken.append(number)
                room -= expected.shape.lengths[number]
            if not taken:
                break
            expected.asked.update(taken)
            found.append(MissingChunks(self.share.share, expected.shape, tuple(taken)))
            if len(taken) < len(numbers):
                break
        return found

    async def keep(self, chunk: StoredChunk) -> None:
        """Take a chunk that was asked for; when its pack closes it is verified, and becomes durable.

        Raises:
            WrongChunk: this chunk, or one before, is not what its digest promised.
        """
        expected = self._expected.get(chunk.object_id)
        if expected is None or chunk.number not in expected.waiting:
            return
        expected.waiting.discard(chunk.number)
        builder = self._builders.get(expected.scan)
        if builder is None:
            builder = self._builders[expected.scan] = PackBuilder(PackScope.ARRIVALS, self.share.share, self._now())
        shape = expected.shape
        self._ends[shape.commitment] = shape.id
        builder.add(shape.commitment, None, chunk.number, chunk.data, shape.digest(chunk.number))
        if chunk.number == len(shape.lengths) - 1:
            builder.end(
                shape.commitment, PackEnd(shape.object_id, shape.size, None, self._kind_of(shape, expected), None)
            )
        if not expected.waiting:
            self._unfinished[expected.scan] -= 1
        if not +self._unfinished:
            await self.flush()
        elif builder.full(self._pack_size) or not self._unfinished[expected.scan]:
            await self._close_pack(expected.scan)
        elif len(self._builders) > _OPEN_PACKS:
            await self._close_pack(next(iter(self._builders)))

    def _kind_of(self, shape: ObjectShape, expected: _Expected) -> ObjectKind:
        if expected.scan >= 0:
            return ObjectKind.DICOM
        return ObjectKind.LAYOUT if shape.id == self._letter.layout.shape.id else ObjectKind.KEYRING

    async def _close_pack(self, scan: int) -> None:
        """Have a pack written while the next one fills."""
        builder = self._builders[scan]
        await self._queue.put(builder, builder.size)
        del self._builders[scan]  # not before: what is still here when this is cancelled is written by `flush`

    async def flush(self) -> None:
        """Make everything that came durable, and go on to the next step if a step is complete."""
        await self._queue.drain()
        async with self._stepping:
            builders, self._builders = self._builders, {}
            if builders:
                await self._write(list(builders.values()))
            if self._over:
                return
            for object_id in [i for i, e in self._expected.items() if not e.waiting]:
                del self._expected[object_id]
            if not self._begun and not self._expected:
                await self._begin()
            if self.complete:
                await self._delivered()

    async def _delivered(self) -> None:
        """Every chunk is durable: say so."""
        async with self._vault.db.transaction(self._term) as tx:
            current = await self._still_coming(tx)
            if current is None:
                return
            await shares.count_done(tx, self.share.share, Direction.IN, self.share.chunks_total)
            await shares.move(tx, current, ShareState.DELIVERED, "", self._now())
            await audit.enter(
                tx, self._vault.identity.device, "share-delivered",
                {"share": self.share.share.hex(), "person": self.share.person.hex()}, self._now(),
            )  # fmt: skip

    async def _still_coming(self, db: Database | Transaction) -> Share | None:
        """The share as it is now; None if it was ended, or offered anew with another layout, meanwhile."""
        current = await shares.get(db, self.share.share, Direction.IN)
        live = (ShareState.ACCEPTED, ShareState.SENDING)
        return current if current and current.state in live and current.layout == self.share.layout else None

    async def _write(self, builders: Sequence[PackBuilder]) -> None:
        """Verify packs and make them durable. If that fails, their chunks are lost, and this arrival is over."""
        try:
            async with maintenance(self._vault.folder, exclusive=False):  # nobody erases the scan until it is entered
                if self._over or await self._still_coming(self._vault.db) is None:
                    self._over = True
                    return
                await self._write_and_enter(builders)
        except BaseException:
            self._over = True
            raise

    async def _write_and_enter(self, builders: Sequence[PackBuilder]) -> None:
        if not all(await finished([asyncio.to_thread(builder.sound) for builder in builders])):
            raise WrongChunk("its digest")  # before any is written: what is not entered would stay on disk
        written = await finished([asyncio.to_thread(self._vault.packs.write, builder) for builder in builders])
        packs = [filed_pack(each, study_uid=None, share=self.share.share) for each in written]
        chunks = [chunk for each in written for chunk in filed_chunks(each, self._ends)]
        async with self._vault.db.transaction(self._term) as tx:
            await filing.enter_packs(tx, packs)
            await filing.enter_chunks(tx, chunks)
            self._done += sum(1 for c in chunks if c.object_id not in self._own_ids)
            current = await shares.get(tx, self.share.share, Direction.IN)
            if current and current.state is ShareState.ACCEPTED:
                await shares.move(tx, current, ShareState.SENDING, "", self._now())
            if self._begun:
                await shares.count_done(tx, self.share.share, Direction.IN, self._done)

    @property
    def _own_ids(self) -> tuple[ObjectId, ObjectId]:
        return (self._letter.layout.shape.id, self._letter.keyring.shape.id)

    async def _expect(self, shape: ObjectShape, scan: int) -> None:
        """Enter the object of `shape` and wait for those of its chunks that are not durable."""
        async with self._vault.db.transaction(self._term) as tx:
            kind = ObjectKind.LAYOUT if scan < 0 else ObjectKind.DICOM
            row = filing.FiledObject(shape.id, shape.commitment, None, shape.size, None, kind)
            await filing.enter_objects(tx, [row])
        here = await shares.exchanged_chunks(self._vault.db, self.share.person, [shape.id])
        self._wait_for(shape, scan, here.get(shape.id, set()))

    def _wait_for(self, shape: ObjectShape, scan: int, here: set[int]) -> None:
        waiting = set(range(chunk_count(shape.size))) - here
        if waiting:
            self._expected[shape.id] = _Expected(shape, scan, waiting)
            self._unfinished[scan] += 1
            self._order.append(shape.id)

    async def _begin(self) -> None:
        """Open the layout and keyring, check them, and expect the images. A refusal ends the share."""
        try:
            layout = await asyncio.to_thread(read_layout, await self._own(self._letter.layout), self._letter)
            keyring = await asyncio.to_thread(read_keyring, await self._own(self._letter.keyring), layout)
            await asyncio.to_thread(check_keys, layout, keyring)
            await self._enter(layout)
        except (RemoteError, DamagedPack) as error:
            self._over = True
            await refuse(self._vault, self.share, _why(error), self._now(), self._term)
            raise
        self._begun = True

    async def _own(self, ref: ObjectRef) -> bytes:
        places = await scans.places_of(self._vault.db, [ref.shape.id])
        found = places.get(ref.shape.id, [])
        shape = ref.shape
        try:
            return await asyncio.to_thread(
                read_object, self._vault.packs, ref.key, shape.commitment, shape.size, ref.sha256, found
            )
        except DamagedPack as error:
            raise ShareCorrupt(error.what) from None

    async def _enter(self, layout: Layout) -> None:
        """Expect what the layout adds. Keys and hashes stay in the keyring until an object was opened with them."""
        based_on = await self._base(layout, self.share.person)
        added = [shape for group in layout.added for shape in group]
        async with self._vault.db.transaction(self._term) as tx:
            resolved = await check_resolved(tx, self._letter, layout, based_on)
            rows = [filing.FiledObject(s.id, s.commitment, None, s.size, None, ObjectKind.DICOM) for s in added]
            await filing.enter_objects(tx, rows)
            await shares.cover(
                tx, self.share.share, Direction.IN, [*resolved.items(), *((i, -1) for i in self._own_ids)]
            )
        here = await shares.exchanged_chunks(self._vault.db, self.share.person, [s.id for s in added])
        for shape in added:
            self._wait_for(shape, resolved[shape.id], here.get(shape.id, set()))
        waiting = sum(len(e.waiting) for e in self._expected.values())
        self._done = self.share.chunks_total - waiting
        async with self._vault.db.transaction(self._term) as tx:
            await shares.count_done(tx, self.share.share, Direction.IN, self._done)

    async def _base(self, layout: Layout, person: PersonId) -> dict[ObjectId, int]:
        if layout.base is None:
            return {}
        base = await shares.base_for(self._vault.db, person, Direction.IN, ObjectId(layout.base))
        if base is None:
            raise Malformed(BASE_MISSING)
        had = await shares.covered(self._vault.db, base.share, Direction.IN)
        if len(await shares.complete_objects(self._vault.db, list(had))) != len(had):
            raise Malformed(BASE_MISSING)
        return had


async def refuse(vault: Vault, share: Share, why: str, now: int, term: int | None) -> None:
    """End a share that cannot be taken, saying why; the receipt tells the sender."""
    async with vault.db.transaction(term) as tx:
        current = await shares.get(tx, share.share, Direction.IN)
        if current is None or current.state not in _LIVE or current.layout != share.layout:
            return  # it ended, or was offered anew, meanwhile
        await filing.unfile(tx, share.share)
        await shares.move(tx, current, ShareState.REFUSED, why, now)
        await audit.enter(
            tx, vault.identity.device, "share-refused",
            {"share": share.share.hex(), "person": share.person.hex(), "why": why}, now,
        )  # fmt: skip


def _why(error: RemoteError | DamagedPack) -> str:
    if error.what == BASE_MISSING:
        return BASE_MISSING
    return f"{error.code}: {error.what}" if error.what else error.code


async def find_arrival(vault: Vault, now: Clock, share_id: ShareId, term: int | None) -> Arrival | None:
    """The arrival of an accepted share, brought up to date; None if it is not one (any more)."""
    share = await shares.get(vault.db, share_id, Direction.IN)
    letter = await shares.letter_of(vault.db, share_id, Direction.IN)
    if share is None or letter is None or share.state not in (ShareState.ACCEPTED, ShareState.SENDING):
        return None
    arrival = Arrival(vault, now, share, letter, term)
    await arrival.resume()
    return arrival

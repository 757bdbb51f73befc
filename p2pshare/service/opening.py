"""Opening: a delivered share becomes scans. Each object is decrypted, verified, read by a sandboxed worker, and filed.

Rule 1: nothing is entered as an image before its plaintext SHA-256 is the one promised.
Rule 2: what a chunk's digest promised but its key does not open refuses the whole share, naming the sender.
Rule 3: what the sender says an image is does not count; the worker reads it here.
"""

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from p2pshare.dicom.sources import NEEDS_MORE, PrefixSource
from p2pshare.dicom.workers import Workers
from p2pshare.errors import Damaged, DamagedPack, ShareCorrupt
from p2pshare.model.dicom import DicomRecord, ReadReport
from p2pshare.model.ids import ObjectId, PackId
from p2pshare.model.letters import ShareLetter
from p2pshare.model.limits import KIB, MIB
from p2pshare.model.objects import Keyring, KeyringEntry, Layout, ObjectKind
from p2pshare.model.views import ShareState
from p2pshare.service.arrivals import refuse
from p2pshare.service.clock import Clock
from p2pshare.service.kept import kept_record
from p2pshare.service.layouts import read_keyring, read_layout
from p2pshare.service.sealing import open_object, read_object
from p2pshare.store import audit, filing, scans, shares
from p2pshare.store.db import Transaction
from p2pshare.store.scans import ChunkPlace
from p2pshare.store.shares import Direction, Share
from p2pshare.store.vault import Vault

_HEADER = 32 * KIB  # how much of an object a worker is given: nearly all headers are shorter
_LONG_HEADERS = (16 * MIB, 256 * MIB)  # and how much if that was not enough: large documents have no pixels to stop at
_BATCH = 100  # objects decrypted, read and filed together, while the next ones are being decrypted
_THREADS = 2


@dataclass(frozen=True, slots=True)
class _Item:
    entry: KeyringEntry
    commitment: bytes
    size: int
    places: Sequence[ChunkPlace]


@dataclass(frozen=True, slots=True)
class _Opened:
    descriptor: int
    covered: int


class Opening:
    """Opens delivered shares, one after another."""

    def __init__(self, vault: Vault, workers: Workers, now: Clock, term: int | None) -> None:
        """Use `workers` to read what was decrypted."""
        self._vault = vault
        self._workers = workers
        self._now = now
        self._term = term

    async def run(self, share: Share) -> None:
        """Open `share`, which is delivered; afterwards it is imported, or refused with why. Can be repeated."""
        letter = await shares.letter_of(self._vault.db, share.share, Direction.IN)
        if letter is None:
            return
        try:
            await self._open(share, letter)
        except _Ended:
            return
        except ShareCorrupt as error:
            await refuse(self._vault, share, f"{error.code}: {error.what}", self._now(), self._term)

    async def _open(self, share: Share, letter: ShareLetter) -> None:
        layout, keyring = await asyncio.to_thread(self._own, letter, await self._own_places(letter))
        if layout.base is not None:
            base = await shares.base_for(self._vault.db, share.person, Direction.IN, ObjectId(layout.base))
            if base is not None and base.state is ShareState.DELIVERED:
                await self.run(base)  # what this share builds on comes first
        items = await self._items(layout, keyring)
        filing_before: asyncio.Task[None] | None = None
        try:
            for start in range(0, len(items), _BATCH):
                batch = items[start : start + _BATCH]
                opened = await self._decrypt_all(batch, _HEADER)
                if filing_before is not None:
                    await _or_close(filing_before, opened)
                filing_before = asyncio.create_task(self._read_and_file(share, batch, opened))
        finally:
            if filing_before is not None:
                await filing_before
        await self._finish(share, letter)

    async def _own_places(self, letter: ShareLetter) -> dict[ObjectId, list[ChunkPlace]]:
        return await scans.places_of(self._vault.db, [letter.layout.shape.id, letter.keyring.shape.id])

    def _own(self, letter: ShareLetter, places: dict[ObjectId, list[ChunkPlace]]) -> tuple[Layout, Keyring]:
        data = [
            read_object(
                self._vault.packs, r.key, r.shape.commitment, r.shape.size, r.sha256, places.get(r.shape.id, [])
            )
            for r in (letter.layout, letter.keyring)
        ]
        layout = read_layout(data[0], letter)
        return layout, read_keyring(data[1], layout)

    async def _items(self, layout: Layout, keyring: Keyring) -> list[_Item]:
        """What the layout adds and is not filed yet."""
        entries = {e.object_id: e for e in keyring.added}
        shapes = [shape for group in layout.added for shape in group]
        places = await scans.places_of(self._vault.db, [s.id for s in shapes])
        filed = await scans.filed_objects(self._vault.db, [s.id for s in shapes])
        return [
            _Item(entries[s.object_id], s.commitment, s.size, places.get(s.id, [])) for s in shapes if s.id not in filed
        ]

    async def _decrypt_all(self, items: Sequence[_Item], covered: int) -> list[_Opened]:
        """Decrypt and verify objects in a few threads, keeping the first `covered` bytes of each for the worker.

        Raises ShareCorrupt or DamagedPack; nothing stays open then.
        """
        shares_of_work = [items[n::_THREADS] for n in range(_THREADS)]
        done = await asyncio.gather(
            *(asyncio.to_thread(self._decrypt_some, some, covered) for some in shares_of_work), return_exceptions=True
        )
        failed = [d for d in done if isinstance(d, BaseException)]
        opened = [d for d in done if not isinstance(d, BaseException)]
        if failed:
            _close([one for some in opened for one in some])
            raise failed[0]
        return [opened[n % _THREADS][n // _THREADS] for n in range(len(items))]

    def _decrypt_some(self, items: Sequence[_Item], covered: int) -> list[_Opened]:
        opened: list[_Opened] = []
        try:
            opened.extend(self._decrypt(item, covered) for item in items)
        except BaseException:
            _close(opened)
            raise
        return opened

    def _decrypt(self, item: _Item, most: int) -> _Opened:
        descriptor = os.memfd_create("p2pshare", os.MFD_CLOEXEC)
        covered = 0
        try:
            for plain in open_object(
                self._vault.packs, item.entry.key, item.commitment, item.size, item.entry.sha256, item.places
            ):
                if covered < most:
                    covered += os.pwrite(descriptor, memoryview(plain)[: most - covered], covered)
        except BaseException as error:
            os.close(descriptor)
            self._blame(item, error)
            raise
        return _Opened(descriptor, covered)

    async def _read_and_file(self, share: Share, items: Sequence[_Item], opened: Sequence[_Opened]) -> None:
        reports = await self._read(items, opened)
        unclear = [
            n
            for n, (item, one, report) in enumerate(zip(items, opened, reports, strict=True))
            if report.why == NEEDS_MORE and one.covered < item.size
        ]
        for n in unclear:  # rare, and one at a time, for it takes memory
            for most in _LONG_HEADERS:
                if reports[n].why == NEEDS_MORE:
                    longer = await self._decrypt_all([items[n]], most)
                    reports[n] = (await self._read([items[n]], longer))[0]
        await self._file(share, items, reports)

    async def _read(self, items: Sequence[_Item], opened: Sequence[_Opened]) -> list[ReadReport]:
        """What the workers find; closes what was opened."""
        sources = [PrefixSource(o.descriptor, i.size, o.covered) for i, o in zip(items, opened, strict=True)]
        try:
            return await self._workers.read(sources)
        finally:
            _close(opened)

    def _blame(self, item: _Item, error: BaseException) -> None:
        """Tell damage on this disk (stays as it is) from what the sender promised and did not send (refused)."""
        if isinstance(error, DamagedPack) and self._digests_fit(item):
            raise ShareCorrupt(f"an image does not open as promised ({error.what})") from None

    def _digests_fit(self, item: _Item) -> bool:
        try:
            return all(
                hashlib.sha256(self._vault.packs.read(p.pack_id, p.offset, p.length)).digest() == p.digest
                for p in item.places
            )
        except DamagedPack:
            return False

    async def _file(self, share: Share, items: Sequence[_Item], reports: Sequence[ReadReport]) -> None:
        now = self._now()
        rows = []
        packs: dict[PackId, str] = {}
        for item, report in zip(items, reports, strict=True):
            record = _record(item, report)
            rows.append(
                filing.FiledInstance(ObjectId(item.entry.object_id), item.entry.sha256, record, "", None, share.share)
            )
            packs.update({p.pack_id: record.study_uid for p in item.places})
        verified = [(r.object_id, i.entry.key, r.sha256, i.entry.kind) for r, i in zip(rows, items, strict=True)]
        async with self._vault.db.transaction(self._term) as tx:
            await _check_delivered(tx, share)
            await filing.enter_opened(tx, verified)
            await filing.enter_instances(tx, rows, now)
            await tx.many(
                "UPDATE pack SET study_uid = ? WHERE pack_id = ?", [(uid, pack) for pack, uid in packs.items()]
            )

    async def _finish(self, share: Share, letter: ShareLetter) -> None:
        now = self._now()
        async with self._vault.db.transaction(self._term) as tx:
            await _check_delivered(tx, share)
            if await shares.unopened(tx, share.share):
                raise Damaged("a share that this one builds on could not be opened")
            await shares.move(tx, share, ShareState.IMPORTED, "", now)
            await audit.enter(
                tx, self._vault.identity.device, "share-imported",
                {"share": share.share.hex(), "person": share.person.hex(), "objects": letter.objects}, now,
            )  # fmt: skip


class _Ended(Exception):
    """The share was revoked, or its scan erased, while it was being opened."""


async def _check_delivered(tx: Transaction, share: Share) -> None:
    current = await shares.get(tx, share.share, Direction.IN)
    if current is None or (current.state, current.layout) != (ShareState.DELIVERED, share.layout):
        raise _Ended


async def _or_close(filing: asyncio.Task[None], opened: Sequence[_Opened]) -> None:
    """Wait for `filing`; if it fails, or waiting ends, nobody will read `opened`."""
    try:
        await filing
    except BaseException:
        _close(opened)
        raise


def _close(opened: Sequence[_Opened]) -> None:
    for one in opened:
        os.close(one.descriptor)


def _record(item: _Item, report: ReadReport) -> DicomRecord:
    """What the worker read, or, for what it cannot read, a kept file."""
    if report.record is not None and item.entry.kind is ObjectKind.DICOM:
        return report.record
    return kept_record(report.why)

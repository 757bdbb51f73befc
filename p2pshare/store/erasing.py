"""Erasing a scan: its rows, keys and packs go; what cannot go in one step is written down and finished later.

Rule 1: first the transaction that deletes rows and keys and lists the doomed packs, then the files and the snapshots
    made before, then the list.
Rule 2: a pack that also holds something else is copied without the erased objects before it goes.
Rule 3: shares of the scan end, and their keyrings go too, for they hold its keys. Only what was offered to me and not
    answered stays: it is somebody else's letter, and nothing of it is kept here.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from p2pshare.errors import DamagedPack, VaultBusy
from p2pshare.model.ids import ObjectId, PackId, ShareId, Uid
from p2pshare.model.letters import ScanSummary, ShareLetter
from p2pshare.model.objects import Identity, ObjectKind, ObjectRef, chunk_count
from p2pshare.model.pack import PackEnd, PackScope
from p2pshare.model.packed import encode
from p2pshare.model.views import ShareState
from p2pshare.store import filing, shares, snapshots
from p2pshare.store.db import Row, Transaction
from p2pshare.store.filing import FiledChunk, FiledPack
from p2pshare.store.locks import maintenance
from p2pshare.store.packs import PackBuilder
from p2pshare.store.params import blobs
from p2pshare.store.scans import Scan
from p2pshare.store.shares import Direction, Share
from p2pshare.store.vault import Vault

_OVER: Final = (ShareState.DECLINED, ShareState.REVOKED, ShareState.EXPIRED, ShareState.REFUSED)
_LEFT_OVER_PATIENCE: Final = 1.0  # whoever holds the lock now may be erasing; another command will finish it

# An object outlives the scan if another scan has it as an image, or a share that is still coming in needs it.
_OUTLIVES: Final = (
    "(EXISTS (SELECT 1 FROM instance x WHERE x.object = o.object AND x.study <> ?1)"
    " OR (NOT EXISTS (SELECT 1 FROM instance x WHERE x.object = o.object) AND EXISTS (SELECT 1 FROM share_object so"
    " JOIN share sh ON sh.share = so.share AND sh.direction = so.direction WHERE so.object_id = o.object_id"
    " AND so.direction = 'in' AND sh.state IN ('accepted', 'sending', 'delivered'))))"
)
_CHUNKS_OF_PACK: Final = (
    "SELECT o.object_id, o.commitment, o.key, o.size, o.sha256, o.kind, c.number, c.offset, c.length, c.digest,"
    " s.study_uid, e.series_uid, i.sop_uid, i.sop_class FROM chunk c JOIN object o ON o.object = c.object"
    " LEFT JOIN instance i ON i.object = o.object LEFT JOIN study s ON s.study = i.study"
    " LEFT JOIN series e ON e.series = i.series WHERE c.pack = ?2 AND "
)


ERASED_HERE: Final = "the scan was erased here"


async def erase_rows(tx: Transaction, vault: Vault, scan: Scan, now: int) -> list[Share]:
    """Delete everything of `scan` from the database and list its packs as doomed.

    The caller holds the maintenance lock exclusively, takes back the letters of the shares of mine that ended, which
    are returned as they were before, and calls `finish` after the transaction.
    """
    covering = await _covering(tx, scan)
    gone = await _objects(tx, scan, covering)
    for share in covering:
        await _end(tx, share, now)
    doomed = await _packs(tx, scan, [share.share for share in covering])
    for pack, pack_id in doomed.items():
        gone |= {int(row[0]) for row in await tx.rows("SELECT DISTINCT object FROM chunk WHERE pack = ?", (pack,))}
        await _keep_others(tx, vault, scan, pack, pack_id, now)
    stray = await _unfiled_packs(tx, vault, scan, {share.share for share in covering})
    await tx.many(
        "INSERT OR IGNORE INTO doomed_pack VALUES (?, ?)",
        [(pack_id, f"erased {scan.scan.hex()}") for pack_id in [*doomed.values(), *stray]],
    )
    await tx.many("DELETE FROM pack WHERE pack = ?", [(pack,) for pack in doomed])
    await tx.many(
        f"DELETE FROM object AS o WHERE o.object = ?2 AND NOT {_OUTLIVES}",  # noqa: S608 - constant
        [(scan.study, number) for number in gone],
    )
    await tx.execute("DELETE FROM study_text WHERE rowid = ?", (scan.study,))
    await tx.execute("DELETE FROM study WHERE study = ?", (scan.study,))
    return [share for share in covering if share.direction is Direction.OUT]


async def finish(vault: Vault, now: int) -> int:
    """Remove the files of doomed packs and every earlier snapshot, then forget them; return how many packs.

    Under the exclusive maintenance lock. What the database's log still holds of erased rows goes with a checkpoint.
    """
    rows = await vault.db.rows("SELECT pack_id FROM doomed_pack")
    if not rows:
        return 0
    doomed = [PackId(row[0]) for row in rows]
    await asyncio.to_thread(_remove_files, vault, doomed)
    await snapshots.replace_all(vault, now)
    async with vault.db.transaction() as tx:
        await tx.many("DELETE FROM doomed_pack WHERE pack_id = ?", [(pack_id,) for pack_id in doomed])
    await vault.db.checkpoint()
    return len(doomed)


async def finish_left_over(vault: Vault, now: int) -> bool:
    """Finish what was interrupted: an erasure, a write; False if somebody else is at it, or at something.

    Temporary files of writers that were killed go; nobody writes while the lock is held.
    """
    left_over = await vault.db.rows("SELECT 1 FROM doomed_pack LIMIT 1")
    if not left_over and not await asyncio.to_thread(lambda: any(vault.folder.temps())):
        return True
    try:
        async with maintenance(vault.folder, exclusive=True, patience=_LEFT_OVER_PATIENCE):
            await asyncio.to_thread(vault.folder.sweep_temps)  # of writers that were killed
            if left_over:
                await finish(vault, now)
    except VaultBusy:
        return False
    return True


def _remove_files(vault: Vault, doomed: Sequence[PackId]) -> None:
    vault.packs.delete(doomed)
    # What a killed writer left may hold the scan too; nobody is writing packs or snapshots now.
    vault.folder.sweep_temps()


async def _covering(tx: Transaction, scan: Scan) -> list[Share]:
    """The shares, in either direction, that name the scan or cover an object of it."""
    rows = await tx.rows(
        "SELECT DISTINCT so.share, so.direction FROM share_object so JOIN object o ON o.object_id = so.object_id"
        " JOIN instance i ON i.object = o.object WHERE i.study = ?",
        (scan.study,),
    )
    covering = {(bytes(row[0]), str(row[1])) for row in rows}
    return [
        share
        for direction in Direction
        for share in await shares.listed(tx, direction)
        if (share.direction, share.state) != (Direction.IN, ShareState.OFFERED)
        and (
            (bytes(share.share), direction.value) in covering
            or any(summary.study_uid == scan.study_uid for summary in share.scans)
        )
    ]


async def _objects(tx: Transaction, scan: Scan, covering: Iterable[Share]) -> set[int]:
    """The rows of all objects that the scan or those shares have to do with."""
    rows = await tx.rows("SELECT object FROM instance WHERE study = ?", (scan.study,))
    for share in covering:
        own = blobs([share.layout, share.keyring])
        rows += await tx.rows(
            "SELECT o.object FROM object o JOIN share_object so ON so.object_id = o.object_id"
            " WHERE so.share = ?1 AND so.direction = ?2 AND NOT EXISTS"
            " (SELECT 1 FROM instance i WHERE i.object = o.object) UNION"
            " SELECT object FROM object WHERE object_id IN (SELECT unhex(value) FROM json_each(?3))",
            (share.share, share.direction.value, own),
        )
    return {int(row[0]) for row in rows}


async def _end(tx: Transaction, share: Share, now: int) -> None:
    """End a share, and take out of it what names the patient, and its keys."""
    if share.state not in _OVER:
        ended_as = ShareState.REVOKED if share.direction is Direction.OUT else ShareState.REFUSED
        await shares.move(tx, share, ended_as, ERASED_HERE, now)
    await tx.execute("DELETE FROM share_object WHERE share = ? AND direction = ?", (share.share, share.direction.value))
    letter = await shares.letter_of(tx, share.share, share.direction)
    if letter is not None:
        blank = tuple(ScanSummary(s.study_uid, "", "", "", "", "", s.instances, s.bytes) for s in share.scans)
        await tx.execute(
            "UPDATE share SET question = '', scans = ?, letter = ? WHERE share = ? AND direction = ?",
            (encode(blank), encode(_without_content(letter, blank)), share.share, share.direction.value),
        )
    if share.direction is Direction.IN and share.device is not None:
        # The letter's hash stays: its place in the feed is not forgotten.
        await tx.execute(
            "UPDATE letter_in SET letter = x'' WHERE device = ? AND instr(letter, ?) > 0", (share.device, share.share)
        )


def _without_content(letter: ShareLetter, blank: tuple[ScanSummary, ...]) -> ShareLetter:
    refs = [ObjectRef(shape=ref.shape, key=bytes(32), sha256=bytes(32)) for ref in (letter.layout, letter.keyring)]
    return ShareLetter(
        share=letter.share, scans=blank, question="", expires=letter.expires, layout=refs[0], keyring=refs[1],
        objects=letter.objects, chunks=letter.chunks, stored_bytes=letter.stored_bytes,
    )  # fmt: skip


async def _packs(tx: Transaction, scan: Scan, ended: Sequence[ShareId]) -> dict[int, PackId]:
    """The packs that hold anything of the scan, or of a share that ended."""
    rows = await tx.rows(
        "SELECT DISTINCT p.pack, p.pack_id FROM pack p JOIN chunk c ON c.pack = p.pack"
        " JOIN instance i ON i.object = c.object WHERE i.study = ?1"
        " UNION SELECT pack, pack_id FROM pack WHERE study_uid = ?2"
        " UNION SELECT pack, pack_id FROM pack WHERE share IN (SELECT unhex(value) FROM json_each(?3))",
        (scan.study, scan.study_uid, blobs(ended)),
    )
    return {int(row[0]): PackId(row[1]) for row in rows}


async def _unfiled_packs(tx: Transaction, vault: Vault, scan: Scan, ended: set[ShareId]) -> list[PackId]:
    """Packs of the scan that a writer which was killed left on disk without entering them."""
    filed = {bytes(row[0]) for row in await tx.rows("SELECT pack_id FROM pack")}
    owners = {scan.study_uid.encode(), *ended}

    def look() -> list[PackId]:
        return [p for p in vault.packs.ids() if p not in filed and _owner(vault, p) in owners]

    return await asyncio.to_thread(look)


def _owner(vault: Vault, pack_id: PackId) -> bytes | None:
    try:
        return vault.packs.read_index(pack_id).owner
    except DamagedPack:
        return None


@dataclass(frozen=True, slots=True)
class _Kept:
    """A chunk that outlives the pack it lies in."""

    object_id: ObjectId
    commitment: bytes
    key: bytes | None = field(repr=False)
    number: int
    offset: int
    length: int
    digest: bytes
    end: PackEnd
    study_uid: str | None

    @classmethod
    def of(cls, row: Row) -> "_Kept":
        object_id, commitment, key, size, sha256, kind, number, offset, length, digest, *identity = row
        study_uid, series_uid, sop_uid, sop_class = identity
        known = Identity(Uid(study_uid), Uid(series_uid), Uid(sop_uid), sop_class) if sop_uid else None
        end = PackEnd(object_id=object_id, size=size, sha256=sha256, kind=ObjectKind(kind), identity=known)
        return cls(ObjectId(object_id), commitment, key, number, offset, length, digest, end, study_uid)


async def _keep_others(tx: Transaction, vault: Vault, scan: Scan, pack: int, pack_id: PackId, now: int) -> None:
    """Copy what outlives the scan in a doomed pack into packs of its own, one for each study."""
    rows = await tx.rows(_CHUNKS_OF_PACK + _OUTLIVES + " ORDER BY c.object, c.number", (scan.study, pack))
    by_study: dict[str | None, list[_Kept]] = {}
    for row in rows:
        kept = _Kept.of(row)
        by_study.setdefault(kept.study_uid, []).append(kept)
    share = await tx.row("SELECT share FROM pack WHERE pack = ?", (pack,))
    for study_uid, chunks in by_study.items():
        arrivals = ShareId(share[0]) if study_uid is None and share and share[0] is not None else None
        await _copy(tx, vault, pack_id, chunks, study_uid, arrivals, now)


async def _copy(
    tx: Transaction, vault: Vault, source: PackId, chunks: Sequence[_Kept], study_uid: str | None,
    share: ShareId | None, now: int,
) -> None:  # fmt: skip
    scope = PackScope.ARRIVALS if study_uid is None else PackScope.STUDY
    builder = PackBuilder(scope, study_uid.encode() if study_uid is not None else share or b"", now)
    spans = await asyncio.to_thread(vault.packs.read_many, source, [(c.offset, c.length) for c in chunks])
    for chunk, data in zip(chunks, spans, strict=True):
        builder.add(chunk.commitment, chunk.key, chunk.number, data, chunk.digest)
        if chunk.number == chunk_count(chunk.end.size) - 1:
            builder.end(chunk.commitment, chunk.end)
    closed = await asyncio.to_thread(vault.packs.write, builder)
    ids = {chunk.commitment: chunk.object_id for chunk in chunks}
    row = FiledPack(closed.pack_id, closed.generation, int(closed.scope), closed.size, study_uid, share)
    await filing.enter_packs(tx, [row])
    await filing.enter_chunks(
        tx,
        [FiledChunk(ids[p.commitment], p.number, closed.pack_id, p.offset, p.length, p.digest)
         for p in closed.placements],
    )  # fmt: skip

"""Erasing a scan: its rows, keys and packs go; what cannot go in one step is written down and finished later.

Rule 1: first the transaction that deletes rows and keys and lists the doomed packs, then the files, then the list.
Rule 2: a pack that also holds something else is copied without the erased objects before it goes.
Rule 3: shares of the scan end, and their keyrings go too, for they hold its keys.
"""

import asyncio
from collections.abc import Sequence

from p2pshare.model.ids import ObjectId, PackId, ShareId
from p2pshare.model.letters import ScanSummary, ShareLetter
from p2pshare.model.objects import ObjectRef
from p2pshare.model.pack import PackScope
from p2pshare.model.packed import encode
from p2pshare.model.views import ShareState
from p2pshare.store import filing, shares
from p2pshare.store.db import Row, Transaction
from p2pshare.store.filing import FiledChunk, FiledPack
from p2pshare.store.packs import PackBuilder
from p2pshare.store.scans import Scan
from p2pshare.store.shares import Direction, Share
from p2pshare.store.vault import Vault


async def erase_rows(tx: Transaction, vault: Vault, scan: Scan, now: int) -> int:
    """Delete everything of `scan` from the database and list its packs as doomed; return how many packs.

    The caller holds the maintenance lock exclusively, and calls `finish` after the transaction.
    """
    objects = await tx.rows(
        "SELECT o.object, o.object_id FROM object o JOIN instance i ON i.object = o.object WHERE i.study = ?",
        (scan.study,),
    )
    ended = await _end_shares(tx, [ObjectId(row[1]) for row in objects], now)
    packs = await tx.rows(
        "SELECT DISTINCT p.pack, p.pack_id, p.generation, p.scope FROM pack p LEFT JOIN chunk c ON c.pack = p.pack"
        " LEFT JOIN instance i ON i.object = c.object WHERE i.study = ? OR p.study_uid = ?",
        (scan.study, scan.study_uid),
    )
    for share in ended:
        packs += await tx.rows(
            "SELECT pack, pack_id, generation, scope FROM pack WHERE share = ? AND scope = ?",
            (share, int(PackScope.SHARE)),
        )
    doomed = {int(row[0]): PackId(row[1]) for row in packs}
    await _keep_others(tx, vault, scan, doomed, now)
    await tx.many(
        "INSERT OR IGNORE INTO doomed_pack VALUES (?, ?)", [(p, f"erased {scan.scan.hex()}") for p in doomed.values()]
    )
    await tx.many("DELETE FROM pack WHERE pack = ?", [(pack,) for pack in doomed])
    await tx.many("DELETE FROM object WHERE object = ?", [(row[0],) for row in objects])
    await tx.execute(
        "DELETE FROM object WHERE kind IN ('layout', 'keyring') AND object NOT IN (SELECT object FROM chunk)"
    )
    await tx.execute("DELETE FROM study_text WHERE rowid = ?", (scan.study,))
    await tx.execute("DELETE FROM study WHERE study = ?", (scan.study,))
    return len(doomed)


async def _end_shares(tx: Transaction, objects: Sequence[ObjectId], now: int) -> list[ShareId]:
    """End every share that covers one of `objects`; return their ids."""
    ended: set[tuple[ShareId, str]] = set()
    for object_id in objects:
        rows = await tx.rows("SELECT share, direction FROM share_object WHERE object_id = ?", (object_id,))
        ended.update((ShareId(row[0]), str(row[1])) for row in rows)
    for share_id, direction in ended:
        share = await shares.get(tx, share_id, Direction(direction))
        if share and share.state not in (ShareState.DECLINED, ShareState.REVOKED, ShareState.REFUSED):
            ended_as = ShareState.REVOKED if share.direction is Direction.OUT else ShareState.REFUSED
            await shares.move(tx, share, ended_as, "the scan was erased here", now)
        await tx.execute("DELETE FROM share_object WHERE share = ? AND direction = ?", (share_id, direction))
        if share:
            await _blank(tx, share)
    return sorted({share_id for share_id, _ in ended})


async def _blank(tx: Transaction, share: Share) -> None:
    """Take out of the offer what names the patient, and its keys: in the share, and in the letter that made it."""
    letter = await shares.letter_of(tx, share.share, share.direction)
    if letter is None:
        return
    blank = tuple(ScanSummary(s.study_uid, "", "", "", "", "", s.instances, s.bytes) for s in share.scans)
    refs = [ObjectRef(shape=r.shape, key=bytes(32), sha256=bytes(32)) for r in (letter.layout, letter.keyring)]
    empty = ShareLetter(
        share=letter.share, scans=blank, question="", expires=letter.expires, layout=refs[0], keyring=refs[1],
        objects=letter.objects, chunks=letter.chunks, stored_bytes=letter.stored_bytes,
    )  # fmt: skip
    await tx.execute(
        "UPDATE share SET question = '', scans = ?, letter = ? WHERE share = ? AND direction = ?",
        (encode(blank), encode(empty), share.share, share.direction.value),
    )
    await tx.execute("DELETE FROM letter_out WHERE share = ? AND kind = 'share'", (share.share,))
    if share.device is not None:
        for number, data in await tx.rows("SELECT number, letter FROM letter_in WHERE device = ?", (share.device,)):
            if bytes(data).find(share.share) >= 0:  # the letter's hash stays: its place in the feed is not forgotten
                await tx.execute(
                    "UPDATE letter_in SET letter = x'' WHERE device = ? AND number = ?", (share.device, number)
                )


async def _keep_others(tx: Transaction, vault: Vault, scan: Scan, doomed: dict[int, PackId], now: int) -> None:
    """Copy what other scans have in doomed packs into packs of their own."""
    for pack, pack_id in doomed.items():
        rows = await tx.rows(
            "SELECT o.object_id, o.commitment, o.key, c.number, c.offset, c.length, c.digest, p.scope, p.share,"
            " s.study_uid FROM chunk c JOIN object o ON o.object = c.object JOIN pack p ON p.pack = c.pack"
            " LEFT JOIN instance i ON i.object = o.object LEFT JOIN study s ON s.study = i.study"
            " WHERE c.pack = ? AND s.study IS NOT NULL AND s.study <> ?",
            (pack, scan.study),
        )
        if rows:
            await _copy(tx, vault, pack_id, rows, now)


async def _copy(tx: Transaction, vault: Vault, pack_id: PackId, rows: Sequence[Row], now: int) -> None:
    builder = PackBuilder(PackScope.STUDY, str(rows[0][9]).encode(), now)
    ids: dict[bytes, ObjectId] = {}
    for object_id, commitment, key, number, offset, length, digest, *_ in rows:
        data = await asyncio.to_thread(vault.packs.read, pack_id, offset, length)
        ids[commitment] = ObjectId(object_id)
        builder.add(commitment, key, number, data, digest)
    closed = await asyncio.to_thread(vault.packs.write, builder)
    row = FiledPack(closed.pack_id, closed.generation, int(closed.scope), closed.size, str(rows[0][9]), None)
    await filing.enter_packs(tx, [row])
    chunks = [
        FiledChunk(ids[p.commitment], p.number, closed.pack_id, p.offset, p.length, p.digest) for p in closed.placements
    ]
    await filing.enter_chunks(tx, chunks)


async def finish(vault: Vault) -> int:
    """Remove the files of doomed packs, then forget them; return how many. Under the exclusive maintenance lock.

    What the database's log still holds of erased rows goes with a checkpoint.
    """
    rows = await vault.db.rows("SELECT pack_id FROM doomed_pack")
    if not rows:
        return 0
    doomed = [PackId(row[0]) for row in rows]
    await asyncio.to_thread(vault.packs.delete, doomed)
    async with vault.db.transaction() as tx:
        await tx.many("DELETE FROM doomed_pack WHERE pack_id = ?", [(pack_id,) for pack_id in doomed])
    await vault.db.checkpoint()
    return len(doomed)

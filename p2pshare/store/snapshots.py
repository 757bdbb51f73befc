"""Snapshots: what packs do not hold (people, feeds, shares, the log), kept as encrypted packs of their own.

Rule 1: a snapshot holds no prekey secret: a copy of the vault cannot open letters sealed after it was made.
Rule 2: the newest two are kept; a new one is durable before an old one goes.
Rule 3: all tables are read in one transaction, and one process writes at a time: under the exclusive maintenance lock.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from p2pshare.crypto.codec import Codec
from p2pshare.crypto.stream import ObjectOpener, ObjectSealer, object_id
from p2pshare.errors import DamagedPack, Malformed, ShareCorrupt, VaultBusy
from p2pshare.model.ids import PackId
from p2pshare.model.limits import CHUNK_SIZE, PACK_CLOSES_AT
from p2pshare.model.objects import ObjectKind, chunk_count, chunk_plain_length
from p2pshare.model.pack import PackEnd, PackPart, PackScope
from p2pshare.model.packed import Packed, decode, encode
from p2pshare.store.db import Transaction
from p2pshare.store.locks import maintenance
from p2pshare.store.packs import PackBuilder, placements
from p2pshare.store.vault import Vault

_TABLES: Final = (
    "meta", "person", "device", "feed_out", "letter_out", "feed_ack", "feed_in", "letter_in", "receipt_in",
    "receipt_out", "share", "log",
)  # fmt: skip
_SNAPSHOT_MAX: Final = 256 << 20
_TOO_LARGE: Final = "snapshot_too_large"
_KEPT: Final = 2
_PATIENCE: Final = 2.0


class Table(Packed, frozen=True):
    """One table as it was: column names, and rows of integers, texts, byte strings and nil."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class Snapshot(Packed, frozen=True, tag="snapshot", tag_field="t"):
    """The tables that packs do not hold, as of log entry `log_number`."""

    log_number: int
    created: int
    tables: dict[str, Table]


async def write_if_needed(vault: Vault, now: int) -> bool:
    """Write a snapshot if the log has grown since the last one; tell whether it did.

    If somebody else is at the packs just now, it is left to the next time; if it outgrew its bound, none is written.
    """
    if await _is_current(vault):
        return False
    try:
        async with maintenance(vault.folder, exclusive=True, patience=_PATIENCE):
            if await _is_current(vault):  # somebody else was quicker
                return False
            return await _write_one(vault, now, keep=_KEPT)
    except VaultBusy:
        return False


async def replace_all(vault: Vault, now: int) -> None:
    """Write a snapshot and remove every earlier one: after an erasure, for the earlier ones name what was erased.

    Under the exclusive maintenance lock.
    """
    await _write_one(vault, now, keep=1)


def read_newest(vault: Vault) -> Snapshot | None:
    """The newest snapshot that opens; None when there is none. Raises DamagedPack when there are, and none opens."""
    opened: list[Snapshot] = []
    groups = _groups(vault)
    for parts in groups.values():
        with suppress(DamagedPack, Malformed):
            opened.append(_read(vault, parts))
    if groups and not opened:
        raise DamagedPack("snapshots")
    return max(opened, key=lambda s: (s.log_number, s.created), default=None)


def problems(vault: Vault) -> list[str]:
    """What is wrong with the snapshots, in words."""
    wrong: list[str] = []
    for pack_id in vault.snapshots.ids():
        wrong += [f"snapshot: {line}" for line in vault.snapshots.verify(pack_id)]
    for parts in _groups(vault).values():
        try:
            _read(vault, parts)
        except (DamagedPack, Malformed) as error:
            wrong.append(f"snapshot: {error.what}")
    return wrong


async def missing(vault: Vault) -> list[str]:
    """What is said when no snapshot of now could be written; empty when one could."""
    if await vault.db.row("SELECT 1 FROM meta WHERE key = ?", (_TOO_LARGE,)) is None:
        return []
    return [
        "snapshot: people, letters and the log have outgrown what one may hold; copy the vault's folder as a backup"
    ]


@dataclass(frozen=True, slots=True)
class _Part:
    pack_id: PackId
    part: PackPart
    offset: int
    created: int


async def _is_current(vault: Vault) -> bool:
    done = await vault.db.row("SELECT value FROM meta WHERE key = 'snapshot'")
    head = await vault.db.row("SELECT coalesce(max(number), 0) FROM log")
    return bool(done and head and int.from_bytes(done[0], "big") >= int(head[0]))


async def _write_one(vault: Vault, now: int, *, keep: int) -> bool:
    async with vault.db.transaction() as tx:
        head = await tx.row("SELECT coalesce(max(number), 0) FROM log")
        log_number = int(head[0]) if head else 0
        tables = {name: await _table(tx, name) for name in _TABLES}
    data = encode(Snapshot(log_number=log_number, created=now, tables=tables))
    if len(data) > _SNAPSHOT_MAX:
        await _refuse(vault, keep)
        return False
    await asyncio.to_thread(_write, vault, data, now, keep)
    async with vault.db.transaction() as tx:
        await tx.execute("INSERT OR REPLACE INTO meta VALUES ('snapshot', ?)", (log_number.to_bytes(8, "big"),))
        await tx.execute("DELETE FROM meta WHERE key = ?", (_TOO_LARGE,))
    return True


async def _refuse(vault: Vault, keep: int) -> None:
    """Write down that no snapshot can be had, for `check` to say; one that could not be read back would be worse.

    The earlier ones stay, unless they name what was erased.
    """
    async with vault.db.transaction() as tx:
        await tx.execute("INSERT OR REPLACE INTO meta VALUES (?, x'01')", (_TOO_LARGE,))
    if keep == 1:
        await asyncio.to_thread(lambda: vault.snapshots.delete(list(vault.snapshots.ids())))


def _groups(vault: Vault) -> dict[bytes, list[_Part]]:
    """The parts of each snapshot, by its commitment, in order; packs whose index does not open are left out."""
    groups: dict[bytes, list[_Part]] = {}
    for pack_id in vault.snapshots.ids():
        with suppress(DamagedPack):
            index = vault.snapshots.read_index(pack_id)
            places = iter(placements(index))
            for part in index.parts:
                mine = list(islice(places, len(part.lengths)))
                groups.setdefault(part.commitment, []).append(_Part(pack_id, part, mine[0].offset, index.created))
    return {commitment: sorted(parts, key=lambda p: p.part.first) for commitment, parts in groups.items()}


def _read(vault: Vault, parts: Sequence[_Part]) -> Snapshot:
    end, key = parts[-1].part.end, parts[0].part.key
    if end is None or key is None or end.size > _SNAPSHOT_MAX:
        raise DamagedPack(f"snapshot {parts[0].pack_id.hex()}: a part is missing")
    try:
        opener = ObjectOpener(key, parts[0].part.commitment)
        plain = b"".join(_opened(vault, opener, end.size, parts))
    except ShareCorrupt:
        raise DamagedPack(f"snapshot {parts[0].pack_id.hex()}: it does not open") from None
    return decode(plain, Snapshot, limit=_SNAPSHOT_MAX, what=f"snapshot {parts[0].pack_id.hex()}")


def _opened(vault: Vault, opener: ObjectOpener, size: int, parts: Sequence[_Part]) -> Iterator[bytes]:
    number, count = 0, chunk_count(size)
    for one in parts:
        if one.part.first != number:
            raise DamagedPack(f"snapshot {one.pack_id.hex()}: a part is missing")
        offset = one.offset
        for length in one.part.lengths:
            stored = vault.snapshots.read(one.pack_id, offset, length)
            yield opener.open(number, number == count - 1, chunk_plain_length(size, number), stored)
            offset, number = offset + length, number + 1


async def _table(tx: Transaction, name: str) -> Table:
    columns = tuple(str(row[1]) for row in await tx.rows(f"PRAGMA table_info({name})"))
    rows = await tx.rows(f"SELECT {', '.join(columns)} FROM {name}")  # noqa: S608 - names from our own schema
    return Table(columns=columns, rows=tuple(tuple(row) for row in rows))


def _write(vault: Vault, data: bytes, now: int, keep: int) -> None:
    sealer, count, digests = ObjectSealer(), chunk_count(len(data)), bytearray()
    builder, written = PackBuilder(PackScope.SNAPSHOT, b"", now), set[PackId]()
    for number in range(count):
        if builder.full(PACK_CLOSES_AT):
            written.add(vault.snapshots.write(builder).pack_id)
            builder = PackBuilder(PackScope.SNAPSHOT, b"", now)
        plain = data[number * CHUNK_SIZE : (number + 1) * CHUNK_SIZE]
        chunk = sealer.seal(number, number == count - 1, plain, Codec.ZSTD)
        builder.add(sealer.commitment, sealer.key, number, chunk.data, chunk.digest)
        digests += chunk.digest
    end = PackEnd(
        object_id=object_id(sealer.commitment, len(data), bytes(digests)),
        size=len(data),
        sha256=hashlib.sha256(data).digest(),
        kind=ObjectKind.SNAPSHOT,
        identity=None,
    )
    builder.end(sealer.commitment, end)
    written.add(vault.snapshots.write(builder).pack_id)
    _drop_old(vault, sealer.commitment, keep)


def _drop_old(vault: Vault, newest: bytes, keep: int) -> None:
    """Remove all snapshots but the newest `keep`; packs that no longer open go too."""
    groups = _groups(vault)
    by_age = sorted((c for c in groups if c != newest), key=lambda c: groups[c][0].created, reverse=True)
    kept = {part.pack_id for c in [newest, *by_age[: keep - 1]] for part in groups.get(c, ())}
    vault.snapshots.delete([pack_id for pack_id in vault.snapshots.ids() if pack_id not in kept])

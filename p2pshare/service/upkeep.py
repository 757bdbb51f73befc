"""Upkeep: is everything here and as it was written, the log, and a way back in without the passphrase."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2pshare.crypto.slots import Secret, slot_kind
from p2pshare.crypto.vaultkeys import set_slot
from p2pshare.errors import Damaged
from p2pshare.model.ids import ObjectId, PackId
from p2pshare.service.clock import Clock
from p2pshare.service.sealing import open_object
from p2pshare.store import audit, scans, snapshots
from p2pshare.store.audit import LogEntry
from p2pshare.store.locks import engine_held
from p2pshare.store.vault import Vault


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was written, and the scans it touches (descriptions, unsanitised)."""

    what: str
    scans: tuple[str, ...] = ()


class Upkeep:
    """The use cases around the vault itself."""

    def __init__(self, vault: Vault, now: Clock) -> None:
        """Work on `vault`."""
        self._vault = vault
        self._now = now

    async def check(self, *, read_data: bool, told: Callable[[int, int], None]) -> list[Problem]:
        """Look for anything missing or changed; with `read_data`, read and open every byte of every scan."""
        vault = self._vault
        found = [] if vault.header_authentic else [Problem("vault.p2pv: a part of it was changed")]
        found += [Problem(f"{line}") for line in await asyncio.to_thread(vault.folder.too_open)]
        found += [Problem(f"database: {line}") for line in await vault.db.integrity()]
        found += [Problem(line) for line in await audit.problems(vault.db, vault.identity.device.public)]
        found += await self._packs(told)
        found += await self._snapshots()
        found += await self._incomplete()
        if read_data:
            found += await self._data(told)
        return found

    async def log(self, *, limit: int | None) -> list[LogEntry]:
        """The log, oldest first."""
        return await audit.entries(self._vault.db, limit=limit)

    async def serving(self) -> str:
        """The address at which a process of this vault sends and receives now; empty when none does."""
        if not engine_held(self._vault.folder):
            return ""
        row = await self._vault.db.row("SELECT address FROM engine")
        return str(row[0]) if row else ""

    async def replace_slots(self, given: Sequence[Secret]) -> None:
        """Let each of `given` open the vault from now on, in place of the one of its kind before."""
        header = self._vault.header
        for secret in given:
            header = await asyncio.to_thread(set_slot, header, self._vault.keys, secret)
        async with self._vault.db.transaction() as tx:
            kinds = ", ".join(slot_kind(secret).value for secret in given)
            await audit.enter(tx, self._vault.identity.device, "unlocking-changed", {"kinds": kinds}, self._now())
        await asyncio.to_thread(self._vault.replace_header, header)

    async def _packs(self, told: Callable[[int, int], None]) -> list[Problem]:
        rows = await self._vault.db.rows("SELECT pack_id, size FROM pack ORDER BY pack_id")
        known = {PackId(row[0]): int(row[1]) for row in rows}
        found: list[Problem] = []
        for number, pack_id in enumerate(known):
            wrong = await asyncio.to_thread(self._pack, pack_id)
            if wrong:
                found.append(Problem(wrong, await self._scans_in(pack_id)))
            told(number + 1, len(known))
        return found

    def _pack(self, pack_id: PackId) -> str:
        try:
            self._vault.packs.read_index(pack_id)
        except Damaged as error:
            return error.what
        return ""

    async def _scans_in(self, pack_id: PackId) -> tuple[str, ...]:
        rows = await self._vault.db.rows(
            "SELECT DISTINCT s.description, s.study_date, s.scan FROM pack p JOIN chunk c ON c.pack = p.pack"
            " JOIN instance i ON i.object = c.object JOIN study s ON s.study = i.study WHERE p.pack_id = ?",
            (pack_id,),
        )
        return tuple(f"{row[0]} {row[1]} ({bytes(row[2]).hex()[:8]})" for row in rows)

    async def _snapshots(self) -> list[Problem]:
        found = await asyncio.to_thread(snapshots.problems, self._vault)
        return [Problem(line) for line in (*found, *await snapshots.missing(self._vault))]

    async def _incomplete(self) -> list[Problem]:
        """Instances some of whose chunks the database does not place."""
        rows = await self._vault.db.rows(
            "SELECT s.description, s.study_date, s.scan, count(*) FROM instance i JOIN study s ON s.study = i.study"
            " JOIN object o ON o.object = i.object WHERE (SELECT count(*) FROM chunk c WHERE c.object = o.object)"
            " <> max(1, (o.size + 1048575) / 1048576) GROUP BY s.study"
        )
        return [Problem(f"{r[3]} images are incomplete", (f"{r[0]} {r[1]} ({bytes(r[2]).hex()[:8]})",)) for r in rows]

    async def _data(self, told: Callable[[int, int], None]) -> list[Problem]:
        found: list[Problem] = []
        for pack_id in [PackId(r[0]) for r in await self._vault.db.rows("SELECT pack_id FROM pack ORDER BY pack_id")]:
            wrong = await asyncio.to_thread(self._vault.packs.verify, pack_id)
            if wrong:
                touched = await self._scans_in(pack_id)
                found += [Problem(line, touched) for line in wrong]
        every = await scans.listed(self._vault.db)
        for number, scan in enumerate(every):
            places = await scans.places_of_study(self._vault.db, scan)
            instances = await scans.instances_of(self._vault.db, scan)
            damaged = await asyncio.to_thread(self._unopenable, instances, places)
            if damaged:
                found.append(Problem(f"{damaged} images cannot be opened", (scan.description,)))
            told(number + 1, len(every))
        return found

    def _unopenable(
        self, instances: Sequence[scans.StoredInstance], places: dict[ObjectId, list[scans.ChunkPlace]]
    ) -> int:
        damaged = 0
        for i in instances:
            try:
                for _ in open_object(
                    self._vault.packs, i.key, i.commitment, i.size, i.sha256, places.get(i.object_id, [])
                ):
                    pass
            except Damaged:
                damaged += 1
        return damaged

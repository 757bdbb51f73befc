"""The engine: the one process of a vault that listens, dials, exchanges, and opens what was delivered.

Rule 1: it holds the engine lock and a term number; every write it makes checks the term.
Rule 2: one TaskGroup owns every task; cancelling `run` ends them all and says goodbye to whoever is connected.
Rule 3: a full disk or a busy vault stops nothing for good: it is logged, and tried again.
"""

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from p2pshare.crypto.keys import SigningKey
from p2pshare.dicom.workers import Workers
from p2pshare.engine.changes import Changes
from p2pshare.engine.desk import VaultDesk
from p2pshare.engine.outbox import Outbox
from p2pshare.engine.pace import Pace
from p2pshare.engine.strangers import Strangers
from p2pshare.errors import Damaged, DiskTrouble, EngineTaken, LocalError, P2PShareError, VaultBusy
from p2pshare.model.card import KnownDevice
from p2pshare.model.ids import DeviceId, ShareId
from p2pshare.model.ports import Link
from p2pshare.model.views import ShareState
from p2pshare.service.clock import Clock, keep_time
from p2pshare.service.layouts import BASE_MISSING
from p2pshare.service.offers import Offers
from p2pshare.service.opening import Opening
from p2pshare.service.people import People
from p2pshare.store import audit, erasing, people, shares, snapshots
from p2pshare.store.locks import EngineLock
from p2pshare.store.shares import Direction, Share
from p2pshare.store.vault import Vault
from p2pshare.sync.carriers.base import Contact
from p2pshare.sync.transfer import Ended, EndReason, run_session

_UPKEEP_SECONDS: Final = 60.0
_TROUBLE_SECONDS: Final = 5.0
_DOUBLE_SECONDS: Final = 2.0  # two links made within this time were dialed by both sides at once


@dataclass(slots=True)
class _Live:
    """A session that runs."""

    task: asyncio.Task[object]
    dialed: bool
    since: float


class EngineIdentity:
    """Who this node is, asked anew for every connection (`sync.carriers.base.Identity`)."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    @property
    def device(self) -> SigningKey:
        """This device's key."""
        return self._vault.identity.device

    @property
    def knock_keys(self) -> Sequence[bytes]:
        """The knock keys that contacts may use now."""
        return self._vault.identity.knock_keys

    async def lookup(self, device_id: DeviceId) -> Contact | None:
        """The contact with this device, unless unknown or blocked, or the vault cannot say now."""
        try:
            row = await people.device(self._vault.db, device_id)
            person = await people.by_id(self._vault.db, row.device.person_id) if row else None
        except LocalError:
            return None
        if row is None or person is None or person.blocked:
            return None
        return Contact(row.device.public, person.person_id)


class Engine:
    """Runs until cancelled."""

    def __init__(self, vault: Vault, workers: Workers, now: Clock, pace: Pace | None = None) -> None:
        """`workers` were started before the vault's keys were there."""
        self._vault = vault
        self._workers = workers
        self._now = now
        self._pace = pace or Pace(None)
        self._changes = Changes(vault.db)
        self._live: dict[DeviceId, _Live] = {}
        self._strangers = Strangers()
        self._not_before: dict[ShareId, float] = {}
        self._term = 0

    async def run(self, host: str, port: int, ready: Callable[[str], None]) -> None:
        """Take the engine, listen at `host` and `port`, call `ready` with the address, and work until cancelled.

        Raises:
            EngineTaken: another process has the engine. CannotListen: that address cannot be had.
        """
        from p2pshare.sync.carriers.direct import DirectListener, dial

        lock = EngineLock.take(self._vault.folder)
        listener = DirectListener(EngineIdentity(self._vault), self._incoming, on_stranger=self._strangers.turned_away)
        try:
            await self._begin_term()  # before anybody can connect: every write checks it
            await listener.start(host, port)
            await self._listen_at(listener.address)
            ready(listener.address)

            async def reach(address: str, device: KnownDevice) -> Link:
                return await dial(address, self._vault.identity.device, device)

            outbox = Outbox(
                self._vault, self._now, self._changes, reach, self._term, self._live.__contains__, self._session
            )
            async with asyncio.TaskGroup() as group:
                for work in (
                    self._changes.run,
                    outbox.run,
                    self._open_delivered,
                    self._upkeep,
                    self._guard,
                    partial(self._strangers.log, self._vault, self._now, self._term),
                ):
                    group.create_task(self._steadily(work))
        finally:
            with suppress(LocalError):
                await listener.close()
            await self._end_sessions()
            await self._end_term()
            lock.release()

    async def _steadily(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, which goes on for ever, and begin it anew when this computer had trouble with it."""
        while True:
            try:
                await work()
            except (VaultBusy, DiskTrouble) as error:
                await self._log_trouble("engine-trouble", {}, error)
                await asyncio.sleep(_TROUBLE_SECONDS)

    async def _begin_term(self) -> None:
        async with self._vault.db.transaction() as tx:
            await tx.execute(
                "UPDATE engine SET term = term + 1, pid = ?, address = '', since = ?", (os.getpid(), self._now())
            )
            row = await tx.row("SELECT term FROM engine")
        self._term = int(row[0]) if row else 0

    async def _listen_at(self, address: str) -> None:
        async with self._vault.db.transaction(self._term) as tx:
            await tx.execute("UPDATE engine SET address = ?", (address,))

    async def _end_term(self) -> None:
        with suppress(LocalError):
            async with self._vault.db.transaction(self._term) as tx:
                await tx.execute("UPDATE engine SET pid = 0, address = ''")

    # --- sessions ---

    async def _incoming(self, link: Link) -> None:
        await self._session(link, dialed=False)

    async def _session(self, link: Link, dialed: bool) -> None:
        """Run one session to its end. Of two with one device, both sides keep the same one."""
        device = link.peer.device_id
        task = asyncio.current_task()
        other = self._live.get(device)
        if task is None or (other is not None and not self._replaces(device, dialed, other)):
            await link.close()
            return
        mine = self._live[device] = _Live(task, dialed, time.monotonic())
        desk = VaultDesk(self._vault, self._now, link.peer, self._changes, self._term, self._pace)
        if other is not None:
            other.task.cancel()
        session = asyncio.ensure_future(_run_after(other, link, desk))
        mine.task = session  # what ends this session must not end whoever runs it
        ended: Ended | None = None
        try:
            ended = await _outcome(session)
        finally:
            if self._live.get(device) is mine:
                del self._live[device]
            await link.close()  # it may have been ended before it began
            await self._note(device, ended)

    def _replaces(self, device: DeviceId, dialed: bool, other: _Live) -> bool:
        """Whether a new link takes the place of the one there is: the newest does, unless both sides dialed at once."""
        if other.dialed == dialed or time.monotonic() - other.since > _DOUBLE_SECONDS:
            return True
        mine_is_smaller = self._vault.identity.device_id < device
        return dialed == mine_is_smaller

    async def _note(self, device: DeviceId, ended: Ended | None) -> None:
        """Note when the device was last seen, and what was wrong if something was."""
        trouble = ""
        if ended is not None and ended.reason in (EndReason.VIOLATION, EndReason.TROUBLE) and ended.error:
            trouble = f"the last connection ended: {ended.error}"
        elif ended is not None and ended.not_taken:
            trouble = f"{ended.not_taken} of their letters or receipts could not be taken; the log says why"
        with suppress(LocalError):
            async with self._vault.db.transaction(self._term) as tx:
                await tx.execute(
                    "UPDATE device SET last_seen = ?, trouble = ? WHERE device = ?", (self._now(), trouble, device)
                )
                if ended is not None and ended.reason is EndReason.VIOLATION and ended.error:
                    detail = {"device": device.hex(), "why": ended.error.code, "what": ended.error.what}
                    await audit.enter(tx, self._vault.identity.device, "session-refused", detail, self._now())

    async def _end_sessions(self) -> None:
        tasks = [live.task for live in self._live.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _guard(self) -> None:
        """End the sessions of people who were blocked, and learn new knock keys, whoever changed them.

        Raises:
            EngineTaken: another process began a term.
        """
        seen = -1
        while True:
            seen = await self._changes.wait_beyond(seen)
            if await self._vault.db.row("SELECT 1 FROM engine WHERE term = ?", (self._term,)) is None:
                raise EngineTaken
            await asyncio.to_thread(self._vault.reload_identity)
            for device, live in list(self._live.items()):
                row = await people.device(self._vault.db, device)
                person = await people.by_id(self._vault.db, row.device.person_id) if row else None
                if person is None or person.blocked:
                    live.task.cancel()

    # --- opening and upkeep ---

    async def _open_delivered(self) -> None:
        """Open what was delivered, and offer anew what a recipient could not build on."""
        opening = Opening(self._vault, self._workers, self._now, self._term)
        offers = Offers(self._vault, self._now)
        seen = -1
        while True:
            for share in await shares.in_state(self._vault.db, Direction.IN, ShareState.DELIVERED):
                await self._attempt(share, "opening-failed", opening.run)
            for share in await shares.in_state(self._vault.db, Direction.OUT, ShareState.REFUSED):
                if share.why.endswith(BASE_MISSING) and share.base is not None:
                    await self._attempt(share, "offering-failed", offers.offer_whole)
            with suppress(TimeoutError):
                async with asyncio.timeout(_UPKEEP_SECONDS):
                    seen = await self._changes.wait_beyond(seen)

    async def _attempt(self, share: Share, failed: str, work: Callable[[Share], Awaitable[None]]) -> None:
        """Do `work` on a share, unless it failed lately: damage stays; other trouble may go, and is tried again."""
        if time.monotonic() < self._not_before.get(share.share, 0.0):
            return
        try:
            await work(share)
        except EngineTaken:
            raise
        except P2PShareError as error:
            if share.share not in self._not_before:
                await self._log_trouble(failed, {"share": share.share.hex()}, error)
            wait = math.inf if isinstance(error, Damaged) else _UPKEEP_SECONDS
            self._not_before[share.share] = time.monotonic() + wait

    async def _log_trouble(self, kind: str, about: dict[str, str], error: P2PShareError) -> None:
        with suppress(LocalError):
            async with self._vault.db.transaction(self._term) as tx:
                detail = {**about, "why": error.code, "what": error.what}
                await audit.enter(tx, self._vault.identity.device, kind, detail, self._now())

    async def _upkeep(self) -> None:
        """Prekeys, expiries, unfinished erasures and snapshots, now and then."""
        contacts, offers = People(self._vault, self._now), Offers(self._vault, self._now)
        while True:
            await keep_time(self._vault.db, self._now(), self._term)
            await contacts.refresh_prekeys()
            await offers.expire()
            await erasing.finish_left_over(self._vault, self._now())
            await snapshots.write_if_needed(self._vault, self._now())
            await asyncio.sleep(_UPKEEP_SECONDS)


async def _run_after(before: _Live | None, link: Link, desk: VaultDesk) -> Ended:
    """Run a session when the one whose place it takes has ended: what that one makes durable is not asked for again."""
    if before is not None:
        await asyncio.wait({before.task})
    return await run_session(link, desk)


async def _outcome(session: "asyncio.Future[Ended]") -> Ended | None:
    """How a session ended; None when it was ended from here."""
    try:
        await asyncio.wait({session})
    except asyncio.CancelledError:
        session.cancel()
        await asyncio.wait({session})
        raise
    if session.cancelled():
        return None
    error = session.exception()
    if isinstance(error, P2PShareError):
        return Ended(EndReason.TROUBLE, error=error)
    if error is not None:
        # a fault of the program in one session: said, and the others go on
        context = {"message": "a session ended in an error", "exception": error, "task": session}
        session.get_loop().call_exception_handler(context)
        return None
    return session.result()

"""The outbox: decides who has to be reached, tries the roads that are known, and remembers why one did not work."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from p2pshare.engine.changes import Changes
from p2pshare.engine.retry import FIRST_SECONDS, BackOff
from p2pshare.errors import DiskTrouble, EngineTaken, LocalError, P2PShareError, RemoteError, Unreachable, VaultBusy
from p2pshare.model.card import KnownDevice
from p2pshare.model.ids import DeviceId
from p2pshare.model.ports import Link
from p2pshare.model.views import ShareState
from p2pshare.service.clock import Clock
from p2pshare.store import feeds, people, shares
from p2pshare.store.people import DeviceRow, Person
from p2pshare.store.shares import Direction
from p2pshare.store.vault import Vault

_IDLE_SECONDS: Final = 5.0  # how often waits are looked at when nothing changes
_DIALS_AT_ONCE: Final = 8
_SETTLED_SECONDS: Final = 10.0  # a session that lasted this long worked
_OUT = (ShareState.ACCEPTED, ShareState.SENDING, ShareState.DELIVERED)
_IN = (ShareState.ACCEPTED, ShareState.SENDING)

Dial = Callable[[str, KnownDevice], Awaitable[Link]]


@dataclass(slots=True)
class _Try:
    """What is known of trying to reach one device."""

    back_off: BackOff = field(default_factory=BackOff)
    due: float = 0.0  # on the monotonic clock
    about: tuple[object, ...] = ()
    where: tuple[object, ...] = ()
    running: bool = False
    ended: float = 0.0  # when it last ended: what was read of the device before says nothing


class Outbox:
    """Dials whoever has to be reached and is not connected."""

    def __init__(
        self, vault: Vault, now: Clock, changes: Changes, dial: Dial, term: int,
        connected: Callable[[DeviceId], bool], on_link: Callable[[Link, bool], Awaitable[None]],
    ) -> None:  # fmt: skip
        """`on_link(link, True)` runs the session of a link that was dialed; `connected` tells who needs no dialing."""
        self._vault = vault
        self._now = now
        self._changes = changes
        self._dial = dial
        self._term = term
        self._connected = connected
        self._on_link = on_link
        self._tries: dict[DeviceId, _Try] = {}
        self._dialing = asyncio.Semaphore(_DIALS_AT_ONCE)

    async def run(self) -> None:
        """Look after the outbox for ever; one TaskGroup owns all attempts."""
        async with asyncio.TaskGroup() as attempts:
            while True:
                seen, began = self._changes.number, time.monotonic()
                with suppress(VaultBusy, DiskTrouble):
                    await self._look(attempts)
                # With many people a look takes a while, and changes come often: it may take a tenth of the time.
                await asyncio.sleep(9 * (time.monotonic() - began))
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._next_look()):
                        await self._changes.wait_beyond(seen)

    def _next_look(self) -> float:
        soonest = min((t.due for t in self._tries.values() if t.about and not t.running), default=float("inf"))
        return min(_IDLE_SECONDS, max(0.05, soonest - time.monotonic()))

    async def _look(self, attempts: asyncio.TaskGroup) -> None:
        began = time.monotonic()
        for person in await people.everybody(self._vault.db):
            if person.blocked:
                continue
            for row in await people.devices_of(self._vault.db, person.person_id):
                try:
                    await self._consider(attempts, person, row, began)
                except (EngineTaken, VaultBusy, DiskTrouble):
                    raise
                except P2PShareError as error:  # one person's rows must not keep everybody else waiting
                    await self._note(row.device.device_id, f"what is to be sent cannot be read ({error.code})", None)

    async def _consider(self, attempts: asyncio.TaskGroup, person: Person, row: DeviceRow, read_at: float) -> None:
        device = row.device.device_id
        attempt = self._tries.setdefault(device, _Try())
        about = await self._business(person, device)
        if attempt.running or attempt.ended >= read_at:
            return  # looked at when it has ended, as it is then
        where = (person.address, row.device.addresses, row.device.knock)
        # setting an address, even the same one, clears what is noted; only then is nothing noted after a failure
        asked_anew = attempt.back_off.failures > 0 and row.next_try is None and row.trouble == ""
        if asked_anew or where != attempt.where:
            attempt.due, attempt.back_off, attempt.where = 0.0, BackOff(), where
        if about and about != attempt.about:
            attempt.due = min(attempt.due, time.monotonic() + 1.0)  # something new: do not wait out an old failure
        attempt.about = about
        if about and not self._connected(device) and attempt.due <= time.monotonic():
            attempt.running = True
            attempts.create_task(self._reach(person, row, attempt), name=f"reach-{device.hex()[:8]}")

    async def _business(self, person: Person, device: DeviceId) -> tuple[object, ...]:
        """What there is to say to, or fetch from, a device; empty when nothing is."""
        waiting = await feeds.unacknowledged(self._vault.db, person.person_id, device)
        going = await shares.of_person(self._vault.db, person.person_id, Direction.OUT, _OUT)
        coming = await shares.of_person(self._vault.db, person.person_id, Direction.IN, _IN)
        if not (waiting or going or coming):
            return ()
        return (len(waiting), tuple(s.share for s in going), tuple(s.share for s in coming))

    async def _reach(self, person: Person, row: DeviceRow, attempt: _Try) -> None:
        addresses = [person.address] if person.address else list(row.device.addresses)
        trouble = f"no address is known for {person.name}; set one, or wait until their computer calls"
        try:
            for address in addresses:
                try:
                    async with self._dialing:
                        link = await self._dial(address, row.device)
                except P2PShareError as error:
                    trouble = _trouble(address, error)
                    continue
                await self._note(row.device.device_id, "", None)
                began = time.monotonic()
                await self._on_link(link, True)
                await self._after_session(row.device.device_id, attempt, time.monotonic() - began)
                return
            wait = attempt.back_off.failed()
            attempt.due = time.monotonic() + wait
            await self._note(row.device.device_id, trouble, self._now() + int(wait) if addresses else None)
        finally:
            attempt.running, attempt.ended = False, time.monotonic()
            await self._changes.announce()  # for the outbox: when to look again may have been worked out without it

    async def _after_session(self, device: DeviceId, attempt: _Try, seconds: float) -> None:
        """Wait a little; longer and longer while sessions end as soon as they began, as with a peer that is broken."""
        if seconds >= _SETTLED_SECONDS:
            attempt.back_off.worked()
            attempt.due = time.monotonic() + FIRST_SECONDS
            return
        wait = attempt.back_off.failed()
        attempt.due = time.monotonic() + wait
        await self._note(device, None, self._now() + math.ceil(wait))

    async def _note(self, device: DeviceId, trouble: str | None, next_try: int | None) -> None:
        """Show what is wrong (None: as it was) and when the next try is; the vault may be busy, and then it is not."""
        with suppress(VaultBusy, DiskTrouble):
            await self._vault.db.progress(
                "UPDATE device SET trouble = coalesce(?, trouble), next_try = ? WHERE device = ?",
                (trouble, next_try, device),
                self._term,
            )


def _trouble(address: str, error: P2PShareError) -> str:
    match error:
        case Unreachable() if error.what.startswith("it closed"):
            return (
                f"the computer at {address} closed the door: it may not have my card yet, may have blocked me,"
                " or has a newer card than the one I know"
            )
        case Unreachable():
            return f"nobody answers at {address}: p2pshare may not be running there, or a firewall is in between"
        case RemoteError():
            return f"somebody else answers at {address} ({error.code})"
        case LocalError():
            return f"{address}: {error.code}"
        case _:
            return f"{address}: {error.code}"

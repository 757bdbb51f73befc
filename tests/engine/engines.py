"""Engines that run in this process, on the vaults of people who know each other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pshare.engine.engine import Engine
from p2pshare.engine.pace import Pace
from p2pshare.model.card import KnownDevice
from p2pshare.model.ids import DeviceId
from p2pshare.model.ports import Link
from p2pshare.store import people
from p2pshare.store.people import DeviceRow
from p2pshare.store.vault import Vault
from p2pshare.sync.carriers.direct import dial
from tests.meetings import until
from tests.studies import make_study
from tests.world import Person, name_of


@dataclass
class Running:
    """An engine that works until the block ends."""

    engine: Engine
    address: str
    task: "asyncio.Task[None]"
    is_to_fail: bool = False

    def live(self, other: Person) -> bool:
        """Whether there is a session with somebody's device."""
        return other.peer.device_id in self.engine._live


@asynccontextmanager
async def running(person: Person, pace: Pace | None = None) -> AsyncIterator[Running]:
    """Let somebody's node send and receive while the block runs."""
    workers: Any = person.workers
    engine = Engine(person.vault, workers, person.clock, pace)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(engine.run("127.0.0.1", 0, ready.set_result))
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    node = Running(engine, ready.result(), task)
    try:
        yield node
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task}) if node.is_to_fail else await task


async def knows_address(person: Person, other: Person, address: str) -> None:
    """Let `person` know where `other` listens."""
    await person.people.set_address(await name_of(other), address)


async def device_row(person: Person, other: Person) -> DeviceRow:
    """What `person` has noted of `other`'s device."""
    row = await people.device(person.vault.db, other.peer.device_id)
    assert row is not None
    return row


async def known_device(person: Person, other: Person) -> KnownDevice:
    """`other`'s device as `person` knows it now."""
    return (await device_row(person, other)).device


async def connected(one: Running, other: Person) -> None:
    """Return when there is a session with `other`."""

    async def holds() -> bool:
        return one.live(other)

    await until(holds)


async def looked_after(person: Person) -> None:
    """Return when a node that has just started for the first time has done what it does at its start."""

    async def holds() -> bool:
        return await person.vault.db.row("SELECT 1 FROM meta WHERE key = 'snapshot'") is not None

    await until(holds)


async def everything_in(vault: Vault) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    names = await vault.db.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'study_text%'")
    return {name: await vault.db.rows(f"SELECT * FROM '{name}'") for (name,) in names}  # noqa: S608 - names of our own


def nobody(_: DeviceId) -> bool:
    """Nobody is connected."""
    return False


async def offer(one: Person, other: Person, folder: Path, instances: int = 3, **elements: object) -> bytes:
    """Import a study and write the letter that shares it."""
    paths = make_study(folder, instances, **elements)  # type: ignore[arg-type]
    await one.imports(paths[0].parent)
    newest = max(await one.library.listed(), key=lambda scan: scan.study)
    return await one.offers.create(await name_of(other), [newest.scan.hex()], "Is it benign?")


async def dials(one: Person, other: Person, address: str) -> Link:
    """A link to where somebody listens."""
    return await dial(address, one.vault.identity.device, await known_device(one, other))

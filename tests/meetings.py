"""People's devices in session with each other, in memory, and the stories that such sessions tell."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from p2pshare.engine.changes import Changes
from p2pshare.engine.desk import VaultDesk
from p2pshare.model.views import ShareState
from p2pshare.store.vault import Vault
from p2pshare.sync.transfer import Ended, run_session
from tests.fakes import FakeLink, link_pair
from tests.world import Person, name_of

SECONDS = 20  # within which whatever should happen here has happened


@dataclass
class Meeting:
    """A session between two people in memory; `sent` are the frames that each sent."""

    links: tuple[FakeLink, FakeLink]
    desks: tuple[VaultDesk, VaultDesk]
    sessions: tuple["asyncio.Task[Ended]", "asyncio.Task[Ended]"]

    def chunks_sent(self, side: int = 0) -> list[tuple[bytes, int]]:
        """Object and number of each chunk that one side sent (docs/protocol.md §2)."""
        return [(frame[1:33], int.from_bytes(frame[33:37], "big")) for frame in self.links[side].sent if frame[0] == 5]


@asynccontextmanager
async def meeting(one: Person, other: Person) -> AsyncIterator[Meeting]:
    """Let two people's devices talk while the block runs."""
    links = link_pair(64)
    links[0].peer, links[1].peer = other.peer, one.peer
    changes = Changes(one.vault.db), Changes(other.vault.db)
    desks = (
        VaultDesk(one.vault, one.clock, other.peer, changes[0], 0),
        VaultDesk(other.vault, other.clock, one.peer, changes[1], 0),
    )
    news = [asyncio.create_task(_tell(each, who.vault)) for each, who in zip(changes, (one, other), strict=True)]
    sessions = (
        asyncio.create_task(run_session(links[0], desks[0])),
        asyncio.create_task(run_session(links[1], desks[1])),
    )
    try:
        yield Meeting(links, desks, sessions)
    finally:
        for task in (*sessions, *news):
            task.cancel()
        await asyncio.gather(*sessions, *news, return_exceptions=True)


async def _tell(changes: Changes, vault: Vault) -> None:
    """What `Changes.run` does, without its patience."""
    seen = -1
    while True:
        version = await vault.db.data_version()
        if version != seen:
            seen = version
            await changes.announce()
        await asyncio.sleep(0.005)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = SECONDS) -> None:
    """Return as soon as something is so."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what it asks about is in a database
            await asyncio.sleep(0.005)


def reaches(person: Person, share: bytes, state: ShareState) -> Callable[[], Awaitable[bool]]:
    """Whether a share is in that state at that person."""

    async def holds() -> bool:
        return (await person.state(share)) is state

    return holds


async def offered(ana: Person, rao: Person, *texts: str, question: str = "Is it benign?") -> bytes:
    """A share of Ana's scans (all, if none is named) that lies in Dr Rao's inbox."""
    scans = texts or tuple(scan.scan.hex() for scan in await ana.library.listed())
    share = await ana.offers.create(await name_of(rao), scans, question)
    async with meeting(ana, rao):
        await until(reaches(ana, share, ShareState.OFFERED))
    return share


async def accepted(ana: Person, rao: Person, *texts: str) -> bytes:
    """A share that lies accepted in Dr Rao's inbox; nothing of it has come yet."""
    share = await offered(ana, rao, *texts)
    await rao.inbox.accept(share.hex())
    return share


async def delivered(ana: Person, rao: Person, *texts: str) -> bytes:
    """A share that was accepted and has arrived, not opened yet."""
    share = await offered(ana, rao, *texts)
    await rao.inbox.accept(share.hex())
    async with meeting(ana, rao):
        await until(reaches(ana, share, ShareState.DELIVERED))
    return share


async def imported(ana: Person, rao: Person, *texts: str) -> bytes:
    """A share that arrived, was opened, and whose receipt is here."""
    share = await delivered(ana, rao, *texts)
    await rao.open_delivered()
    async with meeting(ana, rao):
        await until(reaches(ana, share, ShareState.IMPORTED))
    return share

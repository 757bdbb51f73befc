"""People with vaults, quickly made: who know and verified each other, and use the real services."""

import asyncio
import functools
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pshare.crypto.card import read_card
from p2pshare.crypto.keys import device_id, person_id
from p2pshare.crypto.slots import KeyfileSecret
from p2pshare.dicom.parse import read_report
from p2pshare.dicom.sources import Source
from p2pshare.model.card import KnownDevice
from p2pshare.model.dicom import ReadReport
from p2pshare.model.letters import Body, Letter
from p2pshare.model.ports import PeerIdentity, Sealed
from p2pshare.model.views import ShareState
from p2pshare.service import post
from p2pshare.service.import_report import ImportReport
from p2pshare.service.importing import Importer
from p2pshare.service.inbox import Inbox
from p2pshare.service.library import Library
from p2pshare.service.offers import Offers
from p2pshare.service.opening import Opening
from p2pshare.service.people import People
from p2pshare.service.upkeep import Problem, Upkeep
from p2pshare.store import feeds, people, shares
from p2pshare.store.shares import Direction, Share
from p2pshare.store.vault import Vault

NOON = 1_750_000_000  # when every story here begins
WORDS = "zoo zebra youth year wrong world work wood"
KEY = KeyfileSecret(b"the key file of everybody here..")


class SettableClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: int) -> None:
        self.now += seconds


class InlineWorkers:
    """Reads sources in this process: the readers are real, the sandbox around them is not there."""

    sandbox_missing: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.read_count = 0

    async def read(self, sources: Sequence[Source]) -> list[ReadReport]:
        self.read_count += len(sources)
        return [await asyncio.to_thread(read_report, source) for source in sources]


@dataclass
class Person:
    """Somebody with an open vault, and the services that work on it."""

    vault: Vault
    clock: SettableClock
    workers: InlineWorkers = field(default_factory=InlineWorkers)

    @property
    def peer(self) -> PeerIdentity:
        return PeerIdentity(self.vault.identity.device_id, self.vault.identity.person_id)

    @property
    def library(self) -> Library:
        return Library(self.vault, self.clock)

    @property
    def people(self) -> People:
        return People(self.vault, self.clock)

    @property
    def offers(self) -> Offers:
        return Offers(self.vault, self.clock)

    @property
    def inbox(self) -> Inbox:
        return Inbox(self.vault, self.clock)

    @property
    def upkeep(self) -> Upkeep:
        return Upkeep(self.vault, self.clock)

    async def imports(self, *paths: Path, keep_unreadable: bool = False) -> ImportReport:
        workers: Any = self.workers
        importer = Importer(self.vault, workers, self.clock, lambda _: None, keep_unreadable=keep_unreadable)
        return await importer.run(paths)

    async def check(self) -> list[Problem]:
        return await self.upkeep.check(read_data=True, told=lambda *_: None)

    async def exported(self, folder: Path) -> list[bytes]:
        """The bytes of every file of every scan, sorted."""
        for scan in await self.library.listed():
            await self.library.export(scan.scan.hex(), folder / scan.scan.hex(), lambda *_: None)
        return sorted(path.read_bytes() for path in folder.rglob("*.dcm"))

    async def share(self, share: bytes, direction: Direction) -> Share:
        found = await shares.get(self.vault.db, share, direction)  # type: ignore[arg-type]
        assert found is not None
        return found

    async def state(self, share: bytes) -> ShareState:
        """How a share stands here, whichever side of it this is."""
        rows = await self.vault.db.rows("SELECT state FROM share WHERE share = ?", (share,))
        return ShareState(rows[0][0])

    async def open_delivered(self) -> None:
        workers: Any = self.workers
        for share in await shares.in_state(self.vault.db, Direction.IN, ShareState.DELIVERED):
            await Opening(self.vault, workers, self.clock, None).run(share)

    async def writes(self, to: "Person", body: Body) -> Sealed:
        """The next letter to somebody, entered here and sealed to them."""
        async with self.vault.db.transaction() as tx:
            await post.write(tx, self.vault, to.peer.person_id, body, self.clock())
        return await self.reseals(to, (await self.letters_to(to))[-1])

    async def letters_to(self, to: "Person") -> list[Letter]:
        waiting = await feeds.unacknowledged(self.vault.db, to.peer.person_id, to.peer.device_id)
        return [each.letter for each in waiting]

    async def reseals(self, to: "Person", letter: Letter) -> Sealed:
        sealed = await post.sealed_letter(self.vault, letter, to.peer.device_id)
        assert sealed is not None
        return sealed

    async def receipt_for(self, other: "Person") -> Sealed:
        said = await post.statement(self.vault, other.peer.person_id, other.peer.device_id, self.clock())
        sealed = await post.sealed_receipt(self.vault, other.peer.device_id, said, self.clock(), None)
        assert sealed is not None
        return sealed

    async def log(self) -> list[str]:
        return [entry.kind for entry in await self.upkeep.log(limit=None)]


async def introduce(one: Person, other: Person, *, verified: bool = True) -> None:
    """Let `one` have the card of `other`, as after exchanging files and comparing words."""
    data = await other.people.my_card()
    card = read_card(data)
    person = person_id(card.person)
    devices = [
        KnownDevice(
            device_id=device_id(d.device), person_id=person, public=d.device, prekey=d.prekey, knock=d.knock,
            addresses=d.addresses,
        )
        for d in card.devices
    ]  # fmt: skip
    async with one.vault.db.transaction() as tx:
        await people.enter_card(tx, person, card, data, devices, WORDS, one.clock())
        if verified:
            await tx.execute("UPDATE person SET verified = ? WHERE person = ?", (one.clock(), person))


@asynccontextmanager
async def one_person(folder: Path, name: str = "Ana", clock: SettableClock | None = None) -> AsyncIterator[Person]:
    """Somebody with an empty vault in `folder`."""
    vault = await Vault.open(_place(folder, name), KEY)
    try:
        yield Person(vault, clock or SettableClock())
    finally:
        await vault.close()


@asynccontextmanager
async def two_people(folder: Path, *, verified: bool = True) -> AsyncIterator[tuple[Person, Person]]:
    """Ana and Dr Rao, with empty vaults and one clock, who know each other."""
    clock = SettableClock()
    async with AsyncExitStack() as stack:
        ana, rao = [
            await stack.enter_async_context(one_person(folder, name, clock)) for name in ("Ana", "Dr Rao")
        ]  # fmt: skip
        await introduce(ana, rao, verified=verified)
        await introduce(rao, ana, verified=verified)
        yield ana, rao


@asynccontextmanager
async def three_people(folder: Path) -> AsyncIterator[tuple[Person, Person, Person]]:
    """Ana, Dr Rao, and Eve, who knows and is known by both."""
    async with two_people(folder) as (ana, rao), one_person(folder, "Eve", ana.clock) as eve:
        for known in (ana, rao):
            await introduce(known, eve)
            await introduce(eve, known)
        yield ana, rao, eve


async def name_of(person: Person) -> str:
    """The name on a person's card."""
    return await person.vault.name()


def vault_path(folder: Path, name: str) -> Path:
    """Where `one_person` and the like put the vault of `name`."""
    return folder / name.replace(" ", "-").lower()


def _place(folder: Path, name: str) -> Path:
    path = vault_path(folder, name)
    if not path.exists():
        shutil.copytree(_template(name), path)
    return path


@functools.cache
def _template(name: str) -> Path:
    """A vault made once, to be copied: making one costs a tenth of a second, most of it waiting for the disk."""
    path = Path(_templates().name) / secrets.token_hex(4)

    async def make() -> None:
        vault = await Vault.create(path, [KEY], name, NOON)
        await vault.close()

    with ThreadPoolExecutor(1) as thread:  # this one has a loop that runs already
        thread.submit(asyncio.run, make()).result()
    return path


@functools.cache
def _templates() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="p2pshare-test-vaults-", ignore_cleanup_errors=True)

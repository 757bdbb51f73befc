"""Desks, asked without a session, and what they said, opened by whom it was for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from p2pshare.crypto.seal import check_receipt, open_sealed
from p2pshare.engine.changes import Changes
from p2pshare.engine.desk import VaultDesk
from p2pshare.engine.pace import Pace
from p2pshare.model.ids import ObjectId
from p2pshare.model.letters import Letter, Receipt, ReceiptBody
from p2pshare.model.ports import Sealed
from p2pshare.model.views import ShareState
from p2pshare.store import people, shares
from p2pshare.store.shares import Direction
from tests.meetings import offered
from tests.studies import make_study
from tests.world import Person, two_people


def desk_of(owner: Person, visitor: Person, *, term: int = 0, pace: Pace | None = None) -> VaultDesk:
    return VaultDesk(owner.vault, owner.clock, visitor.peer, Changes(owner.vault.db), term, pace)


@asynccontextmanager
async def ana_offers(folder: Path, instances: int = 2) -> AsyncIterator[tuple[Person, Person, bytes]]:
    """Ana has offered a scan that Dr Rao has not answered."""
    async with two_people(folder) as (ana, rao):
        await ana.imports(make_study(folder / "disc", instances)[0].parent)
        yield ana, rao, await offered(ana, rao)


async def put(person: Person, share: bytes, state: ShareState, direction: Direction = Direction.OUT) -> None:
    async with person.vault.db.transaction() as tx:
        await shares.move(tx, await person.share(share, direction), state, "", person.clock())


async def objects_of(person: Person, share: bytes) -> list[ObjectId]:
    found = await person.share(share, Direction.OUT)
    return list(await shares.covered(person.vault.db, found.share, Direction.OUT))


async def opens(person: Person, sealed: Sealed | None) -> Letter | Receipt:
    assert sealed is not None
    own = [(each.prekey, each.secret) for each in await people.own_prekeys(person.vault.db)]
    return open_sealed(sealed, own, person.peer.device_id)


async def reads(person: Person, sealed: Sealed | None, sender: Person) -> ReceiptBody:
    receipt = await opens(person, sealed)
    assert isinstance(receipt, Receipt)
    return check_receipt(receipt, sender.vault.identity.device.public)

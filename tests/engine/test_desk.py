import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from p2pshare.crypto.keys import new_prekey
from p2pshare.crypto.seal import check_receipt, open_sealed
from p2pshare.engine import desk as desk_module
from p2pshare.engine.changes import Changes
from p2pshare.engine.desk import VaultDesk
from p2pshare.engine.pace import Pace
from p2pshare.errors import (
    DamagedPack,
    EngineTaken,
    NotFound,
    P2PShareError,
    PersonBlocked,
    PolicyRefusal,
    RemoteError,
)
from p2pshare.model import limits
from p2pshare.model.ids import ObjectId
from p2pshare.model.letters import ContactLetter, Letter, Receipt, ReceiptBody
from p2pshare.model.ports import ChunkRun, Sealed, StoredChunk
from p2pshare.model.views import ShareState
from p2pshare.store import people, scans, shares
from p2pshare.store.shares import Direction
from tests.meetings import SECONDS, offered, until
from tests.studies import make_study
from tests.world import Person, three_people, two_people

SERVED = {ShareState.ACCEPTED, ShareState.SENDING, ShareState.DELIVERED, ShareState.IMPORTED}


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


async def asks(owner: Person, visitor: Person, share: bytes, objects: Sequence[ObjectId]) -> Sequence[StoredChunk]:
    runs = [ChunkRun(each, 0, 1) for each in objects]
    return await desk_of(owner, visitor).serve(share, runs, limits.MIB)  # type: ignore[arg-type]


async def opens(person: Person, sealed: Sealed | None) -> Letter | Receipt:
    assert sealed is not None
    own = [(each.prekey, each.secret) for each in await people.own_prekeys(person.vault.db)]
    return open_sealed(sealed, own, person.peer.device_id)


async def reads(person: Person, sealed: Sealed | None, sender: Person) -> ReceiptBody:
    receipt = await opens(person, sealed)
    assert isinstance(receipt, Receipt)
    return check_receipt(receipt, sender.vault.identity.device.public)


# --- serving ------------------------------------------------------------------------------------------------------


async def test_what_was_accepted_is_served_as_it_is_stored(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        await put(ana, share, ShareState.ACCEPTED)
        objects = await objects_of(ana, share)
        served = await asks(ana, rao, share, objects)
        places = await scans.places_of(ana.vault.db, objects)
        for object_id, chunk in zip(objects, served, strict=True):
            place = places[object_id][0]
            assert (chunk.object_id, chunk.number) == (object_id, 0)
            assert bytes(chunk.data) == ana.vault.packs.read(place.pack_id, place.offset, place.length)


async def test_the_first_chunk_that_is_asked_for_makes_the_share_sending(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        await put(ana, share, ShareState.ACCEPTED)
        await asks(ana, rao, share, (await objects_of(ana, share))[:1])
        assert await ana.state(share) is ShareState.SENDING


@pytest.mark.parametrize("state", list(ShareState))
async def test_only_a_share_that_was_accepted_and_lives_is_served(tmp_path: Path, state: ShareState) -> None:
    async with ana_offers(tmp_path, 1) as (ana, rao, share):
        await put(ana, share, state)
        objects = await objects_of(ana, share)
        if state in SERVED:
            assert len(await asks(ana, rao, share, objects)) == len(objects)
        else:
            with pytest.raises(PolicyRefusal):
                await asks(ana, rao, share, objects)
            assert await ana.state(share) is state


async def test_a_share_that_was_revoked_a_moment_ago_is_not_served_any_more(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        await put(ana, share, ShareState.ACCEPTED)
        desk, runs = desk_of(ana, rao), [ChunkRun(each, 0, 1) for each in await objects_of(ana, share)]
        assert await desk.serve(share, runs[:1], limits.MIB)  # type: ignore[arg-type]
        await ana.offers.revoke(share.hex())
        with pytest.raises(PolicyRefusal):
            await desk.serve(share, runs[1:], limits.MIB)  # type: ignore[arg-type]


async def test_a_share_whose_time_is_over_is_not_served(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.imports(make_study(tmp_path / "disc")[0].parent)
        [scan] = await ana.library.listed()
        share = await ana.offers.create("Dr Rao", [scan.scan.hex()], "", expires=ana.clock() + 60)
        await put(ana, share, ShareState.ACCEPTED)
        objects = await objects_of(ana, share)
        ana.clock.advance(60)
        assert await asks(ana, rao, share, objects)
        ana.clock.advance(1)
        with pytest.raises(PolicyRefusal):
            await asks(ana, rao, share, objects)


async def test_somebody_else_s_share_is_as_unknown_as_one_that_never_was(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        await ana.imports(make_study(tmp_path / "disc")[0].parent)
        share = await offered(ana, rao)
        await put(ana, share, ShareState.ACCEPTED)
        objects = await objects_of(ana, share)
        errors: list[P2PShareError] = []
        for asked in (share, bytes(16)):
            with pytest.raises(NotFound) as caught:
                await asks(ana, eve, asked, objects)
            errors.append(caught.value)
        assert errors[0].what == errors[1].what


async def test_an_object_outside_the_share_is_not_served(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.imports(make_study(tmp_path / "one", PatientID="1")[0].parent)
        await ana.imports(make_study(tmp_path / "two", PatientID="2")[0].parent)
        one, two = [scan.scan.hex() for scan in await ana.library.listed()]
        share, other = await offered(ana, rao, one), await offered(ana, rao, two)
        await put(ana, share, ShareState.ACCEPTED)
        await put(ana, other, ShareState.ACCEPTED)
        with pytest.raises(NotFound):
            await asks(ana, rao, share, (await objects_of(ana, share))[:1] + (await objects_of(ana, other))[:1])


async def test_an_offer_that_came_in_is_not_served_back(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        await put(rao, share, ShareState.ACCEPTED, Direction.IN)
        with pytest.raises(NotFound):
            await asks(rao, ana, share, await objects_of(ana, share))


async def test_a_blocked_person_is_not_served(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        await put(ana, share, ShareState.ACCEPTED)
        await ana.people.block("Dr Rao")
        with pytest.raises(PersonBlocked):
            await asks(ana, rao, share, await objects_of(ana, share))


async def test_no_more_is_served_at_once_than_there_is_room_for_but_one_chunk_always(tmp_path: Path) -> None:
    async with ana_offers(tmp_path, 5) as (ana, rao, share):
        await put(ana, share, ShareState.ACCEPTED)
        runs = [ChunkRun(each, 0, 1) for each in await objects_of(ana, share)]
        everything = await desk_of(ana, rao).serve(share, runs, limits.MIB)  # type: ignore[arg-type]
        lengths = [len(chunk.data) for chunk in everything]
        assert len(lengths) == 7
        for room, count in ((1, 1), (sum(lengths[:3]), 3), (sum(lengths[:3]) + lengths[3] - 1, 3)):
            served = await desk_of(ana, rao).serve(share, runs, room)  # type: ignore[arg-type]
            assert [c.object_id for c in served] == [run.object_id for run in runs[:count]]


async def test_a_chunk_that_no_object_has_is_refused_as_missing(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        await put(ana, share, ShareState.ACCEPTED)
        [first, *_] = await objects_of(ana, share)
        with pytest.raises(DamagedPack):
            await desk_of(ana, rao).serve(share, [ChunkRun(first, 4_000_000, 2)], limits.MIB)  # type: ignore[arg-type]


async def test_bytes_are_counted_before_they_go_and_wait_for_the_pace(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        before = (await ana.share(share, Direction.OUT)).wire_bytes
        desk = desk_of(ana, rao, pace=Pace(10_000))
        began = time.monotonic()
        task = asyncio.create_task(desk.sent(share, 2_000))  # type: ignore[arg-type]

        async def counted() -> bool:
            return (await ana.share(share, Direction.OUT)).wire_bytes == before + 2_000

        await until(counted)
        await task
        assert time.monotonic() - began > 0.19


# --- what goes out ------------------------------------------------------------------------------------------------


async def test_the_first_answer_is_a_receipt_and_the_next_only_when_there_is_news(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        desk = desk_of(rao, ana)
        first = await reads(ana, await desk.outgoing_receipt(), rao)
        assert (first.counter, first.feeds, first.shares) == (1, (), ())
        assert await desk.outgoing_receipt() is None
        await ana.imports(make_study(tmp_path / "disc")[0].parent)
        share = await offered(ana, rao)
        news = await reads(ana, await desk.outgoing_receipt(), rao)
        assert news.counter > first.counter
        assert [each.share for each in news.shares] == [share]
        assert len(news.feeds) == 1


async def test_a_new_desk_says_everything_again(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        for _ in range(2):
            body = await reads(ana, await desk_of(rao, ana).outgoing_receipt(), rao)
            assert [each.share for each in body.shares] == [share]


async def test_receipts_that_only_count_chunks_come_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        await put(rao, share, ShareState.SENDING, Direction.IN)
        desk = desk_of(rao, ana)
        await desk.outgoing_receipt()
        await count_chunks(rao, share, 1)
        assert await desk.outgoing_receipt() is None
        await put(rao, share, ShareState.DELIVERED, Direction.IN)
        at_once = await reads(ana, await desk.outgoing_receipt(), rao)
        assert at_once.shares[0].chunks == 1
        await count_chunks(rao, share, 2)
        assert await desk.outgoing_receipt() is None
        monkeypatch.setattr(desk_module, "_PROGRESS_SECONDS", 0.0)
        later = await reads(ana, await desk.outgoing_receipt(), rao)
        assert later.shares[0].chunks == 2


async def count_chunks(person: Person, share: bytes, done: int) -> None:
    async with person.vault.db.transaction() as tx:
        await shares.count(tx, share, Direction.IN, done=done, wire=0)  # type: ignore[arg-type]


async def test_a_letter_is_handed_out_once(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.people.set_my_addresses(["a.example:1"])
        desk = desk_of(ana, rao)
        [sealed] = await desk.outgoing_letters()
        assert isinstance(await opens(rao, sealed), Letter)
        assert await desk.outgoing_letters() == []
        await ana.people.set_my_addresses(["b.example:1"])
        assert len(await desk.outgoing_letters()) == 1


async def test_letters_go_again_when_a_newer_prekey_is_learned(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.people.set_my_addresses(["a.example:1"])
        await ana.people.set_my_addresses(["b.example:1"])
        desk = desk_of(ana, rao)
        assert len(await desk.outgoing_letters()) == 2
        prekey, secret = new_prekey(rao.vault.identity.device, 2, rao.clock())
        async with rao.vault.db.transaction() as tx:
            await people.enter_own_prekey(tx, prekey, secret, rao.clock())
            await tx.execute("DELETE FROM prekey WHERE number = 1")
        assert await desk.outgoing_letters() == []
        await desk.take_receipt(await rao.receipt_for(ana))
        again = [await opens(rao, sealed) for sealed in await desk.outgoing_letters()]
        assert [letter.number for letter in again if isinstance(letter, Letter)] == [1, 2]


async def test_a_blocked_person_gets_no_letter(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.people.set_my_addresses(["a.example:1"])
        await ana.people.block("Dr Rao")
        assert await desk_of(ana, rao).outgoing_letters() == []


# --- what comes in ------------------------------------------------------------------------------------------------


async def test_a_letter_that_does_not_open_is_logged_and_refused(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        with pytest.raises(RemoteError):
            await desk_of(ana, rao).take_envelope(Sealed(bytes(5000)))
        last = (await ana.upkeep.log(limit=None))[-1]
        assert last.kind == "refused"
        assert json.loads(last.detail)["device"] == rao.peer.device_id.hex()


async def test_nothing_is_asked_for_before_it_was_accepted(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        desk = desk_of(rao, ana)
        assert await desk.missing(limits.WINDOW) == []
        await rao.inbox.accept(share.hex())
        asked = await desk.missing(limits.WINDOW)
        assert [each.share for each in asked] == [share, share]  # first the layout and the keyring
        assert await desk.missing(limits.WINDOW) == []
        await desk.closed()


async def test_what_a_share_that_ended_lacks_is_not_asked_for(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        await rao.inbox.accept(share.hex())
        await put(rao, share, ShareState.REVOKED, Direction.IN)
        assert await desk_of(rao, ana).missing(limits.WINDOW) == []


async def test_a_refused_chunk_is_said_once_and_the_share_stays_as_it_is(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        await rao.inbox.accept(share.hex())
        desk = desk_of(rao, ana)
        for number in range(3):
            await desk.refused(share, ObjectId(bytes([number]) * 32), "damaged-pack\x1b[2J")  # type: ignore[arg-type]
        assert await rao.state(share) is ShareState.ACCEPTED
        assert "damaged-pack" in (await rao.share(share, Direction.IN)).why
        assert (await rao.log()).count("chunk-refused") == 1


async def test_somebody_else_cannot_refuse_for_the_sender(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        await ana.imports(make_study(tmp_path / "disc")[0].parent)
        share = await offered(ana, rao)
        await desk_of(rao, eve).refused(share, ObjectId(bytes(32)), "no")  # type: ignore[arg-type]
        assert (await rao.share(share, Direction.IN)).why == ""
        assert "chunk-refused" not in await rao.log()


async def test_what_came_is_durable_when_the_session_has_closed(tmp_path: Path) -> None:
    async with ana_offers(tmp_path, 4) as (ana, rao, share):
        await rao.inbox.accept(share.hex())
        await put(ana, share, ShareState.ACCEPTED)
        mine, theirs = desk_of(rao, ana), desk_of(ana, rao)
        for layout_then_images in range(2):
            for each in await mine.missing(limits.WINDOW):
                if layout_then_images and each.shape.id in (await objects_of(ana, share))[:2]:
                    continue  # one image does not come
                runs = [ChunkRun(each.shape.id, 0, 1)]
                for chunk in await theirs.serve(share, runs, limits.MIB):  # type: ignore[arg-type]
                    await mine.keep(share, chunk)  # type: ignore[arg-type]
        await mine.closed()
        left = await desk_of(rao, ana).missing(limits.WINDOW)
        absent = {each.shape.id for each in left}
        assert 1 <= len(absent) <= 2
        assert absent <= set((await objects_of(ana, share))[:2])


async def test_news_wakes_whoever_waits_for_it(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        changes = Changes(ana.vault.db)
        desk = VaultDesk(ana.vault, ana.clock, rao.peer, changes, 0)
        waiting = asyncio.create_task(desk.changed())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await changes.announce()
        async with asyncio.timeout(SECONDS):
            await waiting


async def test_a_desk_of_an_engine_that_lost_its_term_writes_nothing(tmp_path: Path) -> None:
    async with ana_offers(tmp_path) as (ana, rao, share):
        await put(ana, share, ShareState.ACCEPTED)
        letter = await rao.writes(ana, ContactLetter(card=await rao.people.my_card()))
        desk = desk_of(ana, rao, term=5)
        before = await ana.vault.db.rows("SELECT * FROM log")
        objects = await objects_of(ana, share)
        for work in (
            desk.take_envelope(letter),
            desk.take_receipt(await rao.receipt_for(ana)),
            desk.serve(share, [ChunkRun(objects[0], 0, 1)], limits.MIB),  # type: ignore[arg-type]
            desk.sent(share, 100),  # type: ignore[arg-type]
            desk.outgoing_receipt(),
            desk.take_envelope(Sealed(bytes(5000))),
        ):
            with pytest.raises(EngineTaken):
                await work
        assert await ana.state(share) is ShareState.ACCEPTED
        assert await ana.vault.db.rows("SELECT * FROM log") == before

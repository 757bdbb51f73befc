import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from p2pshare.engine.pace import Pace
from p2pshare.errors import (
    DamagedPack,
    DiskTrouble,
    EngineTaken,
    NotFound,
    P2PShareError,
    PersonBlocked,
    PolicyRefusal,
    WrongChunk,
)
from p2pshare.model import limits
from p2pshare.model.ids import ObjectId
from p2pshare.model.letters import ContactLetter
from p2pshare.model.ports import ChunkRun, Sealed, StoredChunk
from p2pshare.model.views import ShareState
from p2pshare.store import scans, shares
from p2pshare.store.shares import Direction
from tests.engine.desks import ana_offers, desk_of, objects_of, put
from tests.meetings import offered, until
from tests.studies import make_study
from tests.world import Person, three_people, two_people

SERVED = {ShareState.ACCEPTED, ShareState.SENDING, ShareState.DELIVERED, ShareState.IMPORTED}


async def asks(owner: Person, visitor: Person, share: bytes, objects: Sequence[ObjectId]) -> Sequence[StoredChunk]:
    runs = [ChunkRun(each, 0, 1) for each in objects]
    return await desk_of(owner, visitor).serve(share, runs, limits.MIB)  # type: ignore[arg-type]


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
        with pytest.raises(PolicyRefusal):  # nobody accepted it
            await desk.sent(share, 2_000)  # type: ignore[arg-type]
        async with ana.vault.db.transaction() as tx:
            await shares.move(tx, await ana.share(share, Direction.OUT), ShareState.ACCEPTED, "", ana.clock())
        began = time.monotonic()
        task = asyncio.create_task(desk.sent(share, 2_000))  # type: ignore[arg-type]

        async def counted() -> bool:
            return (await ana.share(share, Direction.OUT)).wire_bytes == before + 2_000

        await until(counted)
        await task
        assert time.monotonic() - began > 0.19


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


async def test_what_was_wrong_at_last_is_told_when_the_session_closes(tmp_path: Path) -> None:
    class Last:
        def __init__(self, error: Exception) -> None:
            self.error = error

        async def flush(self) -> None:
            raise self.error

    async with ana_offers(tmp_path) as (ana, rao, _):
        for errors, told in (
            ([DiskTrouble("full")], None),
            ([WrongChunk("its digest"), DiskTrouble("full")], WrongChunk),
        ):
            desk = desk_of(ana, rao)
            desk._arrivals = {n: Last(error) for n, error in enumerate(errors)}  # type: ignore[misc, assignment]
            wrong = await desk.closed()
            assert wrong is None if told is None else isinstance(wrong, told)


async def test_the_last_chunk_of_a_share_is_news_at_once(tmp_path: Path) -> None:
    class Arriving:
        complete = False

        async def keep(self, chunk: StoredChunk) -> None:
            self.complete = chunk.number == 1

        async def flush(self) -> None:
            pass

    async with ana_offers(tmp_path) as (ana, rao, share):
        desk = desk_of(rao, ana)
        desk._arrivals = {share: Arriving()}  # type: ignore[dict-item]
        for number, news in ((0, 0), (1, 1)):
            await desk.keep(share, StoredChunk(ObjectId(bytes(32)), number, Sealed(b"")))  # type: ignore[arg-type]
            assert desk._changes.number == news

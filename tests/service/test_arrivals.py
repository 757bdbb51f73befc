"""Arrivals: what was durable is never asked for again, what was not is, and lies are refused before images are."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from p2pshare.crypto.stream import ObjectKey, ObjectSealer
from p2pshare.errors import DiskTrouble
from p2pshare.model.ports import Sealed, StoredChunk
from p2pshare.model.views import ShareState
from p2pshare.service.arrivals import Arrival, find_arrival
from p2pshare.store import scans, shares
from p2pshare.store.packs import PackStore
from p2pshare.store.shares import Direction
from tests.meetings import Meeting, accepted, imported, meeting, offered, reaches, until
from tests.studies import make_ct, make_study
from tests.world import Person, three_people, two_people


async def durable(rao: Person) -> set[tuple[bytes, int]]:
    rows = await rao.vault.db.rows("SELECT o.object_id, c.number FROM chunk c JOIN object o ON o.object = c.object")
    return {(bytes(row[0]), int(row[1])) for row in rows}


def crash(meeting_: Meeting) -> None:
    """Let Dr Rao's side end without tidying up."""

    async def gone() -> None:
        for arrival in meeting_.desks[1]._arrivals.values():
            await arrival._queue.abandon()

    meeting_.desks[1].closed = gone  # type: ignore[method-assign]


async def finishes(ana: Person, rao: Person, share: bytes) -> Meeting:
    async with meeting(ana, rao) as met:
        await until(reaches(ana, share, ShareState.DELIVERED))
    await rao.open_delivered()
    assert await rao.state(share) is ShareState.IMPORTED
    return met


# --- resume ---


@pytest.mark.parametrize("chunks", [0, 1, 3, 6, 9, 13])
async def test_after_a_crash_nothing_that_was_durable_is_sent_again(tmp_path: Path, chunks: int) -> None:
    async with two_people(tmp_path) as (ana, rao):
        files = [*make_study(tmp_path / "in", 3, 1600, 1600), *make_study(tmp_path / "in" / "more", 2)]
        await ana.imports(tmp_path / "in")
        share = await accepted(ana, rao)
        async with meeting(ana, rao) as met:

            async def enough() -> bool:
                return len(met.chunks_sent()) >= chunks

            await until(enough)
            crash(met)
        before = await durable(rao)
        assert not chunks or len(before) < 19
        again = (await finishes(ana, rao, share)).chunks_sent()
        assert not before & set(again)
        assert len(before) + len(again) == 19  # layout, keyring, three images of five chunks, and two of one
        assert await rao.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)
        assert await rao.check() == []


async def test_a_session_that_ends_in_order_loses_no_chunk(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 4, 1600, 1600)
        await ana.imports(tmp_path / "in")
        share = await accepted(ana, rao)
        sent: set[tuple[bytes, int]] = set()
        for _ in range(4):
            async with meeting(ana, rao) as met:

                async def some(met: Meeting = met) -> bool:
                    return len(met.chunks_sent()) >= 4

                await until(some)
            assert len(set(met.chunks_sent()) & sent) == 0
            sent = await durable(rao)
        await finishes(ana, rao, share)


async def test_a_share_that_fails_to_be_written_at_its_end_is_not_called_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        files = make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        share = await accepted(ana, rao)
        for failing in (1, 2):  # the pack of layout and keyring, then that of the images
            with failing_write(monkeypatch, failing):
                async with meeting(ana, rao) as met:
                    await asyncio.wait(met.sessions)
            assert await rao.state(share) in (ShareState.ACCEPTED, ShareState.SENDING)
        await finishes(ana, rao, share)
        assert await rao.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)


@contextmanager
def failing_write(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """Let the disk be full at the `number`-th pack from now on."""
    write, count = PackStore.write, 0

    def writing(self: PackStore, builder: Any) -> Any:
        nonlocal count
        count += 1
        if count >= number:
            raise DiskTrouble("there is no space left")
        return write(self, builder)

    with monkeypatch.context() as patched:
        patched.setattr(PackStore, "write", writing)
        yield


async def test_a_session_ended_while_the_last_pack_is_written_does_not_call_the_share_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        files = make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        share = await accepted(ana, rao)
        writing, go_on = asyncio.Event(), asyncio.Event()
        enter = Arrival._write_and_enter

        async def slowly(self: Arrival, builders: Any) -> None:
            if self._begun:
                writing.set()
                await go_on.wait()
            await enter(self, builders)

        with monkeypatch.context() as patched:
            patched.setattr(Arrival, "_write_and_enter", slowly)
            async with meeting(ana, rao) as met:
                await writing.wait()
                met.sessions[1].cancel()
                await asyncio.wait([met.sessions[1]])
        assert await rao.state(share) is ShareState.SENDING
        await finishes(ana, rao, share)
        assert await rao.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)


async def test_an_arrival_asks_for_every_chunk_once_and_never_for_more_than_there_is_room(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 2, 1600, 1600)
        await ana.imports(tmp_path / "in")
        share = await accepted(ana, rao)
        async with meeting(ana, rao) as met:
            await until(reaches(rao, share, ShareState.SENDING))
            crash(met)
        arrival = await find_arrival(rao.vault, rao.clock, share, None)  # type: ignore[arg-type]
        assert arrival is not None
        asked = []
        room = 2_000_000
        while named := arrival.missing(room):
            assert sum(m.shape.lengths[n] for m in named for n in m.numbers) <= room
            asked += [(m.shape.object_id, n) for m in named for n in m.numbers]
        assert len(asked) == len(set(asked))
        assert len(asked) + len(await durable(rao)) == 12


# --- what is asked for at all ---


async def test_what_somebody_else_gave_me_is_asked_for_all_the_same(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        await imported(ana, rao)
        await imported(ana, eve)
        share = await accepted(eve, rao)  # the very same objects; not to ask would tell Eve that Ana sent them
        async with meeting(eve, rao) as met:
            await until(reaches(eve, share, ShareState.DELIVERED))
        assert len(met.chunks_sent()) == 4
        await rao.open_delivered()
        assert await rao.state(share) is ShareState.IMPORTED
        assert await rao.check() == []


async def test_what_the_same_person_sent_before_is_not_asked_for_again(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        await imported(ana, rao)
        make_ct(
            tmp_path / "in" / "one-more", StudyInstanceUID=(await ana.library.listed())[0].study_uid
        )  # fmt: skip
        await ana.imports(tmp_path / "in")
        share = await accepted(ana, rao)
        assert (await ana.share(share, Direction.OUT)).base is not None
        met = await finishes(ana, rao, share)
        assert len(met.chunks_sent()) == 3  # layout, keyring, and the one that is new
        assert (await rao.library.listed())[0].instances == 4
        assert (await rao.share(share, Direction.IN)).chunks_done == 4


async def test_a_second_share_of_the_very_same_costs_two_tiny_chunks(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 50)
        await ana.imports(tmp_path / "in")
        await imported(ana, rao)
        share = await accepted(ana, rao)
        met = await finishes(ana, rao, share)
        assert len(met.chunks_sent()) == 2
        assert sum(len(frame) for frame in met.links[0].sent if frame[0] == 5) < 1500


async def test_a_recipient_who_lost_the_base_is_offered_the_whole_and_gets_it(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        files = make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        await imported(ana, rao)
        await rao.library.erase((await rao.library.listed())[0].scan.hex())
        share = await accepted(ana, rao)
        async with meeting(ana, rao):
            await until(reaches(ana, share, ShareState.REFUSED))
        refused = await ana.share(share, Direction.OUT)
        assert refused.why == "base missing"
        await ana.offers.offer_whole(refused)
        await finishes(ana, rao, share)
        async with meeting(ana, rao):
            await until(reaches(ana, share, ShareState.IMPORTED))
        assert await rao.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)
        assert (await rao.log()).count("share-refused") == 1


async def test_offering_the_whole_anew_adds_nothing_that_came_to_the_scan_since(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        await imported(ana, rao)
        share = await accepted(ana, rao)
        before = await shares.covered(ana.vault.db, share, Direction.OUT)
        make_ct(tmp_path / "in" / "later", StudyInstanceUID=(await ana.library.listed())[0].study_uid)
        await ana.imports(tmp_path / "in")
        await ana.offers.offer_whole(await ana.share(share, Direction.OUT))
        after = await shares.covered(ana.vault.db, share, Direction.OUT)
        assert {k for k, scan in after.items() if scan >= 0} == {k for k, scan in before.items() if scan >= 0}


# --- what comes at the wrong time ---


async def test_chunks_that_were_not_expected_or_came_before_are_not_kept(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 1, 1024, 1100)
        await ana.imports(tmp_path / "in")
        share = await accepted(ana, rao)
        async with meeting(ana, rao) as met:
            await until(reaches(rao, share, ShareState.SENDING))
            crash(met)
        arrival = await find_arrival(rao.vault, rao.clock, share, None)  # type: ignore[arg-type]
        assert arrival is not None
        before = await durable(rao)
        stranger = ObjectSealer(ObjectKey(bytes(32)))
        chunk = stranger.seal(0, True, b"x", 0)  # type: ignore[arg-type]
        await arrival.keep(StoredChunk(bytes(32), 0, chunk.data))  # type: ignore[arg-type]
        await arrival.keep(StoredChunk((await rao.share(share, Direction.IN)).layout, 0, Sealed(bytes(1041))))
        await arrival.flush()
        assert await durable(rao) == before


async def test_what_comes_for_a_share_that_was_revoked_meanwhile_is_thrown_away(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        share = await accepted(ana, rao)
        async with meeting(ana, rao):
            await until(reaches(rao, share, ShareState.DELIVERED))
        async with rao.vault.db.transaction() as tx:
            await tx.execute("UPDATE share SET state = 'sending'")
            await tx.execute("DELETE FROM chunk WHERE object NOT IN (SELECT object FROM object WHERE kind = 'layout')")
        arrival = await find_arrival(rao.vault, rao.clock, share, None)  # type: ignore[arg-type]
        assert arrival is not None
        (wanted, *_) = arrival.missing(10**6)
        async with rao.vault.db.transaction() as tx:
            await tx.execute("UPDATE share SET state = 'revoked'")
        places = await scans.places_of(ana.vault.db, [wanted.shape.id])
        (place,) = places[wanted.shape.id]
        data = Sealed(ana.vault.packs.read(place.pack_id, place.offset, place.length))
        packs = set(rao.vault.packs.ids())
        await arrival.keep(StoredChunk(wanted.shape.id, 0, data))
        await arrival.flush()
        assert set(rao.vault.packs.ids()) == packs
        assert await rao.state(share) is ShareState.REVOKED


@pytest.mark.parametrize("state", ["offered", "declined", "revoked", "imported", "refused"])
async def test_only_an_accepted_share_arrives(tmp_path: Path, state: str) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 1)
        await ana.imports(tmp_path / "in")
        share = await offered(ana, rao)
        async with rao.vault.db.transaction() as tx:
            await tx.execute("UPDATE share SET state = ?", (state,))
        assert await find_arrival(rao.vault, rao.clock, share, None) is None  # type: ignore[arg-type]


async def test_two_studies_of_one_share_never_lie_in_one_pack(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "a", 3)
        make_study(tmp_path / "b", 3)
        await ana.imports(tmp_path / "a", tmp_path / "b")
        await imported(ana, rao)
        rows = await rao.vault.db.rows(
            "SELECT p.pack, count(DISTINCT i.study) FROM pack p JOIN chunk c ON c.pack = p.pack"
            " JOIN instance i ON i.object = c.object GROUP BY p.pack"
        )
        assert [row[1] for row in rows] == [1, 1]


async def test_an_answer_to_a_share_of_one_scan_does_not_fetch_another(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "a", 1)
        make_study(tmp_path / "b", 1)
        await ana.imports(tmp_path / "a", tmp_path / "b")
        one, two = [scan.scan.hex() for scan in await ana.library.listed()]
        wanted, unwanted = await offered(ana, rao, one), await offered(ana, rao, two)
        await rao.inbox.accept(wanted.hex())
        await finishes(ana, rao, wanted)
        assert [scan.scan.hex() for scan in await rao.library.listed()] == [one]
        assert await rao.state(unwanted) is ShareState.OFFERED

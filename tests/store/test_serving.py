"""What is looked up before anything is served: the share's terms as they are now, and where its chunks lie."""

from pathlib import Path

from p2pshare.model.ids import ObjectId
from p2pshare.model.ports import ChunkRun
from p2pshare.model.views import ShareState
from p2pshare.store import scans, serving, shares
from p2pshare.store.serving import Terms
from p2pshare.store.shares import Direction
from tests.store.test_shares import SHARE, a_letter, entered
from tests.studies import make_study
from tests.world import Person, two_people


async def terms(person: Person, *runs: ChunkRun) -> Terms:
    found = await serving.look_up(person.vault.db, SHARE, runs)
    assert found is not None
    return found[0]


async def test_the_terms_say_whose_the_share_is_and_whether_it_may_be_served(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        assert await serving.look_up(ana.vault.db, SHARE, []) is None
        await entered(ana, rao, a_letter())
        assert await terms(ana) == Terms(rao.peer.person_id, ShareState.QUEUED, 77, False, True)
        await ana.people.block("rao")
        assert (await terms(ana)).blocked


async def test_bytes_are_counted_only_while_that_person_may_have_them(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        db, expires = ana.vault.db, 77
        assert not await serving.count(db, SHARE, 10, 1, None)
        await entered(ana, rao, a_letter())
        assert not await serving.count(db, SHARE, 10, 1, None)  # nobody accepted it
        async with db.transaction() as tx:
            await shares.move(tx, await ana.share(SHARE, Direction.OUT), ShareState.ACCEPTED, "", 1)
        assert await serving.count(db, SHARE, 10, expires, None)
        assert not await serving.count(db, SHARE, 10, expires + 1, None)
        await ana.people.block("rao")
        assert not await serving.count(db, SHARE, 10, 1, None)
        assert (await ana.share(SHARE, Direction.OUT)).wire_bytes == 10


async def test_a_share_that_came_in_is_not_one_to_serve(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await entered(ana, rao, a_letter(), Direction.IN)
        assert await serving.look_up(ana.vault.db, SHARE, []) is None


async def test_only_what_the_share_covers_now_is_covered(tmp_path: Path) -> None:
    one, two, three = (ObjectId(bytes([n]) * 32) for n in (1, 2, 3))
    async with two_people(tmp_path) as (ana, rao):
        await entered(ana, rao, a_letter())
        async with ana.vault.db.transaction() as tx:
            await shares.cover(tx, SHARE, Direction.OUT, [(one, 0)])
            await shares.cover(tx, SHARE, Direction.OUT, [(two, 1), (three, 0)])
        for asked, covered in (((two,), True), ((two, three), True), ((one,), False), ((two, one), False)):
            assert (await terms(ana, *(ChunkRun(each, 0, 1) for each in asked))).covered is covered


async def test_places_come_in_the_order_that_was_asked_and_no_others(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 2, 1600, 1600)
        await ana.imports(tmp_path / "in")
        await entered(ana, rao, a_letter())
        (scan,) = await scans.listed(ana.vault.db)
        here = await scans.places_of_study(ana.vault.db, scan)
        first, second = here
        async with ana.vault.db.transaction() as tx:
            await shares.cover(tx, SHARE, Direction.OUT, [(first, 0), (second, 0)])
        runs = [ChunkRun(second, 3, 2), ChunkRun(first, 0, 1), ChunkRun(second, 0, 1), ChunkRun(first, 9, 5)]
        found = await serving.look_up(ana.vault.db, SHARE, runs)
        assert found is not None
        assert found[1] == [here[second][3], here[second][4], here[first][0], here[second][0]]
        other = ChunkRun(ObjectId(bytes(32)), 0, 1)
        assert await serving.look_up(ana.vault.db, SHARE, [other]) == (
            Terms(rao.peer.person_id, ShareState.QUEUED, 77, False, False), []
        )  # fmt: skip

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from p2pshare.dicom.sources import Source
from p2pshare.engine.changes import Changes
from p2pshare.engine.desk import VaultDesk
from p2pshare.engine.pace import Pace
from p2pshare.errors import CannotListen, EngineTaken, Unreachable, WorkersFailed
from p2pshare.model.dicom import ReadReport
from p2pshare.model.ports import Link
from p2pshare.model.views import ShareState
from p2pshare.store.locks import engine_held
from p2pshare.store.shares import Direction
from p2pshare.store.vault import Vault
from p2pshare.sync.carriers.direct import dial
from p2pshare.sync.transfer import EndReason, run_session
from tests.engine.engines import connected, device_row, everything_in, known_device, knows_address, running
from tests.fakes import link_pair
from tests.meetings import delivered, imported, offered, reaches, until
from tests.studies import make_study
from tests.world import (
    KEY,
    InlineWorkers,
    Person,
    SettableClock,
    name_of,
    one_person,
    three_people,
    two_people,
    vault_path,
)


async def offer(one: Person, other: Person, folder: Path, instances: int = 3, **elements: object) -> bytes:
    """Import a study and write the letter that shares it."""
    paths = make_study(folder, instances, **elements)  # type: ignore[arg-type]
    await one.imports(paths[0].parent)
    newest = max(await one.library.listed(), key=lambda scan: scan.study)
    return await one.offers.create(await name_of(other), [newest.scan.hex()], "Is it benign?")


async def dials(one: Person, other: Person, address: str) -> Link:
    return await dial(address, one.vault.identity.device, await known_device(one, other))


# --- the whole way ------------------------------------------------------------------------------------------------


async def test_a_share_goes_all_the_way_and_arrives_byte_for_byte(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await offer(ana, rao, tmp_path / "disc")
        async with running(ana), running(rao) as node:
            await knows_address(ana, rao, node.address)
            await until(reaches(ana, share, ShareState.OFFERED))
            await rao.inbox.accept(share.hex())
            await until(reaches(ana, share, ShareState.IMPORTED))
        assert await rao.exported(tmp_path / "out") == sorted(p.read_bytes() for p in (tmp_path / "disc").iterdir())
        assert await ana.check() == []
        assert await rao.check() == []


async def test_the_address_and_process_are_in_the_database_only_while_it_works(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        async with running(ana) as node:
            [(pid, address)] = await ana.vault.db.rows("SELECT pid, address FROM engine")
            assert (pid > 0, address) == (True, node.address)
        assert await ana.vault.db.rows("SELECT pid, address FROM engine") == [(0, "")]
        assert not engine_held(ana.vault.folder)


# --- one engine ---------------------------------------------------------------------------------------------------


async def test_a_second_engine_on_one_vault_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana, running(ana) as node:
        before = await ana.vault.db.rows("SELECT * FROM engine")
        with pytest.raises(EngineTaken):
            async with running(ana):
                pass
        assert await ana.vault.db.rows("SELECT * FROM engine") == before
        assert not node.task.done()


async def test_an_address_that_cannot_be_had_leaves_the_engine_to_others(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao), running(rao) as node:
        from p2pshare.engine.engine import Engine

        host, _, port = node.address.rpartition(":")
        with pytest.raises(CannotListen):
            await Engine(ana.vault, ana.workers, ana.clock).run(host, int(port), lambda _: None)  # type: ignore[arg-type]
        async with running(ana):
            pass


async def test_an_engine_whose_term_was_taken_ends_and_has_written_nothing(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await offer(ana, rao, tmp_path / "disc")
        async with running(rao) as node:

            async def looked_after() -> bool:
                return await rao.vault.db.row("SELECT 1 FROM meta WHERE key = 'snapshot'") is not None

            await until(looked_after)  # what any process of the vault may do, the engine does when it starts
            async with rao.vault.db.transaction() as tx:
                await tx.execute("UPDATE engine SET term = term + 1, pid = 1, address = 'x'")
            before = await everything_in(rao.vault)
            with suppress(Unreachable):  # it may have gone already
                await run_session(await dials(ana, rao, node.address), desk_of(ana, rao))
            node.is_to_fail = True
            await asyncio.wait({node.task}, timeout=5)
            with pytest.raises(ExceptionGroup) as caught:
                node.task.result()
            assert caught.group_contains(EngineTaken)
            assert await everything_in(rao.vault) == before
            assert await ana.state(share) is ShareState.QUEUED
            assert not engine_held(rao.vault.folder)


def desk_of(owner: Person, visitor: Person, pace: Pace | None = None) -> VaultDesk:
    return VaultDesk(owner.vault, owner.clock, visitor.peer, Changes(owner.vault.db), 0, pace)


# --- sessions -----------------------------------------------------------------------------------------------------


async def test_two_who_dial_each_other_at_once_keep_one_session_and_do_all_their_work(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        hers = await offer(ana, rao, tmp_path / "hers")
        his = await offer(rao, ana, tmp_path / "his")
        async with running(ana) as ana_node, running(rao) as rao_node:
            await asyncio.gather(knows_address(ana, rao, rao_node.address), knows_address(rao, ana, ana_node.address))
            await until(reaches(ana, hers, ShareState.OFFERED))
            await until(reaches(rao, his, ShareState.OFFERED))
            await asyncio.gather(rao.inbox.accept(hers.hex()), ana.inbox.accept(his.hex()))
            await until(reaches(ana, hers, ShareState.IMPORTED))
            await until(reaches(rao, his, ShareState.IMPORTED))
            await asyncio.gather(connected(ana_node, rao), connected(rao_node, ana))
            [at_ana], [at_rao] = ana_node.engine._live.values(), rao_node.engine._live.values()
            assert at_ana.dialed != at_rao.dialed
        assert len(await ana.library.listed()) == len(await rao.library.listed()) == 2


@pytest.mark.parametrize("times", range(3))
async def test_of_two_links_made_at_once_both_sides_keep_the_same(tmp_path: Path, times: int) -> None:
    async with two_people(tmp_path) as (ana, rao), running(ana) as ana_node, running(rao) as rao_node:
        links = link_pair(64), link_pair(64)
        for one, other in links:
            one.peer, other.peer = rao.peer, ana.peer
        ends = [
            (ana_node.engine, links[0][0], True), (rao_node.engine, links[0][1], False),
            (rao_node.engine, links[1][1], True), (ana_node.engine, links[1][0], False),
        ]  # fmt: skip
        shifted = ends[times:] + ends[:times]
        tasks = [asyncio.create_task(engine._session(link, dialed)) for engine, link, dialed in shifted]
        await asyncio.wait(tasks, timeout=0.5)
        kept = [not task.done() for task in tasks]
        by_link = {0: [], 1: []}  # type: dict[int, list[bool]]
        for (_, link, _), here in zip(shifted, kept, strict=True):
            by_link[0 if link in links[0] else 1].append(here)
        assert sorted(by_link.values()) == [[False, False], [True, True]]
        smaller_is_ana = ana.peer.device_id < rao.peer.device_id
        assert by_link[0][0] is smaller_is_ana  # the link that the smaller device dialed
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_newer_link_takes_the_place_of_an_old_one_that_may_be_dead(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao), running(ana) as node:
        first = asyncio.create_task(run_session(await dials(rao, ana, node.address), desk_of(rao, ana)))
        await connected(node, rao)
        second = asyncio.create_task(run_session(await dials(rao, ana, node.address), desk_of(rao, ana)))
        async with asyncio.timeout(5):
            assert (await first).reason is EndReason.BYE
        assert node.live(rao)
        assert not second.done()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)


async def test_a_session_begins_only_when_what_the_one_before_it_brought_is_durable(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.imports(make_study(tmp_path / "disc", 10, 512, 512)[0].parent)
        share = await offered(ana, rao)
        await rao.inbox.accept(share.hex())
        async with running(rao) as node:
            first, second = link_pair(1), link_pair(64)
            for one, other in (first, second):
                one.peer, other.peer = rao.peer, ana.peer
            slow = asyncio.create_task(run_session(first[0], desk_of(ana, rao, Pace(3e6))))
            tasks = [slow, asyncio.create_task(node.engine._session(first[1], False))]

            async def some_came() -> bool:
                return len(chunks_in(first[0].sent)) >= 6

            await until(some_came)
            tasks.append(asyncio.create_task(node.engine._session(second[1], False)))
            tasks.append(asyncio.create_task(run_session(second[0], desk_of(ana, rao))))
            await until(reaches(ana, share, ShareState.IMPORTED))
            again = set(chunks_in(first[0].sent)) & set(chunks_in(second[0].sent))
            assert len(again) <= 1  # one may have been on its way when the first session was ended
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def chunks_in(frames: list[bytes]) -> list[bytes]:
    """Object and number of each chunk among frames (docs/protocol.md §2)."""
    return [frame[1:37] for frame in frames if frame[0] == 5]


async def test_a_peer_that_breaks_the_rules_is_noted_and_logged(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao), running(ana) as node:
        link = await dials(rao, ana, node.address)
        await link.send(b"\x07")  # Done before Hello

        async def noted() -> bool:
            return "the last connection ended" in (await device_row(ana, rao)).trouble

        await until(noted)
        assert "session-refused" in await ana.log()
        await link.close()


async def test_when_somebody_was_here_is_noted(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao), running(ana) as node:
        link = await dials(rao, ana, node.address)
        await connected(node, rao)
        ana.clock.advance(100)
        await link.close()

        async def noted() -> bool:
            return (await device_row(ana, rao)).last_seen == ana.clock()

        await until(noted)
        assert (await device_row(ana, rao)).trouble == ""


async def test_strangers_are_turned_away_and_logged_once(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao), one_person(tmp_path, "Eve") as eve, running(ana) as node:
        for _ in range(5):
            with pytest.raises(Unreachable):
                await dial(node.address, eve.vault.identity.device, await known_device(rao, ana))

        async def logged() -> bool:
            return "strangers-turned-away" in await ana.log()

        await until(logged)
        assert (await ana.log()).count("strangers-turned-away") == 1


# --- blocking -----------------------------------------------------------------------------------------------------


async def blocks(folder: Path, clock: SettableClock, who: str) -> None:
    """Let Ana block somebody from another process."""
    vault = await Vault.open(vault_path(folder, "Ana"), KEY)
    try:
        await Person(vault, clock).people.block(who)
    finally:
        await vault.close()


async def test_blocking_ends_that_person_s_session_at_once_and_no_other(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve), running(ana) as node:
        his = asyncio.create_task(run_session(await dials(rao, ana, node.address), desk_of(rao, ana)))
        hers = asyncio.create_task(run_session(await dials(eve, ana, node.address), desk_of(eve, ana)))
        await asyncio.gather(connected(node, rao), connected(node, eve))
        await blocks(tmp_path, ana.clock, "Eve")
        async with asyncio.timeout(2):
            assert (await hers).reason is EndReason.BYE
        assert not node.live(eve)
        assert node.live(rao)
        with pytest.raises(Unreachable):
            await dials(eve, ana, node.address)
        his.cancel()
        await asyncio.gather(his, return_exceptions=True)


async def test_after_a_block_others_learn_the_new_knock_key_and_the_old_one_still_opens(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, _), running(ana) as node:
        old = await known_device(rao, ana)
        await blocks(tmp_path, ana.clock, "Eve")

        async def reloaded() -> bool:
            return len(ana.vault.identity.knock_keys) == 2

        await until(reloaded)
        link = await dial(node.address, rao.vault.identity.device, old)
        session = asyncio.create_task(run_session(link, desk_of(rao, ana)))

        async def learned() -> bool:
            return (await known_device(rao, ana)).knock == ana.vault.identity.knock_keys[0] != old.knock

        await until(learned)
        session.cancel()
        await asyncio.gather(session, return_exceptions=True)
        await (await dials(rao, ana, node.address)).close()


async def test_a_blocked_person_may_come_back_when_unblocked(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao), running(ana) as node:
        await ana.people.block("Dr Rao")
        with pytest.raises(Unreachable):
            await dials(rao, ana, node.address)
        await ana.people.block("Dr Rao", blocked=False)
        await (await dials(rao, ana, node.address)).close()


# --- what was begun -----------------------------------------------------------------------------------------------


async def test_what_was_delivered_and_not_opened_is_opened_at_the_next_start(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.imports(make_study(tmp_path / "disc")[0].parent)
        share = await delivered(ana, rao)
        assert await rao.state(share) is ShareState.DELIVERED
        async with running(rao):
            await until(reaches(rao, share, ShareState.IMPORTED))
        assert await rao.exported(tmp_path / "out") == sorted(p.read_bytes() for p in (tmp_path / "disc").iterdir())


async def test_what_was_half_opened_is_opened_to_its_end(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.imports(make_study(tmp_path / "disc", 105)[0].parent)
        share = await delivered(ana, rao)
        rao.workers = WorkersThatStop(after=100)
        async with running(rao):

            async def stuck() -> bool:
                return "opening-failed" in await rao.log()

            await until(stuck)
        assert await rao.state(share) is ShareState.DELIVERED
        assert [scan.instances for scan in await rao.library.listed()] == [100]
        rao.workers = InlineWorkers()
        async with running(rao):
            await until(reaches(rao, share, ShareState.IMPORTED))
        assert rao.workers.read_count == 5
        assert [scan.instances for scan in await rao.library.listed()] == [105]
        assert await rao.check() == []


async def test_an_opening_that_fails_is_logged_once_and_stops_nothing(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.imports(make_study(tmp_path / "disc")[0].parent)
        await delivered(ana, rao)
        rao.workers = WorkersThatStop(after=0)
        async with running(rao) as node:
            for number in range(3):
                await rao.people.set_my_addresses([f"rao.example:{number + 1}"])
                await asyncio.sleep(0.2)
            assert (await rao.log()).count("opening-failed") == 1
            await (await dials(ana, rao, node.address)).close()


class WorkersThatStop(InlineWorkers):
    """Fails after a number of files."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    async def read(self, sources: "list[Source]") -> list[ReadReport]:  # type: ignore[override]
        if self.read_count >= self.after:
            raise WorkersFailed("they stopped")
        return await super().read(sources)


async def test_a_share_whose_base_is_gone_is_offered_whole_and_arrives(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        paths = make_study(tmp_path / "disc", 2)
        await ana.imports(paths[0].parent)
        await imported(ana, rao)
        [scan] = await rao.library.listed()
        await rao.library.erase(scan.scan.hex())
        [scan] = await ana.library.listed()
        share = await ana.offers.create("Dr Rao", [scan.scan.hex()], "Again, please?")
        assert (await ana.share(share, Direction.OUT)).base is not None
        async with running(ana), running(rao) as node:
            await knows_address(ana, rao, node.address)
            await until(reaches(ana, share, ShareState.OFFERED))
            await rao.inbox.accept(share.hex())
            await until(reaches(ana, share, ShareState.IMPORTED))
        assert (await ana.share(share, Direction.OUT)).base is None
        assert await rao.exported(tmp_path / "out") == sorted(path.read_bytes() for path in paths)


async def test_a_share_whose_time_is_over_ends_by_itself(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, _):
        await ana.imports(make_study(tmp_path / "disc")[0].parent)
        [scan] = await ana.library.listed()
        share = await ana.offers.create("Dr Rao", [scan.scan.hex()], "", expires=ana.clock() + 60)
        ana.clock.advance(61)
        async with running(ana):
            await until(reaches(ana, share, ShareState.EXPIRED))


async def test_a_prekey_that_is_old_is_followed_by_a_fresh_one(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        before = (await known_device(rao, ana)).prekey.number
        ana.clock.advance(8 * 86400)
        async with running(ana) as node:

            async def fresh() -> bool:
                return await ana.vault.db.row("SELECT 1 FROM prekey WHERE number = ?", (before + 1,)) is not None

            await until(fresh)
            session = asyncio.create_task(run_session(await dials(rao, ana, node.address), desk_of(rao, ana)))

            async def learned() -> bool:
                return (await known_device(rao, ana)).prekey.number == before + 1

            await until(learned)
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)

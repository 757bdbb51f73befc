"""Sessions as an engine keeps them: one with each device, none with whom it must not have one."""

import asyncio
from pathlib import Path

import pytest

from p2pshare.engine.desk import VaultDesk
from p2pshare.engine.pace import Pace
from p2pshare.errors import Unreachable
from p2pshare.model.views import ShareState
from p2pshare.store.vault import Vault
from p2pshare.sync.carriers.direct import dial
from p2pshare.sync.transfer import EndReason, run_session
from tests.engine.desks import desk_of
from tests.engine.engines import (
    connected,
    device_row,
    dials,
    known_device,
    knows_address,
    looked_after,
    offer,
    running,
)
from tests.fakes import link_pair
from tests.meetings import offered, reaches, until
from tests.studies import make_study
from tests.world import (
    KEY,
    Person,
    SettableClock,
    one_person,
    three_people,
    two_people,
    vault_path,
)

ENDED_THERE = (EndReason.BYE, EndReason.LOST)  # lost: what was just being sent found it closed before the Bye was read


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

        async def two_are_left() -> bool:
            return sum(task.done() for task in tasks) >= 2

        await until(two_are_left)
        await asyncio.sleep(0.1)
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
            assert (await first).reason in ENDED_THERE
        assert node.live(rao)
        assert not second.done()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)


async def test_a_session_begins_only_when_what_the_one_before_it_brought_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = VaultDesk.closed

    async def close_slowly(desk: VaultDesk) -> None:
        await asyncio.sleep(0.5)
        await close(desk)

    monkeypatch.setattr(VaultDesk, "closed", close_slowly)
    async with two_people(tmp_path) as (ana, rao):
        await ana.imports(make_study(tmp_path / "disc", 10, 512, 512)[0].parent)
        share = await offered(ana, rao)
        await rao.inbox.accept(share.hex())
        async with running(rao) as node:
            first, second = link_pair(1), link_pair(64)
            for one, other in (first, second):
                one.peer, other.peer = rao.peer, ana.peer
            slow = asyncio.create_task(run_session(first[0], desk_of(ana, rao, pace=Pace(3e6))))
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
        await asyncio.gather(connected(node, rao), connected(node, eve), looked_after(ana))
        await blocks(tmp_path, ana.clock, "Eve")
        async with asyncio.timeout(5):
            assert (await hers).reason in ENDED_THERE
        assert not node.live(eve)
        assert node.live(rao)
        with pytest.raises(Unreachable):
            await dials(eve, ana, node.address)
        his.cancel()
        await asyncio.gather(his, return_exceptions=True)


async def test_after_a_block_others_learn_the_new_knock_key_and_the_old_one_still_opens(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, _), running(ana) as node:
        old = await known_device(rao, ana)
        await looked_after(ana)
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
        await looked_after(ana)
        await ana.people.block("Dr Rao")
        with pytest.raises(Unreachable):
            await dials(rao, ana, node.address)
        await ana.people.block("Dr Rao", blocked=False)
        await (await dials(rao, ana, node.address)).close()

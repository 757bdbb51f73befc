import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from p2pshare.dicom.sources import Source
from p2pshare.engine import engine as engine_module
from p2pshare.errors import CannotListen, EngineTaken, Unreachable, WorkersFailed
from p2pshare.model.dicom import ReadReport
from p2pshare.model.views import ShareState
from p2pshare.store.locks import engine_held
from p2pshare.store.shares import Direction
from p2pshare.sync.transfer import run_session
from tests.engine.desks import desk_of
from tests.engine.engines import (
    dials,
    everything_in,
    known_device,
    knows_address,
    looked_after,
    offer,
    running,
)
from tests.meetings import delivered, imported, reaches, until
from tests.studies import make_study
from tests.world import (
    InlineWorkers,
    one_person,
    two_people,
)

# --- the whole way ----------------------------------------------------------------------------------------------------


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


# --- one engine -------------------------------------------------------------------------------------------------------


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
            await looked_after(rao)  # what any process of the vault may do, the engine does when it starts
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


# --- what was begun ---------------------------------------------------------------------------------------------------


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


async def test_an_opening_that_fails_waits_before_it_is_tried_again(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.imports(make_study(tmp_path / "disc")[0].parent)
        await delivered(ana, rao)
        rao.workers = workers = WorkersThatStop(after=0)
        async with running(rao):
            for number in range(3):
                await rao.people.set_my_addresses([f"rao.example:{number + 1}"])
                await asyncio.sleep(0.2)
        assert workers.stops == 1


async def test_an_opening_that_fails_again_and_again_is_logged_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_UPKEEP_SECONDS", 0.05)
    async with two_people(tmp_path) as (ana, rao):
        await ana.imports(make_study(tmp_path / "disc")[0].parent)
        await delivered(ana, rao)
        rao.workers = workers = WorkersThatStop(after=0)
        async with running(rao) as node:

            async def often() -> bool:
                return workers.stops >= 3

            await until(often)
            await (await dials(ana, rao, node.address)).close()
        assert (await rao.log()).count("opening-failed") == 1


class WorkersThatStop(InlineWorkers):
    """Fails after a number of files."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.stops = 0

    async def read(self, sources: "list[Source]") -> list[ReadReport]:  # type: ignore[override]
        if self.read_count >= self.after:
            self.stops += 1
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

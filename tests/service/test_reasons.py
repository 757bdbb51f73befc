"""Why a share waits, in words."""

from pathlib import Path

import pytest

from p2pshare.model.views import ShareState
from p2pshare.service.reasons import why
from p2pshare.store.locks import EngineLock
from p2pshare.store.shares import Direction, Share
from tests.meetings import imported, offered
from tests.studies import make_study
from tests.world import Person, two_people


async def a_share(ana: Person, rao: Person, folder: Path, state: ShareState = ShareState.QUEUED) -> Share:
    make_study(folder / "in", 3)
    await ana.imports(folder / "in")
    share = await offered(ana, rao)
    async with ana.vault.db.transaction() as tx:
        await tx.execute("UPDATE share SET state = ?, chunks_done = 2", (state.value,))
    return await ana.share(share, Direction.OUT)


async def test_every_state_has_its_reason_whoever_runs(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await a_share(ana, rao, tmp_path)
        for state in ShareState:
            async with ana.vault.db.transaction() as tx:
                await tx.execute("UPDATE share SET state = ?", (state.value,))
            reason = await why(ana.vault, await ana.share(share.share, Direction.OUT))
            assert len(reason.split()) >= 3, state


async def test_where_nothing_runs_that_is_the_reason(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        assert "p2pshare serve" in await why(ana.vault, await a_share(ana, rao, tmp_path))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (ShareState.QUEUED, "waits for Dr Rao's computer to answer"),
        (ShareState.OFFERED, "Dr Rao has it in the inbox and has not answered yet"),
        (ShareState.ACCEPTED, "waits for Dr Rao's computer to answer"),
        (ShareState.SENDING, "2 of 3 pieces are safe at the other end"),
        (ShareState.DELIVERED, "complete at Dr Rao's computer, which is opening it"),
    ],
)
async def test_while_it_runs_the_reason_is_the_other_side(tmp_path: Path, state: ShareState, said: str) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await a_share(ana, rao, tmp_path, state)
        lock = EngineLock.take(ana.vault.folder)
        try:
            assert said in await why(ana.vault, share)
        finally:
            lock.release()


async def test_what_is_wrong_with_the_road_is_said_with_when_it_is_tried_again(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await a_share(ana, rao, tmp_path)
        async with ana.vault.db.transaction() as tx:
            await tx.execute(
                "UPDATE device SET trouble = 'nobody answers at 192.0.2.1:1', last_seen = 5, next_try = 100"
            )  # fmt: skip
        lock = EngineLock.take(ana.vault.folder)
        try:
            reason = await why(ana.vault, share)
        finally:
            lock.release()
        assert reason.startswith("nobody answers at 192.0.2.1:1; last seen ")
        assert "; next try " in reason


async def test_what_was_said_about_an_end_is_the_reason(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 1)
        await ana.imports(tmp_path / "in")
        share = await imported(ana, rao)
        assert "opened and verified" in await why(ana.vault, await ana.share(share, Direction.OUT))
        assert "cannot be recalled" in await why(ana.vault, await ana.offers.revoke(share.hex()))

"""The inbox: a person accepts or declines, once."""

from pathlib import Path

import pytest

from p2pshare.errors import NotFound, PersonBlocked, PolicyRefusal, TooLarge
from p2pshare.model.views import ShareState
from p2pshare.store.shares import Direction
from tests.meetings import meeting, offered, reaches, until
from tests.studies import make_study
from tests.world import Person, two_people


async def an_offer(ana: Person, rao: Person, folder: Path) -> bytes:
    make_study(folder / "in", 2)
    await ana.imports(folder / "in")
    return await offered(ana, rao)


async def test_accepting_tells_the_sender_and_twice_is_once(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await an_offer(ana, rao, tmp_path)
        for _ in range(2):
            assert (await rao.inbox.accept(share.hex()[:6])).share.state is ShareState.ACCEPTED
        assert len(await rao.letters_to(ana)) == 1
        async with meeting(ana, rao):
            await until(reaches(ana, share, ShareState.DELIVERED))
        assert "share-accepted" in await ana.log()


async def test_declining_tells_the_sender_why_and_nothing_is_fetched(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await an_offer(ana, rao, tmp_path)
        await rao.inbox.decline(share.hex(), "Please send it to the cardiologist")
        async with meeting(ana, rao) as met:
            await until(reaches(ana, share, ShareState.DECLINED))
        assert (await ana.share(share, Direction.OUT)).why == "Please send it to the cardiologist"
        assert met.chunks_sent() == []
        with pytest.raises(PolicyRefusal):
            await rao.inbox.accept(share.hex())


async def test_a_reason_that_is_too_long_changes_nothing(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await an_offer(ana, rao, tmp_path)
        with pytest.raises(TooLarge):
            await rao.inbox.decline(share.hex(), "x" * 2049)
        assert await rao.state(share) is ShareState.OFFERED


@pytest.mark.parametrize("state", ["declined", "sending", "delivered", "imported", "revoked", "expired", "refused"])
async def test_only_what_is_offered_can_be_answered(tmp_path: Path, state: str) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await an_offer(ana, rao, tmp_path)
        async with rao.vault.db.transaction() as tx:
            await tx.execute("UPDATE share SET state = ?", (state,))
        with pytest.raises(PolicyRefusal):
            await rao.inbox.accept(share.hex())
        assert await rao.letters_to(ana) == []


async def test_an_offer_of_somebody_blocked_meanwhile_cannot_be_accepted(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await an_offer(ana, rao, tmp_path)
        await rao.people.block("ana")
        with pytest.raises(PersonBlocked):
            await rao.inbox.accept(share.hex())
        assert await rao.state(share) is ShareState.OFFERED


async def test_an_offer_of_somebody_unverified_is_shown_as_such(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await an_offer(ana, rao, tmp_path)
        async with rao.vault.db.transaction() as tx:
            await tx.execute("UPDATE person SET verified = NULL")
        assert not (await rao.inbox.find(share.hex())).verified


async def test_my_own_offers_are_not_in_my_inbox(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await an_offer(ana, rao, tmp_path)
        assert await ana.inbox.listed() == []
        with pytest.raises(NotFound):
            await ana.inbox.accept(share.hex())

import asyncio
import json
from pathlib import Path

import pytest

from p2pshare.crypto.keys import new_prekey
from p2pshare.engine import desk as desk_module
from p2pshare.engine.changes import Changes
from p2pshare.engine.desk import VaultDesk
from p2pshare.errors import (
    RemoteError,
)
from p2pshare.model import limits
from p2pshare.model.ids import ObjectId
from p2pshare.model.letters import Letter
from p2pshare.model.ports import ChunkRun, Sealed
from p2pshare.model.views import ShareState
from p2pshare.store import people, shares
from p2pshare.store.shares import Direction
from tests.engine.desks import ana_offers, desk_of, opens, put, reads
from tests.meetings import SECONDS, offered
from tests.studies import make_study
from tests.world import Person, three_people, two_people

# --- what goes out --------------------------------------------------------------------------------------------------


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
        await shares.count_done(tx, share, Direction.IN, done)  # type: ignore[arg-type]


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


# --- what comes in --------------------------------------------------------------------------------------------------


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
        covered = await shares.covered(ana.vault.db, share, Direction.OUT)  # type: ignore[arg-type]
        held_back = [object_id for object_id, scan in covered.items() if scan >= 0][:2]
        for layout_then_images in range(2):
            for each in await mine.missing(limits.WINDOW):
                if layout_then_images and each.shape.id in held_back:
                    continue  # two images do not come
                runs = [ChunkRun(each.shape.id, 0, 1)]
                for chunk in await theirs.serve(share, runs, limits.MIB):  # type: ignore[arg-type]
                    await mine.keep(share, chunk)  # type: ignore[arg-type]
        await mine.closed()
        left = await desk_of(rao, ana).missing(limits.WINDOW)
        absent = {each.shape.id for each in left}
        assert absent == set(held_back)


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

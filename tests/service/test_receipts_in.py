"""Receipts that come in: signed by who brings them, only ever forward, and the proof of what arrived."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from p2pshare.crypto.keys import SigningKey, new_prekey
from p2pshare.crypto.seal import check_letter, sign_receipt
from p2pshare.errors import Forged, NotForMe, RemoteError
from p2pshare.model.letters import ArrivalState, FeedHead, Receipt, ReceiptBody, RefusedLetter, ShareArrival
from p2pshare.model.views import ShareState
from p2pshare.service.layouts import BASE_MISSING
from p2pshare.service.receipts_in import take_receipt
from p2pshare.store import people
from p2pshare.store.shares import Direction
from tests.studies import make_study
from tests.world import Person, name_of, three_people, two_people


@dataclass
class Story:
    """A share of Ana's that Dr Rao's receipts are about."""

    ana: Person
    rao: Person
    share: bytes
    layout: bytes
    counter: int = 0

    async def body(self, state: ArrivalState | None = None, chunks: int = 0, why: str = "") -> ReceiptBody:
        """What Dr Rao's next receipt says: that the letter came, and how far the share is."""
        letter = next(iter(await self.ana.letters_to(self.rao)), None)
        feeds = ()
        if letter is not None:
            letter_hash = check_letter(letter, self.ana.vault.identity.device.public)
            feeds = (FeedHead(epoch=letter.epoch, number=letter.number, hash=letter_hash),)
        self.counter += 1
        arrivals = () if state is None else (ShareArrival(self.share, self.layout, state, chunks, why),)
        return ReceiptBody(
            sender=self.rao.peer.device_id, recipient=self.ana.peer.device_id, counter=self.counter,
            time=self.rao.clock(), feeds=feeds, refused=(), shares=arrivals, prekey=None,
        )  # fmt: skip

    async def says(self, body: ReceiptBody, device: SigningKey | None = None) -> Receipt:
        receipt = sign_receipt(device or self.rao.vault.identity.device, body)
        await take_receipt(self.ana.vault, self.ana.clock(), self.rao.peer, receipt, None)
        return receipt

    async def state(self) -> ShareState:
        return await self.ana.state(self.share)


async def a_story(ana: Person, rao: Person, folder: Path, chunks: int = 3) -> Story:
    make_study(folder / "in", chunks)
    await ana.imports(folder / "in")
    (scan,) = await ana.library.listed()
    share = await ana.offers.create(await name_of(rao), [scan.scan.hex()], "")
    return Story(ana, rao, share, (await ana.share(share, Direction.OUT)).layout)


async def test_a_receipt_that_covers_the_letter_makes_the_share_offered(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        assert await story.state() is ShareState.QUEUED
        await story.says(await story.body())
        assert await story.state() is ShareState.OFFERED
        assert await ana.letters_to(rao) == []


async def test_a_share_follows_what_receipts_say_and_never_goes_back(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        seen = []
        for state, chunks in [
            (ArrivalState.OFFERED, 0), (ArrivalState.SENDING, 1), (ArrivalState.DELIVERED, 3),
            (ArrivalState.SENDING, 2), (ArrivalState.IMPORTED, 3), (ArrivalState.DELIVERED, 3),
        ]:  # fmt: skip
            await story.says(await story.body(state, chunks))
            seen.append((await story.state()).value)
        assert seen == ["offered", "sending", "delivered", "delivered", "imported", "imported"]
        log = await ana.log()
        assert [log.count(kind) for kind in ("share-delivered", "share-imported", "share-sending")] == [1, 1, 0]


async def test_a_receipt_that_comes_again_or_late_changes_nothing(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        early = await story.body(ArrivalState.REFUSED, why="no")
        late = await story.says(await story.body(ArrivalState.DELIVERED, 3))
        await take_receipt(ana.vault, ana.clock(), rao.peer, late, None)
        await story.says(early)  # an older counter
        await story.says(replace(early, counter=story.counter))  # the same counter, other words
        assert await story.state() is ShareState.DELIVERED
        assert (await ana.log()).count("share-delivered") == 1


async def test_what_is_not_signed_by_the_device_that_brings_it_is_refused(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        story = await a_story(ana, rao, tmp_path)
        body = await story.body(ArrivalState.IMPORTED, 3)
        with pytest.raises(Forged):
            await story.says(body, SigningKey.generate())
        with pytest.raises(Forged):
            await story.says(body, eve.vault.identity.device)
        with pytest.raises(Forged):  # Eve brings what Dr Rao signed
            await take_receipt(
                ana.vault, ana.clock(), eve.peer, sign_receipt(rao.vault.identity.device, body), None
            )  # fmt: skip
        assert await story.state() is ShareState.QUEUED


async def test_a_receipt_for_another_device_is_refused(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        story = await a_story(ana, rao, tmp_path)
        body = await story.body(ArrivalState.IMPORTED, 3)
        with pytest.raises(NotForMe):
            await story.says(replace(body, recipient=eve.peer.device_id))
        assert await story.state() is ShareState.QUEUED


async def test_nobody_can_speak_about_a_share_that_was_made_to_somebody_else(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        story = await a_story(ana, rao, tmp_path)
        body = replace(await story.body(ArrivalState.IMPORTED, 3), sender=eve.peer.device_id, feeds=())
        receipt = sign_receipt(eve.vault.identity.device, body)
        await take_receipt(ana.vault, ana.clock(), eve.peer, receipt, None)
        assert await story.state() is ShareState.QUEUED


async def test_what_is_said_about_another_layout_does_not_count(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        story.layout = bytes(32)
        await story.says(await story.body(ArrivalState.IMPORTED, 3))
        assert await story.state() is ShareState.OFFERED
        assert await ana.offers.receipt(await ana.share(story.share, Direction.OUT)) is None


@pytest.mark.parametrize(("claimed", "counted"), [(2, 2), (99, 3), (2**62, 3)])
async def test_chunks_are_counted_only_up_to_what_there_is(tmp_path: Path, claimed: int, counted: int) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        await story.says(await story.body(ArrivalState.SENDING, claimed))
        assert (await ana.share(story.share, Direction.OUT)).chunks_done == counted


async def test_a_negative_count_is_refused(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        with pytest.raises(RemoteError):
            await story.says(await story.body(ArrivalState.SENDING, -1))


async def test_a_refused_share_says_why_and_is_in_the_log(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        await story.says(await story.body(ArrivalState.REFUSED, why="share-corrupt: an image does not open"))
        share = await ana.share(story.share, Direction.OUT)
        assert (share.state, share.why) == (ShareState.REFUSED, "share-corrupt: an image does not open")
        assert "share-refused" in await ana.log()


async def test_that_a_base_is_missing_is_not_worth_a_line_in_the_log(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        await story.says(await story.body(ArrivalState.REFUSED, why=BASE_MISSING))
        assert await story.state() is ShareState.REFUSED
        assert "share-refused" not in await ana.log()


async def test_what_was_imported_once_stays_proven_whatever_becomes_of_the_copy(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        await story.says(await story.body(ArrivalState.IMPORTED, 3))
        await story.says(await story.body(ArrivalState.REFUSED, why="the scan was erased here"))
        assert await story.state() is ShareState.IMPORTED
        proof = await ana.offers.receipt(await ana.share(story.share, Direction.OUT))
        assert proof is not None
        assert (proof.state, proof.layout, proof.signed_by) == ("imported", story.layout.hex(), "Dr Rao")


@pytest.mark.parametrize("state", ["declined", "revoked", "expired"])
async def test_a_share_that_ended_here_stays_ended(tmp_path: Path, state: str) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        async with ana.vault.db.transaction() as tx:
            await tx.execute("UPDATE share SET state = ?", (state,))
        await story.says(await story.body(ArrivalState.IMPORTED, 3))
        assert await story.state() == state


async def test_a_refused_letter_ends_the_share_that_it_offered(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        body = await story.body()
        refused = RefusedLetter(epoch=body.feeds[0].epoch, number=1, why="too-large: " + "x" * 5000)
        await story.says(replace(body, refused=(refused,)))
        share = await ana.share(story.share, Direction.OUT)
        assert share.state is ShareState.REFUSED
        assert share.why.startswith("too-large")
        assert len(share.why) <= 2048


async def test_a_head_that_was_never_written_here_is_logged_as_a_rollback_once_a_day(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        for day in range(3):
            for _ in range(2):
                body = await story.body()
                await story.says(replace(body, feeds=(FeedHead(epoch=b"?" * 16, number=9, hash=bytes(32)),)))
            assert (await ana.log()).count("rollback-seen") == day + 1
            ana.clock.advance(86401)
        assert await story.state() is ShareState.QUEUED


async def test_a_prekey_in_a_receipt_is_learned_if_newer_and_refused_if_forged(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        story = await a_story(ana, rao, tmp_path)
        newer, _ = new_prekey(rao.vault.identity.device, 9, 0)
        forged, _ = new_prekey(SigningKey.generate(), 10, 0)
        await story.says(replace(await story.body(), prekey=newer))
        with pytest.raises(RemoteError):
            await story.says(replace(await story.body(), prekey=forged))
        row = await people.device(ana.vault.db, rao.peer.device_id)
        assert row is not None
        assert row.device.prekey == newer

"""The post: letters sealed to the newest prekey, and receipts that say what is durable."""

from pathlib import Path

import pytest

from p2pshare.crypto.keys import new_prekey
from p2pshare.crypto.seal import check_letter, check_receipt, decode_body, open_sealed
from p2pshare.errors import NotForMe
from p2pshare.model.ids import DeviceId, ShareId
from p2pshare.model.letters import AnswerLetter, ArrivalState, Body, ContactLetter, Letter, Receipt, RevokeLetter
from p2pshare.model.ports import Sealed
from p2pshare.service import post
from p2pshare.store import people
from p2pshare.store.shares import Direction
from tests.meetings import delivered, imported, meeting, offered, until
from tests.studies import make_study
from tests.world import Person, two_people

SHARE = ShareId(b"s" * 16)


async def opens(rao: Person, sealed: Sealed) -> Letter | Receipt:
    prekeys = [(own.prekey, own.secret) for own in await people.own_prekeys(rao.vault.db)]
    return open_sealed(sealed, prekeys, rao.peer.device_id)


async def with_a_scan(ana: Person, folder: Path) -> None:
    make_study(folder / "in", 2)
    await ana.imports(folder / "in")


@pytest.mark.parametrize(
    "body", [AnswerLetter(share=SHARE, accepted=True, reason=""), RevokeLetter(share=SHARE), ContactLetter(card=b"c")]
)
async def test_a_letter_arrives_as_it_was_written_with_my_newest_prekey_inside(tmp_path: Path, body: Body) -> None:
    async with two_people(tmp_path) as (ana, rao):
        letter = await opens(rao, await ana.writes(rao, body))
        assert isinstance(letter, Letter)
        check_letter(letter, ana.vault.identity.device.public)
        assert decode_body(letter) == body
        (own,) = await people.own_prekeys(ana.vault.db)
        assert letter.prekey == own.prekey


async def test_a_letter_is_sealed_anew_to_a_newer_prekey(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        old = await ana.writes(rao, RevokeLetter(share=SHARE))
        prekey, secret = new_prekey(rao.vault.identity.device, 2, 0)
        async with ana.vault.db.transaction() as tx:
            await people.learn_prekey(tx, rao.peer.device_id, prekey)
        new = await ana.reseals(rao, (await ana.letters_to(rao))[0])
        with pytest.raises(NotForMe):
            await opens(rao, new)
        async with rao.vault.db.transaction() as tx:
            await people.enter_own_prekey(tx, prekey, secret, 0)
        assert isinstance(await opens(rao, new), Letter)
        assert isinstance(await opens(rao, old), Letter)


async def test_envelopes_of_short_letters_have_one_length(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        short = await ana.writes(rao, RevokeLetter(share=SHARE))
        longer = await ana.writes(rao, AnswerLetter(share=SHARE, accepted=False, reason="x" * 1000))
        assert len(short) == len(longer)


async def test_nothing_is_sealed_to_a_device_that_is_gone(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.writes(rao, RevokeLetter(share=SHARE))
        (letter,) = await ana.letters_to(rao)
        gone = DeviceId(b"g" * 32)
        assert await post.sealed_letter(ana.vault, letter, gone) is None
        said = await post.statement(ana.vault, rao.peer.person_id, gone, ana.clock())
        assert await post.sealed_receipt(ana.vault, gone, said, ana.clock(), None) is None


async def test_receipts_are_numbered_upwards_and_signed(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        counters = []
        for _ in range(3):
            receipt = await opens(ana, await rao.receipt_for(ana))
            assert isinstance(receipt, Receipt)
            counters.append(check_receipt(receipt, rao.vault.identity.device.public).counter)
        assert counters == [1, 2, 3]


async def test_a_receipt_says_how_far_each_share_has_come(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        states = {}
        for story in (offered, delivered, imported):
            share = await story(ana, rao)
            said = await post.statement(rao.vault, ana.peer.person_id, ana.peer.device_id, rao.clock())
            states[story.__name__] = next(a for a in said.shares if a.share == share)
        assert {name: arrival.state for name, arrival in states.items()} == {
            "offered": ArrivalState.OFFERED, "delivered": ArrivalState.DELIVERED, "imported": ArrivalState.IMPORTED,
        }  # fmt: skip
        assert states["imported"].layout == (await rao.share(states["imported"].share, Direction.IN)).layout
        assert states["imported"].chunks == 2


async def test_a_receipt_does_not_say_what_was_declined_or_whether_it_was_accepted(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        declined, accepted = await offered(ana, rao), await offered(ana, rao)
        await rao.inbox.decline(declined.hex(), "no")
        await rao.inbox.accept(accepted.hex())
        said = await post.statement(rao.vault, ana.peer.person_id, ana.peer.device_id, rao.clock())
        assert [(a.share, a.state) for a in said.shares] == [(accepted, ArrivalState.OFFERED)]


async def test_only_counts_of_chunks_are_no_milestone(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        await delivered(ana, rao)

        async def said() -> post.Statement:
            return await post.statement(rao.vault, ana.peer.person_id, ana.peer.device_id, rao.clock())

        before = await said()
        async with rao.vault.db.transaction() as tx:
            await tx.execute("UPDATE share SET chunks_done = 1")
        counted = await said()
        assert counted != before
        assert counted.milestones == before.milestones
        async with rao.vault.db.transaction() as tx:
            await tx.execute("UPDATE share SET state = 'sending'")
        assert (await said()).milestones != before.milestones


async def test_a_share_that_ended_leaves_the_receipts_after_a_couriers_round_trip(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        await imported(ana, rao)
        for days, count in ((44, 1), (2, 0)):
            rao.clock.advance(days * 86400)
            said = await post.statement(rao.vault, ana.peer.person_id, ana.peer.device_id, rao.clock())
            assert len(said.shares) == count


async def test_letters_that_were_to_follow_one_taken_back_arrive_and_the_one_taken_back_does_not(
    tmp_path: Path,
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        make_study(tmp_path / "other", 1)
        await ana.imports(tmp_path / "other")
        first, second = await ana.library.listed()
        await ana.people.set_my_addresses(["192.0.2.1:4747"])
        kept = await ana.offers.create("rao", [first.scan.hex()], "")
        gone = await ana.offers.create("rao", [second.scan.hex()], "about this")
        after = await ana.offers.create("rao", [first.scan.hex()], "again")
        await ana.library.erase(second.scan.hex())
        assert [letter.number for letter in await ana.letters_to(rao)] == [1, 2, 3, 4]
        async with meeting(ana, rao):

            async def all_taken() -> bool:
                return not await ana.letters_to(rao)

            await until(all_taken)
        offers = {offer.share.share for offer in await rao.inbox.listed()}
        assert offers == {kept, after}
        assert gone not in offers
        assert await rao.vault.db.rows("SELECT addresses FROM device") == [("192.0.2.1:4747",)]
        assert "fork" not in await rao.log()


async def test_taking_back_a_letter_that_was_read_keeps_the_feed_and_tells_that_it_ended(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        share = await offered(ana, rao)
        before = await ana.vault.db.rows("SELECT epoch FROM feed_out")
        await ana.library.erase((await ana.library.listed())[0].scan.hex())
        assert await ana.vault.db.rows("SELECT epoch FROM feed_out") == before
        async with meeting(ana, rao):

            async def revoked() -> bool:
                return (await rao.state(share)).value == "revoked"

            await until(revoked)
        log = await ana.log()
        assert "rollback-seen" not in log
        assert "feed-begun-elsewhere" not in await rao.log()

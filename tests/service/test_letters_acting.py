"""What letters do: each moves only what is its sender's to move, and what cannot be accepted takes its number."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from p2pshare.crypto.card import read_card
from p2pshare.crypto.labels import u32
from p2pshare.crypto.prelude import prelude
from p2pshare.crypto.seal import decode_body
from p2pshare.errors import (
    Replayed,
)
from p2pshare.model.letters import AnswerLetter, Body, ContactLetter, RevokeLetter
from p2pshare.model.packed import encode
from p2pshare.model.views import ShareState
from p2pshare.service.letters_in import LettersIn
from p2pshare.store import feeds, people, shares
from p2pshare.store.shares import Direction
from tests.meetings import imported, meeting, offered, until
from tests.service.offering_letters import SHARE, an_offer, heads, refusals, signed, takes
from tests.studies import make_study
from tests.world import introduce, three_people, two_people

# --- what is authentic but not acceptable takes its number ---


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (an_offer(share=b"short"), "without an id"),
        (replace(an_offer(), scans=()), "without scans"),
        (replace(an_offer(), objects=2**62), "claims"),
        (an_offer(question="?" * 16_385), "too much text"),
        (AnswerLetter(share=SHARE, accepted=True, reason=""), "not offered"),
        (RevokeLetter(share=SHARE), "not offered"),
        (ContactLetter(card=b"not a card"), "malformed"),
    ],
)
async def test_a_letter_that_cannot_be_accepted_takes_its_number_and_is_receipted_with_why(
    tmp_path: Path, body: Body, why: str
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await takes(rao, ana, await ana.writes(rao, body))
        assert await heads(rao, ana) == [1]
        (said,) = await refusals(rao, ana)
        assert why in said
        assert "letter-refused" in await rao.log()
        assert await rao.vault.db.rows("SELECT * FROM share") == []
        await takes(rao, ana, await ana.writes(rao, an_offer()))
        assert await heads(rao, ana) == [2]
        assert await rao.state(SHARE) is ShareState.OFFERED


async def test_a_letter_of_a_kind_that_is_not_known_takes_its_number(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        body: object = {"t": "hologram", "share": SHARE}
        letter = signed(ana, rao, body)  # type: ignore[arg-type]
        await takes(rao, ana, await ana.reseals(rao, letter))
        assert await heads(rao, ana) == [1]
        assert (await refusals(rao, ana))[0].startswith("unsupported")


async def test_the_refusal_of_an_offer_reaches_the_sender_in_words(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 1)
        await ana.imports(tmp_path / "in")
        share = await offered(ana, rao)
        async with rao.vault.db.transaction() as tx:  # Dr Rao has it from before, and refuses it when it comes again
            await tx.execute("UPDATE share SET state = 'imported'")
        (letter,) = [each.letter for each in await feeds.unacknowledged(ana.vault.db, rao.peer.person_id, b"x" * 32)]
        sealed = await ana.writes(rao, decode_body(letter))
        await takes(rao, ana, sealed)
        await LettersIn(ana.vault, ana.clock, rao.peer, None).take_receipt(await rao.receipt_for(ana))
        assert await ana.state(share) is ShareState.IMPORTED  # not refused: it has arrived
        assert await ana.vault.db.rows("SELECT number FROM letter_out WHERE refused IS NOT NULL") == [(2,)]


# --- what letters do ---


async def test_an_answer_moves_only_a_share_that_was_offered_to_that_person_and_only_once(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        make_study(tmp_path / "in", 1)
        await ana.imports(tmp_path / "in")
        share = await offered(ana, rao)
        await takes(ana, eve, await eve.writes(ana, AnswerLetter(share=share, accepted=True, reason="")))
        assert await ana.state(share) is ShareState.OFFERED
        await takes(ana, rao, await rao.writes(ana, AnswerLetter(share=share, accepted=False, reason="no time")))
        await takes(ana, rao, await rao.writes(ana, AnswerLetter(share=share, accepted=True, reason="")))
        declined = await ana.share(share, Direction.OUT)
        assert (declined.state, declined.why) == (ShareState.DECLINED, "no time")


async def test_a_revocation_by_somebody_else_ends_nothing(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        await takes(rao, ana, await ana.writes(rao, an_offer()))
        await takes(rao, eve, await eve.writes(rao, RevokeLetter(share=SHARE)))
        assert await rao.state(SHARE) is ShareState.OFFERED
        await takes(rao, ana, await ana.writes(rao, RevokeLetter(share=SHARE)))
        assert await rao.state(SHARE) is ShareState.REVOKED


async def test_a_revocation_never_deletes_what_is_here(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        files = make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        share = await imported(ana, rao)
        await takes(rao, ana, await ana.writes(rao, RevokeLetter(share=share)))
        assert await rao.state(share) is ShareState.IMPORTED
        assert await rao.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)
        assert "share-revoked-by-sender" in await rao.log()


async def test_nobody_can_offer_under_the_id_of_somebody_elses_share(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        await takes(rao, ana, await ana.writes(rao, an_offer(question="Ana's")))
        await takes(rao, eve, await eve.writes(rao, an_offer(question="Eve's")))
        share = await rao.share(SHARE, Direction.IN)
        assert (share.person, share.question) == (ana.peer.person_id, "Ana's")
        assert (await refusals(rao, eve))[0].startswith("replayed")


@pytest.mark.parametrize("state", ["delivered", "imported", "declined", "revoked", "expired"])
async def test_a_share_that_came_or_ended_cannot_be_offered_anew(tmp_path: Path, state: str) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await takes(rao, ana, await ana.writes(rao, an_offer()))
        async with rao.vault.db.transaction() as tx:
            await tx.execute("UPDATE share SET state = ?", (state,))
        await takes(rao, ana, await ana.writes(rao, an_offer(question="again")))
        assert await rao.state(SHARE) == state
        assert (await rao.share(SHARE, Direction.IN)).question == "?"


async def test_a_share_whose_scan_was_erased_does_not_come_back_by_being_offered_again(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        share = await imported(ana, rao)
        letter = await shares.letter_of(rao.vault.db, share, Direction.IN)
        await rao.library.erase((await rao.library.listed())[0].scan.hex())
        blank = await shares.letter_of(rao.vault.db, share, Direction.IN)
        assert letter is not None
        assert blank is not None
        for again in (letter, blank):
            before = await rao.state(share)
            await takes(rao, ana, await ana.writes(rao, again))
            assert await rao.state(share) is before
            assert before is not ShareState.ACCEPTED


async def test_a_refused_share_is_not_accepted_again_without_a_person(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await takes(rao, ana, await ana.writes(rao, an_offer()))
        async with rao.vault.db.transaction() as tx:
            await tx.execute("UPDATE share SET state = 'refused', why = 'share-corrupt: an image'")
        await takes(rao, ana, await ana.writes(rao, an_offer()))
        assert await rao.state(SHARE) is ShareState.OFFERED


async def test_a_card_in_a_letter_changes_no_name_and_is_logged(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        async with ana.vault.db.transaction() as tx:
            await tx.execute("UPDATE meta SET value = ? WHERE key = 'name'", (b"Somebody Else",))
        await takes(rao, ana, await ana.writes(rao, ContactLetter(card=await ana.people.my_card())))
        assert [p.name for p in await rao.people.listed()] == ["Ana"]
        assert "contact-updated" in await rao.log()


async def test_nobody_can_fill_the_inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pshare.service.letters_in.OPEN_OFFERS_MAX", 2)
    async with two_people(tmp_path) as (ana, rao):
        for number in range(3):
            await takes(rao, ana, await ana.writes(rao, an_offer(share=bytes([number]) * 16)))
        assert len(await rao.inbox.listed()) == 2
        assert "too many offers" in (await refusals(rao, ana))[0]


async def test_what_was_accepted_stays_accepted_only_for_the_same_content(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await takes(rao, ana, await ana.writes(rao, an_offer()))
        await rao.inbox.accept(SHARE.hex())
        await takes(rao, ana, await ana.writes(rao, an_offer()))
        assert await rao.state(SHARE) is ShareState.ACCEPTED
        other = an_offer(description="something else", question="and this?")
        await takes(rao, ana, await ana.writes(rao, other))
        share = await rao.share(SHARE, Direction.IN)
        assert share.state is ShareState.OFFERED
        assert (share.scans, share.question) == (other.scans, "and this?")


async def test_a_newer_card_in_a_letter_is_taken_and_an_older_or_foreign_one_refused(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        old = await ana.people.my_card()
        await ana.people.set_my_addresses(["192.0.2.7:4747"])
        new = await ana.people.my_card()
        foreign = await eve.people.my_card()
        for card in (new, old, foreign):
            for letter in (await ana.letters_to(rao))[-1:]:  # her own letter about the new address
                await takes(rao, ana, await ana.reseals(rao, letter))
            await takes(rao, ana, await ana.writes(rao, ContactLetter(card=card)))
        why_foreign, why_old = await refusals(rao, ana)
        assert why_old.startswith("replayed")
        assert why_foreign.startswith("key-changed")
        (row,) = await people.devices_of(rao.vault.db, ana.peer.person_id)
        assert row.device.addresses == ("192.0.2.7:4747",)
        (eves,) = await people.devices_of(rao.vault.db, eve.peer.person_id)
        assert eves.device.addresses == ()


async def test_a_card_in_a_letter_cannot_claim_the_device_of_somebody_else(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        mine = read_card(await eve.people.my_card())
        anas = read_card(await ana.people.my_card())
        packed = encode(replace(mine, number=99, devices=anas.devices))
        signature = eve.vault.identity.person.sign("sig/card", packed)
        claiming = prelude(b"P2PC") + u32(len(packed)) + packed + signature
        await takes(rao, eve, await eve.writes(rao, ContactLetter(card=claiming)))
        assert (await refusals(rao, eve))[0].startswith("forged")
        row = await people.device(rao.vault.db, ana.peer.device_id)
        assert row is not None
        assert row.device.person_id == ana.peer.person_id


async def test_an_older_card_brought_as_a_file_is_refused_too(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        (tmp_path / "old").write_bytes(await ana.people.my_card())
        await introduce(rao, ana)
        with pytest.raises(Replayed):
            await rao.people.add(tmp_path / "old")


async def test_in_a_session_a_letter_that_is_refused_does_not_stop_the_next(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.writes(rao, RevokeLetter(share=SHARE))
        await ana.writes(rao, an_offer())
        async with meeting(ana, rao):

            async def none_left() -> bool:
                return not await ana.letters_to(rao)

            await until(none_left)
        assert await rao.state(SHARE) is ShareState.OFFERED
        assert len(await refusals(rao, ana)) == 1

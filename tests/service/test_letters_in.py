"""Letters that come in: each takes its place once and in order, or takes nothing."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from p2pshare.crypto.card import read_card
from p2pshare.crypto.codec import Codec
from p2pshare.crypto.keys import SigningKey, new_prekey
from p2pshare.crypto.labels import u32
from p2pshare.crypto.prelude import prelude
from p2pshare.crypto.seal import check_letter, decode_body, seal, sign_letter
from p2pshare.errors import (
    Forged,
    Forked,
    NotForMe,
    ProtocolViolation,
    RemoteError,
    Replayed,
)
from p2pshare.model.ids import NO_LETTER, Epoch, LetterHash, PersonId
from p2pshare.model.letters import AnswerLetter, Body, ContactLetter, Letter, RevokeLetter, ScanSummary, ShareLetter
from p2pshare.model.objects import ObjectRef
from p2pshare.model.packed import encode
from p2pshare.model.ports import Sealed
from p2pshare.model.views import ShareState
from p2pshare.service.letters_in import LettersIn
from p2pshare.service.sealing import seal_object
from p2pshare.store import feeds, people
from p2pshare.store.shares import Direction
from tests.meetings import imported, meeting, offered, until
from tests.studies import make_study
from tests.world import Person, introduce, three_people, two_people

SHARE = b"s" * 16


def an_offer(share: bytes = SHARE, question: str = "?", description: str = "CT Chest", objects: int = 1) -> ShareLetter:
    refs = []
    for content in (b"layout", b"keyring"):
        sealed = seal_object(content, Codec.RAW)
        refs.append(ObjectRef(shape=sealed.shape, key=sealed.key, sha256=sealed.sha256))
    summary = ScanSummary("1.2.3", "Doe^Jane", "", "", description, "CT", 1, 1000)
    return ShareLetter(
        share=share, scans=(summary,), question=question, expires=None, layout=refs[0], keyring=refs[1],
        objects=objects, chunks=objects, stored_bytes=1041 * objects,
    )  # fmt: skip


def letters_of(rao: Person, ana: Person) -> LettersIn:
    """What takes, at Dr Rao, what Ana's device brings."""
    return LettersIn(rao.vault, rao.clock, ana.peer, None)


async def takes(rao: Person, ana: Person, sealed: Sealed) -> None:
    await letters_of(rao, ana).take_envelope(sealed)


async def heads(rao: Person, ana: Person) -> list[int]:
    return [head.number for head in await feeds.heads_for_receipt(rao.vault.db, ana.peer.device_id)]


async def refusals(rao: Person, ana: Person) -> list[str]:
    return [each.why for each in await feeds.refusals_for_receipt(rao.vault.db, ana.peer.device_id)]


def signed(
    ana: Person, rao: Person, body: Body, number: int = 1, previous: bytes = NO_LETTER, epoch: bytes = b"e" * 16,
    device: SigningKey | None = None, to: PersonId | None = None,
) -> Letter:  # fmt: skip
    letter, _ = sign_letter(
        device or ana.vault.identity.device, to or rao.peer.person_id, Epoch(epoch), number, LetterHash(previous), body,
        None,
    )  # fmt: skip
    return letter


def hash_of(ana: Person, letter: Letter) -> LetterHash:
    return check_letter(letter, ana.vault.identity.device.public)


# --- place ---


async def test_a_letter_that_comes_twice_is_taken_once(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        sealed = await ana.writes(rao, an_offer())
        for _ in range(3):
            await takes(rao, ana, sealed)
            await takes(rao, ana, await ana.reseals(rao, (await ana.letters_to(rao))[0]))
        assert await heads(rao, ana) == [1]
        assert (await rao.log()).count("share-offered") == 1


async def test_letters_out_of_order_take_nothing(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        first = await ana.writes(rao, an_offer())
        second = await ana.writes(rao, RevokeLetter(share=SHARE))
        third = await ana.writes(rao, RevokeLetter(share=SHARE))
        with pytest.raises(ProtocolViolation, match="before letter 1"):
            await takes(rao, ana, second)
        await takes(rao, ana, first)
        with pytest.raises(ProtocolViolation, match="letter 3 after letter 1"):
            await takes(rao, ana, third)
        await takes(rao, ana, second)
        await takes(rao, ana, third)
        assert await heads(rao, ana) == [3]


async def test_another_letter_under_a_known_number_is_a_fork_that_is_kept_shown_and_ends_the_feed(
    tmp_path: Path,
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        one = signed(ana, rao, an_offer())
        other = signed(ana, rao, RevokeLetter(share=SHARE))
        after = signed(ana, rao, RevokeLetter(share=SHARE), 2, hash_of(ana, one))
        await takes(rao, ana, await ana.reseals(rao, one))
        with pytest.raises(Forked):
            await takes(rao, ana, await ana.reseals(rao, other))
        for _ in range(2):
            with pytest.raises(Forked):
                await takes(rao, ana, await ana.reseals(rao, after))
        await takes(rao, ana, await ana.reseals(rao, one))  # a duplicate stays one
        assert await heads(rao, ana) == [1]
        assert await rao.vault.db.rows("SELECT number, refused FROM letter_in ORDER BY refused") == [
            (1, None), (1, "fork"),
        ]  # fmt: skip
        assert (await rao.log()).count("fork") == 1
        assert await rao.state(SHARE) is ShareState.OFFERED


async def test_a_letter_that_names_another_one_before_it_is_a_fork(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await takes(rao, ana, await ana.reseals(rao, signed(ana, rao, an_offer())))
        with pytest.raises(Forked):
            await takes(rao, ana, await ana.reseals(rao, signed(ana, rao, RevokeLetter(share=SHARE), 2, b"x" * 32)))
        assert await rao.state(SHARE) is ShareState.OFFERED


async def test_a_fork_does_not_stop_another_epoch(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        one = signed(ana, rao, RevokeLetter(share=SHARE))
        await takes(rao, ana, await ana.reseals(rao, one))
        with pytest.raises(Forked):
            await takes(rao, ana, await ana.reseals(rao, signed(ana, rao, an_offer())))
        fresh = signed(ana, rao, an_offer(), previous=hash_of(ana, one), epoch=b"f" * 16)
        await takes(rao, ana, await ana.reseals(rao, fresh))
        assert await rao.state(SHARE) is ShareState.OFFERED
        assert "feed-begun-elsewhere" not in await rao.log()


async def test_an_epoch_that_does_not_follow_the_one_before_is_logged_as_a_rollback(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await takes(rao, ana, await ana.reseals(rao, signed(ana, rao, RevokeLetter(share=SHARE))))
        await takes(rao, ana, await ana.reseals(rao, signed(ana, rao, an_offer(), epoch=b"f" * 16)))
        assert (await rao.log()).count("feed-begun-elsewhere") == 1
        entries = await rao.upkeep.log(limit=None)
        assert '"rollback":true' in next(e.detail for e in entries if e.kind == "feed-begun-elsewhere")


# --- what is not authentic takes nothing ---


async def test_a_letter_for_somebody_else_inside_an_envelope_for_me_takes_nothing(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        forwarded = signed(ana, eve, an_offer())
        with pytest.raises(NotForMe):
            await takes(rao, ana, await ana.reseals(rao, forwarded))
        assert await heads(rao, ana) == []


async def test_an_envelope_for_somebody_else_takes_nothing(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        with pytest.raises(NotForMe):
            await takes(rao, ana, await ana.writes(eve, an_offer()))
        assert await heads(rao, ana) == []


async def test_my_own_letter_reflected_takes_nothing(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        mine = signed(rao, ana, an_offer())
        with pytest.raises((Forged, NotForMe)):
            await takes(rao, ana, await ana.reseals(rao, mine))
        assert await heads(rao, ana) == []


async def test_a_letter_of_another_device_than_the_one_that_brings_it_takes_nothing(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        with pytest.raises(Forged):
            await takes(rao, eve, await ana.writes(rao, an_offer()))
        assert await heads(rao, ana) == await heads(rao, eve) == []


async def test_a_letter_signed_by_another_key_takes_nothing(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        forged = replace(
            signed(ana, rao, an_offer(), device=SigningKey.generate()), sender=ana.peer.device_id
        )  # fmt: skip
        with pytest.raises(Forged):
            await takes(rao, ana, await ana.reseals(rao, forged))
        assert await heads(rao, ana) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda letter: replace(letter, number=2),
        lambda letter: replace(letter, epoch=b"f" * 16),
        lambda letter: replace(letter, previous=b"x" * 32),
        lambda letter: replace(letter, recipient=b"x" * 32),
        lambda letter: replace(letter, body=letter.body + b"\0"),
        lambda letter: replace(letter, signature=bytes(64)),
    ],
    ids=["number", "epoch", "previous", "recipient", "body", "signature"],
)
async def test_a_letter_changed_in_any_signed_field_takes_nothing(
    tmp_path: Path, change: Callable[[Letter], Letter]
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        with pytest.raises(RemoteError):
            await takes(rao, ana, await ana.reseals(rao, change(signed(ana, rao, an_offer()))))
        assert await heads(rao, ana) == []


async def test_garbage_and_flipped_envelopes_take_nothing(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        sealed = await ana.writes(rao, an_offer())
        places = (0, 4, 5, 6, 1125, 2000, len(sealed) - 1)
        flipped = [bytes([*sealed[:at], sealed[at] ^ 1, *sealed[at + 1 :]]) for at in places]
        for bad in (b"", b"P2PE", secrets.token_bytes(5000), sealed[:-1], sealed + b"\0", *flipped):
            with pytest.raises(RemoteError):
                await takes(rao, ana, Sealed(bytes(bad)))
        assert await heads(rao, ana) == []


async def test_a_receipt_where_a_letter_belongs_ends_the_session(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        with pytest.raises(ProtocolViolation):
            await takes(rao, ana, await ana.receipt_for(rao))
        with pytest.raises(ProtocolViolation):
            await letters_of(rao, ana).take_receipt(await ana.writes(rao, an_offer()))


async def test_a_prekey_in_a_letter_is_learned_if_newer_and_refused_if_forged(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        newer, _ = new_prekey(ana.vault.identity.device, 9, 0)
        older, _ = new_prekey(ana.vault.identity.device, 8, 0)
        forged, _ = new_prekey(SigningKey.generate(), 10, 0)
        device = (await people.devices_of(ana.vault.db, rao.peer.person_id))[0].device

        async def brings(number: int, letter: Letter) -> None:
            await takes(rao, ana, seal(letter, device.prekey, device.device_id))

        one = replace(signed(ana, rao, an_offer()), prekey=newer)
        two = replace(signed(ana, rao, RevokeLetter(share=SHARE), 2, hash_of(ana, one)), prekey=older)
        three = replace(signed(ana, rao, RevokeLetter(share=SHARE), 3, hash_of(ana, two)), prekey=forged)
        await brings(1, one)
        await brings(2, two)
        with pytest.raises(Forged):
            await brings(3, three)
        row = await people.device(rao.vault.db, ana.peer.device_id)
        assert row is not None
        assert row.device.prekey == newer
        assert await heads(rao, ana) == [2]


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

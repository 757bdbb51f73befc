"""Letters that come in: each takes its place once and in order, or takes nothing."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from p2pshare.crypto.keys import SigningKey, new_prekey
from p2pshare.crypto.seal import seal
from p2pshare.errors import (
    Forged,
    Forked,
    NotForMe,
    ProtocolViolation,
    RemoteError,
)
from p2pshare.model.letters import Letter, RevokeLetter
from p2pshare.model.ports import Sealed
from p2pshare.model.views import ShareState
from p2pshare.store import people
from tests.service.offering_letters import SHARE, an_offer, hash_of, heads, letters_of, signed, takes
from tests.world import three_people, two_people

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

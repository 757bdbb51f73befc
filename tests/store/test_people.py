"""People as rows: found by what a person types, and prekeys that only ever get newer."""

from pathlib import Path

import pytest

from p2pshare.crypto.card import read_card
from p2pshare.crypto.keys import new_prekey
from p2pshare.errors import Ambiguous, NotFound
from p2pshare.store import people
from tests.world import Person, introduce, one_person, three_people, two_people


@pytest.mark.parametrize("text", ["Dr Rao", "dr rao", " DR RAO ", "Dr", "rao", "Ra"])
async def test_a_person_is_found_by_name_or_the_beginning_of_a_word_of_it(tmp_path: Path, text: str) -> None:
    async with two_people(tmp_path) as (ana, rao):
        assert (await people.by_prefix(ana.vault.db, text)).person_id == rao.peer.person_id


async def test_a_person_is_found_by_the_beginning_of_the_fingerprint(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        for length in (1, 8, 64):
            found = await people.by_prefix(ana.vault.db, rao.peer.person_id.hex()[:length])
            assert found.person_id == rao.peer.person_id


@pytest.mark.parametrize("text", ["", "  ", "ao", "Dr Raoul", "%", "_", "r rao"])
async def test_what_nobody_is_called_finds_nobody(tmp_path: Path, text: str) -> None:
    async with two_people(tmp_path) as (ana, _):
        with pytest.raises(NotFound):
            await people.by_prefix(ana.vault.db, text)


async def renamed(who: Person, name: str) -> None:
    async with who.vault.db.transaction() as tx:
        await tx.execute("UPDATE meta SET value = ? WHERE key = 'name'", (name.encode(),))


async def called(who: Person, other: Person, name: str) -> None:
    """Let `who` have added `other` under `name`."""
    async with who.vault.db.transaction() as tx:
        await tx.execute("UPDATE person SET name = ? WHERE person = ?", (name, other.peer.person_id))


async def test_a_name_like_the_beginning_of_another_persons_fingerprint_does_not_win(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        prefix = rao.peer.person_id.hex()[:8]
        await called(ana, eve, prefix)
        with pytest.raises(Ambiguous):
            await people.by_prefix(ana.vault.db, prefix)


async def test_two_people_of_one_name_are_not_guessed_between(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        await called(ana, eve, "Dr Rao")
        with pytest.raises(Ambiguous):
            await people.by_prefix(ana.vault.db, "Dr Rao")
        assert (await people.by_prefix(ana.vault.db, rao.peer.person_id.hex())).person_id == rao.peer.person_id


async def test_a_whole_name_wins_over_the_beginning_of_another(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        await called(ana, eve, "Dr Rao-Meyer")
        assert (await people.by_prefix(ana.vault.db, "dr rao")).person_id == rao.peer.person_id


async def test_a_newer_card_leaves_name_verification_block_and_address_as_they_were(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await ana.people.set_address("rao", "192.0.2.1:4747")
        await ana.people.block("rao")
        before = await people.by_id(ana.vault.db, rao.peer.person_id)
        await renamed(rao, "Prof Rao")
        await introduce(ana, rao, verified=False)
        after = await people.by_id(ana.vault.db, rao.peer.person_id)
        assert before is not None
        assert after is not None
        assert after.name == "Dr Rao"  # who sends a card cannot take somebody else's name by it
        assert after.card_number > before.card_number
        assert (after.verified, after.blocked, after.address) == (before.verified, before.blocked, before.address)


async def test_only_a_newer_prekey_is_learned(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        device = rao.peer.device_id
        newest, _ = new_prekey(rao.vault.identity.device, 7, 0)
        older, _ = new_prekey(rao.vault.identity.device, 6, 0)
        async with ana.vault.db.transaction() as tx:
            assert await people.learn_prekey(tx, device, newest)
            assert not await people.learn_prekey(tx, device, older)
            assert not await people.learn_prekey(tx, device, newest)
        row = await people.device(ana.vault.db, device)
        assert row is not None
        assert row.device.prekey == newest


async def test_an_older_card_does_not_bring_an_older_prekey_back(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        newest, _ = new_prekey(rao.vault.identity.device, 7, 0)
        async with ana.vault.db.transaction() as tx:
            await people.learn_prekey(tx, rao.peer.device_id, newest)
        await introduce(ana, rao)
        row = await people.device(ana.vault.db, rao.peer.device_id)
        assert row is not None
        assert row.device.prekey.number == 7


async def test_a_card_cannot_take_over_the_device_of_somebody_else(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        stolen = (await people.devices_of(ana.vault.db, rao.peer.person_id))[0].device
        card = read_card(await eve.people.my_card())
        async with ana.vault.db.transaction() as tx:
            hijacked = type(stolen)(
                stolen.device_id, eve.peer.person_id, stolen.public, stolen.prekey, bytes(32), ("192.0.2.66:1",)
            )
            await people.enter_card(tx, eve.peer.person_id, card, b"", [hijacked], "", 0)
        row = await people.device(ana.vault.db, stolen.device_id)
        assert row is not None
        assert row.device == stolen


async def test_own_prekeys_come_newest_first_and_superseded_secrets_can_be_erased(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        prekey, secret = new_prekey(ana.vault.identity.device, 2, 500)
        async with ana.vault.db.transaction() as tx:
            await people.enter_own_prekey(tx, prekey, secret, 500)
        assert [p.prekey.number for p in await people.own_prekeys(ana.vault.db)] == [2, 1]
        async with ana.vault.db.transaction() as tx:
            assert await people.erase_prekeys_superseded_before(tx, 500) == 0
            assert await people.erase_prekeys_superseded_before(tx, 501) == 1
        left = await people.own_prekeys(ana.vault.db)
        assert [p.prekey.number for p in left] == [2]


async def test_the_secret_of_a_prekey_does_not_show(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        (own,) = await people.own_prekeys(ana.vault.db)
        assert len(own.secret) == 96
        assert repr(own) == "OwnPrekey(number=1)"
        assert own.secret.hex() not in f"{own} {own!r}"

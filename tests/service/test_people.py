"""People: cards in and out, words, addresses, prekeys, and blocking."""

import stat
from pathlib import Path

import pytest

from p2pshare.crypto.card import read_card
from p2pshare.errors import (
    Ambiguous,
    Forged,
    Malformed,
    NotFound,
    NotVerified,
    PersonBlocked,
    RemoteError,
    TooLarge,
    UsageError,
    WordsDiffer,
)
from p2pshare.service.clock import keep_time
from p2pshare.store import people
from p2pshare.store.vault import OwnIdentity, Vault
from tests.world import KEY, WORDS, Person, introduce, one_person, two_people

DAY = 86400


async def own_numbers(ana: Person) -> list[int]:
    return [own.prekey.number for own in await people.own_prekeys(ana.vault.db)]


async def test_my_card_says_who_i_am_and_carries_my_newest_prekey_and_knock_key(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        await ana.people.set_my_addresses(["192.0.2.1:4747", "[2001:db8::1]:4747"])
        card = read_card(await ana.people.my_card())
        (device,) = card.devices
        assert (card.name, card.person) == ("Ana", ana.vault.identity.person.public)
        assert device.device == ana.vault.identity.device.public
        assert device.knock == ana.vault.identity.knock_keys[0]
        assert device.addresses == ("192.0.2.1:4747", "[2001:db8::1]:4747")
        assert device.prekey.number == (await own_numbers(ana))[0]


async def test_each_card_has_a_higher_number_than_the_one_before(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        numbers = [read_card(await ana.people.my_card()).number for _ in range(3)]
        assert numbers == sorted(set(numbers))


async def test_a_saved_card_is_for_its_owner_to_give_away_and_replaces_an_older_file(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        for _ in range(2):
            assert await ana.people.save_card(tmp_path / "card") == ana.peer.person_id.hex()
        assert read_card((tmp_path / "card").read_bytes()).name == "Ana"
        assert stat.S_IMODE((tmp_path / "card").stat().st_mode) == 0o600
        assert [path.name for path in tmp_path.iterdir() if "card" in path.name] == ["card"]
        with pytest.raises(UsageError):
            await ana.people.save_card(tmp_path / "nowhere" / "card")


@pytest.mark.parametrize("address", ["", "host", "host:0", "host:65536", "a b:1", "host:1\nhost:2", "http://host:1"])
async def test_an_address_that_is_none_is_not_put_on_a_card(tmp_path: Path, address: str) -> None:
    async with two_people(tmp_path) as (ana, _):
        with pytest.raises(UsageError):
            await ana.people.set_my_addresses([address])
        if address:
            with pytest.raises(UsageError):
                await ana.people.set_address("rao", address)
        assert await ana.people.my_addresses() == ()


async def test_more_addresses_than_fit_on_a_card_are_refused(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        with pytest.raises(UsageError):
            await ana.people.set_my_addresses([f"192.0.2.{n}:1" for n in range(9)])


async def test_a_new_address_is_told_to_verified_contacts_once(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        for _ in range(2):
            await ana.people.set_my_addresses(["192.0.2.1:4747"])
        assert len(await ana.letters_to(rao)) == 1


async def test_nobody_who_is_not_verified_is_told_anything(tmp_path: Path) -> None:
    async with two_people(tmp_path, verified=False) as (ana, rao):
        await ana.people.set_my_addresses(["192.0.2.1:4747"])
        assert await ana.letters_to(rao) == []


# --- other people's cards ---


async def test_two_people_who_exchange_cards_see_the_same_words_and_verify_by_them(tmp_path: Path) -> None:
    async with one_person(tmp_path, "Ana") as ana, one_person(tmp_path, "Dr Rao") as rao:
        (tmp_path / "ana.card").write_bytes(await ana.people.my_card())
        (tmp_path / "rao.card").write_bytes(await rao.people.my_card())
        at_ana, at_rao = await ana.people.add(tmp_path / "rao.card"), await rao.people.add(tmp_path / "ana.card")
        assert at_ana.words == at_rao.words
        assert len(at_ana.words.split()) == 8
        assert not at_ana.verified
        spoken = "  ".join(at_rao.words.upper().split())
        assert (await ana.people.verify("rao", spoken)).verified
        assert await ana.log() == ["setup", "person-added", "person-verified"]


@pytest.mark.parametrize("words", ["", "zoo", WORDS.rsplit(" ", 1)[0], WORDS + " zoo", "zoo " * 8, WORDS[:-1]])
async def test_other_words_leave_a_person_unverified_and_are_logged(tmp_path: Path, words: str) -> None:
    async with two_people(tmp_path, verified=False) as (ana, _):
        with pytest.raises(WordsDiffer):
            await ana.people.verify("rao", words)
        assert not (await ana.people.listed())[0].verified
        assert (await ana.log())[-1] == "person-words-differ"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: b"", Malformed),
        (lambda data: data[:-1], RemoteError),
        (lambda data: data + b"\0", RemoteError),
        (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], RemoteError),
        (lambda data: data[:-64] + bytes(64), Forged),
        (lambda data: data + bytes(70_000), TooLarge),
    ],
    ids=["empty", "cut", "longer", "flipped", "unsigned", "huge"],
)
async def test_a_card_file_that_is_not_whole_and_signed_adds_nobody(
    tmp_path: Path, change: object, error: type[Exception]
) -> None:
    async with one_person(tmp_path, "Ana") as ana, one_person(tmp_path, "Dr Rao") as rao:
        (tmp_path / "card").write_bytes(change(await rao.people.my_card()))  # type: ignore[operator]
        with pytest.raises(error):
            await ana.people.add(tmp_path / "card")
        assert await ana.people.listed() == []


async def test_my_own_card_and_a_missing_file_add_nobody(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        (tmp_path / "card").write_bytes(await ana.people.my_card())
        with pytest.raises(UsageError):
            await ana.people.add(tmp_path / "card")
        with pytest.raises(NotFound):
            await ana.people.add(tmp_path / "nowhere")


async def test_somebody_with_the_name_but_not_the_key_of_a_contact_is_somebody_else_and_not_verified(
    tmp_path: Path,
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        impostor_vault = await Vault.create(tmp_path / "impostor", [KEY], "Dr Rao", ana.clock())
        try:
            impostor = Person(impostor_vault, ana.clock)
            (tmp_path / "card").write_bytes(await impostor.people.my_card())
            added = await ana.people.add(tmp_path / "card")
        finally:
            await impostor_vault.close()
        assert not added.verified
        with pytest.raises(Ambiguous):
            await ana.people.sendable("Dr Rao", unverified_too=True)
        with pytest.raises(NotVerified):
            await ana.people.sendable(added.person.hex(), unverified_too=False)
        assert (await ana.people.sendable(rao.peer.person_id.hex(), unverified_too=False)).verified


# --- who may be sent to ---


async def test_only_verified_people_are_sent_to_unless_that_is_overridden(tmp_path: Path) -> None:
    async with two_people(tmp_path, verified=False) as (ana, rao):
        with pytest.raises(NotVerified) as refused:
            await ana.people.sendable("rao", unverified_too=False)
        assert refused.value.exit_code == 8
        assert (await ana.people.sendable("rao", unverified_too=True)).person_id == rao.peer.person_id


async def test_blocked_people_are_never_sent_to_and_can_be_unblocked(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, _):
        assert (await ana.people.block("rao")).blocked
        for unverified_too in (False, True):
            with pytest.raises(PersonBlocked):
                await ana.people.sendable("rao", unverified_too=unverified_too)
        assert not (await ana.people.block("rao", blocked=False)).blocked
        assert await ana.people.sendable("rao", unverified_too=False)
        assert (await ana.log())[-2:] == ["person-blocked", "person-unblocked"]


async def test_blocking_rotates_the_knock_key_and_tells_the_others_but_not_the_blocked(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao), one_person(tmp_path, "Eve", ana.clock) as eve:
        await introduce(ana, eve)
        before = ana.vault.identity.knock_keys
        await ana.people.block("rao")
        after = ana.vault.identity.knock_keys
        assert after[0] not in before
        assert after[1:] == before
        assert len(await ana.letters_to(eve)) == 1
        assert await ana.letters_to(rao) == []


async def test_a_rotated_knock_key_is_there_after_reopening_and_another_process_learns_it(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, _), one_person(tmp_path, "Ana") as also_ana:
        also_ana.vault.reload_identity()
        await ana.people.block("rao")
        assert also_ana.vault.identity.knock_keys != ana.vault.identity.knock_keys
        also_ana.vault.reload_identity()
        assert also_ana.vault.identity.knock_keys == ana.vault.identity.knock_keys
        assert isinstance(also_ana.vault.identity, OwnIdentity)


async def test_old_knock_keys_are_forgotten_after_eight(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, _):
        for _ in range(10):
            await ana.people.block("rao")
        assert len(ana.vault.identity.knock_keys) == 8


async def test_a_set_address_is_shown_and_an_empty_one_gives_way_to_the_cards(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await rao.people.set_my_addresses(["192.0.2.9:4747"])
        await introduce(ana, rao)
        assert (await ana.people.set_address("rao", "192.0.2.1:1")).address == "192.0.2.1:1"
        assert (await ana.people.set_address("rao", "")).address == "192.0.2.9:4747"


# --- prekeys ---


async def test_a_prekey_is_renewed_after_seven_days_and_old_secrets_are_erased_after_forty_five(
    tmp_path: Path,
) -> None:
    async with one_person(tmp_path) as ana:
        await ana.people.refresh_prekeys()
        assert await own_numbers(ana) == [1]
        for _ in range(8):
            ana.clock.advance(7 * DAY)
            for _ in range(2):
                await ana.people.refresh_prekeys()
            await keep_time(ana.vault.db, ana.clock(), None)
        numbers = await own_numbers(ana)
        assert numbers[0] == 9
        assert numbers[-1] == 2  # number 1 was superseded 49 days ago, number 2 only 42


async def test_a_clock_that_went_back_makes_a_fresh_prekey_and_erases_nothing(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        ana.clock.advance(-10 * 365 * DAY)
        await ana.people.refresh_prekeys()
        assert await own_numbers(ana) == [2, 1]

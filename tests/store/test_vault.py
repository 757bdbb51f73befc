"""A vault: made whole or not at all, opened by what may open it, shared by processes."""

import shutil
import stat
from pathlib import Path

import pytest

from p2pshare.crypto.keys import person_id
from p2pshare.crypto.slots import KeyfileSecret, PassphraseSecret, RecoverySecret
from p2pshare.errors import AlreadyExists, DamagedDatabase, DamagedVault, DiskTrouble, Locked, NoVault
from p2pshare.store import audit, people
from p2pshare.store.db import Database
from p2pshare.store.vault import OwnIdentity, Vault
from tests.world import KEY, NOON, one_person, vault_path

OTHER_KEY = KeyfileSecret(b"another key file, with other bytes")


async def made(path: Path, *secrets: KeyfileSecret | PassphraseSecret | RecoverySecret) -> None:
    await (await Vault.create(path, secrets or (KEY,), "Ana", NOON)).close()


async def test_a_new_vault_has_a_name_a_person_a_device_a_prekey_and_a_first_entry(tmp_path: Path) -> None:
    vault = await Vault.create(tmp_path / "vault", [KEY], "Ana", NOON)
    try:
        assert await vault.name() == "Ana"
        assert vault.identity.person_id == person_id(vault.identity.person.public)
        assert vault.identity.person.public != vault.identity.device.public
        assert [own.prekey.number for own in await people.own_prekeys(vault.db)] == [1]
        assert [entry.kind for entry in await audit.entries(vault.db)] == ["setup"]
        assert vault.header_authentic
    finally:
        await vault.close()


async def test_everything_in_a_new_vault_is_for_its_owner_only(tmp_path: Path) -> None:
    await made(tmp_path / "vault")
    for path in [tmp_path / "vault", *(tmp_path / "vault").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


async def test_a_vault_opens_again_as_the_same_person(tmp_path: Path) -> None:
    vault = await Vault.create(tmp_path / "vault", [KEY], "Ana", NOON)
    identity = vault.identity
    await vault.close()
    vault = await Vault.open(tmp_path / "vault", KEY)
    assert vault.identity == identity or vault.identity.to_secrets() == identity.to_secrets()
    await vault.close()


async def test_each_of_several_secrets_opens_a_vault_and_nothing_else_does(tmp_path: Path) -> None:
    passphrase, recovery = PassphraseSecret("correct horse", 64, 2), RecoverySecret(b"r" * 32)
    await made(tmp_path / "vault", KEY, passphrase, recovery)
    for secret in (KEY, passphrase, recovery):
        await (await Vault.open(tmp_path / "vault", secret)).close()
    for wrong in (OTHER_KEY, PassphraseSecret("Correct horse"), RecoverySecret(bytes(32))):
        with pytest.raises(Locked) as refused:
            await Vault.open(tmp_path / "vault", wrong)
        assert str(refused.value) == str(Locked())


async def test_where_something_is_already_no_vault_is_made_and_nothing_is_touched(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for place in ("full", "file"):
        with pytest.raises(AlreadyExists):
            await made(tmp_path / place)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "thesis.txt"]


async def test_an_empty_folder_becomes_a_vault_and_missing_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    await made(tmp_path / "empty")
    await made(tmp_path / "not" / "there" / "yet")
    await (await Vault.open(tmp_path / "not" / "there" / "yet", KEY)).close()


async def test_a_vault_whose_making_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(*_: object, **__: object) -> None:
        raise DiskTrouble("there is no space left")

    monkeypatch.setattr(Database, "open", refuses)
    with pytest.raises(DiskTrouble):
        await made(tmp_path / "vault")
    assert list(tmp_path.iterdir()) == []


async def test_where_there_is_no_vault_that_is_said(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NoVault):
            await Vault.open(place, KEY)


@pytest.mark.parametrize(
    ("name", "error"),
    [("vault.p2pv", (NoVault, DamagedVault)), ("keys.p2ps", DamagedVault), ("vault.db", DamagedDatabase)],
)
async def test_a_missing_or_empty_file_is_named_and_nothing_is_made_in_its_place(
    tmp_path: Path, name: str, error: type[Exception]
) -> None:
    await made(tmp_path / "vault")
    path = tmp_path / "vault" / name
    path.write_bytes(b"")
    with pytest.raises(error):
        await Vault.open(tmp_path / "vault", KEY)
    path.unlink()
    with pytest.raises(error):
        await Vault.open(tmp_path / "vault", KEY)
    assert not path.exists()


async def test_the_keys_file_of_another_vault_does_not_fit(tmp_path: Path) -> None:
    await made(tmp_path / "one")
    await made(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "keys.p2ps", tmp_path / "one" / "keys.p2ps")
    with pytest.raises(DamagedVault):
        await Vault.open(tmp_path / "one", KEY)


def test_keys_that_do_not_belong_together_are_refused() -> None:
    one, other = OwnIdentity.fresh(NOON), OwnIdentity.fresh(NOON)
    mixed = OwnIdentity(one.person, other.device, one.certified, one.certificate, one.knock_keys)
    with pytest.raises(DamagedVault):
        OwnIdentity.from_secrets(mixed.to_secrets())
    assert OwnIdentity.from_secrets(one.to_secrets()).person_id == one.person_id


async def test_two_processes_use_one_vault_at_once(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana, one_person(tmp_path) as also_ana:
        async with ana.vault.db.transaction() as tx:
            await audit.enter(tx, ana.vault.identity.device, "one", {}, NOON)
        async with also_ana.vault.db.transaction() as tx:
            await audit.enter(tx, ana.vault.identity.device, "two", {}, NOON)
        assert await ana.log() == await also_ana.log() == ["setup", "one", "two"]
        assert await audit.problems(ana.vault.db, ana.vault.identity.device.public) == []


async def test_a_closed_vault_leaves_no_wal_behind(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        await ana.people.set_my_addresses(["192.0.2.1:1"])
    names = {path.name for path in vault_path(tmp_path, "Ana").iterdir()}
    assert names == {"vault.p2pv", "keys.p2ps", "vault.db", "packs", "snapshots"}


async def test_an_identity_shows_no_secret_when_it_is_printed(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        stored = ana.vault.identity.to_secrets()
        shown = f"{ana.vault.identity!r} {ana.vault.identity.person!r} {ana.vault!r}"
        assert stored.person_seed.hex() not in shown
        assert repr(stored.person_seed)[2:-1] not in shown
        assert repr(stored.knock_keys[0])[2:-1] not in shown

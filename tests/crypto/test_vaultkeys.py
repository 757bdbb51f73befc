"""A vault opens with any of its secrets, notices every changed byte, and never tells why a secret was wrong."""

import pytest
from msgspec.structs import replace

from p2pshare.crypto import slots
from p2pshare.crypto.keys import SigningKey, certify, new_knock_key
from p2pshare.crypto.vaultkeys import (
    KeyfileSecret,
    PassphraseSecret,
    RecoverySecret,
    Secret,
    VaultKeys,
    drop_slot,
    new_generation,
    new_vault,
    open_secrets,
    read_header,
    seal_secrets,
    set_slot,
    unlock,
    write_header,
)
from p2pshare.errors import DamagedPack, DamagedVault, LocalError, Locked, PolicyRefusal, Unsupported
from p2pshare.model.ids import PackId, VaultId
from p2pshare.model.limits import SLOTS_MAX
from p2pshare.model.vaultfile import SlotKind, VaultHeader, VaultSecrets
from tests.crypto.samples import NOW, flips, refuses_every_flip

VAULT = VaultId(b"v" * 16)
PACK = PackId(b"p" * 16)
PASSPHRASE, CODE, KEYFILE = (
    PassphraseSecret("correct horse", 64, 2),
    RecoverySecret(b"c" * 32),
    KeyfileSecret(b"f" * 64),
)


def vault(*given: Secret) -> tuple[VaultHeader, VaultKeys]:
    return new_vault(VAULT, NOW, given or (CODE, KEYFILE))


def a_keys_file() -> VaultSecrets:
    person, device = SigningKey.generate(), SigningKey.generate()
    return VaultSecrets(
        person_seed=person.seed,
        device_seed=device.seed,
        certified=NOW,
        certificate=certify(person, device, NOW),
        knock_keys=(new_knock_key(), new_knock_key()),
    )


# --- the header -------------------------------------------------------------------------------------------


def test_a_new_vault_opens_with_each_of_its_secrets() -> None:
    header, keys = vault(PASSPHRASE, CODE, KEYFILE)
    data = write_header(header, keys)
    for secret in (PASSPHRASE, CODE, KEYFILE):
        opened, opened_keys, authentic = unlock(data, secret)
        assert (opened, authentic) == (header, True)
        assert opened_keys.database_key() == keys.database_key()


@pytest.mark.parametrize("wrong", [RecoverySecret(b"d" * 32), KeyfileSecret(b"g" * 64), PASSPHRASE])
def test_a_wrong_secret_and_a_kind_that_is_not_there_are_told_alike(wrong: Secret) -> None:
    with pytest.raises(Locked) as refused:
        unlock(write_header(*vault()), wrong)
    assert str(refused.value) == str(Locked())
    assert refused.value.__cause__ is None


def test_ten_thousand_wrong_passphrases_give_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(passphrase: bytes, salt: bytes, memory_mib: int, passes: int) -> bytes:
        return passphrase.rjust(32, b"\x00")

    monkeypatch.setattr(slots, "stretch", quick)
    data = write_header(*vault(PASSPHRASE))
    said = set()
    for number in range(10_000):
        with pytest.raises(Locked) as refused:
            unlock(data, PassphraseSecret(f"wrong {number}"))
        said.add((str(refused.value), refused.value.what))
    assert said == {(str(Locked()), "")}
    assert unlock(data, PASSPHRASE)[2]


def test_every_flipped_byte_of_a_header_is_noticed() -> None:
    data = write_header(*new_generation(*vault(), (CODE, KEYFILE)))
    opened = 0
    for changed in flips(data):
        try:
            _, keys, authentic = unlock(changed, CODE)
        except (DamagedVault, Locked, Unsupported):
            continue
        assert not authentic  # another slot, an older key, the time or the tag: this one still opens
        assert keys.generation == 2
        opened += 1
    assert 0 < opened < len(data)


def test_every_cut_of_a_header_is_refused() -> None:
    data = write_header(*vault())
    for length in range(len(data)):
        with pytest.raises(DamagedVault):
            unlock(data[:length], CODE)


@pytest.mark.parametrize(
    "changed",
    [
        {"vault_id": b"v" * 15},
        {"created": -1},
        {"generation": 0},
        {"generation": 1 << 32},
        {"slots": vault()[0].slots * (SLOTS_MAX // 2 + 1)},
        {"slots": (replace(vault()[0].slots[0], memory_mib=64),)},
    ],
)
def test_a_header_with_impossible_values_is_refused_before_any_secret_is_tried(
    changed: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    header, keys = vault()
    monkeypatch.setattr("p2pshare.crypto.vaultkeys.unwrap", None)
    with pytest.raises(DamagedVault):
        unlock(write_header(replace(header, **changed), keys), CODE)


@pytest.mark.parametrize(
    ("memory_mib", "passes", "lanes"), [(8, 3, 1), (1 << 22, 3, 1), (64, 1, 1), (64, 99, 1), (64, 2, 8)]
)
def test_costs_outside_floor_and_ceiling_are_refused_before_argon2_runs(
    memory_mib: int, passes: int, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, keys = vault(PASSPHRASE)
    slot = replace(header.slots[0], memory_mib=memory_mib, passes=passes, lanes=lanes)
    monkeypatch.setattr(slots, "stretch", None)
    with pytest.raises(DamagedVault):
        unlock(write_header(replace(header, slots=(slot,)), keys), PASSPHRASE)


def test_previous_generations_must_be_older_and_different() -> None:
    header, keys = new_generation(*vault(), (CODE,))
    (older,) = header.previous
    for previous in ((replace(older, generation=2),), (replace(older, generation=0),), (older, older)):
        with pytest.raises(DamagedVault):
            read_header(write_header(replace(header, previous=previous), keys))


def test_a_header_that_grew_too_large_is_not_written() -> None:
    header, keys = new_generation(*vault(), (CODE,))
    with pytest.raises(LocalError, match="too large"):
        write_header(replace(header, previous=header.previous * 1000), keys)


# --- slots and generations --------------------------------------------------------------------------------


def test_a_new_secret_replaces_the_one_of_its_kind() -> None:
    header, keys = vault()
    newer = RecoverySecret(b"n" * 32)
    data = write_header(set_slot(header, keys, newer), keys)
    assert unlock(data, newer)[2]
    assert unlock(data, KEYFILE)[2]
    with pytest.raises(Locked):
        unlock(data, CODE)


def test_a_dropped_slot_opens_no_longer_and_the_last_is_not_dropped() -> None:
    header, keys = vault()
    left = drop_slot(header, SlotKind.KEYFILE)
    with pytest.raises(Locked):
        unlock(write_header(left, keys), KEYFILE)
    assert unlock(write_header(left, keys), CODE)[2]
    with pytest.raises(PolicyRefusal):
        drop_slot(left, SlotKind.RECOVERY)
    with pytest.raises(PolicyRefusal):
        new_generation(header, keys, ())


def test_a_new_generation_has_new_keys_and_still_reads_older_packs() -> None:
    header, keys = vault()
    older_pack, older_database = keys.pack_key(1, PACK), keys.database_key()
    for generation in (2, 3):
        header, keys = new_generation(header, keys, (CODE,))
        assert keys.generation == header.generation == generation
    _, opened, authentic = unlock(write_header(header, keys), CODE)
    assert authentic
    assert opened.generations == (3, 2, 1)
    assert opened.pack_key(1, PACK) == older_pack
    assert opened.database_key(1) == older_database
    assert len({older_database, opened.database_key(2), opened.database_key(), opened.vault_key(3)}) == 4
    with pytest.raises(Locked):
        unlock(write_header(header, keys), KEYFILE)


def test_a_damaged_older_key_costs_its_generation_and_not_the_vault() -> None:
    header, keys = new_generation(*vault(), (CODE,))
    (older,) = header.previous
    data = write_header(replace(header, previous=(replace(older, wrapped=bytes(48)),)), keys)
    _, opened, _ = unlock(data, CODE)
    assert opened.generations == (2,)
    with pytest.raises(DamagedPack):
        opened.pack_key(1, PACK)
    with pytest.raises(DamagedVault):
        opened.database_key(1)


def test_pack_keys_differ_by_pack_and_generation() -> None:
    _, keys = new_generation(*vault(), (CODE,))
    assert len({keys.pack_key(1, PACK), keys.pack_key(2, PACK), keys.pack_key(2, PackId(b"q" * 16))}) == 3


def test_nothing_shows_a_vault_key() -> None:
    _, keys = vault()
    assert keys.vault_key(1).hex()[:8] not in repr(keys)
    assert repr(keys.vault_key(1))[2:10] not in repr(keys)


# --- the keys file ----------------------------------------------------------------------------------------


def test_a_keys_file_comes_back_and_is_never_the_same_twice() -> None:
    _, keys = vault()
    content = a_keys_file()
    data = seal_secrets(keys, content)
    assert open_secrets(keys, data) == content
    assert seal_secrets(keys, content) != data
    assert content.person_seed not in data


def test_every_flipped_byte_of_a_keys_file_is_refused() -> None:
    _, keys = vault()
    data = seal_secrets(keys, a_keys_file())
    refuses_every_flip(data, lambda changed: open_secrets(keys, changed), DamagedVault, Unsupported)


def test_a_keys_file_of_another_vault_is_refused() -> None:
    _, keys = vault()
    _, others = new_vault(VaultId(b"w" * 16), NOW, (CODE,))
    with pytest.raises(DamagedVault, match="another vault"):
        open_secrets(keys, seal_secrets(others, a_keys_file()))


def test_a_keys_file_of_an_older_generation_opens_only_when_asked_for() -> None:
    header, keys = vault()
    content = a_keys_file()
    data = seal_secrets(keys, content)
    _, newer = new_generation(header, keys, (CODE,))
    with pytest.raises(DamagedVault, match="generation"):
        open_secrets(newer, data)
    assert open_secrets(newer, data, older=True) == content
    with pytest.raises(DamagedVault, match="generation"):
        open_secrets(keys, seal_secrets(newer, content), older=True)


@pytest.mark.parametrize(
    "changed",
    [{"person_seed": b"s" * 31}, {"device_seed": b""}, {"knock_keys": (b"k",)}, {"certificate": b"c" * 63}],
)
def test_a_keys_file_with_keys_of_a_wrong_length_is_refused(changed: dict[str, object]) -> None:
    _, keys = vault()
    with pytest.raises(DamagedVault):
        open_secrets(keys, seal_secrets(keys, replace(a_keys_file(), **changed)))


@pytest.mark.parametrize("length", [0, 5, 59, 75, 70_000])
def test_a_keys_file_of_an_impossible_length_is_refused(length: int) -> None:
    _, keys = vault()
    with pytest.raises(DamagedVault):
        open_secrets(keys, seal_secrets(keys, a_keys_file()).ljust(length, b"\x00")[:length])


def test_too_many_knock_keys_are_not_written() -> None:
    _, keys = vault()
    with pytest.raises(LocalError, match="too large"):
        seal_secrets(keys, replace(a_keys_file(), knock_keys=(new_knock_key(),) * 3000))

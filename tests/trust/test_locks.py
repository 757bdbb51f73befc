"""Wrong passphrases, and slots whose cost or version was lowered on the disk: refused, and the vault is as it was."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from p2pshare.crypto.labels import u32
from p2pshare.crypto.slots import KeyfileSecret, PassphraseSecret
from p2pshare.crypto.vaultkeys import read_header
from p2pshare.errors import DamagedVault, Locked, P2PShareError, Unsupported
from p2pshare.model.packed import encode
from p2pshare.model.vaultfile import Slot, SlotKind
from p2pshare.store import snapshots
from p2pshare.store.vault import Vault
from tests.studies import make_study
from tests.world import NOON, Person, SettableClock

RIGHT = PassphraseSecret("the right one of all", memory_mib=65, passes=3)
KEY_FILE = KeyfileSecret(b"thirty-two bytes of a key file..")
WRONG = 20  # each takes a tenth of a second; tests/crypto/test_vaultkeys.py has ten thousand with a quick Argon2id


@pytest.fixture
async def made(tmp_path: Path) -> Path:
    """A closed vault with a scan; its passphrase costs a little more than the least."""
    vault = await Vault.create(tmp_path / "vault", [RIGHT, KEY_FILE], "Ana", NOON)
    ana = Person(vault, SettableClock())
    make_study(tmp_path / "in", 2)
    await ana.imports(tmp_path / "in")
    await snapshots.write_if_needed(vault, NOON)
    await vault.close()
    return tmp_path / "vault"


def files(folder: Path) -> dict[str, str]:
    """Every file of a vault with its hash."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def problems_with(path: Path, secret: KeyfileSecret | PassphraseSecret) -> list[str]:
    vault = await Vault.open(path, secret)
    try:
        return [problem.what for problem in await Person(vault, SettableClock()).check()]
    finally:
        await vault.close()


async def test_wrong_passphrases_get_one_error_and_lock_nobody_out(made: Path) -> None:
    before = files(made)
    said = set()
    for number in range(WRONG):
        with pytest.raises(Locked) as refused:
            await Vault.open(made, PassphraseSecret(f"{RIGHT.text}{number}", memory_mib=64, passes=2))
        said.add((str(refused.value), refused.value.code, repr(refused.value)))
    for secret in (KeyfileSecret(b"x" * 32), PassphraseSecret(" " + RIGHT.text)):
        with pytest.raises(Locked) as refused:
            await Vault.open(made, secret)
        said.add((str(refused.value), refused.value.code, repr(refused.value)))
    assert said == {(str(Locked()), "locked", repr(Locked()))}
    assert files(made) == before
    assert await problems_with(made, RIGHT) == []
    assert await problems_with(made, KEY_FILE) == []


def with_slot(change: Callable[[Slot], Slot]) -> Callable[[bytes], bytes]:
    """A header whose passphrase slot was changed by somebody without a key: its tag stays what it was."""

    def lower(data: bytes) -> bytes:
        header = read_header(data)
        slots = tuple(change(slot) if slot.kind is SlotKind.PASSPHRASE else slot for slot in header.slots)
        packed = encode(replace(header, slots=slots))
        return data[:6] + u32(len(packed)) + packed + data[-32:]

    return lower


def with_byte(place: int, value: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes([value]) + data[place + 1 :]


LOWERED: dict[str, tuple[Callable[[bytes], bytes], type[P2PShareError]]] = {
    "less memory": (with_slot(lambda s: replace(s, memory_mib=64)), Locked),
    "fewer passes": (with_slot(lambda s: replace(s, passes=2)), Locked),
    "both at the floor": (with_slot(lambda s: replace(s, memory_mib=64, passes=2)), Locked),
    "memory below the floor": (with_slot(lambda s: replace(s, memory_mib=1)), DamagedVault),
    "one pass": (with_slot(lambda s: replace(s, passes=1)), DamagedVault),
    "no stretching": (with_slot(lambda s: replace(s, memory_mib=0, passes=0, lanes=0)), DamagedVault),
    "no lanes": (with_slot(lambda s: replace(s, lanes=0)), DamagedVault),
    "four terabytes": (with_slot(lambda s: replace(s, memory_mib=4 << 20)), DamagedVault),
    "the slot called a key file": (with_slot(lambda s: replace(s, kind=SlotKind.KEYFILE)), DamagedVault),
    "another version": (with_byte(4, 0), Unsupported),
    "another suite": (with_byte(5, 0), Unsupported),
}


@pytest.mark.parametrize("what", LOWERED)
async def test_what_was_lowered_on_the_disk_is_refused_and_the_vault_is_as_it_was(made: Path, what: str) -> None:
    lower, error = LOWERED[what]
    header = made / "vault.p2pv"
    honest = header.read_bytes()
    header.write_bytes(lower(honest))
    assert header.read_bytes() != honest
    before = files(made)
    with pytest.raises(error):
        await Vault.open(made, RIGHT)
    assert files(made) == before
    if error is Locked:  # the key file still opens it, and the check says that the header is not as it was written
        assert await problems_with(made, KEY_FILE) == ["vault.p2pv: a part of it was changed"]
    header.write_bytes(honest)
    assert await problems_with(made, RIGHT) == []


@pytest.mark.parametrize("name", ["keys.p2ps", "pack", "snapshot"])
async def test_another_version_in_any_other_file_is_noticed(made: Path, tmp_path: Path, name: str) -> None:
    found = {"keys.p2ps": "keys.p2ps", "pack": "packs/*/*.p2pk", "snapshot": "snapshots/*.p2pk"}[name]
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    (path,) = copy.glob(found)
    path.write_bytes(with_byte(4, 0)(path.read_bytes()))
    if name == "keys.p2ps":
        with pytest.raises(Unsupported):
            await Vault.open(copy, KEY_FILE)
    else:
        assert any(path.stem in line for line in await problems_with(copy, KEY_FILE))

"""Vault keys: what opens a vault, how slots give it back, and what is derived from it (docs/format.md §5, §6).

Rule 1: a vault key is random; secrets wrap it and never become it, so a new passphrase costs one small file.
Rule 2: whatever was wrong with a secret, the error is the same.
Rule 3: an undamaged slot opens the vault even if the rest of the header is damaged; the caller is told of it.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from p2pshare.crypto.aead import TAG_SIZE, open_once, seal_once
from p2pshare.crypto.keys import CERTIFICATE_SIZE, KNOCK_KEY_SIZE, SEED_SIZE
from p2pshare.crypto.labels import KEY_SIZE, kdf, mac, same, u32, u64
from p2pshare.crypto.prelude import PRELUDE_SIZE, check_prelude, prelude
from p2pshare.crypto.slots import (
    KeyfileSecret,
    PassphraseSecret,
    RecoverySecret,
    Secret,
    is_sound,
    unwrap,
    wrap,
)
from p2pshare.errors import DamagedPack, DamagedVault, LocalError, Locked, PolicyRefusal, RemoteError
from p2pshare.model.ids import PackId, VaultId
from p2pshare.model.limits import SLOTS_MAX, VAULT_FILE_MAX
from p2pshare.model.packed import decode, encode
from p2pshare.model.vaultfile import PreviousKey, SlotKind, VaultHeader, VaultSecrets

__all__ = [
    "KeyfileSecret",
    "PassphraseSecret",
    "RecoverySecret",
    "Secret",
    "VaultKeys",
    "drop_slot",
    "new_generation",
    "new_vault",
    "open_secrets",
    "seal_secrets",
    "set_slot",
    "unlock",
    "write_header",
]

VAULT_MAGIC: Final = b"P2PV"
KEYS_MAGIC: Final = b"P2PS"

_VAULT_ID_SIZE: Final = 16
_MAC_SIZE: Final = 32
_PREVIOUS_SALT_SIZE: Final = 16
_HEADER_START: Final = PRELUDE_SIZE + 4
_KEYS_SALT_SIZE: Final = 32
_KEYS_SALT_AT: Final = PRELUDE_SIZE + 2 + _VAULT_ID_SIZE + 4
_KEYS_START: Final = _KEYS_SALT_AT + _KEYS_SALT_SIZE


class VaultKeys:
    """The vault key of the current generation, and those of older ones that packs still need."""

    __slots__ = ("_keys", "generation", "vault_id")

    def __init__(self, vault_id: VaultId, generation: int, keys: Mapping[int, bytes]) -> None:
        self.vault_id = vault_id
        self.generation = generation
        self._keys = dict(keys)

    def database_key(self, generation: int | None = None) -> bytes:
        """The raw SQLCipher key; of an older generation while a change of generation is being finished."""
        wanted = self.generation if generation is None else generation
        return kdf(self.vault_key(wanted), "vault/db", self.vault_id + u32(wanted))

    def pack_key(self, generation: int, pack_id: PackId) -> bytes:
        """The key of one pack's index. Raises `DamagedPack` when this vault has no such generation."""
        if generation not in self._keys:
            raise DamagedPack("its key is of a generation that this vault does not have")
        return kdf(self._keys[generation], "vault/pack", pack_id)

    def vault_key(self, generation: int) -> bytes:
        """The vault key itself. Raises `DamagedVault` when this vault has no such generation."""
        if generation not in self._keys:
            raise DamagedVault("a key of an unknown generation is needed")
        return self._keys[generation]

    @property
    def generations(self) -> tuple[int, ...]:
        """The generations whose keys are known, the newest first."""
        return tuple(sorted(self._keys, reverse=True))

    def __repr__(self) -> str:
        return f"VaultKeys({self.vault_id.hex()[:8]}…, generation {self.generation})"


def new_vault(vault_id: VaultId, now: int, given: Sequence[Secret]) -> tuple[VaultHeader, VaultKeys]:
    """A new vault's header and keys; each of `given` opens it."""
    header = VaultHeader(vault_id=vault_id, created=now, generation=0, slots=(), previous=())
    return new_generation(header, VaultKeys(vault_id, 0, {}), given)


def new_generation(header: VaultHeader, keys: VaultKeys, given: Sequence[Secret]) -> tuple[VaultHeader, VaultKeys]:
    """A fresh vault key, with every older one wrapped under it; only `given` open the new header.

    Raises `PolicyRefusal` when nothing is given: nobody could open the vault again.
    """
    if not given:
        raise PolicyRefusal("a vault needs at least one way to open it")
    vault_id, generation = keys.vault_id, keys.generation + 1
    vault_key = secrets.token_bytes(KEY_SIZE)
    newer = VaultKeys(vault_id, generation, {g: keys.vault_key(g) for g in keys.generations} | {generation: vault_key})
    previous = tuple(_wrap_previous(newer, g) for g in keys.generations)
    newer_header = replace(header, generation=generation, slots=(), previous=previous)
    for secret in given:
        newer_header = set_slot(newer_header, newer, secret)
    return newer_header, newer


def set_slot(header: VaultHeader, keys: VaultKeys, secret: Secret) -> VaultHeader:
    """`header` with one slot of that secret's kind: a new one for `secret`."""
    slot = wrap(secret, keys.vault_id, keys.generation, keys.vault_key(keys.generation))
    return replace(header, slots=(*(s for s in header.slots if s.kind is not slot.kind), slot))


def drop_slot(header: VaultHeader, kind: SlotKind) -> VaultHeader:
    """`header` without slots of `kind`. Raises `PolicyRefusal` when that would leave none."""
    left = tuple(s for s in header.slots if s.kind is not kind)
    if not left:
        raise PolicyRefusal("that is the last way to open the vault")
    return replace(header, slots=left)


def write_header(header: VaultHeader, keys: VaultKeys) -> bytes:
    """The content of the vault's header file."""
    packed = encode(header)
    body = prelude(VAULT_MAGIC) + u32(len(packed)) + packed
    data = body + mac(_header_key(keys), body)
    if len(data) > VAULT_FILE_MAX:
        raise LocalError("the vault's header has grown too large")
    return data


def read_header(data: bytes) -> VaultHeader:
    """What of a vault is readable without its key; nothing of it is authentic yet.

    Raises:
        DamagedVault: it has not the form, or numbers outside floor and ceiling.
        Unsupported: it is of another version.
    """
    if len(data) > VAULT_FILE_MAX:
        raise DamagedVault("the vault's header is too large")
    check_prelude(data, VAULT_MAGIC, "the vault's header", DamagedVault)
    packed = data[_HEADER_START:-_MAC_SIZE]
    if len(data) < _HEADER_START + _MAC_SIZE or data[PRELUDE_SIZE:_HEADER_START] != u32(len(packed)):
        raise DamagedVault("the vault's header has another length than it says")
    try:
        header = decode(packed, VaultHeader, limit=VAULT_FILE_MAX, what="the vault's header")
        u64(header.created)
        u32(header.generation)
    except RemoteError as error:
        raise DamagedVault(error.what) from None
    if not _is_possible(header):
        raise DamagedVault("the vault's header has impossible values")
    return header


def unlock(data: bytes, secret: Secret) -> tuple[VaultHeader, VaultKeys, bool]:
    """Open a vault's header file with `secret`; the bool says whether the whole header is as it was written.

    Raises:
        Locked: no slot opens with `secret`; nothing tells why.
        DamagedVault, Unsupported: as `read_header`; Argon2id has not run then.
    """
    header = read_header(data)
    vault_id = VaultId(header.vault_id)
    for slot in header.slots:
        vault_key = unwrap(slot, secret, vault_id, header.generation)
        if vault_key is not None:
            break
    else:
        raise Locked
    keys = {header.generation: vault_key}
    current = VaultKeys(vault_id, header.generation, keys)
    for older in header.previous:
        older_key = _unwrap_previous(current, older)
        if older_key is not None:  # a damaged one costs the packs of its generation, not the vault
            keys[older.generation] = older_key
    authentic = same(mac(_header_key(current), data[:-_MAC_SIZE]), data[-_MAC_SIZE:])
    return header, VaultKeys(vault_id, header.generation, keys), authentic


def seal_secrets(keys: VaultKeys, content: VaultSecrets) -> bytes:
    """The content of the keys file, under a fresh salt."""
    salt = secrets.token_bytes(_KEYS_SALT_SIZE)
    head = prelude(KEYS_MAGIC) + bytes(2) + keys.vault_id + u32(keys.generation) + salt
    data = head + seal_once(_secrets_key(keys, keys.generation, salt), head, encode(content))
    if len(data) > VAULT_FILE_MAX:
        raise LocalError("the keys file has grown too large")
    return data


def open_secrets(keys: VaultKeys, data: bytes, *, older: bool = False) -> VaultSecrets:
    """What `seal_secrets` sealed.

    With `older`, a keys file of an older generation is taken too: only for finishing an interrupted change of
    generation, because somebody may know the older key.

    Raises:
        DamagedVault: it is another vault's, or any byte was changed.
        Unsupported: it is of another version.
    """
    if not _KEYS_START + TAG_SIZE <= len(data) <= VAULT_FILE_MAX:
        raise DamagedVault("the keys file")
    check_prelude(data, KEYS_MAGIC, "the keys file", DamagedVault)
    head, salt = data[:_KEYS_START], data[_KEYS_SALT_AT:_KEYS_START]
    generation = int.from_bytes(head[_KEYS_SALT_AT - 4 : _KEYS_SALT_AT], "big")
    if generation != keys.generation and not (older and generation in keys.generations):
        raise DamagedVault("the keys file is of another generation than the vault")
    if head[:_KEYS_SALT_AT] != prelude(KEYS_MAGIC) + bytes(2) + keys.vault_id + u32(generation):
        raise DamagedVault("the keys file is of another vault")
    packed = open_once(_secrets_key(keys, generation, salt), head, data[_KEYS_START:])
    if packed is None:
        raise DamagedVault("the keys file does not open")
    try:
        content = decode(packed, VaultSecrets, limit=VAULT_FILE_MAX, what="the keys file")
    except RemoteError as error:
        raise DamagedVault(error.what) from None
    lengths = {len(content.person_seed), len(content.device_seed)} == {SEED_SIZE}
    knocks = all(len(key) == KNOCK_KEY_SIZE for key in content.knock_keys)
    if not (lengths and knocks and len(content.certificate) == CERTIFICATE_SIZE):
        raise DamagedVault("the keys file has keys of a wrong length")
    return content


def _is_possible(header: VaultHeader) -> bool:
    older = [previous.generation for previous in header.previous]
    return (
        len(header.vault_id) == _VAULT_ID_SIZE
        and header.generation >= 1
        and len(header.slots) <= SLOTS_MAX
        and all(is_sound(slot) for slot in header.slots)
        and len(set(older)) == len(older)
        and all(1 <= generation < header.generation for generation in older)
    )


def _header_key(keys: VaultKeys) -> bytes:
    return kdf(keys.vault_key(keys.generation), "vault/header", keys.vault_id + u32(keys.generation))


def _previous_key(keys: VaultKeys, generation: int, salt: bytes) -> bytes:
    return kdf(keys.vault_key(keys.generation), "vault/previous", u32(generation), salt)


def _previous_aad(keys: VaultKeys, generation: int) -> bytes:
    return keys.vault_id + u32(generation)


def _wrap_previous(keys: VaultKeys, generation: int) -> PreviousKey:
    salt = secrets.token_bytes(_PREVIOUS_SALT_SIZE)
    key = _previous_key(keys, generation, salt)
    wrapped = seal_once(key, _previous_aad(keys, generation), keys.vault_key(generation))
    return PreviousKey(generation=generation, salt=salt, wrapped=wrapped)


def _unwrap_previous(keys: VaultKeys, older: PreviousKey) -> bytes | None:
    key = _previous_key(keys, older.generation, older.salt)
    return open_once(key, _previous_aad(keys, older.generation), older.wrapped)


def _secrets_key(keys: VaultKeys, generation: int, salt: bytes) -> bytes:
    return kdf(keys.vault_key(generation), "vault/keys", keys.vault_id + u32(generation), salt)

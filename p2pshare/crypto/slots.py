"""Slots: the vault key wrapped under what a person knows, has printed or keeps in a file (docs/format.md §5).

Rule 1: the numbers for Argon2id come from a file that anybody could have written: they are checked before it runs.
Rule 2: the wrapping binds vault, slot, generation and those numbers; none can be changed without being noticed.
"""

import hashlib
import secrets
import unicodedata
from dataclasses import dataclass, field
from typing import Final, assert_never

import nacl.bindings
from msgspec.structs import replace

from p2pshare.crypto.aead import TAG_SIZE, open_once, seal_once
from p2pshare.crypto.labels import KEY_SIZE, kdf, label, u32
from p2pshare.errors import LocalError, UsageError
from p2pshare.model.ids import VaultId
from p2pshare.model.limits import (
    ARGON2_LANES,
    ARGON2_MIB_MAX,
    ARGON2_MIB_MIN,
    ARGON2_PASSES_MAX,
    ARGON2_PASSES_MIN,
    MIB,
)
from p2pshare.model.vaultfile import Slot, SlotKind

SLOT_ID_SIZE: Final = 16
SALT_SIZE: Final = 16
KEYFILE_MIN: Final = 32


@dataclass(frozen=True, slots=True)
class PassphraseSecret:
    """What a person remembers, and what stretching it costs when a slot is made from it."""

    text: str = field(repr=False)
    memory_mib: int = 256
    passes: int = 3

    def __post_init__(self) -> None:
        if not self.text:
            raise UsageError("the passphrase is empty")
        if not _within_limits(self.memory_mib, self.passes):
            raise UsageError("the cost of the passphrase is outside what p2pshare accepts")


@dataclass(frozen=True, slots=True)
class RecoverySecret:
    """The 32 bytes of the printed recovery code."""

    code: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.code) != KEY_SIZE:
            raise UsageError("a recovery code has 32 bytes")


@dataclass(frozen=True, slots=True)
class KeyfileSecret:
    """The content of a key file, for a node that starts with nobody there."""

    content: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.content) < KEYFILE_MIN:
            raise UsageError("a key file has at least 32 bytes")


Secret = PassphraseSecret | RecoverySecret | KeyfileSecret


def slot_kind(secret: Secret) -> SlotKind:
    """The kind of slot that `secret` opens."""
    match secret:
        case PassphraseSecret():
            return SlotKind.PASSPHRASE
        case RecoverySecret():
            return SlotKind.RECOVERY
        case KeyfileSecret():
            return SlotKind.KEYFILE
    assert_never(secret)


def wrap(secret: Secret, vault_id: VaultId, generation: int, vault_key: bytes) -> Slot:
    """A new slot with `vault_key` in it."""
    memory_mib, passes, lanes = _costs(secret)
    slot = Slot(
        kind=slot_kind(secret),
        slot_id=secrets.token_bytes(SLOT_ID_SIZE),
        salt=secrets.token_bytes(SALT_SIZE),
        memory_mib=memory_mib,
        passes=passes,
        lanes=lanes,
        wrapped=b"",
    )
    bound = _bound(slot, vault_id, generation)
    return replace(slot, wrapped=seal_once(_wrapping_key(slot, secret, bound), _aad(slot, bound), vault_key))


def unwrap(slot: Slot, secret: Secret, vault_id: VaultId, generation: int) -> bytes | None:
    """The vault key in `slot`, or None when `secret` is not the one or anything in the slot was changed.

    The slot's numbers must have passed `is_sound`.
    """
    if slot.kind is not slot_kind(secret):
        return None
    bound = _bound(slot, vault_id, generation)
    return open_once(_wrapping_key(slot, secret, bound), _aad(slot, bound), slot.wrapped)


def is_sound(slot: Slot) -> bool:
    """Whether a slot's fields have their lengths, and its numbers are within floor and ceiling."""
    lengths = (len(slot.slot_id), len(slot.salt), len(slot.wrapped))
    if lengths != (SLOT_ID_SIZE, SALT_SIZE, KEY_SIZE + TAG_SIZE):
        return False
    if slot.kind is SlotKind.PASSPHRASE:
        return _within_limits(slot.memory_mib, slot.passes) and slot.lanes == ARGON2_LANES
    return slot.memory_mib == slot.passes == slot.lanes == 0


def stretch(passphrase: bytes, salt: bytes, memory_mib: int, passes: int) -> bytes:
    """Argon2id (RFC 9106) with one lane, 32 bytes."""
    try:
        return nacl.bindings.crypto_pwhash_alg(
            KEY_SIZE, passphrase, salt, passes, memory_mib * MIB, nacl.bindings.crypto_pwhash_ALG_ARGON2ID13
        )
    except RuntimeError:  # libsodium's one reason to fail here: it did not get the memory
        raise LocalError(f"opening the vault takes {memory_mib} MiB of memory, which is not free") from None


def _costs(secret: Secret) -> tuple[int, int, int]:
    if isinstance(secret, PassphraseSecret):
        return secret.memory_mib, secret.passes, ARGON2_LANES
    return 0, 0, 0


def _within_limits(memory_mib: int, passes: int) -> bool:
    return ARGON2_MIB_MIN <= memory_mib <= ARGON2_MIB_MAX and ARGON2_PASSES_MIN <= passes <= ARGON2_PASSES_MAX


def _bound(slot: Slot, vault_id: VaultId, generation: int) -> bytes:
    params = u32(slot.memory_mib) + u32(slot.passes) + u32(slot.lanes)
    return vault_id + slot.slot_id + u32(generation) + params


def _aad(slot: Slot, bound: bytes) -> bytes:
    return label(f"slot/{slot.kind.value}") + bound


def _wrapping_key(slot: Slot, secret: Secret, bound: bytes) -> bytes:
    match secret:
        case PassphraseSecret(text):
            key = stretch(_normalised(text), slot.salt, slot.memory_mib, slot.passes)
        case RecoverySecret(code):
            key = code
        case KeyfileSecret(content):
            key = hashlib.sha256(content).digest()
        case _:
            assert_never(secret)
    return kdf(key, f"slot/{slot.kind.value}", bound, slot.salt)


def _normalised(text: str) -> bytes:
    # Keyboards write é as one character or as two; NFC makes them the same (RFC 8265 §4.2.2).
    try:
        return unicodedata.normalize("NFC", text).encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError("the passphrase is not text") from None

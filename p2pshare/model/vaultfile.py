"""The vault's own small files: the header with its slots, and the keys file (docs/format.md §5, §6)."""

from enum import StrEnum

from p2pshare.model.packed import Packed, Whole


class SlotKind(StrEnum):
    """How a slot is opened."""

    PASSPHRASE = "passphrase"
    RECOVERY = "recovery"
    KEYFILE = "keyfile"


class Slot(Packed, frozen=True):
    """The vault key of one generation, wrapped. The Argon2id numbers are 0 for kinds that need no stretching."""

    kind: SlotKind
    slot_id: bytes
    salt: bytes
    memory_mib: Whole
    passes: Whole
    lanes: Whole
    wrapped: bytes


class PreviousKey(Packed, frozen=True):
    """An older generation's vault key, wrapped under the current one."""

    generation: Whole
    salt: bytes
    wrapped: bytes


class VaultHeader(Packed, frozen=True):
    """What is readable of a vault without its key."""

    vault_id: bytes
    created: Whole
    generation: Whole
    slots: tuple[Slot, ...]
    previous: tuple[PreviousKey, ...]


class VaultSecrets(Packed, frozen=True):
    """The content of the keys file. Seeds are Ed25519 seeds of 32 bytes; the newest knock key comes first."""

    person_seed: bytes
    device_seed: bytes
    certified: Whole  # seconds since 1970
    certificate: bytes
    knock_keys: tuple[bytes, ...]

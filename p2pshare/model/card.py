"""Cards: the public half of a person, signed by the person key (docs/format.md §7)."""

from p2pshare.model.ids import DeviceId, PersonId
from p2pshare.model.packed import Packed, Whole


class Prekey(Packed, frozen=True):
    """A numbered X-Wing public key, signed by the device that holds its secret."""

    number: Whole
    created: Whole
    public: bytes
    signature: bytes


class DeviceEntry(Packed, frozen=True):
    """One device of a person: its Ed25519 key, the person's certificate for it, and how to reach it."""

    device: bytes
    certified: Whole
    certificate: bytes
    prekey: Prekey
    knock: bytes
    addresses: tuple[str, ...]


class Card(Packed, frozen=True):
    """A person's name, key and devices. A card with a higher `number` replaces a lower one of the same person key."""

    name: str
    person: bytes
    number: Whole
    created: Whole
    devices: tuple[DeviceEntry, ...]
    mailbox: str | None  # introduction mailbox at a relay


class KnownDevice(Packed, frozen=True):
    """A contact's device as the vault knows it, with the newest prekey seen."""

    device_id: DeviceId
    person_id: PersonId
    public: bytes
    prekey: Prekey
    knock: bytes
    addresses: tuple[str, ...]

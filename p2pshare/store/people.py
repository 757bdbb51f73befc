"""People and their devices as this vault knows them, and this device's own prekeys."""

from dataclasses import dataclass

import msgspec

from p2pshare.errors import Ambiguous, NotFound
from p2pshare.model.card import Card, KnownDevice, Prekey
from p2pshare.model.ids import DeviceId, PersonId
from p2pshare.model.packed import decode, encode
from p2pshare.store.db import Database, Transaction
from p2pshare.store.params import blobs

_PREKEY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the list of people. `address`, where set, is tried before those of the card."""

    person_id: PersonId
    public: bytes
    name: str
    card_number: int
    words: str
    verified: int | None
    blocked: int | None
    address: str | None


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A contact's device with what is known of reaching it. `trouble` is a sentence, or empty."""

    device: KnownDevice
    last_seen: int | None
    trouble: str
    next_try: int | None


_PERSON = "person, public, name, card_number, words, verified, blocked, address"
_DEVICE = "device, person, public, prekey, knock, addresses, last_seen, trouble, next_try"


async def everybody(db: Database) -> list[Person]:
    """All people by name."""
    rows = await db.rows(f"SELECT {_PERSON} FROM person ORDER BY name, person")  # noqa: S608 - constant
    return [Person(*row) for row in rows]


async def by_id(db: Database | Transaction, person_id: PersonId) -> Person | None:
    """The person with this id."""
    row = await db.row(f"SELECT {_PERSON} FROM person WHERE person = ?", (person_id,))  # noqa: S608 - constant
    return Person(*row) if row else None


async def by_prefix(db: Database, text: str) -> Person:
    """The one person whose name is `text`, or whose fingerprint, or a word of whose name, begins with it.

    Raises:
        NotFound: nobody. Ambiguous: several.
    """
    wanted = text.strip().casefold()
    people = await everybody(db)
    for matches in (
        [p for p in people if p.person_id.hex() == wanted],
        # together: a name that looks like the beginning of somebody else's fingerprint must not win against it
        [p for p in people if wanted and (p.name.casefold() == wanted or p.person_id.hex().startswith(wanted))],
        [p for p in people if wanted and f" {p.name.casefold()}".find(f" {wanted}") >= 0],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise Ambiguous(f"person {text!r}")
    raise NotFound(f"person {text!r}")


async def enter_card(
    tx: Transaction, person_id: PersonId, card: Card, file: bytes, devices: list[KnownDevice], words: str, now: int
) -> None:
    """Enter or replace a person's card and devices; verification, block and address stay as they were.

    The name stays too: a person is added under a name that somebody looked at, and cannot take another's later. Devices
    that a newer card no longer has are forgotten.
    """
    await tx.execute(
        "INSERT INTO person (person, public, name, card, card_number, words, added) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (person) DO UPDATE SET card = excluded.card, card_number = excluded.card_number",
        (person_id, card.person, card.name, file, card.number, words, now),
    )
    kept = blobs(device.device_id for device in devices)
    await tx.execute(
        "DELETE FROM device WHERE person = ? AND device NOT IN (SELECT unhex(value) FROM json_each(?))",
        (person_id, kept),
    )
    for device in devices:
        await tx.execute(
            "INSERT INTO device (device, person, public, prekey, prekey_number, knock, addresses, trouble)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, '') ON CONFLICT (device) DO UPDATE SET knock = excluded.knock,"
            " addresses = excluded.addresses, next_try = NULL WHERE device.person = excluded.person",
            (
                device.device_id, person_id, device.public, encode(device.prekey), device.prekey.number,
                device.knock, "\n".join(device.addresses),
            ),
        )  # fmt: skip
        await learn_prekey(tx, device.device_id, device.prekey)


async def learn_prekey(tx: Transaction, device_id: DeviceId, prekey: Prekey) -> bool:
    """Keep `prekey` (already verified) if it is newer than the newest seen; tell whether it was."""
    return bool(
        await tx.execute(
            "UPDATE device SET prekey = ?, prekey_number = ? WHERE device = ? AND prekey_number < ?",
            (encode(prekey), prekey.number, device_id, prekey.number),
        )
    )


async def device(db: Database | Transaction, device_id: DeviceId) -> DeviceRow | None:
    """The device with this id."""
    row = await db.row(f"SELECT {_DEVICE} FROM device WHERE device = ?", (device_id,))  # noqa: S608 - constant
    return _device_row(row) if row else None


async def devices_of(db: Database | Transaction, person_id: PersonId) -> list[DeviceRow]:
    """A person's devices."""
    query = f"SELECT {_DEVICE} FROM device WHERE person = ? ORDER BY device"  # noqa: S608 - constant
    return [_device_row(row) for row in await db.rows(query, (person_id,))]


def _device_row(row: tuple[object, ...]) -> DeviceRow:
    device_id, person_id, public, prekey, knock, addresses, last_seen, trouble, next_try = row
    known = KnownDevice(
        device_id=device_id,  # type: ignore[arg-type]
        person_id=person_id,  # type: ignore[arg-type]
        public=public,  # type: ignore[arg-type]
        prekey=decode(prekey, Prekey, limit=_PREKEY_BYTES, what="a stored prekey"),  # type: ignore[arg-type]
        knock=knock,  # type: ignore[arg-type]
        addresses=tuple(a for a in str(addresses).split("\n") if a),
    )
    return DeviceRow(known, last_seen, str(trouble), next_try)  # type: ignore[arg-type]


# --- this device's own prekeys ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnPrekey:
    """A prekey of this device with its secret half; the secret never shows."""

    prekey: Prekey
    secret: bytes
    created: int

    def __repr__(self) -> str:
        return f"OwnPrekey(number={self.prekey.number})"


async def own_prekeys(db: Database | Transaction) -> list[OwnPrekey]:
    """This device's prekeys whose secrets live, the newest first."""
    rows = await db.rows("SELECT prekey, secret, created FROM prekey ORDER BY number DESC")
    return [OwnPrekey(msgspec.msgpack.decode(r[0], type=Prekey), r[1], r[2]) for r in rows]


async def enter_own_prekey(tx: Transaction, prekey: Prekey, secret: bytes, now: int) -> None:
    """Make `prekey` the newest; those before it are superseded now."""
    await tx.execute("UPDATE prekey SET superseded = ? WHERE superseded IS NULL", (now,))
    await tx.execute(
        "INSERT INTO prekey (number, prekey, secret, created) VALUES (?, ?, ?, ?)",
        (prekey.number, encode(prekey), secret, now),
    )


async def erase_prekeys_superseded_before(tx: Transaction, when: int) -> int:
    """Erase secrets superseded before `when`; return how many."""
    return await tx.execute("DELETE FROM prekey WHERE superseded IS NOT NULL AND superseded < ?", (when,))

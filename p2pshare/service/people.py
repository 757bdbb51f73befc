"""People: my card, other people's cards, verification by words, addresses, and blocking."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pshare.crypto.card import is_address, read_card, write_card
from p2pshare.crypto.hpke import forget_secrets
from p2pshare.crypto.keys import device_id, new_knock_key, new_prekey, person_id
from p2pshare.crypto.words import safety_words, same_words
from p2pshare.errors import (
    Forked,
    KeyChanged,
    NotFound,
    NotVerified,
    PersonBlocked,
    Replayed,
    UsageError,
    WordsDiffer,
)
from p2pshare.model.card import Card, DeviceEntry, KnownDevice
from p2pshare.model.ids import PersonId
from p2pshare.model.letters import ContactLetter
from p2pshare.model.limits import CARD_ADDRESSES_MAX, CARD_MAX
from p2pshare.service import handing_out, post
from p2pshare.service.clock import Clock, is_steady
from p2pshare.store import audit, feeds, people
from p2pshare.store.db import Transaction
from p2pshare.store.people import OwnPrekey, Person
from p2pshare.store.vault import OwnIdentity, Vault

_PREKEY_FRESH_FOR = 7 * 86400
_PREKEY_KEPT_FOR = 45 * 86400
_KNOCK_KEYS_KEPT = 8


@dataclass(frozen=True, slots=True)
class PersonView:
    """A person as shown."""

    person: PersonId
    name: str
    words: str
    verified: bool
    blocked: bool
    address: str
    last_seen: int | None
    trouble: str


class People:
    """The use cases around people."""

    def __init__(self, vault: Vault, now: Clock) -> None:
        """Work on `vault`."""
        self._vault = vault
        self._now = now

    # --- my own card ---

    async def my_addresses(self) -> tuple[str, ...]:
        """Where contacts can reach me, as my card says."""
        row = await self._vault.db.row("SELECT value FROM meta WHERE key = 'addresses'")
        return tuple(a for a in bytes(row[0]).decode().split("\n") if a) if row else ()

    async def set_my_addresses(self, addresses: Sequence[str]) -> None:
        """Put these addresses on my card, and tell contacts if they are new."""
        for address in addresses:
            _check_typed_address(address)
        if tuple(addresses) == await self.my_addresses():
            return
        if len(addresses) > CARD_ADDRESSES_MAX:
            raise UsageError(f"at most {CARD_ADDRESSES_MAX} addresses fit on a card")
        async with self._vault.db.transaction() as tx:
            await tx.execute("INSERT OR REPLACE INTO meta VALUES ('addresses', ?)", ("\n".join(addresses).encode(),))
            await tx.execute("UPDATE meta SET value = value WHERE key = 'name'")
        await self._tell_contacts()

    async def my_card(self) -> bytes:
        """My card file, signed, with the newest prekey and the addresses known."""
        await self.refresh_prekeys()
        now = self._now()
        own = await people.own_prekeys(self._vault.db)
        identity = self._vault.identity
        async with self._vault.db.transaction() as tx:
            row = await tx.row("SELECT value FROM meta WHERE key = 'card_number'")
            number = int.from_bytes(row[0], "big") + 1 if row else 1
            await tx.execute("INSERT OR REPLACE INTO meta VALUES ('card_number', ?)", (number.to_bytes(8, "big"),))
        entry = DeviceEntry(
            device=identity.device.public,
            certified=identity.certified,
            certificate=identity.certificate,
            prekey=own[0].prekey,
            knock=identity.knock_keys[0],
            addresses=await self.my_addresses(),
        )
        card = Card(
            name=await self._vault.name(),
            person=identity.person.public,
            number=number,
            created=now,
            devices=(entry,),
            mailbox=None,
        )
        return write_card(identity.person, card)

    async def save_card(self, path: Path) -> str:
        """Write my card to `path`; return my fingerprint."""
        data = await self.my_card()
        await asyncio.to_thread(handing_out.write_over, path, data)
        return self._vault.identity.person_id.hex()

    async def refresh_prekeys(self) -> None:
        """Make a prekey if the newest is old, and erase secrets that no courier can still bring mail for."""
        now = self._now()
        if _is_fresh(await people.own_prekeys(self._vault.db), now):
            return
        async with self._vault.db.transaction() as tx:
            own = await people.own_prekeys(tx)
            if _is_fresh(own, now):
                return  # another process was quicker
            number = own[0].prekey.number + 1 if own else 1
            await people.enter_own_prekey(tx, *new_prekey(self._vault.identity.device, number, now), now)
        if await is_steady(self._vault.db, now):
            async with self._vault.db.transaction() as tx:
                await people.erase_prekeys_superseded_before(tx, now - _PREKEY_KEPT_FOR)
            forget_secrets()  # parsed ones that are still in memory

    # --- other people ---

    async def add(self, path: Path) -> PersonView:
        """Add the person whose card file is at `path`, or bring them up to date.

        Raises:
            Malformed, Forged, TooLarge, Unsupported: the file is not a card.
            Replayed: a newer card of that person is known. UsageError: it is my own card.
        """
        data = await asyncio.to_thread(_read_limited, path)
        card = read_card(data)
        if card.person == self._vault.identity.person.public:
            raise UsageError("that is your own card")
        person = person_id(card.person)
        known = await people.by_id(self._vault.db, person)
        words = (
            known.words
            if known
            else " ".join(await asyncio.to_thread(safety_words, self._vault.identity.person.public, card.person))
        )
        now = self._now()
        async with self._vault.db.transaction() as tx:
            await self._enter(tx, card, data, words, now)
            await tx.execute("UPDATE person SET name = ? WHERE person = ?", (card.name, person))
            await audit.enter(
                tx, self._vault.identity.device, "person-updated" if known else "person-added",
                {"person": person.hex(), "name": card.name}, now,
            )  # fmt: skip
        return await self._view(await self._get(person))

    async def take_contact(self, tx: Transaction, sender: PersonId, data: bytes) -> None:
        """Enter a card that came in its own person's letter. Raises Replayed, KeyChanged or a card's refusals."""
        card = read_card(data)
        if person_id(card.person) != sender:
            raise KeyChanged("a card in a letter is not its sender's")
        known = await people.by_id(tx, sender)
        if known is None:
            raise NotFound(sender.hex())
        await self._enter(tx, card, data, known.words, self._now())
        detail: audit.Detail = {"person": sender.hex(), "name": known.name, "calls_themselves": card.name}
        await audit.enter(tx, self._vault.identity.device, "contact-updated", detail, self._now())

    async def _enter(self, tx: Transaction, card: Card, data: bytes, words: str, now: int) -> None:
        person = person_id(card.person)
        known = await people.by_id(tx, person)
        if known and known.public != card.person:
            raise KeyChanged(card.name)
        if known and card.number < known.card_number:
            raise Replayed("an older card of this person")
        devices = [_known_device(person, entry) for entry in card.devices]
        for device in devices:
            row = await people.device(tx, device.device_id)
            if row and row.device.person_id != person:
                raise Forked("a device on this card belongs to somebody else")
            if known and row is None:
                await feeds.begin_at_head(tx, person, device.device_id)
        await people.enter_card(tx, person, card, data, devices, words, now)

    async def listed(self) -> list[PersonView]:
        """Everybody, by name."""
        return [await self._view(p) for p in await people.everybody(self._vault.db)]

    async def find(self, text: str) -> Person:
        """The one person that `text` names. Raises NotFound or Ambiguous."""
        return await people.by_prefix(self._vault.db, text)

    async def verify(self, text: str, words: str) -> PersonView:
        """Mark a person verified if `words` are the eight words. Raises WordsDiffer, and logs that they differed."""
        person = await self.find(text)
        now = self._now()
        same = same_words(words, person.words.split())
        async with self._vault.db.transaction() as tx:
            if same:
                await tx.execute("UPDATE person SET verified = ? WHERE person = ?", (now, person.person_id))
            await audit.enter(
                tx, self._vault.identity.device, "person-verified" if same else "person-words-differ",
                {"person": person.person_id.hex(), "name": person.name}, now,
            )  # fmt: skip
        if not same:
            raise WordsDiffer(person.name)
        return await self._view(await self._get(person.person_id))

    async def set_address(self, text: str, address: str) -> PersonView:
        """Set the address that is tried first; an empty one goes back to those of the card."""
        person = await self.find(text)
        if address:
            _check_typed_address(address)
        async with self._vault.db.transaction() as tx:
            await tx.execute("UPDATE person SET address = ? WHERE person = ?", (address or None, person.person_id))
            await tx.execute("UPDATE device SET next_try = NULL, trouble = '' WHERE person = ?", (person.person_id,))
        return await self._view(await self._get(person.person_id))

    async def block(self, text: str, *, blocked: bool = True) -> PersonView:
        """Block a person: sessions end, nothing is sent or served, and the knock key changes for everybody else."""
        person = await self.find(text)
        now = self._now()
        async with self._vault.db.transaction() as tx:
            await tx.execute(
                "UPDATE person SET blocked = ? WHERE person = ?",
                (now if blocked else None, person.person_id),
            )
            await audit.enter(
                tx, self._vault.identity.device, "person-blocked" if blocked else "person-unblocked",
                {"person": person.person_id.hex(), "name": person.name}, now,
            )  # fmt: skip
        if blocked:
            await self._rotate_knock_key()
        return await self._view(await self._get(person.person_id))

    async def _rotate_knock_key(self) -> None:
        identity = self._vault.identity
        keys = (new_knock_key(), *identity.knock_keys)[:_KNOCK_KEYS_KEPT]
        await asyncio.to_thread(
            self._vault.replace_identity,
            OwnIdentity(identity.person, identity.device, identity.certified, identity.certificate, keys),
        )
        await self._tell_contacts()

    async def _tell_contacts(self) -> None:
        """Write my newest card to every verified contact."""
        contacts = [p for p in await people.everybody(self._vault.db) if p.verified and not p.blocked]
        if not contacts:
            return
        card = await self.my_card()
        async with self._vault.db.transaction() as tx:
            for person in contacts:
                await post.write(tx, self._vault, person.person_id, ContactLetter(card=card), self._now())

    async def sendable(self, text: str, *, unverified_too: bool) -> Person:
        """The person to send to. Raises PersonBlocked, or NotVerified unless that is overridden."""
        person = await self.find(text)
        if person.blocked:
            raise PersonBlocked(person.name)
        if not person.verified and not unverified_too:
            raise NotVerified(person.name)
        return person

    async def _get(self, person: PersonId) -> Person:
        found = await people.by_id(self._vault.db, person)
        if found is None:
            raise NotFound(person.hex())
        return found

    async def _view(self, person: Person) -> PersonView:
        devices = await people.devices_of(self._vault.db, person.person_id)
        addresses = [person.address] if person.address else [a for d in devices for a in d.device.addresses]
        return PersonView(
            person=person.person_id,
            name=person.name,
            words=person.words,
            verified=bool(person.verified),
            blocked=bool(person.blocked),
            address=" ".join(addresses),
            last_seen=max((d.last_seen for d in devices if d.last_seen), default=None),
            trouble=next((d.trouble for d in devices if d.trouble), ""),
        )


def _check_typed_address(address: str) -> None:
    if not is_address(address):
        raise UsageError(f"{address!r} is not HOST:PORT")


def _is_fresh(own: Sequence[OwnPrekey], now: int) -> bool:
    return bool(own) and own[0].created <= now < own[0].created + _PREKEY_FRESH_FOR


def _known_device(person: PersonId, entry: DeviceEntry) -> KnownDevice:
    return KnownDevice(
        device_id=device_id(entry.device),
        person_id=person,
        public=entry.device,
        prekey=entry.prekey,
        knock=entry.knock,
        addresses=entry.addresses,
    )


def _read_limited(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(CARD_MAX + 1)
    except FileNotFoundError:
        raise NotFound(str(path)) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None

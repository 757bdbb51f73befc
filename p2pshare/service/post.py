"""The post: letters written to a person, in the transaction that makes them true; sealed when they are sent."""

import secrets
from dataclasses import dataclass

from p2pshare.crypto.seal import decode_body, seal, sign_letter, sign_receipt
from p2pshare.model.ids import DeviceId, Epoch, LetterHash, PersonId, ShareId
from p2pshare.model.letters import (
    AnswerLetter,
    ArrivalState,
    Body,
    ContactLetter,
    FeedHead,
    Letter,
    ReceiptBody,
    RefusedLetter,
    RevokeLetter,
    ShareArrival,
    ShareLetter,
)
from p2pshare.model.ports import Sealed
from p2pshare.model.views import ENDED, ShareState
from p2pshare.store import feeds, people, shares
from p2pshare.store.db import Database, Transaction
from p2pshare.store.shares import Direction, Share
from p2pshare.store.vault import Vault

_RECEIPTED_FOR = 45 * 86400  # how long an ended share stays in receipts: a courier's round trip


async def write(tx: Transaction, vault: Vault, person: PersonId, body: Body, now: int) -> int:
    """Write the next letter to `person`; return its number."""
    kind, share = _about(body)

    def sign(epoch: Epoch, number: int, previous: LetterHash) -> tuple[Letter, LetterHash]:
        return sign_letter(vault.identity.device, person, epoch, number, previous, body, None)

    return await feeds.write_letter(tx, person, kind, share, Epoch(secrets.token_bytes(16)), sign, now)


async def take_back(tx: Transaction, vault: Vault, share: Share, now: int) -> None:
    """Forget the letters that offered a share of mine, and write that it ended: they may have been read."""

    def sign(letter: Letter, epoch: Epoch, number: int, previous: LetterHash) -> tuple[Letter, LetterHash]:
        return sign_letter(
            vault.identity.device, PersonId(letter.recipient), epoch, number, previous, decode_body(letter), None
        )

    await feeds.take_back(tx, share.person, share.share, Epoch(secrets.token_bytes(16)), sign)
    if share.state not in ENDED or share.state is ShareState.IMPORTED:
        await write(tx, vault, share.person, RevokeLetter(share=share.share), now)


def _about(body: Body) -> tuple[str, ShareId | None]:
    match body:
        case ShareLetter():
            return "share", ShareId(body.share)
        case AnswerLetter():
            return "answer", ShareId(body.share)
        case RevokeLetter():
            return "revoke", ShareId(body.share)
        case ContactLetter():
            return "contact", None


async def sealed_letter(vault: Vault, letter: Letter, device: DeviceId) -> Sealed | None:
    """Seal a letter to a device's newest prekey, with my own newest prekey inside; None if the device is gone."""
    row = await people.device(vault.db, device)
    if row is None:
        return None
    own = await people.own_prekeys(vault.db)
    fresh = Letter(
        sender=letter.sender,
        recipient=letter.recipient,
        epoch=letter.epoch,
        number=letter.number,
        previous=letter.previous,
        body=letter.body,
        prekey=own[0].prekey if own else None,
        signature=letter.signature,
    )
    return seal(fresh, row.device.prekey, device)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a receipt says, before it is numbered and signed: compared to learn whether there is news."""

    feeds: tuple[FeedHead, ...]
    refused: tuple[RefusedLetter, ...]
    shares: tuple[ShareArrival, ...]
    prekey: int

    @property
    def milestones(self) -> tuple[object, ...]:
        """All but the counts of chunks, which change all the time while a share comes in."""
        return (self.feeds, self.refused, self.prekey, tuple((s.share, s.layout, s.state) for s in self.shares))


async def statement(vault: Vault, person: PersonId, device: DeviceId, now: int) -> Statement:
    """What is durable here of what `person`'s `device` sent."""
    own = await people.own_prekeys(vault.db)
    return Statement(
        feeds=await feeds.heads_for_receipt(vault.db, device),
        refused=await feeds.refusals_for_receipt(vault.db, device),
        shares=await _arrivals(vault.db, person, now),
        prekey=own[0].prekey.number if own else 0,
    )


async def sealed_receipt(vault: Vault, device: DeviceId, said: Statement, now: int, term: int | None) -> Sealed | None:
    """Number, sign and seal a statement to `device`; None if the device is gone."""
    row = await people.device(vault.db, device)
    if row is None:
        return None
    own = await people.own_prekeys(vault.db)
    async with vault.db.transaction(term) as tx:
        counter = await feeds.next_receipt_counter(tx, device)
    body = ReceiptBody(
        sender=vault.identity.device_id,
        recipient=device,
        counter=counter,
        time=now,
        feeds=said.feeds,
        refused=said.refused,
        shares=said.shares,
        prekey=own[0].prekey if own else None,
    )
    return seal(sign_receipt(vault.identity.device, body), row.device.prekey, device)


async def _arrivals(db: Database, person: PersonId, now: int) -> tuple[ShareArrival, ...]:
    states = [s for s in ShareState if s not in (ShareState.DECLINED, ShareState.REVOKED, ShareState.EXPIRED)]
    found = await shares.of_person(db, person, Direction.IN, states)
    recent = [s for s in found if s.state is not ShareState.IMPORTED or s.changed > now - _RECEIPTED_FOR]
    return tuple(_arrival(s) for s in recent[-200:])


def _arrival(share: Share) -> ShareArrival:
    states = {
        ShareState.SENDING: ArrivalState.SENDING,
        ShareState.DELIVERED: ArrivalState.DELIVERED,
        ShareState.IMPORTED: ArrivalState.IMPORTED,
        ShareState.REFUSED: ArrivalState.REFUSED,
    }
    return ShareArrival(
        share=share.share,
        layout=share.layout,
        state=states.get(share.state, ArrivalState.OFFERED),
        chunks=share.chunks_done,
        why=share.why if share.state is ShareState.REFUSED else "",
    )

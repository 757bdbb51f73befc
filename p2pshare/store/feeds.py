"""Feeds: the numbered letters to and from each person, and what each side acknowledged.

Rule 1: a letter is entered, signed, in the transaction that makes it true; sealing happens when it is sent.
Rule 2: only a receipt moves an acknowledgement, and it only moves forward.
Rule 3: a letter that is taken back leaves its hash; what a device still had to get goes on in a new epoch, for nobody
    takes a letter out of order.
"""

from collections.abc import Callable
from dataclasses import dataclass

from p2pshare.model.ids import NO_LETTER, DeviceId, Epoch, LetterHash, PersonId, ShareId
from p2pshare.model.letters import FeedHead, Letter, Receipt, RefusedLetter
from p2pshare.model.limits import LETTER_MAX, RECEIPT_MAX
from p2pshare.model.packed import decode, encode
from p2pshare.store.db import Database, Transaction

Signer = Callable[[Epoch, int, LetterHash], tuple[Letter, LetterHash]]
Resigner = Callable[[Letter, Epoch, int, LetterHash], tuple[Letter, LetterHash]]


async def write_letter(
    tx: Transaction, person: PersonId, kind: str, share: ShareId | None, fresh_epoch: Epoch, sign: Signer, now: int
) -> int:
    """Sign and enter the next letter to `person`; return its number. `fresh_epoch` begins the feed if there is none."""
    row = await tx.row("SELECT epoch, number, hash FROM feed_out WHERE person = ?", (person,))
    epoch, number, previous = (Epoch(row[0]), int(row[1]), LetterHash(row[2])) if row else (fresh_epoch, 0, NO_LETTER)
    letter, letter_hash = sign(epoch, number + 1, previous)
    await tx.execute(
        "INSERT INTO letter_out (person, epoch, number, hash, kind, share, letter, written)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (person, epoch, number + 1, letter_hash, kind, share, encode(letter), now),
    )
    await tx.execute(
        "INSERT INTO feed_out (person, epoch, number, hash) VALUES (?, ?, ?, ?) ON CONFLICT (person) DO UPDATE SET"
        " number = excluded.number, hash = excluded.hash",
        (person, epoch, number + 1, letter_hash),
    )
    return number + 1


async def take_back(tx: Transaction, person: PersonId, share: ShareId, fresh_epoch: Epoch, sign: Resigner) -> None:
    """Forget what the letters say that offered `share`; letters that were to come after them are signed anew."""
    taken = await tx.rows(
        "UPDATE letter_out SET letter = x'' WHERE person = ? AND share = ? AND kind = 'share' RETURNING epoch, number",
        (person, share),
    )
    feed = await tx.row("SELECT epoch, number, hash FROM feed_out WHERE person = ?", (person,))
    if feed is None:
        return
    row = await tx.row(
        "SELECT coalesce(min(coalesce(a.number, 0)), 0) FROM device d LEFT JOIN feed_ack a ON a.device = d.device"
        " AND a.epoch = ? WHERE d.person = ?",
        (feed[0], person),
    )
    acknowledged = int(row[0]) if row else 0
    if any(epoch == feed[0] and number > acknowledged for epoch, number in taken):
        await _begin_anew(tx, person, Epoch(feed[0]), acknowledged, fresh_epoch, sign)


async def begin_at_head(tx: Transaction, person: PersonId, device: DeviceId) -> None:
    """Let a device that a person added later begin with the next letter: what was written before is not for it."""
    await tx.execute(
        "INSERT OR IGNORE INTO feed_ack (device, epoch, number, hash)"
        " SELECT ?, epoch, number, hash FROM letter_out l WHERE person = ? AND number ="
        " (SELECT max(number) FROM letter_out m WHERE m.person = l.person AND m.epoch = l.epoch)",
        (device, person),
    )


async def _begin_anew(
    tx: Transaction, person: PersonId, epoch: Epoch, acknowledged: int, fresh_epoch: Epoch, sign: Resigner
) -> None:
    """Write what is left of a feed into a fresh epoch; the old one stays as a record of hashes."""
    left = await tx.rows(
        "SELECT number, hash, kind, share, letter, written FROM letter_out WHERE person = ? AND epoch = ?"
        " AND number > ? ORDER BY number",
        (person, epoch, acknowledged),
    )
    number, previous = 0, LetterHash(left[-1][1])
    for _, _, kind, share, data, written in left:
        if not data:
            continue
        number += 1
        letter, previous = sign(_stored_letter(data), fresh_epoch, number, previous)
        await tx.execute(
            "INSERT INTO letter_out (person, epoch, number, hash, kind, share, letter, written)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (person, fresh_epoch, number, previous, kind, share, encode(letter), written),
        )
    await tx.execute(
        "UPDATE feed_out SET epoch = ?, number = ?, hash = ? WHERE person = ?", (fresh_epoch, number, previous, person)
    )


def _stored_letter(data: bytes) -> Letter:
    return decode(data, Letter, limit=LETTER_MAX, what="a stored letter")


@dataclass(frozen=True, slots=True)
class OutgoingLetter:
    """A letter that a device has not acknowledged."""

    epoch: Epoch
    number: int
    kind: str
    share: ShareId | None
    letter: Letter


async def unacknowledged(db: Database | Transaction, person: PersonId, device: DeviceId) -> list[OutgoingLetter]:
    """The letters to `person` that `device` has not acknowledged, in feed order."""
    rows = await db.rows(
        "SELECT l.epoch, l.number, l.kind, l.share, l.letter FROM letter_out l"
        " JOIN feed_out f ON f.person = l.person AND f.epoch = l.epoch"
        " LEFT JOIN feed_ack a ON a.device = ? AND a.epoch = l.epoch"
        " WHERE l.person = ? AND l.number > coalesce(a.number, 0) AND length(l.letter) > 0 ORDER BY l.number",
        (device, person),
    )
    return [OutgoingLetter(Epoch(e), n, kind, share, _stored_letter(data)) for e, n, kind, share, data in rows]


async def acknowledge(tx: Transaction, person: PersonId, device: DeviceId, head: FeedHead) -> bool:
    """Move `device`'s acknowledgement of my letters forward; False if the head is not one that I wrote."""
    row = await tx.row(
        "SELECT hash FROM letter_out WHERE person = ? AND epoch = ? AND number = ?", (person, head.epoch, head.number)
    )
    if row is None or row[0] != head.hash:
        return False
    await tx.execute(
        "INSERT INTO feed_ack (device, epoch, number, hash) VALUES (?, ?, ?, ?) ON CONFLICT (device, epoch) DO UPDATE"
        " SET number = excluded.number, hash = excluded.hash WHERE excluded.number > feed_ack.number",
        (device, head.epoch, head.number, head.hash),
    )
    return True


async def mark_refused(tx: Transaction, person: PersonId, refused: RefusedLetter) -> ShareId | None:
    """Note that a letter of mine was refused; return the share it was about."""
    await tx.execute(
        "UPDATE letter_out SET refused = ? WHERE person = ? AND epoch = ? AND number = ?",
        (refused.why, person, refused.epoch, refused.number),
    )
    row = await tx.row(
        "SELECT share FROM letter_out WHERE person = ? AND epoch = ? AND number = ?",
        (person, refused.epoch, refused.number),
    )
    return ShareId(row[0]) if row and row[0] is not None else None


# --- letters that come in ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InHead:
    """The last letter taken from a feed."""

    number: int
    hash: LetterHash
    forked: bool


async def in_head(tx: Transaction, device: DeviceId, epoch: Epoch) -> InHead | None:
    """The head of one incoming feed."""
    row = await tx.row("SELECT number, hash, forked FROM feed_in WHERE device = ? AND epoch = ?", (device, epoch))
    return InHead(row[0], LetterHash(row[1]), bool(row[2])) if row else None


async def latest_in_head(tx: Transaction, device: DeviceId) -> LetterHash:
    """The hash of the last letter of the device's newest epoch, or `NO_LETTER`."""
    row = await tx.row(
        "SELECT hash FROM feed_in WHERE device = ? ORDER BY started DESC, number DESC LIMIT 1", (device,)
    )
    return LetterHash(row[0]) if row else NO_LETTER


async def epochs_of(tx: Transaction, device: DeviceId) -> int:
    """How many epochs of the device's feed are known."""
    row = await tx.row("SELECT count(*) FROM feed_in WHERE device = ?", (device,))
    return int(row[0]) if row else 0


async def known_hashes(tx: Transaction, device: DeviceId, epoch: Epoch, number: int) -> list[LetterHash]:
    """The hashes of all letters taken with that number: more than one is a fork."""
    rows = await tx.rows(
        "SELECT hash FROM letter_in WHERE device = ? AND epoch = ? AND number = ?", (device, epoch, number)
    )
    return [LetterHash(row[0]) for row in rows]


async def enter_letter(
    tx: Transaction, device: DeviceId, letter: Letter, letter_hash: LetterHash, refused: str | None, now: int
) -> None:
    """Enter the next letter of a feed and move its head."""
    await tx.execute(
        "INSERT INTO letter_in (device, epoch, number, hash, letter, received, refused) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (device, letter.epoch, letter.number, letter_hash, encode(letter), now, refused),
    )
    await tx.execute(
        "INSERT INTO feed_in (device, epoch, number, hash, started, forked) VALUES (?, ?, ?, ?, ?, 0)"
        " ON CONFLICT (device, epoch) DO UPDATE SET number = excluded.number, hash = excluded.hash",
        (device, letter.epoch, letter.number, letter_hash, now),
    )


async def enter_fork(tx: Transaction, device: DeviceId, letter: Letter, letter_hash: LetterHash, now: int) -> None:
    """Keep the contradicting letter beside the first, and take nothing more from that feed."""
    await tx.execute(
        "INSERT OR IGNORE INTO letter_in (device, epoch, number, hash, letter, received, refused)"
        " VALUES (?, ?, ?, ?, ?, ?, 'fork')",
        (device, letter.epoch, letter.number, letter_hash, encode(letter), now),
    )
    await tx.execute("UPDATE feed_in SET forked = 1 WHERE device = ? AND epoch = ?", (device, letter.epoch))


async def heads_for_receipt(db: Database | Transaction, device: DeviceId) -> tuple[FeedHead, ...]:
    """What a receipt to `device` says of its feeds."""
    rows = await db.rows("SELECT epoch, number, hash FROM feed_in WHERE device = ? ORDER BY started, epoch", (device,))
    return tuple(FeedHead(epoch=r[0], number=r[1], hash=r[2]) for r in rows)


async def refusals_for_receipt(db: Database | Transaction, device: DeviceId) -> tuple[RefusedLetter, ...]:
    """The device's letters that were refused, the latest fifty."""
    rows = await db.rows(
        "SELECT epoch, number, refused FROM letter_in WHERE device = ? AND refused IS NOT NULL AND refused <> 'fork'"
        " ORDER BY received DESC, number DESC LIMIT 50",
        (device,),
    )
    return tuple(RefusedLetter(epoch=r[0], number=r[1], why=r[2]) for r in rows)


# --- receipts ---------------------------------------------------------------------------------------------


async def next_receipt_counter(tx: Transaction, device: DeviceId) -> int:
    """Draw the counter of the next receipt to `device`."""
    await tx.execute(
        "INSERT INTO receipt_out (device, counter) VALUES (?, 1) ON CONFLICT (device)"
        " DO UPDATE SET counter = counter + 1",
        (device,),
    )
    row = await tx.row("SELECT counter FROM receipt_out WHERE device = ?", (device,))
    return int(row[0]) if row else 1


async def enter_receipt(tx: Transaction, device: DeviceId, counter: int, receipt: Receipt, now: int) -> bool:
    """Keep a verified receipt if its counter is greater than any before; tell whether it was."""
    return bool(
        await tx.execute(
            "INSERT INTO receipt_in (device, counter, receipt, received) VALUES (?, ?, ?, ?) ON CONFLICT (device)"
            " DO UPDATE SET counter = excluded.counter, receipt = excluded.receipt, received = excluded.received"
            " WHERE excluded.counter > receipt_in.counter",
            (device, counter, encode(receipt), now),
        )
    )


def stored_receipt(data: bytes) -> Receipt:
    """A receipt as kept in the database."""
    return decode(data, Receipt, limit=RECEIPT_MAX, what="a stored receipt")

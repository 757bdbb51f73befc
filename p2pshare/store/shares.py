"""Shares in both directions: their states, totals, and which objects each covers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from p2pshare.errors import Ambiguous, NotFound
from p2pshare.model.ids import DeviceId, ObjectId, PersonId, ShareId
from p2pshare.model.letters import ScanSummary, ShareLetter
from p2pshare.model.limits import LETTER_MAX
from p2pshare.model.packed import decode, encode
from p2pshare.model.views import ShareState
from p2pshare.store.db import Database, Transaction
from p2pshare.store.params import blobs, texts


class Direction(StrEnum):
    """Whether I offered the share or it was offered to me."""

    OUT = "out"
    IN = "in"


@dataclass(frozen=True, slots=True)
class Share:
    """One share as this vault knows it. `device` is who sent it (in)."""

    share: ShareId
    direction: Direction
    person: PersonId
    device: DeviceId | None
    state: ShareState
    why: str
    question: str
    scans: tuple[ScanSummary, ...]
    layout: ObjectId
    keyring: ObjectId
    base: ObjectId | None
    objects: int
    chunks_total: int
    chunks_done: int
    stored_bytes: int
    wire_bytes: int
    expires: int | None
    created: int
    changed: int


_COLUMNS = (
    "share, direction, person, device, state, why, question, scans, layout, keyring, base, objects, chunks_total,"
    " chunks_done, stored_bytes, wire_bytes, expires, created, changed"
)


def _share(row: tuple[object, ...]) -> Share:
    values = list(row)
    values[1] = Direction(str(row[1]))
    values[4] = ShareState(str(row[4]))
    values[7] = decode(row[7], tuple[ScanSummary, ...], limit=LETTER_MAX, what="a stored share")  # type: ignore[arg-type]
    return Share(*values)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class NewShare:
    """What a share is entered with."""

    direction: Direction
    person: PersonId
    device: DeviceId | None
    state: ShareState
    letter: ShareLetter
    base: ObjectId | None


async def enter(tx: Transaction, new: NewShare, now: int) -> None:
    """Enter a share, or replace the same share when it is offered anew: what is shown is what is offered now."""
    letter = new.letter
    await tx.execute(
        "INSERT INTO share (share, direction, person, device, state, why, question, scans, letter, layout, keyring,"
        " base, objects, chunks_total, chunks_done, stored_bytes, wire_bytes, expires, created, changed)"
        " VALUES (?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, ?, ?, ?)"
        " ON CONFLICT (share, direction) DO UPDATE SET device = excluded.device, state = excluded.state, why = '',"
        " question = excluded.question, scans = excluded.scans, expires = excluded.expires, letter = excluded.letter,"
        " layout = excluded.layout, keyring = excluded.keyring, base = excluded.base, objects = excluded.objects,"
        " chunks_total = excluded.chunks_total, stored_bytes = excluded.stored_bytes, changed = excluded.changed",
        (
            letter.share, new.direction.value, new.person, new.device, new.state.value, letter.question,
            encode(letter.scans), encode(letter), letter.layout.shape.object_id, letter.keyring.shape.object_id,
            new.base, letter.objects, letter.chunks, letter.stored_bytes, letter.expires, now, now,
        ),
    )  # fmt: skip


async def cover(tx: Transaction, share: ShareId, direction: Direction, objects: Iterable[tuple[ObjectId, int]]) -> None:
    """Set which objects the share covers, each with the number of its scan in the letter (-1: the share's own)."""
    await tx.execute("DELETE FROM share_object WHERE share = ? AND direction = ?", (share, direction.value))
    await tx.many(
        "INSERT OR IGNORE INTO share_object (share, direction, object_id, scan) VALUES (?, ?, ?, ?)",
        [(share, direction.value, object_id, scan) for object_id, scan in objects],
    )


async def covered(db: Database | Transaction, share: ShareId, direction: Direction) -> dict[ObjectId, int]:
    """The objects that a share covers, with the number of their scan."""
    rows = await db.rows(
        "SELECT object_id, scan FROM share_object WHERE share = ? AND direction = ?", (share, direction.value)
    )
    return {ObjectId(row[0]): int(row[1]) for row in rows}


async def listed(db: Database | Transaction, direction: Direction) -> list[Share]:
    """All shares of one direction, the newest first."""
    query = f"SELECT {_COLUMNS} FROM share WHERE direction = ? ORDER BY created DESC, share"  # noqa: S608 - constant
    return [_share(row) for row in await db.rows(query, (direction.value,))]


async def in_state(db: Database, direction: Direction, state: ShareState) -> list[Share]:
    """The shares of one direction in one state, the oldest first."""
    query = f"SELECT {_COLUMNS} FROM share WHERE direction = ? AND state = ? ORDER BY created, share"  # noqa: S608 - constant
    return [_share(row) for row in await db.rows(query, (direction.value, state.value))]


async def unopened(tx: Transaction, share: ShareId) -> int:
    """How many of the images of a share that came in were not opened yet."""
    row = await tx.row(
        "SELECT count(*) FROM share_object so JOIN object o ON o.object_id = so.object_id"
        " WHERE so.share = ? AND so.direction = 'in' AND so.scan >= 0 AND o.sha256 IS NULL",
        (share,),
    )
    return int(row[0]) if row else 0


async def open_offers(tx: Transaction, person: PersonId) -> int:
    """How many offers of `person` wait for an answer here."""
    row = await tx.row(
        "SELECT count(*) FROM share WHERE person = ? AND direction = 'in' AND state = 'offered'", (person,)
    )
    return int(row[0]) if row else 0


async def of_person(
    db: Database | Transaction, person: PersonId, direction: Direction, states: Sequence[ShareState]
) -> list[Share]:
    """The shares with one person that are in one of `states`, the oldest first."""
    query = (
        f"SELECT {_COLUMNS} FROM share WHERE person = ? AND direction = ?"  # noqa: S608 - constant
        " AND state IN (SELECT value FROM json_each(?)) ORDER BY created, share"
    )
    rows = await db.rows(query, (person, direction.value, texts(s.value for s in states)))
    return [_share(row) for row in rows]


async def get(db: Database | Transaction, share: ShareId, direction: Direction) -> Share | None:
    """One share by its id."""
    row = await db.row(
        f"SELECT {_COLUMNS} FROM share WHERE share = ? AND direction = ?",  # noqa: S608 - constant
        (share, direction.value),
    )
    return _share(row) if row else None


async def by_prefix(db: Database, text: str, direction: Direction) -> Share:
    """The one share whose id begins with `text`. Raises NotFound or Ambiguous."""
    wanted = text.strip().lower()
    usable = bool(wanted) and all(c in "0123456789abcdef" for c in wanted)
    rows = await db.rows(
        f"SELECT {_COLUMNS} FROM share WHERE direction = ? AND lower(hex(share)) LIKE ? LIMIT 2",  # noqa: S608 - constant
        (direction.value, f"{wanted}%" if usable else "-"),
    )
    if not rows:
        raise NotFound(f"share {text!r}")
    if len(rows) > 1:
        raise Ambiguous(f"share {text!r}")
    return _share(rows[0])


async def letter_of(db: Database | Transaction, share: ShareId, direction: Direction) -> ShareLetter | None:
    """The letter that offered a share."""
    row = await db.row("SELECT letter FROM share WHERE share = ? AND direction = ?", (share, direction.value))
    return decode(row[0], ShareLetter, limit=LETTER_MAX, what="a stored share") if row else None


async def move(
    tx: Transaction, share: Share, state: ShareState, why: str, now: int, *, receipt: bytes | None = None
) -> bool:
    """Bring a share to `state`, if it is still in the state that `share` says; tell whether it was.

    Somebody may have revoked it since it was read. `receipt`, where given, is the signed proof and is kept.
    """
    moved = await tx.execute(
        "UPDATE share SET state = ?, why = ?, changed = ?, receipt = coalesce(?, receipt)"
        " WHERE share = ? AND direction = ? AND state = ?",
        (state.value, why, now, receipt, share.share, share.direction.value, share.state.value),
    )
    return bool(moved)


async def count_done(tx: Transaction, share: ShareId, direction: Direction, done: int) -> None:
    """Set how many chunks are done."""
    await tx.execute(
        "UPDATE share SET chunks_done = ? WHERE share = ? AND direction = ?", (done, share, direction.value)
    )


async def count_sent(db: Database, share: ShareId, wire_bytes: int, term: int | None) -> None:
    """Add to the bytes that went out for a share of mine."""
    await db.progress(
        "UPDATE share SET wire_bytes = wire_bytes + ? WHERE share = ? AND direction = 'out'", (wire_bytes, share), term
    )


async def receipt_of(db: Database, share: ShareId) -> bytes | None:
    """The newest signed receipt that says how far a share of mine came."""
    row = await db.row("SELECT receipt FROM share WHERE share = ? AND direction = 'out'", (share,))
    return row[0] if row else None


async def complete_objects(db: Database | Transaction, objects: Sequence[ObjectId]) -> set[ObjectId]:
    """Which of `objects` have all their chunks here, durable."""
    rows = await db.rows(
        "SELECT o.object_id FROM json_each(?) j CROSS JOIN object o ON o.object_id = unhex(j.value)"
        " WHERE (SELECT count(*) FROM chunk c WHERE c.object = o.object) = max(1, (o.size + 1048575) / 1048576)",
        (blobs(objects),),
    )
    return {ObjectId(row[0]) for row in rows}


async def stored_sizes(db: Database | Transaction, objects: Sequence[ObjectId]) -> list[tuple[int, int]]:
    """For each of `objects` that is here: plaintext bytes, and stored bytes of its durable chunks."""
    rows = await db.rows(
        "SELECT o.size, (SELECT coalesce(sum(c.length), 0) FROM chunk c WHERE c.object = o.object)"
        " FROM json_each(?) j CROSS JOIN object o ON o.object_id = unhex(j.value)",
        (blobs(objects),),
    )
    return [(int(row[0]), int(row[1])) for row in rows]


async def exchanged_chunks(
    db: Database | Transaction, person: PersonId, objects: Sequence[ObjectId]
) -> dict[ObjectId, set[int]]:
    """Which chunks of `objects` are durable here and were exchanged with `person`, in either direction.

    What others gave me does not count: leaving it out of a Want would tell `person` that I have it.
    """
    here: dict[ObjectId, set[int]] = {}
    rows = await db.rows(
        "SELECT o.object_id, c.number FROM json_each(?1) j CROSS JOIN object o ON o.object_id = unhex(j.value)"
        " JOIN chunk c ON c.object = o.object JOIN pack p ON p.pack = c.pack"
        " WHERE EXISTS (SELECT 1 FROM share s WHERE s.share = p.share AND s.direction = 'in' AND s.person = ?2)"
        " OR EXISTS (SELECT 1 FROM share_object so JOIN share s ON s.share = so.share AND s.direction = 'out'"
        "  WHERE so.object_id = o.object_id AND so.direction = 'out' AND s.person = ?2)",
        (blobs(objects), person),
    )
    for object_id, number in rows:
        here.setdefault(ObjectId(object_id), set()).add(int(number))
    return here


async def base_for(
    db: Database | Transaction, person: PersonId, direction: Direction, layout: ObjectId
) -> Share | None:
    """The share with `person` whose layout is `layout` and that was delivered."""
    row = await db.row(
        f"SELECT {_COLUMNS} FROM share WHERE person = ? AND direction = ? AND layout = ?"  # noqa: S608 - constant
        " AND state IN ('delivered', 'imported') ORDER BY created DESC LIMIT 1",
        (person, direction.value, layout),
    )
    return _share(row) if row else None

"""Serving: whether a share lets its person have a chunk now, and where the chunk lies, in one look.

This is asked for every batch that goes out, so that a share that was revoked is served no further.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from p2pshare.model.ids import ObjectId, PersonId, ShareId
from p2pshare.model.ports import ChunkRun
from p2pshare.model.views import ShareState
from p2pshare.store.db import Database
from p2pshare.store.params import texts
from p2pshare.store.scans import ChunkPlace

SERVED: Final = (ShareState.ACCEPTED, ShareState.SENDING, ShareState.DELIVERED, ShareState.IMPORTED)


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a share of mine stands now. `covered`: it covers every object that was asked about."""

    person: PersonId
    state: ShareState
    expires: int | None
    blocked: bool
    covered: bool


# Left joins, whose order the planner keeps: it would otherwise look through all that the share covers.
_QUERY: Final = (
    "SELECT s.person, s.state, s.expires, p.person IS NULL OR p.blocked IS NOT NULL,"
    " j.key IS NULL OR so.object_id IS NOT NULL, o.object_id, c.number, k.pack_id, c.offset, c.length, c.digest"
    " FROM share s LEFT JOIN person p ON p.person = s.person LEFT JOIN json_each(?) j"
    " LEFT JOIN share_object so ON so.object_id = unhex(j.value ->> 0) AND so.share = s.share AND so.direction = 'out'"
    " LEFT JOIN object o ON o.object_id = so.object_id"
    " LEFT JOIN chunk c ON c.object = o.object AND c.number >= j.value ->> 1 AND c.number < j.value ->> 2"
    " LEFT JOIN pack k ON k.pack = c.pack WHERE s.share = ? AND s.direction = 'out' ORDER BY j.key, c.number"
)


async def count(db: Database, share: ShareId, wire_bytes: int, now: int, term: int | None) -> bool:
    """Add to the bytes that go out for a share of mine, if its person may still have them; tell whether so."""
    changed = await db.progress(
        "UPDATE share SET wire_bytes = wire_bytes + ? WHERE share = ? AND direction = 'out'"
        " AND state IN (SELECT value FROM json_each(?)) AND (expires IS NULL OR expires >= ?)"
        " AND EXISTS (SELECT 1 FROM person p WHERE p.person = share.person AND p.blocked IS NULL)",
        (wire_bytes, share, texts(SERVED), now),
        term,
    )
    return changed > 0


async def look_up(db: Database, share: ShareId, runs: Sequence[ChunkRun]) -> tuple[Terms, list[ChunkPlace]] | None:
    """The terms of a share that I made, and where the chunks of `runs` lie, in their order; None: no such share.

    A chunk that is not durable here, or whose object the share does not cover, is left out.
    """
    asked = json.dumps([(run.object_id.hex(), run.first, run.first + run.count) for run in runs])
    rows = await db.rows_while_counting(_QUERY, (asked, share))
    if not rows:
        return None
    person, state, expires, blocked = rows[0][:4]
    covered = all(row[4] for row in rows)
    places = [ChunkPlace(ObjectId(row[5]), *row[6:]) for row in rows if row[7] is not None]
    return Terms(PersonId(person), ShareState(state), expires, bool(blocked), covered), places

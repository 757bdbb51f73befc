"""The log: sentences' facts in a hash chain, signed by the device, so that a changed or missing entry shows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from p2pshare.crypto.audit import LOG_START, link
from p2pshare.crypto.keys import SigningKey, verify
from p2pshare.errors import Forged
from p2pshare.store.db import Database, Transaction

Detail = Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry; `detail` is a JSON object of plain facts, free of secrets."""

    number: int
    time: int
    kind: str
    detail: str


async def enter(tx: Transaction, device: SigningKey, kind: str, detail: Detail, now: int) -> None:
    """Append one entry, in the transaction that makes it true."""
    row = await tx.row("SELECT number, hash FROM log ORDER BY number DESC LIMIT 1")
    number, previous = (int(row[0]) + 1, bytes(row[1])) if row else (1, LOG_START)
    text = json.dumps(detail, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    entry_hash = link(previous, number, now, kind, text)
    await tx.execute(
        "INSERT INTO log (number, time, kind, detail, hash, signature) VALUES (?, ?, ?, ?, ?, ?)",
        (number, now, kind, text, entry_hash, device.sign("sig/audit", entry_hash)),
    )


async def entries(db: Database, *, limit: int | None = None) -> list[LogEntry]:
    """The log from its beginning, or its last `limit` entries."""
    rows = await db.rows(
        "SELECT number, time, kind, detail FROM log ORDER BY number DESC LIMIT ?", (-1 if limit is None else limit,)
    )
    return [LogEntry(*row) for row in reversed(rows)]


async def problems(db: Database, device_public: bytes) -> list[str]:
    """What is wrong with the chain, in words; empty when every entry follows from the one before."""
    wrong: list[str] = []
    previous, expected = LOG_START, 1
    for number, time, kind, detail, entry_hash, signature in await db.rows(
        "SELECT number, time, kind, detail, hash, signature FROM log ORDER BY number"
    ):
        if number != expected:
            wrong.append(f"log: entries {expected} to {number - 1} are missing")
        elif entry_hash != link(previous, number, time, kind, detail):
            wrong.append(f"log: entry {number} was changed")
        elif signature is not None:
            try:
                verify(device_public, "sig/audit", entry_hash, signature)
            except Forged:
                wrong.append(f"log: the signature of entry {number} does not fit")
        previous, expected = entry_hash, number + 1
    return wrong

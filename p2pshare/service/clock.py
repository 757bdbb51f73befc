"""The clock is an argument: services ask it, tests set it."""

import time
from collections.abc import Callable
from typing import Final

from p2pshare.store.db import Database

_JUMP_SECONDS: Final = 7 * 86400
_NOTED_EVERY: Final = 6 * 3600

Clock = Callable[[], int]


def system_clock() -> int:
    """Seconds since 1970, from the operating system."""
    return int(time.time())


async def is_steady(db: Database, now: int) -> bool:
    """Whether the clock may be trusted to end things: it did not go back, or far ahead, since the last recorded time.

    That is the log's last entry, or what `keep_time` noted since. A jump opens nothing and destroys nothing: what has a
    date waits until the vault was used with the clock as it is.
    """
    last = await _last_recorded(db)
    return last is None or last <= now <= last + _JUMP_SECONDS


async def keep_time(db: Database, now: int, term: int | None) -> None:
    """Note the time now and then while the clock is steady, so that months without an entry are no jump."""
    last = await _last_recorded(db)
    if last is not None and last + _NOTED_EVERY <= now <= last + _JUMP_SECONDS:
        async with db.transaction(term) as tx:
            row = await tx.row("SELECT max(number) FROM log")
            noted = now.to_bytes(8, "big") + int(row[0] if row else 0).to_bytes(8, "big")
            await tx.execute("INSERT OR REPLACE INTO meta VALUES ('time', ?)", (noted,))


async def _last_recorded(db: Database) -> int | None:
    """The time of the log's last entry, or what was noted after it."""
    entry = await db.row("SELECT number, time FROM log ORDER BY number DESC LIMIT 1")
    noted = await db.row("SELECT value FROM meta WHERE key = 'time'")
    if entry and noted and int.from_bytes(noted[0][8:], "big") == entry[0]:
        return int.from_bytes(noted[0][:8], "big")
    return int(entry[1]) if entry else None

"""The clock is an argument: services ask it, tests set it."""

import time
from collections.abc import Callable
from typing import Final

from p2pshare.store.db import Database

_JUMP_SECONDS: Final = 7 * 86400

Clock = Callable[[], int]


def system_clock() -> int:
    """Seconds since 1970, from the operating system."""
    return int(time.time())


async def is_steady(db: Database, now: int) -> bool:
    """Whether the clock may be trusted to end things: it did not go back, or far ahead, since the log's last entry.

    A jump opens nothing and destroys nothing: what has a date waits until the vault was used with the clock as it is.
    """
    row = await db.row("SELECT max(time) FROM log")
    last = int(row[0]) if row and row[0] is not None else now
    return last <= now <= last + _JUMP_SECONDS

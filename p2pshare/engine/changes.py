"""News: tells every part of the engine that the database changed, whoever changed it.

Other processes write to the same vault; SQLite's data_version says so for the price of one tiny query.
"""

import asyncio
from typing import Final

from p2pshare.store.db import Database

POLL_SECONDS: Final = 0.1


class Changes:
    """A number that grows with every change, and a way to wait until it does."""

    def __init__(self, db: Database) -> None:
        """Watch `db` once `run` runs."""
        self._db = db
        self._number = 0
        self._changed = asyncio.Condition()

    @property
    def number(self) -> int:
        """How many changes were seen."""
        return self._number

    async def wait_beyond(self, number: int) -> int:
        """Return the number of changes as soon as it is greater than `number`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._number > number)
            return self._number

    async def announce(self) -> None:
        """Say that something changed that the database does not show."""
        async with self._changed:
            self._number += 1
            self._changed.notify_all()

    async def run(self) -> None:
        """Watch for ever."""
        seen = await self._db.data_version()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            version = await self._db.data_version()
            if version != seen:
                seen = version
                await self.announce()

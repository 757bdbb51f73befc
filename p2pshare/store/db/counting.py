"""The connection that counts: what happens many times a second is written, and read, without waiting for the disk.

Rule 1: what it commits survives the process, not a power cut, so nothing but counters and notes is written here.
Rule 2: it is a connection of its own: every commit of another one costs a connection what it has read of the database.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from p2pshare.errors import DamagedDatabase
from p2pshare.store.db.connection import Connection, to_the_end

T = TypeVar("T")


class Counting:
    """Opens the connection when it is first used."""

    def __init__(self, opened: Callable[[], Awaitable[Connection]]) -> None:
        """`opened` makes the connection, with `synchronous = NORMAL`."""
        self._opened = opened
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """The connection, for one statement. Raises as opening it does."""
        async with self._turn:
            if self._connection is None:
                self._connection = await to_the_end(self._open())
            try:
                yield self._connection
            except DamagedDatabase:
                await self.drop()
                raise

    async def paused(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` while nobody counts and the connection is closed."""
        async with self._turn:
            await self.drop()
            return await work

    async def drop(self) -> None:
        """Close the connection, if it is open. Internal: within one of the blocks above."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await to_the_end(connection.close())

    async def _open(self) -> Connection:
        return await self._opened()

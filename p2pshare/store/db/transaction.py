"""One block of writes: kept whole or not at all, and of no use to anybody who holds on to it.

Rule 1: it begins with BEGIN IMMEDIATE; upgrading a read transaction fails at once whatever the time-out.
Rule 2: a cancelled block is rolled back after the statement that still runs for it, and before the next block begins.
Rule 3: where SQLite rolled back by itself, nothing more is written outside a transaction by mistake.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from p2pshare.errors import DiskTrouble, EngineTaken
from p2pshare.store.db.connection import Connection, Row, Value, to_the_end


class Transaction:
    """One open write transaction; usable only inside its `async with`."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection

    async def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run one statement that gives no rows, and return how many it changed."""
        return await self._open().run(sql, params)

    async def insert(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run one INSERT and return the rowid of the new row."""
        return await self._open().insert(sql, params)

    async def many(self, sql: str, rows: Iterable[Sequence[Value]]) -> int:
        """Run one statement for each of `rows`, and return how many rows of the database changed."""
        return await self._open().run_many(sql, rows)

    async def rows(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """All rows of a query (or of a statement with RETURNING), which sees what this transaction wrote."""
        return await self._open().fetch(sql, params)

    async def row(self, sql: str, params: Sequence[Value] = ()) -> Row | None:
        """The first row of a query, or None."""
        return next(iter(await self.rows(sql, params)), None)

    async def commit(self) -> None:
        """Internal: `written` commits when the block ends."""
        connection = self._open()
        self._connection = None
        await connection.commit()

    def end(self) -> None:
        """Internal: whoever still holds this can do nothing with it."""
        self._connection = None

    def _open(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("this transaction is over")
        if not self._connection.in_transaction:  # SQLite rolls back by itself when the disk is full or faulty
            raise DiskTrouble("the transaction was rolled back")
        return self._connection


@asynccontextmanager
async def written(writer: Connection, term: int | None) -> AsyncIterator[Transaction]:
    """A block of writes on `writer`: committed when it ends, rolled back if it raises or is cancelled.

    Raises:
        EngineTaken: `term` is given and is no longer the engine's.
        VaultBusy: another process kept writing for `BUSY_SECONDS`.
        DiskTrouble: the disk refused; nothing of the block is kept.
    """
    transaction = Transaction(writer)
    try:
        await writer.begin()
        if term is not None:
            await _check_term(transaction, term)
        yield transaction
        await to_the_end(transaction.commit())
    except BaseException:
        transaction.end()
        await to_the_end(writer.roll_back())  # after a statement that still runs for a cancelled task
        raise


async def _check_term(transaction: Transaction, term: int) -> None:
    if await transaction.row("SELECT 1 FROM engine WHERE term = ?", (term,)) is None:
        raise EngineTaken

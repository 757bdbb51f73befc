"""The encrypted database of a vault: connections that read, write and count, for every task of the process.

Rule 1: a query fetches all its rows at once, so that no read transaction outlives it: that would freeze
        `data_version` and keep the WAL from being truncated.
Rule 2: one block of writes at a time in this process; SQLite arbitrates between that, counting, and other processes.
Rule 3: opening, closing and rekeying run to their end even if the task is cancelled.
"""

import asyncio
import os
import sqlite3  # only for its tokenizer
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from p2pshare.errors import AlreadyExists, DamagedDatabase, DiskTrouble, EngineTaken, LocalError, Unsupported, VaultBusy
from p2pshare.store.db.connection import Connection, Row, Value, key_literal, to_the_end
from p2pshare.store.db.counting import Counting
from p2pshare.store.db.transaction import Transaction, written
from p2pshare.store.diskio import disk_trouble, sync_folder

_PAGE_BYTES: Final = 4096  # SQLCipher 4's
_TORN_SECONDS: Final = 0.5


class Database:
    """One vault's database, made by `open`. Each method may be called by several tasks at once."""

    def __init__(self, path: Path, key: bytes, *, read_only: bool) -> None:
        """Internal: use `open`."""
        self.path = path
        self.read_only = read_only  # it lies where nothing can be written: every write is `DiskTrouble`
        self._key = key
        self._reader: Connection | None = None
        self._writer: Connection | None = None
        self._connected = asyncio.Event()
        self._counting = Counting(self._open_counter)
        self._turn = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None

    @classmethod
    async def open(cls, path: Path, key: bytes, migrations: Sequence[str], *, create: bool = False) -> "Database":
        """Open the database at `path` with its raw 32-byte `key`, and bring it up to `migrations`.

        Args:
            path: the file; SQLite puts `-wal` and `-shm` beside it.
            key: SQLCipher's raw key.
            migrations: scripts; the database's version is how many of them it has had.
            create: make a new one (mode 0600); otherwise it must be there.

        Raises:
            AlreadyExists: `create`, and there is a file.
            DamagedDatabase: it is missing, too short or damaged, or does not open with `key`: SQLCipher cannot tell a
                wrong key from a damaged first page (`key` follows from an authentic header, so it is not the
                person's mistake; while a change of generation is unfinished, it may be of the generation before).
            Unsupported: it has had more migrations than there are here.
            VaultBusy: another process kept it locked for too long.
            DiskTrouble: the disk refused.
        """
        if create:
            _make_file(path)
        else:
            _look_at(path)
        writable = os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)
        db = cls(path, key, read_only=not writable)
        try:
            await to_the_end(db._connect())
            await db._migrate(migrations, may_be_new=create)
        except BaseException:
            await to_the_end(db._disconnect())
            if create:
                _unmake_file(path)
            raise
        return db

    async def rows(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """All rows of a query, as last committed by whichever process."""
        await self._connected.wait()
        reader = _there(self._reader)
        try:
            return await reader.fetch(sql, params)
        except DamagedDatabase:
            await to_the_end(self._renew_reader(reader))
            raise

    async def row(self, sql: str, params: Sequence[Value] = ()) -> Row | None:
        """The first row of a query, or None."""
        return next(iter(await self.rows(sql, params)), None)

    async def data_version(self) -> int:
        """A number that differs from the last one if anybody, here or in another process, committed meanwhile."""
        return await self._number("data_version")

    @asynccontextmanager
    async def transaction(self, term: int | None = None) -> AsyncIterator[Transaction]:
        """Write: committed, durably, when the block ends; rolled back if it raises or is cancelled.

        One at a time in this process; other processes are waited for. A cancellation that arrives during the commit
        itself is passed on after the commit.

        Raises:
            EngineTaken: `term` is given and is no longer the engine's.
            VaultBusy: another process kept writing for `BUSY_SECONDS`.
            DiskTrouble: the disk refused, or is read-only; nothing of the block is kept.
        """
        async with self._alone() as writer, written(writer, term) as transaction:
            yield transaction

    async def progress(self, sql: str, params: Sequence[Value], term: int | None = None) -> int:
        """Run one UPDATE that ends in a WHERE, without waiting for the disk: it survives the process, not a power cut.

        For counters; returns how many rows changed. Not inside a transaction of its task. Raises as `transaction`.
        """
        self._refuse_nesting()
        guard = "" if term is None else " AND EXISTS (SELECT 1 FROM engine WHERE term = ?)"
        async with self._counting.connection() as counter:
            changed = await counter.run_alone(sql + guard, [*params, *([] if term is None else [term])])
        if not changed and term is not None and await self.row("SELECT 1 FROM engine WHERE term = ?", (term,)) is None:
            raise EngineTaken
        return changed

    async def rows_while_counting(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """As `rows`, for a query that alternates with `progress`, whose writes cost every other connection its cache.

        Raises as `rows`, and `DiskTrouble` when the vault is on a read-only disk.
        """
        async with self._counting.connection() as counter:
            return await counter.fetch(sql, params)

    async def integrity(self) -> list[str]:
        """Everything that is wrong with the database, in words; empty if nothing is.

        Every page's HMAC, SQLite's own structures, and every reference between tables.
        """
        if not self.read_only:
            with suppress(VaultBusy):
                await self.checkpoint()
        pages = await self._findings("cipher_integrity_check")
        if pages:  # a page that another process is just now writing to the file looks torn: believe what stays so
            await asyncio.sleep(_TORN_SECONDS)
            again = set(await self._findings("cipher_integrity_check"))
            pages = [page for page in pages if page in again]
        structure = [line for line in await self._findings("integrity_check") if line != "ok"]
        return pages + structure + await self._findings("foreign_key_check")

    async def checkpoint(self) -> None:
        """Bring everything from the WAL into the database file, durably, and empty the WAL.

        Raises:
            VaultBusy: another process was reading or writing all the while.
            DiskTrouble: the disk refused, or is read-only.
        """
        async with self._alone() as writer:
            if (await writer.fetch("PRAGMA wal_checkpoint(TRUNCATE)"))[0][0]:
                raise VaultBusy

    async def rekey(self, new_key: bytes) -> None:
        """Encrypt the whole database anew; after a crash it opens with exactly one of the two keys.

        The queries of this process wait meanwhile. After an error it is open as before.

        Raises:
            VaultBusy: another process has the database open.
            DiskTrouble: the disk refused.
        """
        async with self._alone():
            await to_the_end(self._counting.paused(self._rekey(new_key)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close; the last process to do so leaves no WAL behind. A second time does nothing."""
        self._refuse_nesting()
        async with self._turn:
            await to_the_end(self._counting.paused(self._disconnect()))

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Connection]:
        """This process's turn to write."""
        self._refuse_nesting()
        if self.read_only:
            raise DiskTrouble("the vault is on a read-only disk")
        async with self._turn:
            self._holder = asyncio.current_task()
            try:
                yield _there(self._writer)
            except DamagedDatabase:
                await to_the_end(self._renew_writer())
                raise
            finally:
                self._holder = None

    def _refuse_nesting(self) -> None:
        if self._holder is not None and self._holder is asyncio.current_task():
            raise RuntimeError("a transaction inside a transaction would wait for itself")

    async def _rekey(self, new_key: bytes) -> None:
        self._connected.clear()
        writer, reader = _there(self._writer), _there(self._reader)
        try:
            await reader.close()
            # A rollback journal, because that is refused while another process has the WAL open; an exclusive lock,
            # because it is kept from then on; EXTRA, because a journal that comes back after a power cut would bring
            # the old key back after we said that it is gone.
            await writer.fetch("PRAGMA locking_mode = EXCLUSIVE")
            if await writer.fetch("PRAGMA journal_mode = DELETE") != [("delete",)]:
                raise VaultBusy
            await writer.fetch("PRAGMA synchronous = EXTRA")
            if await writer.fetch(f"PRAGMA rekey = {key_literal(new_key)}") != [("ok",)]:
                raise DiskTrouble("the database was not encrypted anew")
            self._key = new_key
        finally:
            try:
                await self._disconnect()
                await self._connect()
            finally:
                self._connected.set()  # even if it stays closed: queries that wait must come to know

    async def _connect(self) -> None:
        if not self.read_only:
            self._writer = await self._open_writer()
        self._reader = await self._open_reader()
        self._connected.set()

    async def _open_writer(self) -> Connection:
        return await Connection.open(self.path, "mode=rw", self._key, "journal_mode = WAL")

    async def _open_counter(self) -> Connection:
        if self.read_only:
            raise DiskTrouble("the vault is on a read-only disk")
        _there(self._writer)
        return await Connection.open(self.path, "mode=rw", self._key, "synchronous = NORMAL")

    async def _open_reader(self) -> Connection:
        if not self.read_only:
            return await Connection.open(self.path, "mode=rw", self._key, "query_only = ON")
        # Without a WAL there is nothing but the file; with one, SQLite needs its -shm, and says so if it cannot.
        flags = "mode=ro" if _has_content(_beside(self.path, "-wal")) else "immutable=1"
        return await Connection.open(self.path, flags, self._key)

    # A connection on which SQLCipher met a damaged page reads nothing more, not even sound pages: take a fresh one.

    async def _renew_reader(self, reader: Connection) -> None:
        with suppress(LocalError):  # what matters is the damage, which is being raised
            fresh = await self._open_reader()
            if self._reader is reader and self._connected.is_set():
                self._reader, fresh = fresh, reader
            await fresh.close()

    async def _renew_writer(self) -> None:
        with suppress(LocalError):
            fresh, worn = await self._open_writer(), _there(self._writer)
            self._writer = fresh
            await worn.close()

    async def _disconnect(self) -> None:
        reader, writer = self._reader, self._writer
        self._reader = self._writer = None
        try:
            if reader is not None:
                await reader.close()
        finally:
            if writer is not None:
                await writer.close()

    async def _migrate(self, migrations: Sequence[str], *, may_be_new: bool) -> None:
        version = await self._number("user_version")
        if version == 0 and migrations and not may_be_new:
            raise DamagedDatabase("it is empty")
        if version < len(migrations) and self.read_only:
            raise DiskTrouble("the database is of an older p2pshare, and cannot be brought up to date where it lies")
        for number in range(version, len(migrations)):
            async with self.transaction() as transaction:
                if await transaction.row("PRAGMA user_version") == (number,):  # no other process was quicker
                    for statement in _statements(migrations[number]):
                        await transaction.execute(statement)
                    await transaction.execute(f"PRAGMA user_version = {number + 1}")
        if await self._number("user_version") > len(migrations):
            raise Unsupported("the database")

    async def _number(self, pragma: str) -> int:
        row = await self.row(f"PRAGMA {pragma}")
        return int(row[0]) if row else 0

    async def _findings(self, pragma: str) -> list[str]:
        # On a connection of its own: FTS5 (seen in 3.53) compares the index, when somebody else changed it, with what
        # the connection remembers of it, and then finds damage where there is none.
        await self._connected.wait()
        try:
            fresh = await self._open_reader()
            try:
                return [" ".join(str(value) for value in row) for row in await fresh.fetch(f"PRAGMA {pragma}")]
            finally:
                await to_the_end(fresh.close())
        except DamagedDatabase as error:
            return [error.what]


def _statements(script: str) -> Iterator[str]:
    *pieces, rest = script.split(";")
    statement = ""
    for piece in pieces:
        statement += piece + ";"
        if sqlite3.complete_statement(statement):  # not so inside a trigger, a text or a comment
            yield statement
            statement = ""
    if (statement + rest).strip():
        yield statement + rest


def _there(connection: Connection | None) -> Connection:
    if connection is None:
        raise RuntimeError("the database is closed")
    return connection


def _make_file(path: Path) -> None:
    with disk_trouble(f"{path.name} cannot be made"):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            raise AlreadyExists(path.name) from None
    sync_folder(path.parent)


def _unmake_file(path: Path) -> None:
    for leftover in (path, *(_beside(path, suffix) for suffix in ("-wal", "-shm", "-journal"))):
        with suppress(OSError):
            leftover.unlink()


def _look_at(path: Path) -> None:
    with disk_trouble(f"{path.name} cannot be read"):
        if not path.is_file():
            raise DamagedDatabase("it is missing")
        if path.stat().st_size < _PAGE_BYTES:  # SQLite would take it for a new database, and write into it
            raise DamagedDatabase("it is too short")


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)

"""One SQLCipher connection, in a thread of its own: opened, unlocked, set up, and speaking our errors.

Rule 1: nobody else imports aiosqlite or sqlcipher3, or opens the database's files: closing any descriptor of them in
        this process would drop SQLite's POSIX locks (sqlite.org/howtocorrupt.html §2.2).
Rule 2: sqlcipher3's errors, which are not `sqlite3.Error`, become ours here; those that are a mistake of the program
        (bad SQL, a broken constraint) stay as they are.
Rule 3: neither keys nor parameters reach a log or an exception.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import aiosqlite
from sqlcipher3 import dbapi2 as sqlcipher

from p2pshare.errors import DamagedDatabase, DiskTrouble, LocalError, VaultBusy

Value = None | int | float | str | bytes
Row = tuple[Any, ...]  # what a column holds is known to the query, not to the type checker
T = TypeVar("T")

BUSY_SECONDS: Final = 10.0  # how long a write waits for other processes' writes

_BUSY_PAUSE: Final = 0.002  # SQLite's own handler sleeps up to 100 ms, and would miss the gaps a bulk writer leaves
_KEY_BYTES: Final = 32
_SETTINGS: Final = (
    "secure_delete = ON",
    "foreign_keys = ON",
    "cache_size = -6144",  # KiB, for each connection
    "temp_store = MEMORY",
    "mmap_size = 0",
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "journal_size_limit = 16777216",
    "synchronous = FULL",
)
_ERRORS: Final[dict[int, tuple[type[LocalError], str]]] = {
    3: (DiskTrouble, "the database may not be opened"),  # SQLITE_PERM
    5: (VaultBusy, ""),  # SQLITE_BUSY
    6: (VaultBusy, ""),  # SQLITE_LOCKED
    8: (DiskTrouble, "the database is read-only"),  # SQLITE_READONLY
    10: (DiskTrouble, "the disk reports a fault in the database"),  # SQLITE_IOERR
    11: (DamagedDatabase, "a page of it is not what was written"),  # SQLITE_CORRUPT
    13: (DiskTrouble, "there is no space left for the database"),  # SQLITE_FULL
    14: (DiskTrouble, "the database cannot be opened"),  # SQLITE_CANTOPEN
    15: (VaultBusy, ""),  # SQLITE_PROTOCOL: too many processes raced for the WAL
    26: (DamagedDatabase, "it is not what was written, or its key is another"),  # SQLITE_NOTADB
}

# At DEBUG aiosqlite logs every statement with its parameters, which are keys and names.
logging.getLogger("aiosqlite").setLevel(logging.WARNING)


class Connection:
    """An open connection in autocommit; statements run one after another, in the order in which they were asked."""

    def __init__(self, inner: aiosqlite.Connection, patience: "_Patience") -> None:
        """Internal: use `open`."""
        self._inner = inner
        self._patience = patience

    @classmethod
    async def open(cls, path: Path, flags: str, key: bytes, *settings: str) -> "Connection":
        """Open the database at `path` with its raw `key`.

        Args:
            path: the database file.
            flags: SQLite's URI parameters, such as `mode=rw`.
            key: 32 bytes.
            settings: pragmas, run after those that every connection gets.

        Raises:
            DamagedDatabase: it does not open with `key`; SQLCipher cannot tell a wrong key from a damaged first page.
            VaultBusy: another process kept it locked.
            DiskTrouble: the disk refused.
        """
        patience = _Patience()
        opening = _Opening(path, flags, key_literal(key), settings, patience)
        with _translated():
            try:
                return cls(await aiosqlite.Connection(opening, 64), patience)
            except sqlcipher.Error:
                # aiosqlite told its thread to stop and did not wait; it must not outlive the loop that it reports to.
                await asyncio.to_thread(opening.thread.join)
                raise

    async def fetch(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Run one statement and return all its rows."""
        with _translated():
            return cast("list[Row]", await self._inner.execute_fetchall(sql, params))

    async def run(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run one statement that gives no rows, and return how many it changed."""
        with _translated():
            return (await self._inner.execute(sql, params)).rowcount

    async def run_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> int:
        """Run one statement for each of `rows`, and return how many it changed."""
        with _translated():
            return (await self._inner.executemany(sql, rows)).rowcount

    async def insert(self, sql: str, params: Sequence[Value]) -> int:
        """Run one INSERT and return the rowid of the new row."""
        with _translated():
            row = await self._inner.execute_insert(sql, params)
        return int(row[0]) if row else 0

    async def begin(self) -> None:
        """Begin a write transaction, waiting up to `BUSY_SECONDS` for those of other processes."""
        await self.run_alone("BEGIN IMMEDIATE")

    async def run_alone(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run one statement that needs the right to write, waiting for it as `begin` does."""
        self._patience.renew()
        try:
            return await self.run(sql, params)
        except asyncio.CancelledError:
            self._patience.give_up()
            raise

    async def commit(self) -> None:
        """Commit; does nothing outside a transaction."""
        with _translated():
            await self._inner.commit()

    async def roll_back(self) -> None:
        """Roll back; does nothing outside a transaction, as where SQLite has rolled back by itself."""
        with _translated():
            await self._inner.rollback()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._inner.in_transaction

    async def close(self) -> None:
        """Close, after the statements asked for before; the last connection to a database takes the WAL away."""
        with _translated():
            await self._inner.close()


def key_literal(key: bytes) -> str:
    """`key` as SQLCipher takes a raw key in a pragma."""
    if len(key) != _KEY_BYTES:
        raise ValueError("a database key has 32 bytes")
    return f"\"x'{key.hex()}'\""


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, whatever is cancelled meanwhile; a cancellation is passed on afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from (None if task.cancelled() else task.exception())
    return task.result()


class _Patience:
    """SQLite's busy handler: try again every few milliseconds, until time is up or nobody wants it any more."""

    def __init__(self) -> None:
        self._given_up = threading.Event()
        self._since = 0.0

    def __call__(self, tries: int) -> bool:
        """Whether SQLite shall try once more; called in aiosqlite's thread."""
        if tries == 0:
            self._since = time.monotonic()
        if self._given_up.is_set() or time.monotonic() - self._since > BUSY_SECONDS:
            return False
        time.sleep(_BUSY_PAUSE)
        return True

    def renew(self) -> None:
        self._given_up.clear()

    def give_up(self) -> None:
        self._given_up.set()


class _Opening:
    """What aiosqlite calls, in the new thread, to get its connection."""

    thread: threading.Thread

    def __init__(self, path: Path, flags: str, key: str, settings: Sequence[str], patience: _Patience) -> None:
        self._uri = f"{path.absolute().as_uri()}?{flags}"
        self._key = key
        self._settings = settings
        self._patience = patience

    def __call__(self) -> Any:
        self.thread = threading.current_thread()
        connection = sqlcipher.connect(self._uri, uri=True, isolation_level=None)
        try:
            connection.set_busy_handler(self._patience)
            connection.execute("PRAGMA cipher_log = off")  # first, for the log goes to standard error
            connection.execute(f"PRAGMA key = {self._key}")
            connection.execute("PRAGMA cipher_compatibility = 4")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # until now a wrong key goes unnoticed
            for setting in (*_SETTINGS, *self._settings):
                connection.execute(f"PRAGMA {setting}").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlcipher.Error as error:
        known = _ERRORS.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF)  # the low byte of extended codes
        if known is None:
            raise
        kind, what = known
        raise kind(what) from None

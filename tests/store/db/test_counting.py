"""The connection that counts: quick, of the right term, and out of the way of everything else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from p2pshare.errors import DiskTrouble, EngineTaken
from p2pshare.store.db import Database

SCHEMA = """
CREATE TABLE engine (one INTEGER PRIMARY KEY, term INTEGER NOT NULL) STRICT;
INSERT INTO engine VALUES (1, 7);
CREATE TABLE counter (name TEXT NOT NULL, value INTEGER NOT NULL) STRICT;
INSERT INTO counter VALUES ('wire', 0);
"""
UP = "UPDATE counter SET value = value + ? WHERE name = 'wire'"
VALUE = "SELECT value FROM counter"


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    db = await Database.open(tmp_path / "vault.db", bytes(32), [SCHEMA], create=True)
    yield db
    await db.close()


async def test_counting_does_not_wait_for_the_disk_and_every_other_write_does(db: Database) -> None:
    await db.progress(UP, (5,))
    assert await db.rows_while_counting("PRAGMA synchronous") == [(1,)]
    async with db.transaction() as tx:
        assert await tx.row("PRAGMA synchronous") == (2,)
    assert await db.rows(VALUE) == await db.rows_while_counting(VALUE) == [(5,)]


async def test_counting_needs_the_term_of_now(db: Database) -> None:
    await db.progress(UP, (5,), 7)
    with pytest.raises(EngineTaken):
        await db.progress(UP, (5,), 6)
    await db.progress("UPDATE counter SET value = 9 WHERE name = ?", ("none",), 7)  # nothing to count is no error
    assert await db.rows(VALUE) == [(5,)]


async def test_a_count_waits_for_a_transaction_and_is_not_lost(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.execute("UPDATE counter SET value = 100")
        counting = asyncio.create_task(db.progress(UP, (5,)))
        await asyncio.sleep(0.05)
        assert not counting.done()
    await counting
    assert await db.rows(VALUE) == [(105,)]


async def test_counting_inside_a_transaction_would_wait_for_itself(db: Database) -> None:
    async with db.transaction():
        with pytest.raises(RuntimeError):
            await db.progress(UP, (5,))


async def test_it_goes_on_after_the_database_was_encrypted_anew(db: Database) -> None:
    await db.progress(UP, (5,))
    await asyncio.gather(db.rekey(b"n" * 32), *(db.progress(UP, (1,)) for _ in range(20)))
    assert await db.rows(VALUE) == [(25,)]


async def test_a_cancelled_close_closes_all_the_same(db: Database, tmp_path: Path) -> None:
    await db.progress(UP, (5,))
    closing = asyncio.create_task(db.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert [path.name for path in tmp_path.iterdir()] == ["vault.db"]  # the last to close takes the WAL away


async def test_on_a_read_only_disk_nothing_is_counted(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.close()
    monkeypatch.setattr("os.access", lambda *_: False)
    read_only = await Database.open(tmp_path / "vault.db", bytes(32), [SCHEMA])
    with pytest.raises(DiskTrouble):
        await read_only.progress(UP, (5,))
    assert await read_only.rows(VALUE) == [(0,)]
    await read_only.close()


async def test_a_closed_database_counts_nothing_and_leaves_no_file_behind(db: Database, tmp_path: Path) -> None:
    await db.progress(UP, (5,))
    await db.close()
    with pytest.raises(RuntimeError):
        await db.progress(UP, (5,))
    assert [path.name for path in tmp_path.iterdir()] == ["vault.db"]

"""One block of writes: all or nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from p2pshare.errors import DiskTrouble, EngineTaken
from p2pshare.store.db import Database, Transaction

SCHEMA = """
CREATE TABLE engine (one INTEGER PRIMARY KEY, term INTEGER NOT NULL) STRICT;
INSERT INTO engine VALUES (1, 7);
CREATE TABLE word (id INTEGER PRIMARY KEY, word TEXT NOT NULL) STRICT;
"""


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    db = await Database.open(tmp_path / "vault.db", bytes(32), [SCHEMA], create=True)
    yield db
    await db.close()


async def words(db: Database) -> list[str]:
    return [row[0] for row in await db.rows("SELECT word FROM word ORDER BY id")]


async def test_a_block_that_ends_is_kept(db: Database) -> None:
    async with db.transaction() as tx:
        assert await tx.insert("INSERT INTO word (word) VALUES (?)", ("one",)) == 1
        assert await tx.insert("INSERT INTO word (word) VALUES (?)", ("two",)) == 2
        assert await tx.many("INSERT INTO word (word) VALUES (?)", [("three",), ("four",)]) == 2
        assert await tx.execute("UPDATE word SET word = upper(word) WHERE id > ?", (2,)) == 2
        assert await tx.row("SELECT count(*) FROM word") == (4,)
        assert await tx.rows("DELETE FROM word WHERE id = 4 RETURNING word") == [("FOUR",)]
        assert await words(db) == []
    assert await words(db) == ["one", "two", "THREE"]


async def test_a_block_that_raises_leaves_nothing(db: Database) -> None:
    async def write() -> None:
        async with db.transaction() as tx:
            await tx.insert("INSERT INTO word (word) VALUES (?)", ("one",))
            raise LookupError

    with pytest.raises(LookupError):
        await write()
    assert await words(db) == []


async def test_a_block_cancelled_during_a_statement_leaves_nothing(db: Database) -> None:
    started = asyncio.Event()

    async def write() -> None:
        async with db.transaction() as tx:
            await tx.insert("INSERT INTO word (word) VALUES ('one')")
            started.set()
            await tx.execute(
                "INSERT INTO word (word) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000)"
                " SELECT 'many' FROM n"
            )

    task = asyncio.create_task(write())
    await started.wait()
    await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await words(db) == []
    async with db.transaction() as tx:
        await tx.insert("INSERT INTO word (word) VALUES ('after')")
    assert await words(db) == ["after"]


@pytest.mark.parametrize("turns", range(12))
async def test_a_block_cancelled_at_any_point_is_kept_whole_or_not_at_all(db: Database, turns: int) -> None:
    async def write() -> None:
        async with db.transaction() as tx:
            for word in ("one", "two", "three"):
                await tx.insert("INSERT INTO word (word) VALUES (?)", (word,))

    task = asyncio.create_task(write())
    for _ in range(turns):
        await asyncio.sleep(0.0002)
    task.cancel()
    cancelled = isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    kept = await words(db)
    assert kept in ([], ["one", "two", "three"])
    assert cancelled or kept
    async with db.transaction() as tx:
        assert await tx.row("SELECT count(*) FROM word") == (len(kept),)


async def test_blocks_of_one_process_take_turns(db: Database) -> None:
    async def count() -> None:
        async with db.transaction() as tx:
            row = await tx.row("SELECT count(*) FROM word")
            assert row is not None
            await asyncio.sleep(0.001)
            await tx.insert("INSERT INTO word (word) VALUES (?)", (str(row[0]),))

    await asyncio.gather(*(count() for _ in range(10)))
    assert await words(db) == [str(n) for n in range(10)]


async def test_a_block_inside_a_block_is_refused_rather_than_waiting_for_itself(db: Database) -> None:
    async with asyncio.timeout(2):
        with pytest.raises(RuntimeError, match="inside a transaction"):
            async with db.transaction(), db.transaction():
                pass
        with pytest.raises(RuntimeError, match="inside a transaction"):
            async with db.transaction():
                await db.close()


async def test_a_block_that_is_over_takes_nothing_more(db: Database) -> None:
    async with db.transaction() as tx:
        kept: Transaction = tx
    with pytest.raises(RuntimeError, match="over"):
        await kept.execute("DELETE FROM word")


async def test_an_engine_write_needs_the_term_of_now(db: Database) -> None:
    async with db.transaction(7) as tx:
        await tx.insert("INSERT INTO word (word) VALUES ('mine')")
    with pytest.raises(EngineTaken):
        async with db.transaction(6) as tx:
            await tx.insert("INSERT INTO word (word) VALUES ('late')")
    assert await words(db) == ["mine"]


async def test_when_the_disk_is_full_nothing_of_the_block_is_kept_even_if_it_goes_on(db: Database) -> None:
    async def write() -> None:
        async with db.transaction() as tx:
            await tx.rows("PRAGMA max_page_count = 12")
            await tx.insert("INSERT INTO word (word) VALUES ('before')")
            with pytest.raises(DiskTrouble, match="no space"):
                await tx.insert("INSERT INTO word (word) VALUES (hex(zeroblob(500000)))")
            await tx.insert("INSERT INTO word (word) VALUES ('after')")

    with pytest.raises(DiskTrouble, match="rolled back"):
        await write()
    assert await words(db) == []
    async with db.transaction() as tx:
        await tx.insert("INSERT INTO word (word) VALUES ('small')")
    assert await words(db) == ["small"]

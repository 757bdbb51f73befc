"""The vault's database: made, opened, migrated."""

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from p2pshare.errors import AlreadyExists, DamagedDatabase, Unsupported
from p2pshare.store.db import Database
from tests.store.db.databases import KEY, SCHEMA, SECOND, made, repr_length, words


async def test_what_was_written_is_there_after_opening_again_and_no_wal_is_left(tmp_path: Path) -> None:
    path = tmp_path / "vault #1 100%.db"
    db = await made(path, "one", "loud")
    await db.close()
    await db.close()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    db = await Database.open(path, KEY, [SCHEMA])
    assert await words(db) == ["one", "LOUD"]
    assert await db.row("SELECT place FROM use") == ("here; there",)
    assert await db.row("SELECT place FROM use WHERE word = 99") is None
    await db.close()
    with pytest.raises(RuntimeError, match="closed"):
        await db.rows("SELECT 1")


async def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        db = await made(tmp_path / "vault.db", "one")
    finally:
        os.umask(before)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()}
    await db.close()
    assert modes == {"vault.db": 0o600, "vault.db-wal": 0o600, "vault.db-shm": 0o600}


async def test_a_new_database_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    path.write_bytes(b"something")
    with pytest.raises(AlreadyExists):
        await Database.open(path, KEY, [SCHEMA], create=True)
    assert path.read_bytes() == b"something"


async def test_a_new_database_that_cannot_be_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="syntax"):
        await Database.open(tmp_path / "vault.db", KEY, ["CREATE TABLE a (b); CREATE NONSENSE;"], create=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [None, b"", b"x", bytes(4095), bytes(8192), b"SQLite format 3\0" + bytes(4080)], ids=repr_length
)
async def test_a_file_that_is_no_database_of_ours_is_damaged_and_not_touched(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "vault.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedDatabase):
        await Database.open(path, KEY, [SCHEMA])
    assert (path.read_bytes() if path.exists() else None) == content


async def test_a_plain_database_of_a_stranger_is_not_taken_for_ours(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    plain = sqlite3.connect(path)
    plain.execute("CREATE TABLE word (id)")
    plain.close()
    with pytest.raises(DamagedDatabase):
        await Database.open(path, KEY, [SCHEMA])


async def test_migrations_run_once_each_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    await (await made(path, "one")).close()
    for _ in range(2):
        db = await Database.open(path, KEY, [SCHEMA, SECOND])
        assert await db.rows("SELECT word, language FROM word") == [("one", "en")]
        assert await db.row("PRAGMA user_version") == (2,)
        assert await db.row("SELECT count(*) FROM sqlite_schema WHERE name = 'by_word'") == (1,)
        await db.close()


async def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    await (await made(path, "one")).close()
    with pytest.raises(Exception, match="no such table"):
        await Database.open(path, KEY, [SCHEMA, SECOND, "DROP TABLE use; UPDATE missing SET a = 1;"])
    db = await Database.open(path, KEY, [SCHEMA, SECOND])
    assert await db.rows("SELECT * FROM use") == []
    await db.close()


async def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    await (await Database.open(path, KEY, [SCHEMA, SECOND], create=True)).close()
    with pytest.raises(Unsupported):
        await Database.open(path, KEY, [SCHEMA])


async def test_a_database_without_any_table_is_damaged_and_not_filled_anew(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    await (await Database.open(path, KEY, [], create=True)).close()
    before = path.read_bytes()
    with pytest.raises(DamagedDatabase, match="empty"):
        await Database.open(path, KEY, [SCHEMA])
    assert path.read_bytes() == before


async def test_several_openings_at_once_migrate_once(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    await (await made(path, "one")).close()
    opened = await asyncio.gather(*(Database.open(path, KEY, [SCHEMA, SECOND]) for _ in range(4)))
    for db in opened:
        assert await db.rows("SELECT word, language FROM word") == [("one", "en")]
        await db.close()


async def test_an_opening_that_is_cancelled_leaves_no_connection(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    await (await made(path, "one")).close()
    for turns in range(8):
        task = asyncio.create_task(Database.open(path, KEY, [SCHEMA]))
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, Database):
            await outcome.close()
        assert [entry.name for entry in tmp_path.iterdir()] == ["vault.db"]

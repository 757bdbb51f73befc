"""The vault's database: opening, migrating, several processes, damage, another key."""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from p2pshare.errors import AlreadyExists, DamagedDatabase, DiskTrouble, Unsupported, VaultBusy
from p2pshare.store.db import Database
from p2pshare.store.db.connection import Connection

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SCHEMA = """
-- a comment; with a semicolon
CREATE TABLE word (id INTEGER PRIMARY KEY, word TEXT NOT NULL) STRICT;
CREATE TABLE use (word INTEGER NOT NULL REFERENCES word, place TEXT DEFAULT 'here; there') STRICT;
CREATE TRIGGER shout AFTER INSERT ON word WHEN new.word = 'loud' BEGIN
    UPDATE word SET word = 'LOUD' WHERE id = new.id;
    INSERT INTO use (word) VALUES (new.id);
END;
CREATE VIRTUAL TABLE found USING fts5 (text);
INSERT INTO found (found, rank) VALUES ('secure-delete', 1);
-- the end
"""
SECOND = "ALTER TABLE word ADD COLUMN language TEXT NOT NULL DEFAULT 'en'; CREATE INDEX by_word ON word (word)"


async def made(path: Path, *words: str) -> Database:
    db = await Database.open(path, KEY, [SCHEMA], create=True)
    await add(db, *words)
    return db


async def add(db: Database, *words: str) -> None:
    async with db.transaction() as tx:
        await tx.many("INSERT INTO word (word) VALUES (?)", [(word,) for word in words])


async def words(db: Database) -> list[str]:
    return [row[0] for row in await db.rows("SELECT word FROM word ORDER BY id")]


def other_process(path: Path, body: str, *args: str) -> subprocess.Popen[str]:
    """Another process that has the database open as `db`; it prints, and `body` may await `line()` from us."""
    program = f"""
import asyncio, sys, time, os, signal
from pathlib import Path
from p2pshare.errors import *
from p2pshare.store.db import Database
from p2pshare.store.db.connection import Connection

def line():
    return asyncio.to_thread(sys.stdin.readline)

async def main():
    db = await Database.open(Path({str(path)!r}), bytes.fromhex({KEY.hex()!r}), [{SCHEMA!r}])
    print("open", flush=True)
{textwrap.indent(textwrap.dedent(body), "    ")}
    await db.close()

asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert said(process) == "open"
    return process


def repr_length(content: bytes | None) -> str:
    return "missing" if content is None else f"{len(content)} bytes"


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finished(process: subprocess.Popen[str], tell: str = "") -> str:
    output, _ = process.communicate(tell, timeout=60)
    assert process.returncode == 0
    return output


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


async def test_no_read_outlives_its_query(tmp_path: Path) -> None:
    db = await made(tmp_path / "vault.db", *map(str, range(1000)))
    assert await db.row("SELECT word FROM word") == ("0",)
    await add(db, "more")
    await db.checkpoint()  # which an open read transaction would not allow
    assert (tmp_path / "vault.db-wal").stat().st_size == 0
    assert len(await words(db)) == 1001
    await db.close()


async def test_the_reading_connection_cannot_write(tmp_path: Path) -> None:
    db = await made(tmp_path / "vault.db")
    with pytest.raises(DiskTrouble):
        await db.rows("INSERT INTO word (word) VALUES ('one')")
    await db.close()


async def test_data_version_tells_of_writes_here_and_in_other_processes(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    db = await made(path, "one")
    other = other_process(
        path,
        """
        await line()
        async with db.transaction() as tx:
            await tx.insert("INSERT INTO word (word) VALUES ('theirs')")
        """,
    )
    first = await db.data_version()
    assert await db.data_version() == first
    await add(db, "two")
    second = await db.data_version()
    assert second != first
    finished(other, "\n")
    assert await db.data_version() != second
    assert await words(db) == ["one", "two", "theirs"]
    await db.close()


async def test_a_single_write_does_not_wait_long_for_a_process_that_writes_much(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    db = await made(path)
    bulk = other_process(
        path,
        """
        ready, until = False, time.monotonic() + 1.5
        while time.monotonic() < until:
            async with db.transaction() as tx:
                await tx.many("INSERT INTO word (word) VALUES (?)", [("bulk",)] * 500)
            if not ready:
                ready = True
                print("writing", flush=True)
        """,
    )
    assert said(bulk) == "writing"
    waits: list[float] = []
    loop = asyncio.get_running_loop()
    while bulk.poll() is None and len(waits) < 60:
        begun = loop.time()
        await add(db, "single")
        waits.append(loop.time() - begun)
        await asyncio.sleep(0.02)
    finished(bulk)
    assert len(waits) > 5
    assert sorted(waits)[len(waits) * 9 // 10] < 0.25
    assert await db.row("SELECT count(*) FROM word WHERE word = 'single'") == (len(waits),)
    await db.close()


async def test_several_processes_write_at_once_and_nobody_fails(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    db = await made(path)
    body = """
        for number in range(100):
            async with db.transaction() as tx:
                row = await tx.row("SELECT count(*) FROM word")
                await tx.insert("INSERT INTO word (word) VALUES (?)", (str(row[0]),))
        """
    others = [other_process(path, body) for _ in range(3)]
    for other in others:
        finished(other)
    assert await words(db) == [str(number) for number in range(300)]
    await db.close()


@pytest.mark.parametrize("kind", ["transaction", "progress"])
async def test_what_was_committed_survives_a_killed_process_and_what_was_not_does_not(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "vault.db"
    await (await made(path)).close()
    other = other_process(
        path,
        """
        block = db.transaction if sys.argv[1] == "transaction" else db.progress
        async with block() as tx:
            await tx.insert("INSERT INTO word (word) VALUES ('kept')")
        async with db.transaction() as tx:
            await tx.insert("INSERT INTO word (word) VALUES ('lost')")
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        kind,
    )
    other.communicate(timeout=60)
    assert other.returncode == -signal.SIGKILL
    db = await Database.open(path, KEY, [SCHEMA])
    assert await words(db) == ["kept"]
    assert await db.integrity() == []
    await db.close()


async def test_a_sound_database_has_no_faults(tmp_path: Path) -> None:
    db = await made(tmp_path / "vault.db", *map(str, range(2000)))
    assert await db.integrity() == []
    await db.close()


async def test_any_flipped_byte_of_the_database_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pshare.store.db.database._TORN_SECONDS", 0.0)
    path = tmp_path / "vault.db"
    await (await made(path, *map(str, range(3000)))).close()
    sound = path.read_bytes()
    chosen = random.Random(1)
    places = [0, 15, 16, 100, 4095, 4096, len(sound) - 1, *(chosen.randrange(len(sound)) for _ in range(40))]
    for place in places:
        damaged = bytearray(sound)
        damaged[place] ^= 1 << chosen.randrange(8)
        path.write_bytes(damaged)
        try:
            db = await Database.open(path, KEY, [SCHEMA])
        except DamagedDatabase:
            continue
        faults = await db.integrity()
        await db.close()
        assert faults, place
        assert path.read_bytes() == bytes(damaged)


async def test_a_damaged_page_is_met_and_the_rest_is_still_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    db = await made(path, *("x" * 500 for _ in range(2000)))
    async with db.transaction() as tx:
        await tx.many("INSERT INTO use VALUES (1, ?)", [("y" * 500,)] * 200)
    await db.close()
    with path.open("r+b") as file:
        file.seek(100 * 4096)
        file.write(bytes(16))
    db = await Database.open(path, KEY, [SCHEMA])
    for _ in range(2):
        with pytest.raises(DamagedDatabase):
            await words(db)
        with pytest.raises(DamagedDatabase):
            async with db.transaction() as tx:
                await tx.execute("UPDATE word SET word = 'z'")
        assert await db.row("SELECT count(*), max(place) FROM use") == (200, "y" * 500)
        async with db.transaction() as tx:
            assert await tx.execute("UPDATE use SET word = 1") == 200
    assert "HMAC" in " ".join(await db.integrity())
    await db.close()


async def test_a_reference_to_nothing_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    db = await made(path, "loud")
    with pytest.raises(Exception, match="FOREIGN KEY"):
        async with db.transaction() as tx:
            await tx.execute("DELETE FROM word")
    await db.close()
    connection = await Connection.open(path, "mode=rw", KEY, "foreign_keys = OFF")
    await connection.run("DELETE FROM word")
    await connection.close()
    db = await Database.open(path, KEY, [SCHEMA])
    assert await db.integrity() == ["use 1 word 0"]
    await db.close()


async def test_another_key_opens_it_and_the_old_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    db = await made(path, *map(str, range(2000)))
    before = path.read_bytes()
    await db.rekey(OTHER_KEY)
    assert len(await words(db)) == 2000
    await add(db, "after")
    await db.close()
    after = path.read_bytes()
    assert not any(before[at : at + 4096] in after for at in range(0, len(before), 4096))
    with pytest.raises(DamagedDatabase):
        await Database.open(path, KEY, [SCHEMA])
    db = await Database.open(path, OTHER_KEY, [SCHEMA])
    assert (await words(db))[-1] == "after"
    assert await db.row("PRAGMA journal_mode") == ("wal",)
    assert await db.integrity() == []
    await db.close()


async def test_queries_wait_while_the_key_changes(tmp_path: Path) -> None:
    db = await made(tmp_path / "vault.db", *map(str, range(2000)))

    async def read() -> int:
        await asyncio.sleep(0.001)
        return len(await words(db))

    assert (await asyncio.gather(db.rekey(OTHER_KEY), *(read() for _ in range(20))))[1:] == [2000] * 20
    await db.close()


async def test_a_database_that_does_not_open_again_after_its_key_changed_tells_those_who_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = await made(tmp_path / "vault.db", *map(str, range(2000)))

    async def refuse(_: Database) -> None:
        raise DiskTrouble("the disk is gone")

    monkeypatch.setattr(Database, "_connect", refuse)
    changing, reading = await asyncio.gather(db.rekey(OTHER_KEY), late(words(db)), return_exceptions=True)
    assert isinstance(changing, DiskTrouble)
    assert isinstance(reading, RuntimeError)
    await db.close()


async def late(work: Coroutine[Any, Any, list[str]]) -> list[str]:
    await asyncio.sleep(0.001)
    return await asyncio.wait_for(work, 5)


async def test_the_key_is_not_changed_under_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pshare.store.db.connection.BUSY_SECONDS", 0.2)
    path = tmp_path / "vault.db"
    db = await made(path, "one")
    other = other_process(path, "await line()\nassert await db.rows('SELECT word FROM word') == [('one',), ('two',)]")
    with pytest.raises(VaultBusy):
        await db.rekey(OTHER_KEY)
    await add(db, "two")
    finished(other, "\n")
    await db.close()
    db = await Database.open(path, KEY, [SCHEMA])
    assert await words(db) == ["one", "two"]
    await db.close()


async def test_a_change_of_key_that_is_killed_leaves_one_key_that_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    await (await made(path, *map(str, range(5000)))).close()
    outcomes = []
    for step in range(8):
        copy = tmp_path / str(step) / "vault.db"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        other = other_process(
            copy,
            f"""
            async def die():
                await asyncio.sleep({step * 0.003 if step < 7 else 60})
                os.kill(os.getpid(), signal.SIGKILL)
            task = asyncio.create_task(die())
            await db.rekey(bytes.fromhex({OTHER_KEY.hex()!r}))
            os.kill(os.getpid(), signal.SIGKILL)
            """,
        )
        other.communicate(timeout=60)
        assert other.returncode == -signal.SIGKILL
        opening = [key for key in ([KEY, OTHER_KEY] if step % 2 else [OTHER_KEY, KEY]) if await opens(copy, key)]
        assert len(opening) == 1
        outcomes += opening
    assert outcomes[0] == KEY
    assert outcomes[-1] == OTHER_KEY


async def opens(path: Path, key: bytes) -> bool:
    try:
        db = await Database.open(path, key, [SCHEMA])
    except DamagedDatabase:
        return False
    async with db:
        assert len(await words(db)) == 5000
        assert await db.integrity() == []
    return True


@pytest.mark.linux
async def test_on_a_read_only_disk_it_is_read_and_not_written(tmp_path: Path) -> None:
    path = tmp_path / "disk" / "vault.db"
    path.parent.mkdir()
    await (await made(path, "one")).close()
    try:
        mounted = subprocess.run(
            ["mount", "--bind", "-o", "ro", path.parent, path.parent], capture_output=True
        ).returncode
    except FileNotFoundError:
        mounted = 1
    if mounted != 0:
        path.chmod(0o400)
        path.parent.chmod(0o500)
        if os.access(path.parent, os.W_OK):
            pytest.skip("neither mounting nor permissions can make a folder read-only here")
    try:
        db = await Database.open(path, KEY, [SCHEMA])
        assert db.read_only
        assert await words(db) == ["one"]
        assert await db.integrity() == []
        with pytest.raises(DiskTrouble, match="read-only"):
            await add(db, "two")
        await db.close()
        with pytest.raises(DiskTrouble, match="older"):
            await Database.open(path, KEY, [SCHEMA, SECOND])
        assert [entry.name for entry in path.parent.iterdir()] == ["vault.db"]
    finally:
        if mounted == 0:
            subprocess.run(["umount", path.parent], check=True)
        path.parent.chmod(0o700)

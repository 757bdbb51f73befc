"""The vault's database: read and written, by several processes, and after one was killed."""

import asyncio
import signal
from pathlib import Path

import pytest

from p2pshare.errors import DiskTrouble
from p2pshare.store.db import Database
from tests.store.db.databases import KEY, SCHEMA, add, finished, made, other_process, said, words


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
        async with db.transaction() as tx:
            await tx.insert(f"INSERT INTO word (word) VALUES ('{'kept' if sys.argv[1] == 'transaction' else 'new'}')")
        if sys.argv[1] == "progress":
            await db.progress("UPDATE word SET word = 'kept' WHERE word = ?", ("new",))
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

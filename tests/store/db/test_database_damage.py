"""The vault's database: damage, another key, a read-only disk."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from p2pshare.errors import DamagedDatabase, DiskTrouble, VaultBusy
from p2pshare.store.db import Database
from p2pshare.store.db.connection import Connection
from tests.store.db.databases import KEY, OTHER_KEY, SCHEMA, SECOND, add, finished, made, other_process, words


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

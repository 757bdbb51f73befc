"""One SQLCipher connection: keys, settings, errors."""

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from p2pshare.errors import DamagedDatabase, DiskTrouble, VaultBusy
from p2pshare.store.db import connection as connection_module
from p2pshare.store.db.connection import Connection, key_literal, to_the_end

KEY = bytes(range(32))
MAKE = "mode=rwc"


async def opened(path: Path, key: bytes = KEY) -> Connection:
    return await Connection.open(path, MAKE, key, "journal_mode = WAL")


async def test_what_is_written_is_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = await opened(path)
    await connection.run("CREATE TABLE person (name TEXT)")
    await connection.run("INSERT INTO person VALUES (?)", ("Planted^Patient",))
    wal = path.with_name("a.db-wal").read_bytes()
    await connection.close()
    for data in (wal, path.read_bytes()):
        assert b"Planted" not in data
        assert b"SQLite format 3" not in data
        assert b"CREATE TABLE" not in data


async def test_a_wrong_key_fails_when_opening_and_leaves_no_thread(tmp_path: Path) -> None:
    await (await opened(tmp_path / "a.db")).close()
    connection = await opened(tmp_path / "a.db")
    await connection.run("CREATE TABLE t (a)")
    await connection.close()
    threads = set(threading.enumerate())
    with pytest.raises(DamagedDatabase, match="key is another") as caught:
        await opened(tmp_path / "a.db", bytes(32))
    assert not [thread for thread in set(threading.enumerate()) - threads if "asyncio" not in thread.name]
    assert bytes(32).hex() not in repr(caught.value)


async def test_a_missing_file_is_disk_trouble(tmp_path: Path) -> None:
    with pytest.raises(DiskTrouble):
        await Connection.open(tmp_path / "a.db", "mode=rw", KEY)


def test_a_key_of_another_length_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="32 bytes") as caught:
        key_literal(b"short")
    assert "short" not in str(caught.value)


async def test_the_settings_hold(tmp_path: Path) -> None:
    connection = await opened(tmp_path / "a.db")
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "temp_store": 2,
        "mmap_size": 0,
        "trusted_schema": 0,
        "cache_size": -6144,
    }
    found = {name: (await connection.fetch(f"PRAGMA {name}"))[0][0] for name in wanted}
    await connection.close()
    assert found == wanted


async def test_neither_keys_nor_parameters_reach_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    connection = await opened(tmp_path / "a.db")
    await connection.run("CREATE TABLE person (name TEXT)")
    await connection.run("INSERT INTO person VALUES (?)", ("Planted^Patient",))
    await connection.fetch("SELECT * FROM person WHERE name = ?", ("Planted^Patient",))
    await connection.close()
    assert "Planted" not in caplog.text
    assert KEY.hex() not in caplog.text


async def test_nothing_goes_to_standard_error_when_the_key_is_wrong(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    connection = await opened(tmp_path / "a.db")
    await connection.run("CREATE TABLE t (a)")
    await connection.close()
    with pytest.raises(DamagedDatabase):
        await opened(tmp_path / "a.db", bytes(32))
    assert capfd.readouterr() == ("", "")


async def test_a_full_database_is_disk_trouble(tmp_path: Path) -> None:
    connection = await opened(tmp_path / "a.db")
    await connection.run("CREATE TABLE t (a)")
    await connection.fetch("PRAGMA max_page_count = 4")
    with pytest.raises(DiskTrouble, match="no space"):
        await connection.run("INSERT INTO t VALUES (zeroblob(100000))")
    await connection.close()


async def test_mistakes_of_the_program_stay_what_they_are(tmp_path: Path) -> None:
    connection = await opened(tmp_path / "a.db")
    await connection.run("CREATE TABLE t (a UNIQUE)")
    await connection.run("INSERT INTO t VALUES (1)")
    with pytest.raises(Exception, match="incomplete") as mistake:
        await connection.run("INSERT INTO")
    with pytest.raises(Exception, match="UNIQUE") as broken:
        await connection.run("INSERT INTO t VALUES (1)")
    await connection.close()
    assert {type(caught.value).__name__ for caught in (mistake, broken)} == {"OperationalError", "IntegrityError"}


async def test_a_writer_that_waits_too_long_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "BUSY_SECONDS", 0.1)
    first, second = await opened(tmp_path / "a.db"), await opened(tmp_path / "a.db")
    await first.begin()
    with pytest.raises(VaultBusy):
        await second.begin()
    await first.roll_back()
    await second.begin()
    await second.commit()
    await first.close()
    await second.close()


async def test_a_cancelled_wait_for_the_lock_ends_soon(tmp_path: Path) -> None:
    first, second = await opened(tmp_path / "a.db"), await opened(tmp_path / "a.db")
    await first.begin()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await second.begin()
    await second.roll_back()  # queued behind the BEGIN, which has given up
    assert loop.time() - begun < 1.0
    await first.close()
    await second.close()


async def test_work_goes_to_its_end_before_a_cancellation_is_passed_on() -> None:
    done = []

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append(True)

    task = asyncio.create_task(to_the_end(work()))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]


async def test_work_to_the_end_gives_its_result_or_its_error() -> None:
    async def give() -> int:
        return 7

    async def fail() -> None:
        raise DiskTrouble("it failed")

    assert await to_the_end(give()) == 7
    with pytest.raises(DiskTrouble, match="it failed"):
        await to_the_end(fail())

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from p2pshare.engine.changes import Changes
from p2pshare.store.vault import Vault
from tests.world import KEY, one_person, vault_path

SECONDS = 5


@asynccontextmanager
async def watched(vault: Vault) -> AsyncIterator[Changes]:
    changes = Changes(vault.db)
    task = asyncio.create_task(changes.run())
    try:
        yield changes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextmanager
def nothing_comes() -> Iterator[None]:
    with pytest.raises(TimeoutError):
        yield


async def write(vault: Vault, name: str) -> None:
    async with vault.db.transaction() as tx:
        await tx.execute("UPDATE meta SET value = ? WHERE key = 'name'", (name.encode(),))


async def test_what_this_process_writes_is_a_change(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana, watched(ana.vault) as changes, asyncio.timeout(SECONDS):
        await asyncio.sleep(0.05)
        await write(ana.vault, "Anna")
        assert await changes.wait_beyond(0) == 1


async def test_what_another_connection_writes_is_a_change(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana, watched(ana.vault) as changes, asyncio.timeout(SECONDS):
        await asyncio.sleep(0.05)
        other = await Vault.open(vault_path(tmp_path, "Ana"), KEY)
        await write(other, "Anna")
        await other.close()
        assert await changes.wait_beyond(0) >= 1


async def test_where_nothing_is_written_nothing_changes(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana, watched(ana.vault) as changes:
        await ana.library.listed()
        with nothing_comes():
            async with asyncio.timeout(0.35):
                await changes.wait_beyond(0)
        assert changes.number == 0


async def test_everybody_who_waits_is_told(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana, asyncio.timeout(SECONDS):
        changes = Changes(ana.vault.db)
        waiting = [asyncio.create_task(changes.wait_beyond(0)) for _ in range(3)]
        await asyncio.sleep(0)
        await changes.announce()
        assert await asyncio.gather(*waiting) == [1, 1, 1]


async def test_who_was_away_learns_of_it_at_once(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana, asyncio.timeout(SECONDS):
        changes = Changes(ana.vault.db)
        await changes.announce()
        await changes.announce()
        assert await changes.wait_beyond(0) == 2
        with nothing_comes():
            async with asyncio.timeout(0.02):
                await changes.wait_beyond(2)

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from p2pshare.engine.strangers import Strangers
from p2pshare.errors import EngineTaken, VaultBusy
from tests.meetings import until
from tests.world import Person, one_person


@asynccontextmanager
async def logging(strangers: Strangers, ana: Person, term: int | None = None) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(strangers.log(ana.vault, ana.clock, term))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def logged(ana: Person) -> list[dict[str, Any]]:
    return [json.loads(e.detail) for e in await ana.upkeep.log(limit=None) if e.kind == "strangers-turned-away"]


async def comes(ana: Person, count: int) -> list[dict[str, Any]]:
    async def holds() -> bool:
        return len(await logged(ana)) >= count

    await until(holds)
    return await logged(ana)


async def test_the_first_one_is_logged_at_once(tmp_path: Path) -> None:
    strangers = Strangers()
    async with one_person(tmp_path) as ana, logging(strangers, ana):
        strangers.turned_away("stranger-refused")
        assert await comes(ana, 1) == [{"times": 1, "why": "stranger-refused"}]


async def test_a_thousand_more_within_a_minute_add_no_entry(tmp_path: Path) -> None:
    strangers = Strangers()
    async with one_person(tmp_path) as ana, logging(strangers, ana):
        strangers.turned_away("stranger-refused")
        await comes(ana, 1)
        for _ in range(1000):
            strangers.turned_away("stranger-refused")
        await asyncio.sleep(0.1)
        assert len(await logged(ana)) == 1


async def test_those_who_came_meanwhile_are_one_entry(tmp_path: Path) -> None:
    strangers = Strangers(between_seconds=0.1)
    async with one_person(tmp_path) as ana, logging(strangers, ana):
        strangers.turned_away("stranger-refused")
        await comes(ana, 1)
        for why in ("malformed", "stranger-refused", "malformed"):
            strangers.turned_away(why)
        assert (await comes(ana, 2))[1] == {"times": 3, "why": "malformed, stranger-refused"}
        await asyncio.sleep(0.15)
        assert len(await logged(ana)) == 2


async def test_whom_a_busy_vault_kept_from_the_log_is_logged_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers = Strangers()
    async with one_person(tmp_path) as ana:

        def busy(*_: object) -> object:
            raise VaultBusy

        with monkeypatch.context() as patched:
            patched.setattr(ana.vault.db, "transaction", busy)
            strangers.turned_away("stranger-refused")
            with pytest.raises(VaultBusy):
                await strangers.log(ana.vault, ana.clock)
        async with logging(strangers, ana):
            assert await comes(ana, 1) == [{"times": 1, "why": "stranger-refused"}]


async def test_an_engine_that_lost_its_term_logs_nothing(tmp_path: Path) -> None:
    strangers = Strangers()
    async with one_person(tmp_path) as ana:
        strangers.turned_away("stranger-refused")
        with pytest.raises(EngineTaken):
            await strangers.log(ana.vault, ana.clock, 7)
        assert await logged(ana) == []

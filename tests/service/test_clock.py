"""The clock, and when it may be trusted to end things."""

import time
from pathlib import Path

import pytest

from p2pshare.service.clock import is_steady, keep_time, system_clock
from p2pshare.store import audit
from tests.world import NOON, Person, one_person

DAY = 86400


def test_the_system_clock_gives_whole_seconds_since_1970() -> None:
    before = time.time()
    now = system_clock()
    assert isinstance(now, int)
    assert before - 1 <= now <= time.time()


@pytest.mark.parametrize(
    ("later", "steady"),
    [
        (0, True),
        (1, True),
        (7 * DAY, True),
        (7 * DAY + 1, False),
        (3650 * DAY, False),
        (-1, False),
        (-3650 * DAY, False),
    ],
)
async def test_a_clock_that_jumped_since_the_last_entry_of_the_log_is_not_steady(
    tmp_path: Path, later: int, steady: bool
) -> None:
    async with one_person(tmp_path) as ana:
        assert await is_steady(ana.vault.db, NOON + later) is steady


async def something_happens(ana: Person, when: int) -> None:
    async with ana.vault.db.transaction() as tx:
        await audit.enter(tx, ana.vault.identity.device, "something", {}, when)


async def test_a_node_that_only_waits_for_months_has_a_steady_clock(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        for day in range(100):
            await keep_time(ana.vault.db, NOON + day * DAY, None)
        assert await is_steady(ana.vault.db, NOON + 100 * DAY)
        assert not await is_steady(ana.vault.db, NOON + 98 * DAY)
        assert not await is_steady(ana.vault.db, NOON + 107 * DAY)


async def test_a_clock_that_jumped_is_not_noted_as_right(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        for jump in (3650 * DAY, -3650 * DAY):
            await keep_time(ana.vault.db, NOON + jump, None)
            assert not await is_steady(ana.vault.db, NOON + jump)
        assert await is_steady(ana.vault.db, NOON)


async def test_the_clock_is_believed_again_once_the_vault_was_used_with_it(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        wrong = NOON + 3650 * DAY
        await something_happens(ana, wrong)
        await keep_time(ana.vault.db, wrong + DAY, None)
        assert await is_steady(ana.vault.db, wrong + DAY)
        assert not await is_steady(ana.vault.db, NOON + DAY)
        await something_happens(ana, NOON + DAY)
        assert await is_steady(ana.vault.db, NOON + DAY)


async def test_the_time_is_noted_only_now_and_then(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        await keep_time(ana.vault.db, NOON + 60, None)
        assert await ana.vault.db.rows("SELECT 1 FROM meta WHERE key = 'time'") == []

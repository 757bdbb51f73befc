"""The clock, and when it may be trusted to end things."""

import time
from pathlib import Path

import pytest

from p2pshare.service.clock import is_steady, system_clock
from tests.world import NOON, one_person

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

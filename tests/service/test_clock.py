"""The clock."""

import time

from p2pshare.service.clock import system_clock


def test_the_system_clock_gives_whole_seconds_since_1970() -> None:
    before = time.time()
    now = system_clock()
    assert isinstance(now, int)
    assert before - 1 <= now <= time.time()

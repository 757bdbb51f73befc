"""The clock is an argument: services ask it, tests set it."""

import time
from collections.abc import Callable

Clock = Callable[[], int]


def system_clock() -> int:
    """Seconds since 1970, from the operating system."""
    return int(time.time())

"""The pace: keeps what goes out below a rate that a person set, so that a slow line stays usable for others."""

import asyncio
import time


class Pace:
    """A budget of bytes that refills with time; `None` is no limit."""

    def __init__(self, bytes_per_second: float | None) -> None:
        """Allow `bytes_per_second`, from now on."""
        self._rate = bytes_per_second
        self._free_at = time.monotonic()

    async def spend(self, size: int) -> None:
        """Return when `size` bytes may go out; what was waited for is not saved up."""
        if self._rate is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + size / self._rate
        await asyncio.sleep(max(0.0, self._free_at - now))

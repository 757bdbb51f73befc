"""Strangers: who was turned away at the door, in the log, but never so often that they could fill it."""

import asyncio
from collections import Counter
from typing import Final

from p2pshare.service.clock import Clock
from p2pshare.store import audit
from p2pshare.store.vault import Vault

_BETWEEN_SECONDS: Final = 60.0


class Strangers:
    """Counts those turned away, and logs the counts: the first at once, later ones once a minute."""

    def __init__(self, between_seconds: float = _BETWEEN_SECONDS) -> None:
        """Log at most once in `between_seconds`."""
        self._between = between_seconds
        self._counts: Counter[str] = Counter()
        self._some = asyncio.Event()

    def turned_away(self, why: str) -> None:
        """Somebody knocked in vain; `why` is an error's code."""
        self._counts[why] += 1
        self._some.set()

    async def log(self, vault: Vault, now: Clock, term: int | None = None) -> None:
        """Keep the log for ever; every write checks the engine's `term`. What could not be written is still counted."""
        while True:
            await self._some.wait()
            async with vault.db.transaction(term) as tx:
                counts = self._counts.copy()
                detail: audit.Detail = {"times": counts.total(), "why": ", ".join(sorted(counts))}
                await audit.enter(tx, vault.identity.device, "strangers-turned-away", detail, now())
            self._counts -= counts
            if not self._counts:
                self._some.clear()
            await asyncio.sleep(self._between)

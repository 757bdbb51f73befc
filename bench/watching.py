"""Watches one share in one vault's database, and notes the moment of every step, as that vault's owner would see it.

`p2pshare share status --wait` looks ten times a second and shares the two cores with what is measured; this asks SQLite
a hundred times a second whether anything changed (its data_version), and reads the share's row only then.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from nodes import Person, open_vault
from processes import BenchFailed

from p2pshare.errors import P2PShareError
from p2pshare.model.ids import ShareId
from p2pshare.store import shares
from p2pshare.store.shares import Direction
from p2pshare.store.vault import Vault

_EVERY_SECONDS: Final = 0.01
_LOOK_AROUND_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Moment:
    """What the share's row said, and when (on the monotonic clock)."""

    at: float
    state: str
    done: int
    total: int
    stored_bytes: int
    wire_bytes: int


class Watch:
    """Runs in a thread of its own while the block does."""

    def __init__(
        self, person: Person, share: str, direction: Direction, trouble: Callable[[], str] = lambda: ""
    ) -> None:
        """Watch `share` in the vault of `person`; `trouble` says, when asked, what makes waiting senseless."""
        self._person = person
        self._share = ShareId(bytes.fromhex(share))
        self._direction = direction
        self._moments: list[Moment] = []
        self._news = threading.Condition()
        self._leaving = False
        self._trouble = ""
        self._look_around = trouble
        self._thread = threading.Thread(target=lambda: asyncio.run(self._watch()), name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        self._thread.join()

    def until(self, wanted: Callable[[Moment], bool], timeout: float = 180.0) -> Moment:
        """The first moment for which `wanted` is true. Raises BenchFailed when there is none in time."""
        deadline = time.monotonic() + timeout
        seen = 0
        with self._news:
            while True:
                for moment in self._moments[seen:]:
                    if wanted(moment):
                        return moment
                seen = len(self._moments)
                left = deadline - time.monotonic()
                if (trouble := self._trouble or self._look_around()) or left <= 0:
                    last = self._moments[-1] if self._moments else "nothing was seen of it"
                    raise BenchFailed(f"the share did not come that far: {trouble or last}")
                self._news.wait(min(left, _LOOK_AROUND_SECONDS))

    def state(self, state: str, timeout: float = 180.0) -> Moment:
        """The first moment in that state, or a later one on the way to imported."""
        return self.until(lambda m: state in _ON_THE_WAY[: _ON_THE_WAY.index(m.state) + 1], timeout)

    async def _watch(self) -> None:
        try:
            vault = await open_vault(self._person)
            try:
                await self._look(vault)
            finally:
                await vault.close()
        except P2PShareError as error:
            with self._news:
                self._trouble = str(error)
                self._news.notify_all()

    async def _look(self, vault: Vault) -> None:
        version = -1
        while not self._leaving:
            now = await vault.db.data_version()
            if now != version:
                version = now
                share = await shares.get(vault.db, self._share, self._direction)
                if share is not None:
                    self._note(share)
            await asyncio.sleep(_EVERY_SECONDS)

    def _note(self, share: shares.Share) -> None:
        moment = Moment(
            time.monotonic(), share.state.value, share.chunks_done, share.chunks_total, share.stored_bytes,
            share.wire_bytes,
        )  # fmt: skip
        with self._news:
            if moment.state not in _ON_THE_WAY:
                self._trouble = f"it is {share.state.value}: {share.why}"
            else:
                self._moments.append(moment)
            self._news.notify_all()


_ON_THE_WAY: Final = ("queued", "offered", "accepted", "sending", "delivered", "imported")

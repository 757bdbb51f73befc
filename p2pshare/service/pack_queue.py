"""Closed packs on their way to the disk, behind the back of whoever fills the next one.

Rule 1: whoever brings a pack waits only while too many bytes are behind; what gathered meanwhile is written together.
Rule 2: a failure is raised once, to whoever brings the next pack or waits for all; what was behind is lost with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Generic, TypeVar

from p2pshare.store.db import to_the_end

T = TypeVar("T")

_GROUP: Final = 16  # packs written together at most: of tiny ones many would gather


class PackQueue(Generic[T]):
    """Hands packs to `write` in the order they came: one call at a time, with all that wait."""

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[None]], most: int) -> None:
        """`most` bytes may be behind when another pack comes; a single pack may be larger."""
        self._write = write
        self._most = most
        self._waiting: list[tuple[T, int]] = []
        self._behind = 0
        self._writing: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    async def put(self, pack: T, size: int) -> None:
        """Take a pack of `size` bytes. Raises what `write` raised before; then the pack is not taken."""
        while self._writing is not None and self._behind and self._behind + size > self._most:
            self._moved.clear()
            await self._moved.wait()
            self._end_if_failed()
        self._end_if_failed()
        self._waiting.append((pack, size))
        self._behind += size
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())

    async def drain(self) -> None:
        """Wait until everything was written. Raises what `write` raised."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
            self._end_if_failed()

    async def abandon(self) -> None:
        """Write no more; returns when nothing is being written."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            self._forget()

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
                await self._write([pack for pack, _ in group])
                self._behind -= sum(size for _, size in group)
                self._moved.set()
        finally:
            self._moved.set()

    def _end_if_failed(self) -> None:
        writing = self._writing
        if writing is not None and writing.done() and (writing.cancelled() or writing.exception()):
            self._forget()
            writing.result()

    def _forget(self) -> None:
        self._writing = None
        self._waiting.clear()
        self._behind = 0


async def finished(writing: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What each of `writing` gives; a failure, or a cancellation, is raised once all of them have ended."""

    async def all_of_them() -> list[T | BaseException]:
        return await asyncio.gather(*writing, return_exceptions=True)

    done = await to_the_end(all_of_them())
    failed = next((each for each in done if isinstance(each, BaseException)), None)
    if failed is not None:
        raise failed
    return [each for each in done if not isinstance(each, BaseException)]

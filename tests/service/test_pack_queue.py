"""The queue of packs: in order, together where they gathered, bounded, and loud once about a failure."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from p2pshare.errors import DiskTrouble
from p2pshare.service.pack_queue import PackQueue, finished


class Disk:
    """Writes one group each time it is let."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.let = asyncio.Semaphore(0)
        self.failing = False

    async def write(self, packs: Sequence[str]) -> None:
        await self.let.acquire()
        if self.failing:
            raise DiskTrouble("full")
        self.groups.append(list(packs))


async def test_what_gathered_while_one_was_written_is_written_together_in_order() -> None:
    disk = Disk()
    queue = PackQueue(disk.write, 100)
    for name in "abcd":
        await queue.put(name, 10)
        await asyncio.sleep(0)
    for _ in range(2):
        disk.let.release()
    await queue.drain()
    assert disk.groups == [["a"], ["b", "c", "d"]]


async def test_whoever_brings_a_pack_waits_while_too_much_is_behind() -> None:
    disk = Disk()
    queue = PackQueue(disk.write, 25)
    await queue.put("a", 20)
    waiting = asyncio.create_task(queue.put("b", 6))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    disk.let.release()
    await asyncio.wait_for(waiting, 1)
    disk.let.release()
    await queue.drain()
    assert disk.groups == [["a"], ["b"]]


async def test_a_pack_larger_than_the_bound_is_taken_when_nothing_is_behind() -> None:
    disk = Disk()
    queue = PackQueue(disk.write, 5)
    await asyncio.wait_for(queue.put("a", 20), 1)
    disk.let.release()
    await queue.drain()
    assert disk.groups == [["a"]]


async def ask_to_write(queue: PackQueue[str], how: str, disk: Disk) -> None:
    """Let the disk fail, and come to know of it."""
    asking = asyncio.create_task(queue.put("b", 20)) if how == "waiting put" else None
    await asyncio.sleep(0)
    disk.let.release()
    await asyncio.sleep(0.01)
    if asking is not None:
        await asking
    await (queue.put("b", 1) if how == "put" else queue.drain())


@pytest.mark.parametrize("how", ["put", "waiting put", "drain"])
async def test_a_failure_is_raised_once_and_what_was_behind_is_lost_with_it(how: str) -> None:
    disk = Disk()
    queue = PackQueue(disk.write, 25)
    await queue.put("a", 20)
    disk.failing = True
    with pytest.raises(DiskTrouble):
        await ask_to_write(queue, how, disk)
    disk.failing = False
    await queue.drain()
    await queue.put("c", 20)
    disk.let.release()
    await queue.drain()
    assert disk.groups == [["c"]]


async def test_a_put_that_is_cancelled_leaves_its_pack_with_whoever_brought_it() -> None:
    disk = Disk()
    queue = PackQueue(disk.write, 25)
    await queue.put("a", 20)
    waiting = asyncio.create_task(queue.put("b", 20))
    await asyncio.sleep(0)
    waiting.cancel()
    disk.let.release()
    await queue.drain()
    assert disk.groups == [["a"]]


async def test_abandoned_it_writes_no_more() -> None:
    disk = Disk()
    queue = PackQueue(disk.write, 100)
    await queue.put("a", 20)
    await queue.put("b", 20)
    await queue.abandon()
    disk.let.release()
    await queue.drain()
    assert disk.groups == []


async def test_of_many_small_packs_only_some_are_written_together() -> None:
    disk = Disk()
    queue = PackQueue(disk.write, 1000)
    for number in range(40):
        await queue.put(str(number), 1)
        await asyncio.sleep(0)
    for _ in range(4):
        disk.let.release()
    await queue.drain()
    assert [len(group) for group in disk.groups] == [1, 16, 16, 7]


async def test_a_cancelled_wait_lasts_until_every_thread_has_ended() -> None:
    ended: list[int] = []

    def work(number: int) -> None:
        time.sleep(0.05 * number)
        ended.append(number)

    waiting = asyncio.create_task(finished([asyncio.to_thread(work, number) for number in (1, 3)]))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == [1, 3]

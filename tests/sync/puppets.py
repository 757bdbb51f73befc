"""Sessions under test: one side runs, the other runs too or is said by hand."""

import asyncio
from collections.abc import Callable

import pytest

from p2pshare.sync.transfer import Ended, run_session
from p2pshare.sync.wire import (
    Frame,
    decode_frame,
    encode_frame,
)
from tests.fakes import FakeDesk, FakeLink, link_pair


async def until(holds: Callable[[], bool], desk: FakeDesk) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await desk.progress.wait()
            desk.progress.clear()


class Node:
    """One side of a session: its link, desk and running task."""

    def __init__(self, link: FakeLink, desk: FakeDesk) -> None:
        self.link = link
        self.desk = desk
        self.task = asyncio.create_task(run_session(link, desk))

    async def ended(self) -> Ended:
        async with asyncio.timeout(10):
            ended = await self.task
        assert self.desk.closings == 1
        assert not self.link._open
        return ended

    async def leave(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task
        assert self.desk.closings == 1
        assert not self.link._open


def two_nodes(one: FakeDesk, other: FakeDesk) -> tuple[Node, Node]:
    link, back = link_pair()
    return Node(link, one), Node(back, other)


class Puppet:
    """The other side of a session, said by hand."""

    def __init__(self, desk: FakeDesk, depth: int = 64) -> None:
        link, self.link = link_pair(depth)
        self.node = Node(link, desk)

    async def say(self, *frames: Frame) -> None:
        for frame in frames:
            await self.link.send(encode_frame(frame))

    async def hear(self, *kinds: type[Frame]) -> list[Frame]:
        heard = []
        async with asyncio.timeout(10):
            for kind in kinds:
                data = await self.link.receive()
                assert data is not None
                heard.append(decode_frame(data))
                assert type(heard[-1]) is kind
        return heard

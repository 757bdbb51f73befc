import asyncio
import os

import pytest

from p2pshare.errors import ProtocolViolation, TooLarge, Unreachable
from p2pshare.model import limits
from p2pshare.model.ids import ShareId
from p2pshare.model.ports import Link
from p2pshare.sync.transfer import Ended, EndReason, run_session
from tests.fakes import FakeDesk, fake_object
from tests.sync.carriers.nodes import SECONDS, listening


async def test_frames_of_every_size_arrive_whole_and_in_order_both_ways() -> None:
    frames = [os.urandom(size) for size in (1, 125, 126, 65_535, 65_536, 190_000, limits.FRAME_MAX)]
    async with listening() as nodes:
        link, back = await nodes.both_ends()
        for sender, receiver in ((link, back), (back, link)):
            for frame in frames:
                sending = asyncio.create_task(sender.send((frame[:1], memoryview(frame)[1:])))
                assert await receiver.receive() == frame
                await sending
        await link.close()


async def test_the_other_side_notices_when_a_link_is_closed() -> None:
    async with listening() as nodes:
        link, back = await nodes.both_ends()
        await link.send(b"last")
        await link.close()
        assert await back.receive() == b"last"
        assert await back.receive() is None
        with pytest.raises(Unreachable):
            await link.send(b"more")


async def test_a_sender_waits_for_a_reader_who_does_not_read() -> None:
    async with listening() as nodes:
        for sender in await nodes.both_ends():
            went: list[int] = []

            async def send(link: Link = sender, went: list[int] = went) -> None:
                for number in range(10_000):
                    await link.send(bytes(190_000))
                    went.append(number)

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(send(), 0.5)
            assert len(went) < 200  # what two kernels' buffers and ours hold


async def test_a_frame_over_the_limit_closes_the_link() -> None:
    async with listening() as nodes:
        for sender, receiver in (await nodes.both_ends(), reversed(await nodes.both_ends())):
            sending = asyncio.create_task(sender.send(bytes(limits.FRAME_MAX + 1)))
            with pytest.raises(TooLarge):
                await receiver.receive()
            await receiver.close()
            await asyncio.gather(sending, return_exceptions=True)
            assert await sender.receive() is None
            await sender.close()


async def test_a_text_is_not_a_frame() -> None:
    async with listening() as nodes:
        link, back = await nodes.both_ends()
        await link._socket.send_str("hello")  # type: ignore[attr-defined]
        with pytest.raises(ProtocolViolation):
            await back.receive()
        await link.close()


async def test_others_run_while_frames_go_as_fast_as_they_come() -> None:
    turns = 0

    async def run() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with listening() as nodes:
        link, _ = await nodes.both_ends()
        other = asyncio.create_task(run())
        await asyncio.sleep(0)
        before = turns
        for _ in range(100):
            await link.send(bytes(2000))  # all of it fits the buffers: nothing has to wait
        assert turns > before
        other.cancel()


async def test_a_session_runs_over_a_link_and_its_last_word_arrives() -> None:
    share, scan = ShareId(b"s" * 16), fake_object("scan", [limits.STORED_CHUNK_MAX] * 8)
    one, other = FakeDesk(), FakeDesk()
    one.hold(share, scan)
    one.letters.append(b"letter")
    other.wanted.append(scan.missing(share))
    async with listening() as nodes:
        link, back = await nodes.both_ends()
        here, there = asyncio.create_task(run_session(link, one)), asyncio.create_task(run_session(back, other))
        async with asyncio.timeout(SECONDS):
            while len(other.kept) < 8:
                await other.progress.wait()
                other.progress.clear()
        here.cancel()
        assert await there == Ended(EndReason.BYE, "closing")
    assert other.letters_taken == [b"letter"]
    assert [other.kept[scan.shape.id, number] for number in range(8)] == list(scan.chunks)

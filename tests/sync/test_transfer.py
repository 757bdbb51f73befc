import asyncio
from collections.abc import Callable, Sequence

import pytest

from p2pshare.errors import (
    DamagedPack,
    DiskTrouble,
    Forged,
    Malformed,
    P2PShareError,
    ProtocolViolation,
    Unreachable,
    WrongChunk,
)
from p2pshare.model import limits
from p2pshare.model.ids import ShareId
from p2pshare.model.ports import MissingChunks, Sealed, StoredChunk
from p2pshare.sync.transfer import SERVE_BYTES, Ended, EndReason, run_session
from p2pshare.sync.wire import (
    CHUNK_HEAD,
    Bye,
    Chunk,
    Done,
    EnvelopeFrame,
    Frame,
    Hello,
    ReceiptFrame,
    Refused,
    Run,
    Want,
    decode_frame,
    encode_frame,
)
from tests.fakes import FakeDesk, FakeLink, fake_object, link_pair

SHARE = ShareId(b"s" * 16)
HELLO = Hello(1, limits.WINDOW)
RECEIPT = ReceiptFrame(Sealed(b"receipt"))
SCAN = fake_object("scan", [600, 700, 800])


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


async def test_letters_and_receipts_of_both_sides_arrive_in_order() -> None:
    one, other = FakeDesk(), FakeDesk()
    one.letters.extend([b"1", b"2", b"3"])
    other.letters.extend([b"a", b"b"])
    here, there = two_nodes(one, other)
    await until(lambda: other.letters_taken == [b"1", b"2", b"3"], other)
    await until(lambda: one.letters_taken == [b"a", b"b"], one)
    assert one.receipts_taken == other.receipts_taken == [b"receipt"]
    await here.leave()
    assert (await there.ended()).reason is EndReason.BYE


async def test_news_follow_when_the_desk_has_some() -> None:
    one, other = FakeDesk(), FakeDesk()
    here, there = two_nodes(one, other)
    await until(lambda: bool(other.receipts_taken), other)
    one.receipts.append(b"newer")
    one.letters.append(b"1")
    one.news.set()
    await until(lambda: other.letters_taken == [b"1"], other)
    assert other.receipts_taken == [b"receipt", b"newer"]
    await here.leave()
    await there.ended()


async def test_all_chunks_arrive_both_ways_at_once_and_are_counted() -> None:
    here_objects = [fake_object(f"here {n}", [limits.STORED_CHUNK_MAX, 529, 190_000]) for n in range(4)]
    there_objects = [fake_object(f"there {n}", [600] * 50) for n in range(20)]
    one, other = FakeDesk(), FakeDesk()
    one.hold(SHARE, *here_objects)
    other.hold(SHARE, *there_objects)
    one.wanted.extend(each.missing(SHARE) for each in there_objects)
    other.wanted.extend(each.missing(SHARE) for each in here_objects)
    here, there = two_nodes(one, other)
    await until(lambda: len(one.kept) == 1000, one)
    await until(lambda: len(other.kept) == 12, other)
    assert all(one.kept[each.shape.id, n] == c for each in there_objects for n, c in enumerate(each.chunks))
    assert all(other.kept[each.shape.id, n] == c for each in here_objects for n, c in enumerate(each.chunks))
    assert one.counted == sum(len(c) + CHUNK_HEAD.size for each in here_objects for c in each.chunks)
    assert max(one.served) <= limits.STORED_CHUNK_MAX
    assert max(other.served) <= SERVE_BYTES
    await here.leave()
    await there.ended()


async def test_bytes_are_counted_before_they_are_sent() -> None:
    desk = FakeDesk()
    desk.hold(SHARE, SCAN)
    puppet = Puppet(desk)
    order: list[str] = []
    send, sent = puppet.node.link.send, desk.sent

    async def watched_send(frame: Sequence[bytes | memoryview]) -> None:
        if frame[0][0] == 5:
            order.append("chunk")
        await send(frame)

    async def watched_count(share: ShareId, wire_bytes: int) -> None:
        order.append(f"{wire_bytes} bytes")
        await sent(share, wire_bytes)

    puppet.node.link.send = watched_send  # type: ignore[method-assign]
    desk.sent = watched_count  # type: ignore[method-assign]
    await puppet.say(HELLO, RECEIPT, Want(SHARE, (Run(SCAN.shape.id, 0, 2),)))
    await puppet.hear(Hello, ReceiptFrame, Done, Chunk, Chunk)
    assert order == [f"{1300 + 2 * CHUNK_HEAD.size} bytes", "chunk", "chunk"]
    await puppet.node.leave()


async def test_hello_receipt_letters_wants_and_done_are_said_in_this_order() -> None:
    desk = FakeDesk()
    desk.letters.append(b"1")
    desk.wanted.append(SCAN.missing(SHARE))
    puppet = Puppet(desk)
    await puppet.say(HELLO, RECEIPT)
    await puppet.hear(Hello, ReceiptFrame, EnvelopeFrame, Want, Done)
    await puppet.node.leave()
    await puppet.hear(Bye)


async def test_no_more_than_a_window_is_asked_for_and_more_as_chunks_come() -> None:
    scan = fake_object("large", [limits.STORED_CHUNK_MAX] * 5)
    desk = FakeDesk()
    desk.wanted.append(scan.missing(SHARE))
    puppet = Puppet(desk)
    await puppet.say(HELLO, RECEIPT)
    *_, want = await puppet.hear(Hello, ReceiptFrame, Want)
    assert want == Want(SHARE, (Run(scan.shape.id, 0, 2),))  # a third would not fit into 3 MiB
    await puppet.say(Chunk(scan.shape.id, 0, Sealed(scan.chunks[0])))
    (want,) = await puppet.hear(Want)
    assert want == Want(SHARE, (Run(scan.shape.id, 2, 1),))
    await puppet.node.leave()


async def test_the_desk_is_not_asked_again_once_it_named_all() -> None:
    desk = FakeDesk()
    desk.wanted.append(SCAN.missing(SHARE))
    asked: list[int] = []
    missing = desk.missing

    async def watched(room: int) -> Sequence[MissingChunks]:
        asked.append(room)
        return await missing(room)

    desk.missing = watched  # type: ignore[method-assign]
    puppet = Puppet(desk)
    await puppet.say(HELLO, RECEIPT)
    await puppet.hear(Hello, ReceiptFrame, Want, Done)
    await puppet.say(*(Chunk(SCAN.shape.id, n, Sealed(chunk)) for n, chunk in enumerate(SCAN.chunks)))
    await until(lambda: len(desk.kept) == 3, desk)
    assert len(asked) == 2
    await puppet.node.leave()


async def test_a_share_that_is_not_allowed_is_refused_object_by_object() -> None:
    objects = [fake_object(f"{n}", [600, 600]) for n in range(5)]
    one, other = FakeDesk(), FakeDesk()
    one.held.update({each.shape.id: each for each in objects})
    other.wanted.extend(each.missing(SHARE) for each in objects)
    here, there = two_nodes(one, other)
    await until(lambda: len(other.refusals) == 5, other)
    assert other.refusals == [(SHARE, each.shape.id, "policy-refusal") for each in objects]
    assert (one.counted, other.kept) == (0, {})
    await here.leave()
    await there.ended()


async def test_a_share_that_is_revoked_meanwhile_is_served_no_further() -> None:
    scan = fake_object("large", [limits.STORED_CHUNK_MAX] * 6)
    one, other = FakeDesk(), FakeDesk()
    one.hold(SHARE, scan)
    other.wanted.append(scan.missing(SHARE))
    sent = one.sent

    async def revoke_after_the_first(share: ShareId, wire_bytes: int) -> None:
        await sent(share, wire_bytes)
        one.allowed.clear()

    one.sent = revoke_after_the_first  # type: ignore[method-assign]
    here, there = two_nodes(one, other)
    await until(lambda: len(other.refusals) == 3, other)  # the rest of the first Want, and those sent meanwhile
    assert list(other.kept) == [(scan.shape.id, 0)]
    await here.leave()
    assert (await there.ended()).reason is EndReason.BYE


async def test_one_unreadable_object_does_not_stop_the_others() -> None:
    objects = [fake_object(f"{n}", [600, 600]) for n in range(5)]
    one, other = FakeDesk(), FakeDesk()
    one.hold(SHARE, *objects)
    one.unreadable[objects[2].shape.id] = DamagedPack("a pack")
    other.wanted.extend(each.missing(SHARE) for each in objects)
    here, there = two_nodes(one, other)
    await until(lambda: len(other.kept) == 8 and len(other.refusals) == 1, other)
    assert other.refusals == [(SHARE, objects[2].shape.id, "damaged-pack")]
    await here.leave()
    await there.ended()


async def test_a_letter_that_does_not_open_takes_nothing_and_the_session_goes_on() -> None:
    one, other = FakeDesk(), FakeDesk()
    one.letters.extend([b"bad", b"good"])
    other.not_acceptable.update({b"bad": Forged("a letter"), b"receipt": Forged("a receipt")})
    here, there = two_nodes(one, other)
    await until(lambda: other.letters_taken == [b"good"], other)
    await here.leave()
    assert (await there.ended()).not_taken == 2


async def test_a_desk_may_end_the_session_over_a_letter() -> None:
    one, other = FakeDesk(), FakeDesk()
    one.letters.append(b"bad")
    other.not_acceptable[b"bad"] = ProtocolViolation("a letter")
    here, there = two_nodes(one, other)
    assert (await there.ended()).reason is EndReason.VIOLATION
    assert (await here.ended()).why == "protocol-violation"


VIOLATIONS: dict[str, tuple[list[bytes | Frame], type[P2PShareError]]] = {
    "an empty frame": ([b""], Malformed),
    "an unknown frame": ([HELLO, b"\x63"], Malformed),
    "a receipt before Hello": ([RECEIPT], ProtocolViolation),
    "Hello twice": ([HELLO, HELLO], ProtocolViolation),
    "a letter before a receipt": ([HELLO, EnvelopeFrame(Sealed(b"1"))], ProtocolViolation),
    "a chunk nobody asked for": ([HELLO, RECEIPT, Chunk(SCAN.shape.id, 9, Sealed(bytes(600)))], ProtocolViolation),
    "a chunk with other bytes": ([HELLO, RECEIPT, Chunk(SCAN.shape.id, 0, Sealed(bytes(600)))], WrongChunk),
    "a refusal nobody asked for": ([HELLO, RECEIPT, Refused(SHARE, SHARE * 2, "")], ProtocolViolation),  # type: ignore[list-item, arg-type]
    "wants without end": (
        [HELLO, RECEIPT, *[Want(SHARE, (Run(SCAN.shape.id, 0, 4000),))] * 2],
        ProtocolViolation,
    ),
}


@pytest.mark.parametrize(("frames", "error"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
async def test_whoever_breaks_the_rules_is_told_why_and_left(
    frames: list[bytes | Frame], error: type[P2PShareError]
) -> None:
    desk = FakeDesk()
    desk.wanted.append(SCAN.missing(SHARE))
    puppet = Puppet(desk)
    for frame in frames:
        if isinstance(frame, Chunk):
            await puppet.hear(Hello, ReceiptFrame, Want)
        await puppet.link.send(frame if isinstance(frame, bytes) else encode_frame(frame))
    ended = await puppet.node.ended()
    assert ended.reason is EndReason.VIOLATION
    assert type(ended.error) is error
    assert puppet.node.link.sent[-1] == b"".join(encode_frame(Bye(error().code)))
    assert desk.kept == {}


async def test_a_bye_ends_the_session_with_its_reason() -> None:
    puppet = Puppet(FakeDesk())
    await puppet.say(HELLO, Bye("closing"))
    assert await puppet.node.ended() == Ended(EndReason.BYE, "closing")


async def test_a_connection_that_ends_without_a_word_is_told_apart() -> None:
    puppet = Puppet(FakeDesk())
    await puppet.say(HELLO, RECEIPT)
    await puppet.hear(Hello, ReceiptFrame, Done)
    await puppet.link.close()
    assert (await puppet.node.ended()).reason is EndReason.LEFT


async def test_a_connection_that_breaks_while_sending_is_lost() -> None:
    puppet = Puppet(FakeDesk())
    await puppet.hear(Hello, ReceiptFrame)

    async def broken(_: object) -> None:
        raise Unreachable("the connection was lost")

    puppet.node.link.send = broken  # type: ignore[method-assign]
    puppet.node.desk.letters.append(b"1")
    puppet.node.desk.news.set()
    ended = await puppet.node.ended()
    assert ended.reason is EndReason.LOST
    assert isinstance(ended.error, Unreachable)


async def test_trouble_on_this_side_is_returned_and_the_other_is_told_no_details() -> None:
    desk = FakeDesk()

    async def full(_: ShareId, __: StoredChunk) -> None:
        raise DiskTrouble("no space left for /secret")

    desk.keep = full  # type: ignore[method-assign]
    desk.wanted.append(SCAN.missing(SHARE))
    puppet = Puppet(desk)
    await puppet.say(HELLO, RECEIPT)
    await puppet.hear(Hello, ReceiptFrame, Want)
    await puppet.say(Chunk(SCAN.shape.id, 0, Sealed(SCAN.chunks[0])))
    ended = await puppet.node.ended()
    assert (ended.reason, type(ended.error)) == (EndReason.TROUBLE, DiskTrouble)
    assert puppet.node.link.sent[-1] == b"".join(encode_frame(Bye("disk-trouble")))


async def test_a_fault_of_the_program_is_raised_after_all_is_closed() -> None:
    desk = FakeDesk()

    async def faulty() -> Sequence[Sealed]:
        raise ZeroDivisionError

    desk.outgoing_letters = faulty  # type: ignore[method-assign]
    puppet = Puppet(desk)
    with pytest.raises(ExceptionGroup) as raised:
        await puppet.node.task
    assert raised.value.subgroup(ZeroDivisionError)
    assert desk.closings == 1
    await puppet.hear(Hello)
    assert await puppet.link.receive() is None


async def test_a_side_that_does_not_read_stops_what_is_read_from_the_disk() -> None:
    scan = fake_object("large", [limits.STORED_CHUNK_MAX] * 20)
    desk = FakeDesk()
    desk.hold(SHARE, scan)
    puppet = Puppet(desk, depth=4)
    await puppet.say(HELLO, RECEIPT, Want(SHARE, (Run(scan.shape.id, 0, 20),)))
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(desk.served) <= 4
    await puppet.node.leave()


async def test_a_side_that_does_not_read_does_not_keep_us_from_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pshare.sync.transfer.BYE_SECONDS", 0.05)
    puppet = Puppet(FakeDesk(), depth=1)
    await puppet.say(HELLO)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await puppet.node.leave()


async def test_a_full_session_ends_so_that_another_begins() -> None:
    desk = FakeDesk()
    desk.letters.extend([b"1"] * limits.SEALED_PER_SESSION_MAX)
    other = FakeDesk()
    here, there = two_nodes(desk, other)
    assert (await here.ended()).reason is EndReason.FULL
    assert await there.ended() == Ended(EndReason.BYE, "full")
    assert len(other.letters_taken) == limits.SEALED_PER_SESSION_MAX - 1

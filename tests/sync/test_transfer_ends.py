import asyncio
from collections.abc import Sequence

import pytest

from p2pshare.errors import (
    DiskTrouble,
    Malformed,
    P2PShareError,
    ProtocolViolation,
    Unreachable,
    WrongChunk,
)
from p2pshare.model import limits
from p2pshare.model.ids import ShareId
from p2pshare.model.ports import Sealed, StoredChunk
from p2pshare.sync.transfer import Ended, EndReason
from p2pshare.sync.wire import (
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
    encode_frame,
)
from tests.fakes import FakeDesk, fake_object
from tests.sync.puppets import Puppet, two_nodes

SHARE = ShareId(b"s" * 16)
HELLO = Hello(1, limits.WINDOW)
RECEIPT = ReceiptFrame(Sealed(b"receipt"))
SCAN = fake_object("scan", [600, 700, 800])


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


async def test_a_side_that_does_not_read_stops_what_is_read_from_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pshare.sync.transfer.BYE_SECONDS", 0.05)
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

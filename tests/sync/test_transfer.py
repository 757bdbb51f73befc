import asyncio
from collections.abc import Sequence

from p2pshare.errors import (
    DamagedPack,
    Forged,
    ProtocolViolation,
    WrongChunk,
)
from p2pshare.model import limits
from p2pshare.model.ids import ShareId
from p2pshare.model.ports import ChunkRun, MissingChunks, Sealed, StoredChunk
from p2pshare.sync.transfer import SERVE_BYTES, EndReason
from p2pshare.sync.wire import (
    CHUNK_HEAD,
    Bye,
    Chunk,
    Done,
    EnvelopeFrame,
    Hello,
    ReceiptFrame,
    Refused,
    Run,
    Want,
)
from tests.fakes import FakeDesk, fake_object
from tests.sync.puppets import Puppet, two_nodes, until

SHARE = ShareId(b"s" * 16)
HELLO = Hello(1, limits.WINDOW)
RECEIPT = ReceiptFrame(Sealed(b"receipt"))
SCAN = fake_object("scan", [600, 700, 800])


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
    assert max(one.served) <= SERVE_BYTES
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


async def test_the_next_chunks_are_read_while_some_are_being_sent() -> None:
    scan = fake_object("scan", [limits.STORED_CHUNK_MAX] * 3)
    desk = FakeDesk()
    desk.hold(SHARE, scan)
    puppet = Puppet(desk)
    order: list[str] = []
    send, serve = puppet.node.link.send, desk.serve

    async def watched_send(frame: Sequence[bytes | memoryview]) -> None:
        if frame[0][0] == 5:
            await asyncio.sleep(0.02)
            order.append("sent")
        await send(frame)

    async def watched_serve(share: ShareId, runs: Sequence[ChunkRun], room: int) -> Sequence[StoredChunk]:
        order.append(f"read {runs[0].first}")
        return await serve(share, runs, room)

    puppet.node.link.send = watched_send  # type: ignore[method-assign]
    desk.serve = watched_serve  # type: ignore[method-assign]
    await puppet.say(HELLO, RECEIPT, Want(SHARE, (Run(scan.shape.id, 0, 2),)))
    await puppet.hear(Hello, ReceiptFrame, Done, Chunk, Chunk)
    assert order == ["read 0", "read 1", "sent", "sent"]
    await puppet.node.leave()


async def test_a_refusal_found_while_others_are_sent_follows_them() -> None:
    first, second = fake_object("first", [limits.STORED_CHUNK_MAX]), fake_object("second", [limits.STORED_CHUNK_MAX])
    desk = FakeDesk()
    desk.hold(SHARE, first, second)
    desk.unreadable[second.shape.id] = DamagedPack("gone")
    puppet = Puppet(desk)
    await puppet.say(HELLO, RECEIPT, Want(SHARE, (Run(first.shape.id, 0, 1), Run(second.shape.id, 0, 1))))
    *_, sent, refused = await puppet.hear(Hello, ReceiptFrame, Done, Chunk, Refused)
    assert isinstance(sent, Chunk)
    assert isinstance(refused, Refused)
    assert (sent.object_id, refused.object) == (first.shape.id, second.shape.id)
    await puppet.node.leave()


async def test_what_was_read_ahead_is_not_sent_once_the_share_has_ended() -> None:
    scan = fake_object("scan", [limits.STORED_CHUNK_MAX] * 2)
    desk = FakeDesk()
    desk.hold(SHARE, scan)
    puppet = Puppet(desk)
    send = puppet.node.link.send

    async def watched_send(frame: Sequence[bytes | memoryview]) -> None:
        if frame[0][0] == 5:
            await asyncio.sleep(0.02)  # the second chunk is read by now
            desk.allowed.clear()
        await send(frame)

    puppet.node.link.send = watched_send  # type: ignore[method-assign]
    await puppet.say(HELLO, RECEIPT, Want(SHARE, (Run(scan.shape.id, 0, 2),)))
    *_, refused = await puppet.hear(Hello, ReceiptFrame, Done, Chunk, Refused)
    assert isinstance(refused, Refused)
    assert refused.object == scan.shape.id
    assert len(desk.served) == 2
    assert desk.counted == limits.STORED_CHUNK_MAX + CHUNK_HEAD.size
    await puppet.node.leave()


async def test_a_session_that_ends_while_chunks_are_read_ahead_leaves_no_task_behind() -> None:
    scan = fake_object("scan", [limits.STORED_CHUNK_MAX] * 2)
    desk = FakeDesk()
    desk.hold(SHARE, scan)
    serve, ended = desk.serve, asyncio.Event()

    async def slow(share: ShareId, runs: Sequence[ChunkRun], room: int) -> Sequence[StoredChunk]:
        if runs[0].first:
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()
        return await serve(share, runs, room)

    desk.serve = slow  # type: ignore[method-assign]
    puppet = Puppet(desk)
    await puppet.say(HELLO, RECEIPT, Want(SHARE, (Run(scan.shape.id, 0, 2),)))
    await puppet.hear(Hello, ReceiptFrame, Done, Chunk)
    await puppet.node.leave()
    assert ended.is_set()


async def test_a_wrong_chunk_that_is_found_out_at_last_is_told_as_a_violation() -> None:
    desk = FakeDesk()
    desk.wrong = WrongChunk("its digest")
    puppet = Puppet(desk)
    await puppet.say(HELLO, RECEIPT)
    await puppet.hear(Hello, ReceiptFrame, Done)
    await puppet.say(Bye("done"))
    ended = await puppet.node.ended()
    assert (ended.reason, ended.error) == (EndReason.VIOLATION, desk.wrong)

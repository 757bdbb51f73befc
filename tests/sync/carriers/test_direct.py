import asyncio
from collections.abc import Awaitable, Callable

import pytest

from p2pshare.crypto.channel import ClientHandshake
from p2pshare.crypto.keys import SigningKey, new_knock_key
from p2pshare.errors import CannotListen, Forged, Malformed, Unreachable
from p2pshare.model import limits
from p2pshare.model.ports import Link, PeerIdentity
from p2pshare.sync.carriers import direct
from p2pshare.sync.carriers.direct import DirectListener, dial
from p2pshare.sync.doorstep import Doorstep
from tests.sync.carriers.nodes import (
    SECONDS,
    UPGRADE,
    Listening,
    Node,
    Stranger,
    free_port,
    listening,
    request,
    right_knock,
    somebody_else,
)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - what is waited for is inside what is tested, and has no event
            await asyncio.sleep(0.01)


# --- contacts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_contact_is_connected_and_both_know_who_it_is(host: str) -> None:
    async with listening(host) as nodes:
        link, back = await nodes.both_ends()
        assert link.peer == PeerIdentity(nodes.server.id, nodes.server.person)
        assert back.peer == PeerIdentity(nodes.client.id, nodes.client.person)
        await link.close()


async def test_closing_the_listener_ends_its_links() -> None:
    async with listening() as nodes:
        link, _ = await nodes.both_ends()
        await nodes.listener.close()
        assert await link.receive() is None
        await link.close()
        with pytest.raises(Unreachable):
            await nodes.dial()


async def test_an_error_in_one_link_is_reported_and_the_next_is_served() -> None:
    server, client = Node(), Node()
    server.know(client)
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    failing = [True]

    async def on_link(link: Link) -> None:
        if failing:
            failing.clear()
            raise ZeroDivisionError
        await link.send(b"served")

    listener = DirectListener(server, on_link)
    await listener.start("127.0.0.1", 0)
    for expected in (None, b"served"):
        link = await dial(listener.address, client.device, server.as_known())
        assert await link.receive() == expected
        await link.close()
    await listener.close()
    assert [type(error) for error in reported] == [ZeroDivisionError]


async def test_an_address_that_is_taken_is_said() -> None:
    async with listening() as nodes:
        with pytest.raises(CannotListen, match="in use"):
            await DirectListener(nodes.server, lambda _: asyncio.sleep(0)).start(*nodes.place)


async def test_old_knock_keys_work_while_they_are_listed_and_no_longer() -> None:
    async with listening() as nodes:
        old = nodes.server.as_known()
        nodes.server.knock_keys.insert(0, new_knock_key())
        await (await dial(nodes.listener.address, nodes.client.device, old)).close()
        nodes.server.knock_keys.pop()
        with pytest.raises(Unreachable):
            await dial(nodes.listener.address, nodes.client.device, old)
        await (await nodes.dial()).close()


async def test_blocking_takes_effect_at_the_next_connection() -> None:
    async with listening() as nodes:
        await (await nodes.dial()).close()
        nodes.server.contacts.clear()
        with pytest.raises(Unreachable):
            await nodes.dial()
        assert nodes.arrived.qsize() == 1


# --- devices that are not contacts -----------------------------------------------------------------------------------


async def dial_as(nodes: Listening, device: SigningKey) -> Link:
    return await dial(nodes.listener.address, device, nodes.server.as_known(), deadline=SECONDS)


async def test_a_device_that_is_not_a_contact_is_not_answered() -> None:
    async with listening() as nodes:
        with pytest.raises(Unreachable):
            await dial_as(nodes, SigningKey.generate())
        assert nodes.arrived.empty()


class Lying(ClientHandshake):
    """A client that does not say what it should."""

    __slots__ = ()
    greetings: list[bytes] = []  # noqa: RUF012 - one test at a time
    claims: list[bytes] = []  # noqa: RUF012 - likewise
    lie: Callable[[bytes], bytes]

    def answer(self, message: bytes) -> bytes:
        self.greetings.append(message)
        self.claims.append(super().answer(message))
        return type(self).lie(self.claims[-1])


LIES: dict[str, Callable[[bytes], bytes]] = {
    "a replayed claim": lambda _: Lying.claims[0],
    "the server's own greeting": lambda _: Lying.greetings[-1],
    "the server's greeting of another connection": lambda _: Lying.greetings[0],
    "a flipped bit": lambda claim: claim[:-1] + bytes((claim[-1] ^ 1,)),
    "a lower offer": lambda claim: claim[:32] + b"\x02\x00\x01" + claim[34:],
    "nothing": lambda _: b"",
    "too much": lambda claim: claim + bytes(limits.HANDSHAKE_FRAME_MAX),
    "far too much": lambda claim: claim + bytes(limits.FRAME_MAX - 200),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
async def test_a_claim_that_is_replayed_reflected_or_changed_is_not_answered(
    lie: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    Lying.greetings.clear()
    Lying.claims.clear()
    monkeypatch.setattr(direct, "ClientHandshake", Lying)
    async with listening() as nodes:
        Lying.lie = staticmethod(lambda claim: claim)
        await (await nodes.dial()).close()
        Lying.lie = staticmethod(lie)
        with pytest.raises(Unreachable):
            await nodes.dial()
        assert nodes.arrived.qsize() == 1


# --- limits -------------------------------------------------------------------------------------------------------


async def knocking(nodes: Listening) -> Stranger:
    stranger = await Stranger.connect(nodes.place)
    await stranger.says(request(right_knock(nodes, stranger), *UPGRADE))
    await stranger.reader.readuntil(b"\r\n\r\n")
    await stranger.reader.readexactly(68)
    return stranger


async def half_a_request(nodes: Listening) -> Stranger:
    stranger = await Stranger.connect(nodes.place)
    await stranger.says(b"GET /")
    return stranger


SLOW: dict[str, Callable[[Listening], Awaitable[Stranger]]] = {
    "before TLS": lambda nodes: Stranger.connect(nodes.place, tls=False),
    "after TLS": lambda nodes: Stranger.connect(nodes.place),
    "in the request": half_a_request,
    "after the greeting": knocking,
}


@pytest.mark.parametrize("come", SLOW.values(), ids=SLOW.keys())
async def test_whoever_does_not_go_on_is_left_at_the_deadline(come: Callable[[Listening], Awaitable[Stranger]]) -> None:
    async with listening(deadline=0.3) as nodes:
        stranger = await come(nodes)
        assert await stranger.is_left_alone(0.1)
        assert await stranger.hears() == b""
        await until(lambda: len(nodes.doorstep._places) == 0)


async def test_whoever_goes_on_slowly_is_left_at_the_deadline() -> None:
    async with listening(deadline=0.3) as nodes:
        stranger = await Stranger.connect(nodes.place)
        started = asyncio.get_running_loop().time()
        while await stranger.is_left_alone(0.02) and asyncio.get_running_loop().time() - started < SECONDS:
            await stranger.says(b"G")
        assert asyncio.get_running_loop().time() - started < 2
        stranger.leaves()


async def test_one_address_may_have_four_sockets_that_are_not_known_yet_and_the_longest_there_makes_room() -> None:
    async with listening() as nodes:
        strangers = [await Stranger.connect(nodes.place, tls=False) for _ in range(4)]
        late = await Stranger.connect(nodes.place, tls=False)
        assert await strangers.pop(0).hears() == b""
        assert [await stranger.is_left_alone() for stranger in (*strangers, late)] == [True] * 4
        await (await nodes.dial()).close()  # a contact behind the same address gets in all the same
        for stranger in (*strangers, late):
            stranger.leaves()
        await until(lambda: not nodes.doorstep._places)


@pytest.mark.linux
async def test_at_most_64_sockets_are_not_known_yet_and_the_longest_there_makes_room() -> None:
    async with listening() as nodes:
        strangers = [
            await Stranger.connect(nodes.place, tls=False, source=f"127.0.1.{n // 4 + 1}")
            for n in range(limits.HANDSHAKE_SOCKETS)
        ]
        await until(lambda: len(nodes.doorstep._places) == limits.HANDSHAKE_SOCKETS)
        late = await Stranger.connect(nodes.place, tls=False, source="127.0.2.1")
        assert await strangers.pop(0).hears() == b""  # the longest there made room
        assert await late.is_left_alone(0.001)
        assert len(nodes.doorstep._places) == limits.HANDSHAKE_SOCKETS
        await (await nodes.dial()).close()
        for stranger in (*strangers, late):
            stranger.leaves()
        await until(lambda: len(nodes.doorstep._places) == 0)


async def test_whoever_is_known_is_no_longer_counted_and_has_no_deadline() -> None:
    async with listening(deadline=0.5, doorstep=Doorstep(2, 2)) as nodes:
        links = [await nodes.both_ends() for _ in range(4)]
        assert len(nodes.doorstep._places) == 0
        await asyncio.sleep(0.6)
        for link, back in links:
            await link.send(b"still here")
            assert await back.receive() == b"still here"
            await link.close()


async def test_five_hundred_strangers_do_not_keep_a_contact_out() -> None:
    async with listening(deadline=0.5) as nodes:
        strangers = [await Stranger.connect(nodes.place, tls=False) for _ in range(500)]
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    link = await nodes.dial()
                    break
                except Unreachable:
                    await asyncio.sleep(0.05)
        await link.close()
        for stranger in strangers:
            stranger.leaves()


# --- who is dialled -------------------------------------------------------------------------------------------------


async def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await dial(f"127.0.0.1:{free_port()}", SigningKey.generate(), Node().as_known())


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.0.0.1:x", "http://127.0.0.1:1/"])
async def test_what_is_no_address_is_not_dialled(address: str) -> None:
    with pytest.raises(Malformed):
        await dial(address, SigningKey.generate(), Node().as_known())


async def test_another_device_at_the_address_is_recognised() -> None:
    async with listening() as nodes:
        other = Node()
        other.knock_keys = nodes.server.knock_keys
        with pytest.raises((Forged, Unreachable)):
            await dial(nodes.listener.address, nodes.client.device, other.as_known())
        assert nodes.arrived.empty()


ANSWERS = {
    "nothing": b"",
    "an error": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "another place": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"\x00" * 100,
    "endless headers": b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 100_000,
    "a wrong upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_whoever_answers_something_else_is_unreachable(answer: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with somebody_else(other) as address:
        with pytest.raises(Unreachable):
            await dial(address, SigningKey.generate(), Node().as_known(), deadline=1)


@pytest.mark.parametrize("tls", [False, True])
async def test_whoever_does_not_answer_is_unreachable_at_the_deadline(tls: bool) -> None:
    async def mute(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with somebody_else(mute, tls=tls) as address:
        with pytest.raises(Unreachable):
            await dial(address, SigningKey.generate(), Node().as_known(), deadline=0.2)


async def test_somebody_between_the_two_who_shows_another_certificate_gets_nothing() -> None:
    passed: list[bytes] = []
    async with listening() as nodes:

        async def between(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            stranger = await Stranger.connect(nodes.place)
            await stranger.says(await reader.readuntil(b"\r\n\r\n"))
            passed.append(await stranger.hears())

        async with somebody_else(between) as address:
            with pytest.raises(Unreachable):
                await dial(address, nodes.client.device, nodes.server.as_known(), deadline=SECONDS)
        assert passed == [b""]
        assert nodes.arrived.empty()

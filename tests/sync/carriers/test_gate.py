import asyncio
from collections.abc import Callable

import pytest

from p2pshare.crypto.certificate import certificate_digest, new_certificate
from p2pshare.crypto.channel import knock
from p2pshare.crypto.keys import new_knock_key
from tests.sync.carriers.nodes import UPGRADE, Listening, Stranger, listening, request, right_knock

Says = Callable[[Listening, Stranger], bytes]

UNWELCOME: dict[str, Says] = {
    "a browser": lambda _, __: request("", *UPGRADE),
    "another path": lambda _, __: request("index.html"),
    "digits made up": lambda _, __: request("0" * 128, *UPGRADE),
    "a knock with another key": lambda _, s: request(
        knock(new_knock_key(), certificate_digest(s.certificate), bytes(32)), *UPGRADE
    ),
    "a knock for another certificate": lambda n, _: request(
        knock(n.server.knock_keys[0], new_certificate().digest, bytes(32)), *UPGRADE
    ),
    "a knock in capitals": lambda n, s: request(right_knock(n, s).upper(), *UPGRADE),
    "a knock cut short": lambda n, s: request(right_knock(n, s)[:-2], *UPGRADE),
    "a knock with more after it": lambda n, s: request(right_knock(n, s) + "/", *UPGRADE),
    "a knock by POST": lambda n, s: request(right_knock(n, s), *UPGRADE, line="POST /{} HTTP/1.1"),
    "a knock in HTTP/1.0": lambda n, s: request(right_knock(n, s), *UPGRADE, line="GET /{} HTTP/1.0"),
    "a knock in HTTP/2": lambda n, s: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a right knock without an upgrade": lambda n, s: request(right_knock(n, s), "Host: p2pshare"),
    "a right knock with half an upgrade": lambda n, s: request(right_knock(n, s), *UPGRADE[:2]),
    "a right knock with a short key": lambda n, s: request(right_knock(n, s), *UPGRADE[:4], "Sec-WebSocket-Key: AA=="),
    "a right knock with a bad header": lambda n, s: request(right_knock(n, s), *UPGRADE, "no colon"),
    "a right knock with a control character": lambda n, s: request(right_knock(n, s), *UPGRADE, "X: \x00"),
    "a right knock with a body": lambda n, s: request(right_knock(n, s), "Host: p2pshare", "Content-Length: 9") + b"x",
    "a right knock that expects to go on": lambda n, s: request(right_knock(n, s), "Expect: 100-continue"),
    "endless headers": lambda n, s: request(right_knock(n, s), *UPGRADE, "X: " + "x" * 4096),
    "an endless line": lambda _, __: b"GET /" + b"0" * 9000,
    "bytes without meaning": lambda _, __: bytes(range(256)) * 20,
    "empty lines": lambda _, __: b"\r\n\r\n",
}


@pytest.mark.parametrize("says", UNWELCOME.values(), ids=UNWELCOME.keys())
async def test_a_stranger_gets_no_answer_and_fills_no_log(says: Says, caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as nodes:
        stranger = await Stranger.connect(nodes.place)
        await stranger.says(says(nodes, stranger))
        assert await stranger.hears() == b""
        assert nodes.arrived.empty()
        await (await nodes.dial()).close()
    assert caplog.records == []


@pytest.mark.parametrize(
    "said", [request("", *UPGRADE), b"\x16\x03\x01\x00\x05hello", b"SSH-2.0-OpenSSH_9.9\r\n", bytes(5000)]
)
async def test_a_stranger_without_tls_gets_no_answer(said: bytes) -> None:
    async with listening() as nodes:
        stranger = await Stranger.connect(nodes.place, tls=False)
        await stranger.says(said)
        assert await stranger.hears() == b""
        await (await nodes.dial()).close()


async def test_a_knock_in_pieces_is_still_a_knock() -> None:
    async with listening() as nodes:
        stranger = await Stranger.connect(nodes.place)
        knocking = request(right_knock(nodes, stranger), *UPGRADE)
        for at in range(0, len(knocking), 50):
            await stranger.says(knocking[at : at + 50])
            await asyncio.sleep(0.001)
        answer = await stranger.reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"server:" not in answer.lower()
        assert b"date:" not in answer.lower()
        assert b"extensions" not in answer.lower()
        stranger.leaves()


async def test_somebody_who_knows_the_knock_but_not_the_handshake_is_left_after_the_greeting() -> None:
    async with listening() as nodes:
        stranger = await Stranger.connect(nodes.place)
        await stranger.says(request(right_knock(nodes, stranger), *UPGRADE))
        await stranger.reader.readuntil(b"\r\n\r\n")
        frame = await stranger.reader.readexactly(2 + 66)  # WebSocket's head; nonce, proof and one version
        assert frame[0] == 0x82
        await stranger.says(b"\x82\x83\0\0\0\0abc")
        assert await stranger.hears() == b""


FLOODS = {
    "one message without end": b"\x82\xff" + (1 << 20).to_bytes(8, "big") + bytes(12_000),
    "many fragments": b"\x02\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 2000,
    "many pings": b"\x89\xfd\0\0\0\0" * 2000,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
async def test_somebody_who_is_not_known_yet_may_send_a_few_kib_in_all(flood: bytes) -> None:
    async with listening() as nodes:
        stranger = await Stranger.connect(nodes.place)
        await stranger.says(request(right_knock(nodes, stranger), *UPGRADE))
        await stranger.reader.readuntil(b"\r\n\r\n")
        await stranger.says(flood)
        started = asyncio.get_running_loop().time()
        await stranger.hears()
        assert asyncio.get_running_loop().time() - started < 1

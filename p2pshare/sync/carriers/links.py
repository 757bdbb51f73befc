"""Links over a WebSocket of aiohttp: one frame is one binary message, and slowness of the reader reaches the sender.

Rule 1: a message is at most a frame long; a longer one is refused when its length is read, before its bytes are.
Rule 2: aiohttp's errors end here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import aiohttp
from aiohttp import WSMsgType, web

from p2pshare.errors import ProtocolViolation, TooLarge, Unreachable
from p2pshare.model import limits
from p2pshare.model.ports import PeerIdentity

MESSAGE_BOUND: Final = limits.FRAME_MAX + 1  # aiohttp refuses what is as long as its limit
HEARTBEAT_SECONDS: Final = 20.0  # anything that arrives counts as a sign of life; then a ping, and half as long again
CLOSE_SECONDS: Final = 2.0  # how long the other side may take to read the rest and agree that it is over

_PAUSE_AFTER: Final = 256 * limits.KIB  # bytes, with so many for each frame whatever its size
_FRAME_COST: Final = 4 * limits.KIB

WebSocket = web.WebSocketResponse[bool] | aiohttp.ClientWebSocketResponse[bool]


async def send_message(socket: WebSocket, message: bytes | bytearray | memoryview) -> None:
    """Send one message, waiting while the other side is slow. Raises `Unreachable` when the connection is gone."""
    try:
        await socket.send_bytes(message)  # type: ignore[arg-type]  # declared as bytes; it takes any buffer
    except (ConnectionError, RuntimeError, aiohttp.ClientError):
        raise Unreachable("the connection was lost") from None


async def receive_message(socket: WebSocket) -> bytes | None:
    """The next message, or None when the other side closed.

    Raises:
        TooLarge: it is longer than a frame.
        ProtocolViolation: it is not a binary message, or not WebSocket at all.
        Unreachable: the other side gave no sign of life.
    """
    message = await socket.receive()
    match message.type:
        case WSMsgType.BINARY:
            data: bytes = message.data
            return data
        case WSMsgType.CLOSE | WSMsgType.CLOSING | WSMsgType.CLOSED:
            return None
        case WSMsgType.ERROR:
            raise _because_of(message.data)
        case _:
            raise ProtocolViolation("a message that is not binary")


class WebSocketLink:
    """A `Link` to an authenticated device."""

    def __init__(
        self,
        peer: PeerIdentity,
        socket: WebSocket,
        transport: asyncio.Transport,
        on_close: Callable[[], Awaitable[None]],
    ) -> None:
        """Take over `socket`, which runs over `transport`; `on_close` frees what else belongs to it."""
        self.peer = peer
        self._socket = socket
        self._transport = transport
        self._on_close = on_close
        self._since_pause = 0

    async def send(self, frame: bytes | bytearray | memoryview | Sequence[bytes | memoryview]) -> None:
        """Send one frame, waiting while the other side is slow. Raises `Unreachable` when the link is gone."""
        whole = frame if isinstance(frame, bytes | bytearray | memoryview) else b"".join(frame)
        await send_message(self._socket, whole)
        # Sending to a fast reader never waits; the loop must run all the same, or it cannot tell that the link is gone.
        self._since_pause += _FRAME_COST + len(whole)
        if self._since_pause > _PAUSE_AFTER:
            self._since_pause = 0
            await asyncio.sleep(0)

    async def receive(self) -> bytes | None:
        """The next frame, or None when the other side closed. Raises as `receive_message` does."""
        return await receive_message(self._socket)

    async def close(self) -> None:
        """Close at once; never raises. What was sent still goes out, for some seconds at most."""
        # Not WebSocket's farewell, which waits for an answer of whoever may not even read: TLS's own end does for both.
        self._transport.close()
        try:
            with suppress(OSError, RuntimeError, aiohttp.ClientError):
                await self._socket.close()  # finds the connection closed, and only cleans up
        finally:
            await self._on_close()


def _because_of(error: object) -> ProtocolViolation | TooLarge | Unreachable:
    if isinstance(error, aiohttp.WebSocketError):
        too_large = error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        return TooLarge("a frame") if too_large else ProtocolViolation("a message that is not WebSocket")
    return Unreachable("the other computer gave no sign of life")

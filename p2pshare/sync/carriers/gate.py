"""The listening side's HTTP: aiohttp sees no byte before a right knock, and nobody ever gets an HTTP error.

Rule 1: anything but a right knock, and any fault after it, closes the connection without an answer.
Rule 2: until the handshake is done, a connection may bring a few KiB in all.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from aiohttp import hdrs, web
from aiohttp.web_protocol import RequestHandler

from p2pshare.errors import StrangerRefused, Unreachable
from p2pshare.model import limits
from p2pshare.sync.carriers.links import CLOSE_SECONDS, HEARTBEAT_SECONDS, MESSAGE_BOUND

REQUEST_MAX: Final = limits.HANDSHAKE_FRAME_MAX  # request line and headers
STRANGER_MAX: Final = REQUEST_MAX + limits.HANDSHAKE_FRAME_MAX + 64  # and message 2, with its WebSocket framing

_REQUEST: Final = re.compile(rb"GET /([0-9a-f]{128}) HTTP/1\.1\r\n")
_END_OF_HEADERS: Final = b"\r\n\r\n"

CheckKnock = Callable[[str], tuple[bytes, bytes]]  # path -> client nonce and the knock key; raises StrangerRefused


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What a right knock became; `knock` is what `CheckKnock` gave."""

    knock: tuple[bytes, bytes]
    socket: web.WebSocketResponse
    transport: asyncio.Transport


class Gate(RequestHandler):
    """One connection: a doorkeeper in front of aiohttp's HTTP, until `open` is called."""

    __slots__ = ("_allowance", "_check", "_gone", "_head", "_knock", "upgraded")

    def __init__(self, server: "GateServer", loop: asyncio.AbstractEventLoop, check: CheckKnock) -> None:
        super().__init__(server, loop=loop, access_log=None)  # type: ignore[arg-type]  # None is how it is switched off
        self._check = check
        self._allowance: int | None = STRANGER_MAX
        self._head = b""
        self._knock: tuple[bytes, bytes] | None = None
        self._gone = asyncio.Event()
        self.upgraded: asyncio.Future[Upgraded] = loop.create_future()

    def open(self) -> None:
        """Let through whatever comes: the other side is known."""
        self._allowance = None

    async def leave(self) -> None:
        """Let aiohttp clean up: the WebSocket is no longer needed."""
        self._gone.set()

    def slam(self) -> None:
        """Close at once, without an answer."""
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass on what may pass."""
        if self._allowance is not None:
            self._allowance -= len(data)
            if self._allowance < 0:
                self.slam()
                return
            if self._knock is None:
                self._head += data
                if not self._is_right_knock():
                    return
                data, self._head = self._head, b""
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell whoever waits for the upgrade that there will be none."""
        super().connection_lost(exc)
        self._gone.set()
        if not self.upgraded.done():
            self.upgraded.set_exception(Unreachable("it closed before it showed who it is"))

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer the one request there is."""
        if self._knock is None or self.transport is None or self.upgraded.done():
            self.handle_error()
        knock, transport = self._knock, self.transport
        websocket = _QuietWebSocket(
            timeout=CLOSE_SECONDS, heartbeat=HEARTBEAT_SECONDS, compress=False, max_msg_size=MESSAGE_BOUND
        )
        await websocket.prepare(request)
        if not self.upgraded.done():
            self.upgraded.set_result(Upgraded(knock, websocket, transport))
        await self._gone.wait()
        return websocket

    def handle_error(self, *_: object, **__: object) -> NoReturn:
        """Never answer with an error."""
        self.slam()
        raise ConnectionError("closed in silence")

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Never answer with anything but a WebSocket."""
        if not isinstance(resp, _QuietWebSocket):
            self.handle_error()
        return await super().finish_response(request, resp, start_time)

    def _is_right_knock(self) -> bool:
        end = self._head.find(_END_OF_HEADERS)
        if end < 0 and len(self._head) <= REQUEST_MAX:
            return False  # more may come
        request = _REQUEST.match(self._head) if 0 <= end <= REQUEST_MAX else None
        try:
            self._knock = self._check(request[1].decode("ascii") if request else "")
        except StrangerRefused:
            self.slam()
            return False
        return True


class GateServer(web.Server):
    """Makes a `Gate` for each connection; a right knock becomes a WebSocket."""

    def __init__(self, check: CheckKnock) -> None:
        """Let in those whose knock `check` knows."""
        super().__init__(_upgrade)
        self._check = check

    def __call__(self) -> Gate:
        """The protocol of one connection."""
        return Gate(self, self._loop, self._check)


class _QuietWebSocket(web.WebSocketResponse):
    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        for header in (hdrs.SERVER, hdrs.DATE):
            self.headers.popall(header, None)


async def _upgrade(request: web.BaseRequest) -> web.StreamResponse:
    gate = request.protocol
    if not isinstance(gate, Gate):
        raise ConnectionError("no gate")  # GateServer makes nothing else
    return await gate.serve(request)

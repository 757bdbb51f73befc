"""The direct road: a WebSocket inside TLS between two nodes that know each other's keys (docs/protocol.md §1).

Rule 1: a stranger gets no byte of an answer, and a socket for some seconds at most.
Rule 2: every raw socket is counted from the moment it is accepted until it is authenticated or gone.
Rule 3: who may connect, and with which knock key, is asked at each connection.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from p2pshare.crypto.certificate import certificate_digest, new_certificate
from p2pshare.crypto.channel import ClientHandshake, ServerHandshake, check_knock
from p2pshare.crypto.keys import SigningKey
from p2pshare.errors import CannotListen, RemoteError, StrangerRefused, TooLarge, Unreachable
from p2pshare.model import limits
from p2pshare.model.card import KnownDevice
from p2pshare.model.ids import DeviceId
from p2pshare.model.ports import Link, PeerIdentity
from p2pshare.sync.address import join_address, split_address
from p2pshare.sync.carriers.base import Identity, Listener, OnLink
from p2pshare.sync.carriers.gate import Gate, GateServer
from p2pshare.sync.carriers.links import (
    CLOSE_SECONDS,
    HEARTBEAT_SECONDS,
    MESSAGE_BOUND,
    WebSocket,
    WebSocketLink,
    receive_message,
    send_message,
)
from p2pshare.sync.doorstep import Doorstep, Place
from p2pshare.sync.listening import accepted, listen
from p2pshare.sync.tls import client_context, server_context

HAPPY_EYEBALLS_SECONDS: Final = 0.25  # RFC 8305 §5

_NOBODY: Final = "http://p2pshare/"  # the connection is open already; the request tells no address
_UNSAID: Final = ("User-Agent", "Accept", "Accept-Encoding")


class DirectListener(Listener):
    """Listens at one address, and runs `on_link` for each device that showed who it is."""

    def __init__(
        self,
        identity: Identity,
        on_link: OnLink,
        *,
        deadline: float = limits.HANDSHAKE_SECONDS,
        doorstep: Doorstep | None = None,
        on_stranger: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare.

        Args:
            identity: who this node is, and who may connect.
            on_link: runs for each device that was proved.
            deadline: seconds from accepting a socket to knowing who it is.
            doorstep: counts those who are not known yet.
            on_stranger: told, with an error's code, of each who was turned away.
        """
        certificate = new_certificate()
        self._certificate = certificate.digest
        self._context = server_context(certificate)
        self._identity = identity
        self._on_link = on_link
        self._deadline = deadline
        self._on_stranger = on_stranger
        self._doorstep = doorstep or Doorstep(limits.HANDSHAKE_SOCKETS, limits.HANDSHAKE_SOCKETS_PER_ADDRESS)
        self._server = GateServer(lambda path: check_knock(path, identity.knock_keys, certificate.digest))
        self._tasks: set[asyncio.Task[None]] = set()
        self._address = ""

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system chose if 0 was asked for."""
        return self._address

    async def start(self, host: str, port: int) -> None:
        """Listen at `host` ("::" for every address of this computer) and `port` (0 for any).

        Raises:
            CannotListen: the system does not let us.
        """
        try:
            listening = await listen(host, port)
        except OSError as error:
            raise CannotListen(f"{join_address(host, port)} ({error.strerror})") from None
        bound, bound_port, *_ = listening.getsockname()
        self._address = join_address(bound, bound_port)
        self._run(self._accept(listening))

    async def close(self) -> None:
        """Stop listening, and end every connection that came in."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.shutdown(CLOSE_SECONDS)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # a fault of the program in one connection: said, and the others go on
            context = {"message": "a connection ended in an error", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)

    async def _accept(self, listening: socket.socket) -> None:
        with listening:
            async for arrived, address in accepted(listening):
                turned_away = asyncio.Event()
                place = self._doorstep.enter(address, turned_away.set)
                if place is None:
                    arrived.close()
                else:
                    self._run(self._receive(arrived, place, turned_away))

    async def _receive(self, arrived: socket.socket, place: Place, turned_away: asyncio.Event) -> None:
        link: Link | None = None
        try:
            link = await self._unless(turned_away, self._authenticate(arrived, place))
        finally:
            self._doorstep.leave(place)
            if link is None:
                arrived.close()  # nothing else may have come to know of it yet
        if link is not None:
            try:
                await self._on_link(link)
            finally:
                await link.close()

    async def _unless(self, turned_away: asyncio.Event, work: Coroutine[None, None, Link | None]) -> Link | None:
        """The result of `work`; None, and it is ended, when its place is needed for somebody else."""
        working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(turned_away.wait())
        try:
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            if not working.done():
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
        return None if working.cancelled() else working.result()

    async def _authenticate(self, arrived: socket.socket, place: Place) -> Link | None:
        """A link to whoever it is, or None for everybody who is not a contact."""
        loop = asyncio.get_running_loop()
        gate: Gate | None = None
        link: Link | None = None
        try:
            async with asyncio.timeout(self._deadline):
                _, gate = await loop.connect_accepted_socket(
                    self._server,
                    arrived,
                    ssl=self._context,
                    ssl_handshake_timeout=self._deadline,
                    ssl_shutdown_timeout=CLOSE_SECONDS,
                )
                link = await self._shake_hands(gate, place)
        except RemoteError as error:
            self._on_stranger(error.code)  # nothing is said to them
        except (Unreachable, OSError):
            pass  # gone: nothing is owed
        finally:
            if gate is not None and link is None:
                gate.slam()
        return link

    async def _shake_hands(self, gate: Gate, place: Place) -> Link:
        upgraded = await gate.upgraded
        place.knocked = True
        known: dict[DeviceId, bytes] = {}
        nonce, knock_key = upgraded.knock
        handshake = ServerHandshake(self._identity.device, knock_key, self._certificate, nonce, known.get)
        await send_message(upgraded.socket, handshake.greeting())
        claim = await _expect(upgraded.socket)
        device_id = DeviceId(claim[:32])
        contact = await self._identity.lookup(device_id)
        if contact is None:
            raise StrangerRefused("an unknown device")
        known[device_id] = contact.public
        reply, agreed = handshake.answer(claim)
        gate.open()
        await send_message(upgraded.socket, reply)
        peer = PeerIdentity(agreed.peer, contact.person_id)
        return WebSocketLink(peer, upgraded.socket, upgraded.transport, gate.leave)


async def dial(
    address: str, device: SigningKey, peer: KnownDevice, *, deadline: float = limits.HANDSHAKE_SECONDS
) -> Link:
    """Connect to `peer` at `address` ("HOST:PORT") as `device`.

    Raises:
        Unreachable: nobody answers there, or whoever does closed: it may not know us any more.
        Forged: somebody else is there.
        RemoteError: what came is not our protocol.
    """
    host, port = split_address(address)
    try:
        async with asyncio.timeout(deadline):
            protocol = await _connect(host, port, deadline)
            return await _introduce(protocol, device, peer)
    except (OSError, aiohttp.ClientError):
        raise Unreachable(address) from None


async def _connect(host: str, port: int, deadline: float) -> ResponseHandler:
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(
        lambda: ResponseHandler(loop),
        host,
        port,
        ssl=client_context(),
        server_hostname="",  # no SNI: it would tell which name we know the other computer by
        ssl_handshake_timeout=deadline,
        ssl_shutdown_timeout=CLOSE_SECONDS,
        happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS,
    )
    return protocol


async def _introduce(protocol: ResponseHandler, device: SigningKey, peer: KnownDevice) -> Link:
    """Knock and shake hands over a connection, and give it back as a link; or close it."""
    transport = protocol.transport
    if transport is None:
        raise Unreachable("it closed at once")
    shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    handshake = ClientHandshake(device, peer.public, peer.knock, certificate_digest(shown))
    session = aiohttp.ClientSession(
        connector=_OneConnection(protocol),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_UNSAID,
        timeout=aiohttp.ClientTimeout(total=None),  # ours covers all of it
    )
    try:
        websocket = await session.ws_connect(
            _NOBODY + handshake.knock(),
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
            heartbeat=HEARTBEAT_SECONDS,
            compress=0,
            max_msg_size=MESSAGE_BOUND,
        )
        await send_message(websocket, handshake.answer(await _expect(websocket)))
        agreed = handshake.finish(await _expect(websocket))
    except BaseException:
        transport.abort()
        await session.close()
        raise
    return WebSocketLink(PeerIdentity(agreed.peer, peer.person_id), websocket, transport, session.close)


async def _expect(websocket: WebSocket) -> bytes:
    """The next message of a handshake."""
    message = await receive_message(websocket)
    if message is None:
        raise Unreachable("it closed before it showed who it is")
    if len(message) > limits.HANDSHAKE_FRAME_MAX:
        raise TooLarge("a message of the handshake")
    return message


class _OneConnection(aiohttp.BaseConnector):
    """Gives aiohttp the connection that is there, once: the knock in the request depends on its certificate."""

    def __init__(self, protocol: ResponseHandler) -> None:
        super().__init__()
        self._protocol: ResponseHandler | None = protocol

    async def _create_connection(self, *_: object) -> ResponseHandler:
        protocol, self._protocol = self._protocol, None
        if protocol is None:
            raise aiohttp.ClientConnectionError("there is one connection, to one computer")
        return protocol

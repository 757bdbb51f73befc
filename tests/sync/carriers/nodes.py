"""Two nodes that know each other, one of them listening on this computer, and strangers who do not."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from p2pshare.crypto.certificate import certificate_digest, new_certificate
from p2pshare.crypto.channel import knock
from p2pshare.crypto.keys import SigningKey, device_id, new_knock_key, person_id
from p2pshare.model import limits
from p2pshare.model.card import KnownDevice, Prekey
from p2pshare.model.ids import DeviceId
from p2pshare.model.ports import Link
from p2pshare.sync.carriers.base import Contact
from p2pshare.sync.carriers.direct import DirectListener, dial
from p2pshare.sync.doorstep import Doorstep
from p2pshare.sync.tls import client_context, server_context

SECONDS = 5  # within which whatever should happen here has happened


UPGRADE = (
    "Host: p2pshare",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


class Node:
    """A device of a person."""

    def __init__(self) -> None:
        self.device = SigningKey.generate()
        self.person = person_id(SigningKey.generate().public)
        self.knock_keys = [new_knock_key()]
        self.contacts: dict[DeviceId, Contact] = {}

    @property
    def id(self) -> DeviceId:
        return device_id(self.device.public)

    async def lookup(self, device: DeviceId) -> Contact | None:
        return self.contacts.get(device)

    def know(self, other: "Node") -> None:
        self.contacts[other.id] = Contact(other.device.public, other.person)

    def as_known(self) -> KnownDevice:
        return KnownDevice(self.id, self.person, self.device.public, Prekey(1, 0, b"", b""), self.knock_keys[0], ())


@dataclass
class Listening:
    """A node that listens, and a contact of it."""

    server: Node
    client: Node
    listener: DirectListener
    doorstep: Doorstep
    arrived: "asyncio.Queue[Link]" = field(default_factory=asyncio.Queue)
    dialled: list[Link] = field(default_factory=list)

    @property
    def place(self) -> tuple[str, int]:
        host, port = self.listener.address.rsplit(":", 1)
        return host.strip("[]"), int(port)

    async def dial(self) -> Link:
        link = await dial(self.listener.address, self.client.device, self.server.as_known(), deadline=SECONDS)
        self.dialled.append(link)
        return link

    async def both_ends(self) -> tuple[Link, Link]:
        """A link as its client and its server have it."""
        link = await self.dial()
        async with asyncio.timeout(SECONDS):
            return link, await self.arrived.get()


@asynccontextmanager
async def listening(
    host: str = "127.0.0.1", *, deadline: float = SECONDS, doorstep: Doorstep | None = None
) -> AsyncIterator[Listening]:
    server, client = Node(), Node()
    server.know(client)
    step = doorstep or Doorstep(limits.HANDSHAKE_SOCKETS, limits.HANDSHAKE_SOCKETS_PER_ADDRESS)

    async def on_link(link: Link) -> None:
        await nodes.arrived.put(link)
        await asyncio.Event().wait()  # until the listener closes

    listener = DirectListener(server, on_link, deadline=deadline, doorstep=step)
    nodes = Listening(server, client, listener, step)
    await listener.start(host, 0)
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    try:
        yield nodes
        assert faults == []
    finally:
        for link in nodes.dialled:
            await link.close()
        await listener.close()


class Stranger:
    """Somebody who connects and says what they like."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, place: tuple[str, int], *, tls: bool = True, source: str | None = None) -> "Stranger":
        local = (source, 0) if source else None
        context: ssl.SSLContext | None = client_context() if tls else None
        return cls(*await asyncio.open_connection(*place, ssl=context, local_addr=local))

    @property
    def certificate(self) -> bytes:
        shown = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(shown, bytes)
        return shown

    async def says(self, *parts: bytes) -> None:
        try:
            for part in parts:
                self.writer.write(part)
                await self.writer.drain()
        except ConnectionError:
            pass

    async def hears(self) -> bytes:
        """All that comes until the other side closes."""
        heard = b""
        try:
            async with asyncio.timeout(SECONDS):
                while part := await self.reader.read(65536):
                    heard += part
        except ConnectionError:
            pass
        self.writer.transport.abort()
        return heard

    async def is_left_alone(self, seconds: float = 0.05) -> bool:
        """Whether the connection is still open after a moment."""
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read(1) != b""
        except TimeoutError:
            return True
        except ConnectionError:
            return False

    def leaves(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def somebody_else(
    answers: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], *, tls: bool = True
) -> AsyncIterator[str]:
    """Where somebody listens who is no node of ours; at the end, all that they did is over."""
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await answers(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    context = server_context(new_certificate()) if tls else None
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield "{}:{}".format(*server.sockets[0].getsockname())
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*tasks)
    await asyncio.sleep(0.02)  # for the loop to close what was aborted


def request(digits: str, *headers: str, line: str = "GET /{} HTTP/1.1") -> bytes:
    return "\r\n".join((line.format(digits), *headers, "", "")).encode()


def right_knock(nodes: Listening, stranger: Stranger) -> str:
    return knock(nodes.server.knock_keys[0], certificate_digest(stranger.certificate), os.urandom(32))


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

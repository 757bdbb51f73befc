"""A listening socket and what arrives at it, before any protocol: so that raw sockets can be counted.

Rule 1: running out of descriptors or memory pauses accepting; it does not end it.
"""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from typing import Final

BACKLOG: Final = 128
PAUSE_SECONDS: Final = 1.0

_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


async def listen(host: str, port: int) -> socket.socket:
    """Listen at the first address that `host` means ("::": at all of this computer's). Raises `OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


async def accepted(listening: socket.socket) -> AsyncIterator[tuple[socket.socket, str]]:
    """Each socket that is accepted, with the address it comes from."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            arrived, remote = await loop.sock_accept(listening)
        except OSError as error:
            # what is not exhaustion is the fault of one connection, gone before it was accepted (accept(2))
            await asyncio.sleep(PAUSE_SECONDS if error.errno in _EXHAUSTED else 0)
            continue
        yield arrived, remote[0]
        await asyncio.sleep(0)  # sock_accept does not yield while there are more, and others must go on

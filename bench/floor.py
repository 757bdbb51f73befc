"""What a transfer cannot be faster than on this machine: the same bytes over the same carrier, and nothing else.

One process sends the files of a vault's packs in pieces of a chunk's size over TLS and a WebSocket of aiohttp, hashing
each first, as a node does. The other hashes each and writes them, 4 MiB to a file, each durable (fdatasync) before
the next but one is begun. No database, no protocol, no encryption of our own, no opening. The time is from the first
piece sent to the answer that all are durable; starting the processes and connecting are not in it.

    python bench/floor.py PACKS-FOLDER        # prints seconds
"""

import asyncio
import hashlib
import os
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web
from processes import BenchFailed, run

from p2pshare.crypto.certificate import new_certificate
from p2pshare.service.memory import reuse_large_buffers
from p2pshare.sync.tls import client_context, server_context

PIECE: Final = 190_000  # as chunks of the study
FILE_BYTES: Final = 4 << 20
_LONGEST: Final = 1 << 22


def seconds(packs: Path) -> float:
    """Measure, in processes of its own."""
    return float(run([sys.executable, __file__, packs]).output.split()[-1])


async def _receive(socket: web.WebSocketResponse, folder: Path) -> None:
    """Write what comes until an empty message; then answer."""
    writing: list[asyncio.Task[None]] = []
    held: list[bytes] = []
    async for message in socket:
        if message.data:
            held.append(message.data)
        if held and (not message.data or sum(map(len, held)) >= FILE_BYTES):
            if len(writing) > 1:
                await writing.pop(0)
            writing.append(asyncio.create_task(asyncio.to_thread(_write, folder, held)))
            held = []
        if not message.data:
            break
    for task in writing:
        await task
    await socket.send_bytes(b"durable")


def _write(folder: Path, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        hashlib.sha256(piece).digest()
    descriptor, _ = tempfile.mkstemp(dir=folder)
    os.writev(descriptor, pieces)
    os.fdatasync(descriptor)
    os.close(descriptor)


async def _serve(folder: Path) -> None:
    done = asyncio.Event()

    async def handler(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=_LONGEST)
        await socket.prepare(request)
        await _receive(socket, folder)
        done.set()
        return socket

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    context: ssl.SSLContext = server_context(new_certificate())
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await done.wait()
    await runner.cleanup()


async def _send(port: int, packs: Sequence[Path]) -> float:
    async with aiohttp.ClientSession() as session:
        address = f"https://127.0.0.1:{port}/"
        async with session.ws_connect(address, ssl=client_context(), compress=0, max_msg_size=_LONGEST) as socket:
            began = time.monotonic()
            for pack in packs:
                for pieces in await asyncio.to_thread(_read, pack):
                    await socket.send_bytes(pieces)
            await socket.send_bytes(b"")
            await socket.receive()
            return time.monotonic() - began


def _read(pack: Path) -> list[bytes]:
    data = pack.read_bytes()
    pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
    for piece in pieces:
        hashlib.sha256(piece).digest()
    return pieces


async def _both(files: Sequence[Path], place: Path) -> float:
    with tempfile.TemporaryDirectory(dir=place) as folder:
        other = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--receive", folder, stdout=asyncio.subprocess.PIPE
        )
        if other.stdout is None:
            raise BenchFailed("no pipe")
        took = await _send(int(await other.stdout.readline()), files)
        await other.wait()
        return took


if __name__ == "__main__":
    reuse_large_buffers()
    if sys.argv[1] == "--receive":
        asyncio.run(_serve(Path(sys.argv[2])))
    else:
        given = Path(sys.argv[1])
        print(asyncio.run(_both(sorted(given.rglob("*.p2pk")), given.parent)))

"""Real engines of people, listening on this computer, and a road between them that keeps all that passes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from p2pshare.engine.engine import Engine
from tests.world import Person

SECONDS = 20


@asynccontextmanager
async def running(person: Person) -> AsyncIterator[str]:
    """Let somebody's engine run during the block; gives its address."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    engine = Engine(person.vault, person.workers, person.clock)  # type: ignore[arg-type]
    task = asyncio.create_task(engine.run("127.0.0.1", 0, ready.set_result))
    try:
        await asyncio.wait({ready, task}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        yield ready.result()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Tap:
    """A road to an address that keeps every byte, in both directions."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._to = host, int(port)
        self._tasks: set[asyncio.Task[None]] = set()
        self.seen = bytearray()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Listen during the block; gives the address to connect to instead."""
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        try:
            yield "{}:{}".format(*server.sockets[0].getsockname())
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(ConnectionError):
            there_reader, there_writer = await asyncio.open_connection(*self._to)
            try:
                await asyncio.gather(self._copy(reader, there_writer), self._copy(there_reader, writer))
            finally:
                for each in (writer, there_writer):
                    each.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            self.seen += part
            writer.write(part)
            await writer.drain()
        writer.write_eof()

import asyncio
import errno
import socket

import pytest

from p2pshare.sync.listening import accepted, listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_a_socket_listens_where_it_is_told(host: str) -> None:
    with await listen(host, 0) as listening:
        address = listening.getsockname()
        reader, writer = await asyncio.open_connection(address[0], address[1])
        async for arrived, remote in accepted(listening):
            assert remote == address[0]
            arrived.close()
            break
        assert await reader.read() == b""
        writer.close()


async def test_a_port_that_is_taken_is_an_error() -> None:
    with await listen("127.0.0.1", 0) as listening, pytest.raises(OSError, match="in use"):
        await listen("127.0.0.1", listening.getsockname()[1])


@pytest.mark.parametrize("trouble", [errno.EMFILE, errno.ECONNABORTED])
async def test_trouble_with_one_connection_does_not_end_accepting(
    trouble: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pshare.sync.listening.PAUSE_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    sock_accept = loop.sock_accept
    troubles = [OSError(trouble, "trouble")] * 2

    async def accept(listening: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
        if troubles:
            raise troubles.pop()
        return await sock_accept(listening)

    monkeypatch.setattr(loop, "sock_accept", accept)
    with await listen("127.0.0.1", 0) as listening:
        _, writer = await asyncio.open_connection(*listening.getsockname())
        async for arrived, _ in accepted(listening):
            arrived.close()
            break
        assert not troubles
        writer.close()

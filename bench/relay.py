"""A TCP relay on the loopback address that counts every byte between two nodes, independently of what they say.

It counts what TCP carries: TLS records, WebSocket frames and handshakes, but not the headers of TCP and IP.
"""

import selectors
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

_PIECE: Final = 1 << 18
_TICK_SECONDS: Final = 0.2


class Relay:
    """Forwards connections to `target` while the block runs; `forward` and `back` count bytes to and from it."""

    def __init__(self, target: str) -> None:
        """Listen on a free port."""
        self.target = target
        self.forward = 0
        self.back = 0
        self.connected: list[float] = []  # when a connection was accepted, on the monotonic clock
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(_TICK_SECONDS)
        self._leaving = False
        self._threads = [threading.Thread(target=self._accept, name="relay", daemon=True)]

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self._server.getsockname()
        return f"{host}:{port}"

    @property
    def total(self) -> int:
        """Bytes in both directions."""
        return self.forward + self.back

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        for thread in self._threads:
            thread.join()
        self._server.close()

    def _accept(self) -> None:
        while not self._leaving:
            with suppress(TimeoutError):
                incoming, _ = self._server.accept()
                self.connected.append(time.monotonic())
                thread = threading.Thread(target=self._carry, args=(incoming,), name="relayed", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, incoming: socket.socket) -> None:
        host, _, port = self.target.rpartition(":")
        with incoming, suppress(OSError), socket.create_connection((host, int(port)), timeout=5) as outgoing:
            for end in (incoming, outgoing):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with selectors.DefaultSelector() as ready:
                ready.register(incoming, selectors.EVENT_READ, outgoing)
                ready.register(outgoing, selectors.EVENT_READ, incoming)
                self._pump(ready, incoming)

    def _pump(self, ready: selectors.BaseSelector, incoming: socket.socket) -> None:
        """Forward until either end closes; then both are closed, as a broken line would be."""
        buffer = memoryview(bytearray(_PIECE))
        while not self._leaving:
            for key, _ in ready.select(_TICK_SECONDS):
                source = key.fileobj
                if not isinstance(source, socket.socket):
                    return
                count = source.recv_into(buffer)
                if not count:
                    return
                if source is incoming:
                    self.forward += count
                else:
                    self.back += count
                key.data.sendall(buffer[:count])

"""A road that counts: passes TCP connections on to wherever a node listens now, and knows how many bytes went."""

import contextlib
import socket
import threading
from typing import Self


class CountingProxy:
    """Listens at one address for good; `target` may change while it runs, as when a node starts again."""

    def __init__(self) -> None:
        self.target = ""
        self.forward = 0  # bytes from whoever dialed to the target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._run(self._accept)

    @property
    def address(self) -> str:
        host, port = self._listening.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listening, *self._sockets):
            _hang_up(each)
        for thread in self._threads:
            thread.join(10)

    def _run(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                arrived, _ = self._listening.accept()
                host, _, port = self.target.rpartition(":")
                try:
                    onward = socket.create_connection((host, int(port)), 10)
                except (OSError, ValueError):
                    _hang_up(arrived)
                    continue
                onward.settimeout(None)
                self._sockets += [arrived, onward]
                self._run(self._pass_on, arrived, onward, True)
                self._run(self._pass_on, onward, arrived, False)

    def _pass_on(self, source: socket.socket, sink: socket.socket, forward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if forward:
                    self.forward += len(data)
                sink.sendall(data)
        for each in (source, sink):
            _hang_up(each)


def _hang_up(what: socket.socket) -> None:
    with contextlib.suppress(OSError):
        what.shutdown(socket.SHUT_RDWR)
    what.close()

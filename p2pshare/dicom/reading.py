"""One sandboxed worker as the node sees it: sources go in with their descriptors, reports come out, or it died."""

import asyncio
import fcntl
import os
import signal
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from p2pshare.dicom import messages
from p2pshare.dicom.messages import Batch, Ready
from p2pshare.dicom.sources import Source
from p2pshare.dicom.zygote import START_SECONDS, Child, Zygote
from p2pshare.errors import Malformed, MediumTrouble, ReaderDied, TooLarge
from p2pshare.model.dicom import ReadReport
from p2pshare.model.packed import T

_RECEIVE: Final = 64 * 1024


class Died(ReaderDied):
    """The reader ended. Nothing was stored.

    `to_blame` says that the file at hand is the cause beyond doubt, so that trying again is no use.
    """

    def __init__(self, what: str, *, to_blame: bool) -> None:
        super().__init__(what)
        self.to_blame = to_blame


class ReadingWorker:
    """A worker and what it still owes: reports on the sources sent last, in their order. `end` it when done."""

    def __init__(self, child: Child, zygote: Zygote) -> None:
        self._child = child
        self._zygote = zygote
        self._loop = asyncio.get_running_loop()
        self._incoming = bytearray()
        self._bodies: deque[bytes] = deque()  # messages that came and were not looked at yet
        self._owed = 1  # its Ready
        self._heard = self._loop.time()  # when a message last came whole, or was asked for
        self._awaited = asyncio.Event()  # all that is owed came, or nothing more will
        self._silent = False
        self._senseless = False
        self._loop.add_reader(child.socket.fileno(), self._on_readable)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def usable(self) -> bool:
        """Whether it owes nothing and lives, as far as is known."""
        return self._owed == 0 and not self._silent and not self._child.ending.done()

    async def ready(self) -> Ready:
        """Its first message; raises `Died`."""
        message = await self._receive(Ready, START_SECONDS)
        self._owed = 0
        return message

    async def send(self, sources: Sequence[Source]) -> None:
        """Give it `sources` to read; raises `Died`."""
        self._owed = len(sources)
        self._heard = self._loop.time()
        request = memoryview(messages.frame(Batch(tuple(messages.task_of(source) for source in sources))))
        try:
            with read_only(sources) as fds:
                sent = socket.send_fds(self._child.socket, [request], fds)
            await self._loop.sock_sendall(self._child.socket, request[sent:])
        except OSError:
            raise await self._death() from None

    async def report_on(self, source: Source, seconds: float) -> ReadReport:
        """The next report that it owes, which is on `source`; raises `Died`."""
        report = await self._receive(ReadReport, seconds)
        try:
            messages.checked(report, source)
        except Malformed:
            self._zygote.kill(self.pid)
            raise Died("its reader gave a senseless answer", to_blame=True) from None
        self._owed -= 1
        return report

    def end(self) -> None:
        """End the process, whatever it does."""
        self._owed = -1
        self._stop_listening()
        self._zygote.kill(self.pid)
        self._child.socket.close()

    async def _receive(self, kind: type[T], seconds: float) -> T:
        """The next message; waits for all that it owes, for waking up for each would cost more than reading a file."""
        while not self._bodies and not self._silent:
            self._awaited.clear()
            try:
                async with asyncio.timeout_at(self._heard + seconds):
                    await self._awaited.wait()
            except TimeoutError:
                if not self._bodies and self._loop.time() >= self._heard + seconds:
                    self._zygote.kill(self.pid)
                    raise Died("reading it took too long", to_blame=True) from None
        try:
            if self._bodies and len(self._bodies) <= self._owed:
                return messages.opened(self._bodies.popleft(), kind)
        except (Malformed, TooLarge):
            self._senseless = True
        if self._senseless:
            self._zygote.kill(self.pid)
            raise Died("its reader gave a senseless answer", to_blame=True) from None
        raise await self._death()

    def _on_readable(self) -> None:
        try:
            piece = self._child.socket.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._incoming += piece
        try:
            while (body := messages.next_body(self._incoming)) is not None:
                self._bodies.append(body)
                self._heard = self._loop.time()
        except TooLarge:
            self._senseless, piece = True, b""
        if len(self._bodies) > max(self._owed, 0):  # nobody asked
            self._senseless, piece = True, b""
        if not piece:
            self._stop_listening()
        if self._silent or len(self._bodies) >= self._owed:
            self._awaited.set()

    def _stop_listening(self) -> None:
        if not self._silent:
            self._silent = True
            self._loop.remove_reader(self._child.socket.fileno())

    async def _death(self) -> Died:
        self._zygote.kill(self.pid)  # in case it only closed its socket
        status = await self._child.ending
        if status == -signal.SIGXCPU:
            return Died("reading it took too much processor time", to_blame=True)
        if status == -signal.SIGKILL:
            return Died("its reader was killed; it may have needed too much memory", to_blame=False)
        if status is not None and status < 0:
            return Died(f"reading it crashed the reader ({signal.Signals(-status).name})", to_blame=False)
        return Died("its reader ended", to_blame=False)


@contextmanager
def read_only(sources: Sequence[Source]) -> Iterator[list[int]]:
    """Descriptors of `sources` that cannot be written to, for as long as the context lasts.

    Raises:
        MediumTrouble: one is writable, and the system has no way to open it anew for reading.
    """
    with ExitStack() as opened:
        fds: list[int] = []
        for source in sources:
            fd = source.fd
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
                try:
                    fd = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
                except OSError as error:
                    raise MediumTrouble(os.strerror(error.errno or 0)) from None
                opened.callback(os.close, fd)
            fds.append(fd)
        yield fds

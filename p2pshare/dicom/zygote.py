"""The node's side of the zygote: starting it, asking it for workers, learning how they ended."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import p2pshare
from p2pshare.dicom import messages
from p2pshare.dicom.messages import Exited, Kill, Spawn, Spawned
from p2pshare.errors import Malformed, TooLarge, WorkersFailed

START_SECONDS: Final = 60.0  # importing pydicom from a cold, slow disk
_STOP_SECONDS: Final = 5.0

# -I ignores the environment and the working directory, so the module path is given: it must find what this process has.
# pydicom imports numpy when it can; nothing in a worker decodes pixels.
_BOOT: Final = """
import sys
sys.modules["numpy"] = None
control, parent, sys.path[:] = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
from p2pshare.dicom.worker import main
main(control, parent)
"""


@dataclass(frozen=True, slots=True)
class Child:
    """A worker process: its id, the socket to it, and how it ended, once it has.

    That is an exit code, the negative number of a signal, or None if the zygote ended first.
    """

    pid: int
    socket: socket.socket
    ending: "asyncio.Future[int | None]"


class Zygote:
    """One zygote process, and the workers that are its children."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._incoming = bytearray()
        self._spawning: deque[asyncio.Future[tuple[int, asyncio.Future[int | None]]]] = deque()
        self._endings: dict[int, asyncio.Future[int | None]] = {}
        self._loop.add_reader(control.fileno(), self._on_control)

    @classmethod
    def start(cls) -> Self:
        """Start the process and return at once; it imports while the node goes on.

        Raises:
            WorkersFailed: the operating system does not let it start.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            try:
                process = _start_process(theirs.fileno())
            except OSError as error:
                ours.close()
                raise WorkersFailed(os.strerror(error.errno or 0)) from None
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """The zygote's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        return self._control.fileno() >= 0

    async def spawn(self) -> Child:
        """A new worker.

        Raises:
            WorkersFailed: the zygote ended, or did not answer in time.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                socket.send_fds(self._control, [messages.frame(Spawn())], [theirs.fileno()])
            answer: asyncio.Future[tuple[int, asyncio.Future[int | None]]] = self._loop.create_future()
            self._spawning.append(answer)
            async with asyncio.timeout(START_SECONDS):
                pid, ending = await answer
        except OSError:  # TimeoutError is one
            ours.close()
            raise WorkersFailed("the sandboxed readers do not start") from None
        except BaseException:
            ours.close()  # whoever waited has gone; the worker ends with its socket
            raise
        return Child(pid, ours, ending)

    def kill(self, pid: int) -> None:
        """End a worker, if it has not ended by itself."""
        try:
            self._control.send(messages.frame(Kill(pid)))
        except OSError:
            return  # the zygote is gone, and its workers with it

    async def close(self) -> None:
        """End the zygote and its workers."""
        self._hang_up()
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)

    def _on_control(self) -> None:
        try:
            data = self._control.recv(messages.MESSAGE_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._incoming += data
        try:
            while (body := messages.next_body(self._incoming)) is not None:
                self._take(messages.from_zygote(body))
        except (Malformed, TooLarge):
            data = b""
        if not data:
            self._hang_up()

    def _take(self, message: Spawned | Exited) -> None:
        match message:
            case Spawned(pid=pid):
                ending = self._endings[pid] = self._loop.create_future()
                waiting = self._spawning.popleft()
                if not waiting.done():
                    waiting.set_result((pid, ending))
            case Exited(pid=pid, status=status):
                self._endings.pop(pid).set_result(status)

    def _hang_up(self) -> None:
        if not self.alive:
            return
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        for ending in self._endings.values():
            ending.set_result(None)
        self._endings.clear()
        for waiting in self._spawning:
            if not waiting.done():
                waiting.set_exception(WorkersFailed("the sandboxed readers ended"))
        self._spawning.clear()


def _start_process(control_fd: int) -> subprocess.Popen[bytes]:
    root = str(Path(p2pshare.__file__).resolve().parent.parent)
    paths = [str(Path(entry).resolve()) for entry in sys.path if entry]
    return subprocess.Popen(  # noqa: S603 - our own interpreter, no shell, nothing foreign
        [sys.executable, "-I", "-c", _BOOT, str(control_fd), str(os.getpid()), root, *paths],
        env={},
        pass_fds=(control_fd,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # Ctrl-C in a terminal is for the node to handle
    )

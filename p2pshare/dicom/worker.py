"""The processes that read foreign files: the zygote, which imports everything once, and the workers it forks.

Rule 1: the zygote starts before any key exists, with an empty environment, and never touches a foreign byte.
Rule 2: a worker is sandboxed before its first file; it gets descriptors, never paths, and answers each with a report.
Rule 3: nothing outlives its parent: the end of a socket ends a process, and so does the parent's death.
"""

import codecs
import gc
import os
import select
import signal
import socket
from typing import NoReturn

from pydicom.charset import python_encoding

from p2pshare.dicom import messages
from p2pshare.dicom.messages import Batch, Exited, Kill, Ready, Spawn, Spawned
from p2pshare.dicom.parse import read_report, refusal
from p2pshare.dicom.sandbox import die_with_parent, enter_sandbox, grant_cpu
from p2pshare.dicom.sources import Source, close
from p2pshare.model.dicom import ReadReport, ReadVerdict


def main(control_fd: int, parent: int) -> None:
    """Be the zygote: fork a worker for each `Spawn` on the control socket, until that closes."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _preload()
    with socket.socket(fileno=control_fd) as control:
        _Zygote(control).serve()


def _preload() -> None:
    """Load what would be loaded later: in its sandbox a worker cannot open a module's file."""
    for name in (*python_encoding.values(), "utf-8", "latin-1", "gb18030"):
        codecs.lookup(str(name))
    gc.collect()
    gc.freeze()  # the collector then leaves these pages shared with the workers


class _Zygote:
    """Forks workers and tells how each of them ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)  # signal.set_wakeup_fd asks for it

    def serve(self) -> None:
        """Work until the node closes the control socket, then end all workers."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            while self._turn({fd for fd, _ in poll.poll()}):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass  # the node is gone
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _turn(self, ready: set[int]) -> bool:
        if self._wake in ready:
            os.read(self._wake, 4096)
            self._reap()
        if self._control.fileno() not in ready:
            return True
        body, fds = _receive(self._control, 1)
        if body is None:
            return False
        match messages.to_zygote(body):
            case Spawn():
                self._fork(fds[0])
            case Kill(pid=pid):
                if pid in self._children:
                    os.kill(pid, signal.SIGKILL)
        return True

    def _fork(self, fd: int) -> None:
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_worker(fd, zygote)
        os.close(fd)
        self._children.add(pid)
        self._control.sendall(messages.frame(Spawned(pid)))

    def _become_worker(self, fd: int, zygote: int) -> NoReturn:
        status = 1
        try:
            die_with_parent(zygote)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for mine in (self._control.detach(), self._wake, self._waker):
                os.close(mine)
            _work(socket.socket(fileno=fd))
            status = 0
        finally:
            os._exit(status)  # never back into the zygote's stack

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._children.discard(pid)
            self._control.sendall(messages.frame(Exited(pid, os.waitstatus_to_exitcode(status))))


def _work(node: socket.socket) -> None:
    """Be a worker: answer batches until the node closes the socket."""
    node.sendall(messages.frame(Ready(enter_sandbox())))
    while True:
        body, fds = _receive(node, messages.BATCH_MAX)
        if body is None:
            return
        for task, fd in zip(messages.opened(body, Batch).tasks, fds, strict=True):
            source = messages.source_of(task, fd)
            report = _report(source)
            node.sendall(messages.frame(report))
            close(source)
            if report.verdict is ReadVerdict.DIED:
                return  # what it took of memory goes back only with the process


def _report(source: Source) -> ReadReport:
    grant_cpu()
    try:
        return read_report(source)
    except MemoryError:
        return refusal(ReadVerdict.DIED, "reading it needed too much memory", source.size)
    except Exception as error:  # noqa: BLE001 - whatever foreign bytes make a library raise, a report is due
        return refusal(ReadVerdict.BROKEN, f"it could not be understood ({type(error).__name__})", source.size)


def _receive(sock: socket.socket, descriptors: int) -> tuple[bytes | None, list[int]]:
    """The next message's body and the descriptors beside it; None when the other side has closed."""
    header, fds, _, _ = socket.recv_fds(sock, messages.HEADER, descriptors)
    while header and len(header) < messages.HEADER:
        header += sock.recv(messages.HEADER - len(header)) or b"\0" * messages.HEADER
    if not header:
        return None, fds
    length, body = messages.body_length(header), b""
    while len(body) < length:
        piece = sock.recv(length - len(body))
        if not piece:
            return None, fds
        body += piece
    return body, fds

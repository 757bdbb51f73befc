"""A worker that dies or lies is told apart from one that answers, and descriptors go out read-only."""

import asyncio
import fcntl
import os
import signal
import socket
import time

import pytest

from p2pshare.dicom import messages
from p2pshare.dicom.reading import Died, ReadingWorker, read_only
from p2pshare.dicom.sources import FileSource
from p2pshare.dicom.zygote import Child, Zygote
from p2pshare.model.dicom import ReadReport, ReadVerdict


class StandIn:
    """A zygote that has nothing to kill."""

    def __init__(self):
        self.killed = []

    def kill(self, pid):
        self.killed.append(pid)


@pytest.fixture
async def pair():
    """A worker whose process is this test: what it answers, and how it ends, is for the test to say."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ending = asyncio.get_running_loop().create_future()
    yield ReadingWorker(Child(4321, ours, ending), StandIn()), theirs, ending
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("status", "words", "to_blame"),
    [
        (-signal.SIGXCPU, "too much processor time", True),
        (-signal.SIGKILL, "too much memory", False),
        (-signal.SIGSEGV, "SIGSEGV", False),
        (1, "ended", False),
        (None, "ended", False),
    ],
)
async def test_how_it_died_is_said_in_words(pair, status, words, to_blame):
    worker, theirs, ending = pair
    theirs.close()
    ending.set_result(status)
    with pytest.raises(Died, match=words) as caught:
        await worker.report_on(FileSource(0, 1), 5.0)
    assert caught.value.to_blame is to_blame
    assert not worker.usable


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff\xff\xff\xff",
        messages.frame(messages.Ready(())),
        messages.frame(ReadReport(ReadVerdict.BROKEN, "", None, 99, 0, b"")),
        b"\0\0\0\1\xc1",
    ],
)
async def test_a_senseless_answer_ends_the_worker(pair, answer):
    worker, theirs, _ = pair
    theirs.sendall(answer)
    with pytest.raises(Died, match="senseless") as caught:
        await worker.report_on(FileSource(0, 1), 5.0)
    assert caught.value.to_blame


async def test_silence_ends_the_worker(pair):
    worker, _, _ = pair
    with pytest.raises(Died, match="too long"):
        await worker.report_on(FileSource(0, 1), 0.05)


async def test_a_worker_that_drips_bytes_is_as_one_that_is_silent(pair):
    worker, theirs, _ = pair
    dripping = asyncio.create_task(drip(theirs, messages.frame(messages.Ready(("x" * 500,)))))
    began = time.monotonic()
    with pytest.raises(Died, match="too long"):
        await worker.report_on(FileSource(0, 1), 0.2)
    assert time.monotonic() - began < 1.0
    dripping.cancel()


async def drip(sock, data):
    for byte in data:
        sock.send(bytes([byte]))
        await asyncio.sleep(0.02)


async def test_reports_that_came_before_a_death_are_taken(pair, opened):
    worker, theirs, ending = pair
    theirs.sendall(messages.frame(messages.Ready(())))
    await worker.ready()
    sources = [opened(b"x"), opened(b"y")]
    await worker.send(sources)
    theirs.sendall(messages.frame(ReadReport(ReadVerdict.NOT_DICOM, "", None, 1, 0, b"")))
    theirs.close()
    ending.set_result(1)
    assert (await worker.report_on(sources[0], 5.0)).verdict is ReadVerdict.NOT_DICOM
    with pytest.raises(Died, match="ended"):
        await worker.report_on(sources[1], 5.0)


async def test_more_than_was_asked_for_is_senseless(pair, opened):
    worker, theirs, _ = pair
    theirs.sendall(messages.frame(messages.Ready(())) * 2)
    with pytest.raises(Died, match="senseless"):
        await worker.ready()


async def test_a_worker_is_usable_again_once_it_owes_nothing(pair, opened):
    worker, theirs, _ = pair
    theirs.sendall(messages.frame(messages.Ready(())))
    await worker.ready()
    assert worker.usable
    source = opened(b"x")
    await worker.send([source])
    assert not worker.usable
    theirs.sendall(messages.frame(ReadReport(ReadVerdict.NOT_DICOM, "", None, 1, 0, b"")))
    await worker.report_on(source, 5.0)
    assert worker.usable


def test_writable_descriptors_go_out_read_only(opened):
    fd = os.memfd_create("received")
    plain = opened(b"x")
    try:
        with read_only([FileSource(fd, 0), plain]) as fds:
            assert [fcntl.fcntl(one, fcntl.F_GETFL) & os.O_ACCMODE for one in fds] == [os.O_RDONLY, os.O_RDONLY]
            assert fds[0] != fd
            assert fds[1] == plain.fd
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fds[0])
    finally:
        os.close(fd)


@pytest.mark.linux
async def test_a_real_worker_reads_a_real_file(dicom, opened):
    zygote = Zygote.start()
    try:
        worker = ReadingWorker(await zygote.spawn(), zygote)
        await worker.ready()
        source = opened(dicom.file())
        await worker.send([source])
        assert (await worker.report_on(source, 10.0)).verdict is ReadVerdict.INSTANCE
        worker.end()
    finally:
        await zygote.close()

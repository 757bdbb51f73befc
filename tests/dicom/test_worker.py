"""A worker answers whatever it is given, and ends when it is not talked to as agreed."""

import asyncio
import socket

import pytest

from p2pshare.dicom import messages, worker
from p2pshare.dicom.sources import FileSource
from p2pshare.dicom.zygote import Zygote
from p2pshare.model.dicom import ReadVerdict


@pytest.mark.linux
@pytest.mark.parametrize("request_", [b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", b"\0\0\0\5ab"])
async def test_a_message_that_makes_no_sense_ends_it(request_):
    zygote = Zygote.start()
    try:
        child = await zygote.spawn()
        await asyncio.get_running_loop().sock_sendall(child.socket, request_)
        child.socket.shutdown(socket.SHUT_WR)
        assert await child.ending in (0, 1)
        child.socket.close()
    finally:
        await zygote.close()


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (MemoryError(), ReadVerdict.DIED),
        (ZeroDivisionError(), ReadVerdict.BROKEN),
        (RecursionError(), ReadVerdict.BROKEN),
    ],
)
def test_whatever_reading_raises_a_report_is_given(monkeypatch, error, verdict):
    def fail(source):
        raise error

    monkeypatch.setattr(worker, "read_report", fail)
    monkeypatch.setattr(worker, "grant_cpu", lambda: None)
    report = worker._report(FileSource(0, 10))
    assert (report.verdict, report.size, report.record) == (verdict, 10, None)
    assert messages.checked(report, FileSource(0, 10))

"""The zygote forks workers, ends them when asked, and tells how they ended."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from p2pshare.dicom.zygote import Zygote
from p2pshare.errors import WorkersFailed

pytestmark = pytest.mark.linux


@pytest.fixture
async def zygote():
    running = Zygote.start()
    yield running
    await running.close()


async def test_a_worker_is_a_process_with_a_socket(zygote):
    child = await zygote.spawn()
    assert child.pid not in (zygote.pid, os.getpid())
    assert await asyncio.get_running_loop().sock_recv(child.socket, 4096)
    child.socket.close()
    assert await child.ending == 0


async def test_a_worker_that_is_killed_is_told(zygote):
    child = await zygote.spawn()
    zygote.kill(child.pid)
    assert await child.ending == -signal.SIGKILL
    zygote.kill(child.pid)  # twice does no harm
    child.socket.close()


async def test_neither_environment_nor_descriptors_are_inherited(zygote, monkeypatch):
    child = await zygote.spawn()
    await asyncio.get_running_loop().sock_recv(child.socket, 4)
    assert Path(f"/proc/{zygote.pid}/environ").read_bytes() == b""
    assert Path(f"/proc/{zygote.pid}/cwd").readlink() == Path("/")
    if os.geteuid() == 0:  # a worker's descriptors are its own and root's to see
        kinds = sorted(str(fd.readlink()).partition(":")[0] for fd in Path(f"/proc/{child.pid}/fd").iterdir())
        assert kinds == ["/dev/null", "/dev/null", "/dev/null", "socket"]
    child.socket.close()


async def test_a_zygote_that_ends_says_so_to_all_who_wait(zygote):
    child = await zygote.spawn()
    os.kill(zygote.pid, signal.SIGKILL)
    assert await child.ending is None
    assert not zygote.alive
    with pytest.raises(WorkersFailed):
        await zygote.spawn()
    child.socket.close()


async def test_a_zygote_that_stops_is_ended_all_the_same(monkeypatch):
    monkeypatch.setattr("p2pshare.dicom.zygote._STOP_SECONDS", 0.2)
    running = Zygote.start()
    (await running.spawn()).socket.close()
    os.kill(running.pid, signal.SIGSTOP)
    await running.close()
    assert not Path(f"/proc/{running.pid}").exists()

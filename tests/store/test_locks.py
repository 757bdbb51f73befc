"""The two locks of a vault, within a process and between processes."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from p2pshare.errors import DiskTrouble, EngineTaken, VaultBusy
from p2pshare.store.folder import VaultFolder
from p2pshare.store.locks import EngineLock, engine_held, maintenance


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    folder = VaultFolder(tmp_path / "vault")
    folder.create()
    return folder


def other_process(folder: VaultFolder, body: str) -> subprocess.Popen[str]:
    program = f"""
import asyncio, sys
from pathlib import Path
from p2pshare.store.folder import VaultFolder
from p2pshare.store.locks import EngineLock, engine_held, maintenance
folder = VaultFolder(Path({str(folder.path)!r}))
def held():
    print("held", flush=True)
    sys.stdin.readline()
async def main():
    {body}
asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


async def test_writers_share_and_maintenance_is_alone(folder: VaultFolder) -> None:
    async with maintenance(folder, False), maintenance(folder, False):
        with pytest.raises(VaultBusy):
            async with maintenance(folder, True, patience=0.05):
                pass
    async with maintenance(folder, True):
        for exclusive in (False, True):
            with pytest.raises(VaultBusy):
                async with maintenance(folder, exclusive, patience=0.05):
                    pass
    async with maintenance(folder, True):
        pass


async def test_waiting_does_not_stop_the_event_loop(folder: VaultFolder) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    async def wait() -> None:
        async with maintenance(folder, True, patience=5):
            pass

    ticking = asyncio.create_task(tick())
    async with maintenance(folder, False):
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.2)
        assert not waiting.done()
    await waiting
    ticking.cancel()
    assert ticks > 10


async def test_a_cancelled_wait_leaves_no_lock_and_no_descriptor(folder: VaultFolder) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    async with maintenance(folder, True):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), maintenance(folder, True):
                pass
    async with maintenance(folder, True, patience=0):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_maintenance_waits_for_other_processes_and_a_killed_one_lets_go(folder: VaultFolder) -> None:
    other = other_process(folder, "async with maintenance(folder, False): held()")
    async with maintenance(folder, False, patience=0):
        pass
    with pytest.raises(VaultBusy):
        async with maintenance(folder, True, patience=0.05):
            pass
    other.send_signal(signal.SIGKILL)
    other.communicate()
    async with maintenance(folder, True, patience=1):
        pass


async def test_maintenance_gets_its_turn_between_the_packs_of_a_busy_writer(folder: VaultFolder) -> None:
    writing = True

    async def write() -> None:
        while writing:
            async with maintenance(folder, False):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.001)

    writer = asyncio.create_task(write())
    async with maintenance(folder, True, patience=10):
        pass
    writing = False
    await writer


def test_there_is_one_engine(folder: VaultFolder) -> None:
    assert not engine_held(folder)
    lock = EngineLock.take(folder)
    assert engine_held(folder)
    with pytest.raises(EngineTaken):
        EngineLock.take(folder)
    assert engine_held(folder)
    lock.release()
    lock.release()
    assert not engine_held(folder)
    EngineLock.take(folder).release()


def test_an_engine_in_another_process_is_seen_until_that_process_is_gone(folder: VaultFolder) -> None:
    other = other_process(folder, "lock = EngineLock.take(folder); held()")
    assert engine_held(folder)
    with pytest.raises(EngineTaken):
        EngineLock.take(folder)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert not engine_held(folder)
    EngineLock.take(folder).release()


def test_asking_never_turns_an_engine_away(folder: VaultFolder) -> None:
    program = f"""
from pathlib import Path
from p2pshare.store.folder import VaultFolder
from p2pshare.store.locks import engine_held
print(flush=True)
while True:
    engine_held(VaultFolder(Path({str(folder.path)!r})))
"""
    asking = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert asking.stdout is not None
    asking.stdout.readline()
    for _ in range(3000):
        EngineLock.take(folder).release()
    asking.kill()
    asking.communicate()


async def test_lock_files_are_for_their_owner_only(folder: VaultFolder) -> None:
    before = os.umask(0)
    try:
        EngineLock.take(folder).release()
        async with maintenance(folder, False):
            pass
    finally:
        os.umask(before)
    assert folder.too_open() == []


async def test_where_there_is_no_folder_nothing_can_be_locked(tmp_path: Path) -> None:
    folder = VaultFolder(tmp_path / "nowhere")
    assert not engine_held(folder)
    with pytest.raises(DiskTrouble):
        EngineLock.take(folder)
    with pytest.raises(DiskTrouble):
        async with maintenance(folder, False):
            pass

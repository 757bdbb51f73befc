"""The supervisor outlives its workers, keeps order, and blames only the file that is to blame."""

import asyncio
import os
import signal
import struct
import sys
import time
from pathlib import Path

import pytest

from p2pshare.dicom.sources import FileSource, PrefixSource
from p2pshare.dicom.workers import Workers
from p2pshare.errors import WorkersFailed
from p2pshare.model.dicom import ReadVerdict

pytestmark = pytest.mark.linux


def images(dicom, opened, count):
    return [opened(dicom.head() + dicom.identity(sop=f"1.2.3.4.{number}")) for number in range(count)]


def sops(reports):
    return [report.record.sop_uid if report.record else report.verdict for report in reports]


def endless(dicom, opened, tmp_path):
    """A gigabyte of empty elements, which nobody can walk in a second; sparse on disk."""
    path = tmp_path / "endless"
    path.write_bytes(dicom.head("1.2.840.10008.1.2") + dicom.implicit(0x00080018, b"1.2\0"))
    os.truncate(path, 1 << 30)
    return opened(path)


def resident_peak(pid):
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen in ten seconds")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_reports_come_in_the_order_of_the_sources(dicom, opened, workers):
    reports = await workers.read(images(dicom, opened, 130))
    assert sops(reports) == [f"1.2.3.4.{number}" for number in range(130)]
    assert await workers.read([]) == []


async def test_reads_may_overlap(dicom, opened, workers):
    sources = images(dicom, opened, 60)
    results = await asyncio.gather(*(workers.read(sources[first : first + 20]) for first in range(0, 60, 20)))
    assert [sop for result in results for sop in sops(result)] == [f"1.2.3.4.{number}" for number in range(60)]


async def test_a_worker_killed_in_mid_batch_costs_no_file(dicom, opened, workers):
    sources = images(dicom, opened, 50)
    await workers.read(sources)
    pids = workers.memory_pids[1:]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    reading = asyncio.create_task(workers.read(sources))
    await asyncio.sleep(0.05)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert sops(await reading) == [f"1.2.3.4.{number}" for number in range(50)]
    assert not set(pids) & set(workers.memory_pids)


async def test_a_file_that_takes_too_long_is_the_only_one_that_suffers(dicom, opened, tmp_path):
    sources = images(dicom, opened, 40)
    sources[7] = endless(dicom, opened, tmp_path)
    async with await Workers.start(2, wall_seconds=1.0) as workers:
        reports = await workers.read(sources)
    assert (reports[7].verdict, reports[7].why) == (ReadVerdict.DIED, "reading it took too long")
    assert [report.verdict for report in reports].count(ReadVerdict.INSTANCE) == 39


async def test_a_file_that_needs_too_much_memory_is_the_only_one_that_suffers(dicom, opened, workers):
    sources = images(dicom, opened, 10)
    odd = struct.pack("<HH2sH", 0x0009, 0x1010, b"ZZ", 2) + b"xx"
    sources[3] = opened(dicom.head() + odd + dicom.element(0x00091011, "US") * 1_500_000)  # as objects, half a gigabyte
    reports = await workers.read(sources)
    assert (reports[3].verdict, reports[3].why) == (ReadVerdict.DIED, "reading it needed too much memory")
    assert [report.verdict for report in reports].count(ReadVerdict.INSTANCE) == 9
    await workers.read(sources[:3])
    assert all(resident_peak(pid) < 100 << 20 for pid in workers.memory_pids)  # it was replaced


async def test_a_worker_that_stops_is_killed_when_its_time_is_over(dicom, opened):
    async with await Workers.start(1, wall_seconds=1.0) as workers:
        sources = images(dicom, opened, 2)
        await workers.read(sources)
        (stopped,) = workers.memory_pids[1:]
        os.kill(stopped, signal.SIGSTOP)
        assert [report.verdict for report in await workers.read(sources)] == [ReadVerdict.DIED, ReadVerdict.INSTANCE]
        assert not is_running(stopped)


async def test_a_zygote_that_died_is_started_again(dicom, opened, workers):
    sources = images(dicom, opened, 3)
    await workers.read(sources)
    pids = workers.memory_pids
    os.kill(pids[0], signal.SIGKILL)
    await until(lambda: not any(map(is_running, pids[1:])))
    assert sops(await workers.read(sources)) == ["1.2.3.4.0", "1.2.3.4.1", "1.2.3.4.2"]


async def test_readers_that_never_start_are_not_started_for_ever(dicom, opened, monkeypatch):
    monkeypatch.setattr("p2pshare.dicom.zygote._BOOT", "raise SystemExit(1)")
    async with await Workers.start(1) as workers:
        with pytest.raises(WorkersFailed):
            await workers.read(images(dicom, opened, 1))


async def test_an_interpreter_that_is_not_there_is_said_at_once(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(WorkersFailed):
        await Workers.start(1)


async def test_a_cancelled_read_leaves_workers_that_work(dicom, opened, tmp_path, workers):
    reading = asyncio.create_task(workers.read([endless(dicom, opened, tmp_path)]))
    await until(lambda: len(workers.memory_pids) == 2)
    await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert sops(await workers.read(images(dicom, opened, 2))) == ["1.2.3.4.0", "1.2.3.4.1"]


async def test_closing_ends_every_process_and_fails_later_reads(dicom, opened):
    workers = await Workers.start(2)
    sources = images(dicom, opened, 60)
    await workers.read(sources)
    pids = workers.memory_pids
    assert len(pids) == 3
    await workers.close()
    await until(lambda: not any(map(is_running, pids)))
    with pytest.raises(WorkersFailed):
        await workers.read(sources)


async def test_starting_does_not_wait_for_imports():
    started = time.perf_counter()
    async with await Workers.start(2):
        assert time.perf_counter() - started < 0.1


async def test_a_worker_gets_descriptors_that_it_cannot_write_to(dicom, workers):
    data = dicom.file()
    fd = os.memfd_create("received")
    os.write(fd, data)
    try:
        (report,) = await workers.read([PrefixSource(fd, len(data), len(data))])
    finally:
        os.close(fd)
    assert report.verdict is ReadVerdict.INSTANCE


async def test_hostile_files_get_their_verdicts_from_the_sandbox(dicom, opened, workers):
    bottomless = dicom.element(0x00081140, "SQ", b"", dicom.undefined) + dicom.implicit(
        0xFFFEE000, b"", dicom.undefined
    )
    odd = struct.pack("<HH2sH", 0x0009, 0x1010, b"ZZ", 2) + b"xx"
    sources = [
        opened(dicom.head() + bottomless * 100_000),
        opened(dicom.head() + odd + bottomless * 20_000),  # pydicom's recursion
        opened(dicom.file()[:-1]),
        opened(b"MZ" + bytes(1000)),
        FileSource(opened(b"x").fd, 1 << 40),
    ]
    verdicts = [report.verdict for report in await workers.read(sources)]
    assert verdicts == [
        ReadVerdict.TOO_DEEP,
        ReadVerdict.TOO_DEEP,
        ReadVerdict.TRUNCATED,
        ReadVerdict.NOT_DICOM,
        ReadVerdict.NOT_DICOM,
    ]


ORPHANS = """
import asyncio, os, sys
from pathlib import Path
from p2pshare.dicom.sources import FileSource
from p2pshare.dicom.workers import Workers

async def main():
    workers = await Workers.start(2)
    fd = os.open(sys.argv[1], os.O_RDONLY)
    await workers.read([FileSource(fd, os.fstat(fd).st_size)])
    print(*workers.memory_pids, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_nothing_outlives_a_node_that_is_killed(dicom, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(dicom.file())
    pipe = asyncio.subprocess.PIPE
    node = await asyncio.create_subprocess_exec(sys.executable, "-c", ORPHANS, path, stdout=pipe, cwd="/")
    pids = [int(word) for word in (await node.stdout.readline()).split()]
    assert len(pids) == 2
    assert all(map(is_running, pids))
    node.kill()
    await node.wait()
    await until(lambda: not any(map(is_running, pids)))

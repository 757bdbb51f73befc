"""What is asked of the C allocator."""

import ctypes
import platform
import subprocess
import sys

import pytest

from p2pshare.service.memory import reuse_large_buffers

# The allocator cannot be asked what it does, so the page faults of a process of its own are counted.
_FAULTS = """
import resource, sys
from p2pshare.service.memory import reuse_large_buffers
if sys.argv[1] == "reuse":
    assert reuse_large_buffers()
def work():
    return [bytearray(b"x") * (4 << 20) for _ in range(4)]
for _ in range(3):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    ran = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, check=True, text=True, timeout=60)
    return int(ran.stdout)


def test_the_allocator_is_asked_where_it_is_glibc_and_left_alone_elsewhere() -> None:
    assert reuse_large_buffers() is (platform.libc_ver()[0] == "glibc")


def test_asking_again_does_no_harm() -> None:
    assert reuse_large_buffers() == reuse_large_buffers()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_large_buffers_are_made_again_from_memory_that_is_there() -> None:
    pages = (16 << 20) // 4096  # that each round touches
    assert faults("as it is") > 5 * pages
    assert faults("reuse") < pages


def test_another_system_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not reuse_large_buffers()


@pytest.mark.linux
def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not reuse_large_buffers()

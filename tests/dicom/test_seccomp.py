"""What the filter of system calls forbids; each try runs in a process of its own."""

import platform
import struct
import subprocess
import sys

import pytest

from p2pshare.dicom import seccomp

pytestmark = pytest.mark.linux

TRY = """
import ctypes, os, resource, signal, socket, threading
from p2pshare.dicom.sandbox import _prctl
from p2pshare.dicom.seccomp import deny_system_calls
ours, theirs = socket.socketpair()
_prctl(38, 1)
missing = deny_system_calls()
"""


def attempt(code: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", TRY + code], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.fixture(autouse=True)
def filtered() -> None:
    if attempt("print(*missing)")[1]:
        pytest.skip("this system has no such filter, or another processor")


@pytest.mark.parametrize(
    "code",
    [
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_UNIX)",
        "socket.socketpair()",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.kill(os.getpid(), 0)",
        "os.pidfd_open(os.getppid())",
        "signal.pthread_kill(threading.get_ident(), 0)",
        "os.setpriority(os.PRIO_PROCESS, os.getppid(), 5)",
        "os.sched_setaffinity(os.getppid(), {0})",
        "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))",
        "resource.prlimit(os.getpid(), resource.RLIMIT_NOFILE)",
    ],
)
def test_no_socket_process_or_signal_can_be_had(code: str) -> None:
    status, _, error = attempt(code)
    assert (status, "PermissionError" in error) == (1, True)


def test_its_own_limits_can_be_set() -> None:
    assert attempt("resource.setrlimit(resource.RLIMIT_CPU, (9, 9)); print('set')")[1] == "set"


def test_what_is_open_goes_on_and_memory_can_be_had() -> None:
    code = "ours.sendall(b'x'); print(theirs.recv(9), len(bytearray(1 << 24)), os.pread(os.memfd_create('m'), 1, 0))"
    assert attempt(code)[1] == "b'x' 16777216 b''"


def test_no_thread_can_be_started() -> None:
    assert "can't start new thread" in attempt("threading.Thread(target=print).start()")[2]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a second set of numbers is x86-64's")
def test_the_second_set_of_numbers_is_no_way_around() -> None:
    code = "print(ctypes.CDLL(None, use_errno=True).syscall(0x40000000 + 39), ctypes.get_errno())"
    assert attempt(code)[1] == "-1 1"


def test_an_unknown_processor_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert seccomp.deny_system_calls() == ("no other sockets",)


def test_the_filter_refuses_exactly_what_it_lists() -> None:
    code = seccomp._filter(7, 15, [10, 20, 30])
    steps = [struct.unpack_from("=HBBI", code, offset) for offset in range(0, len(code), 8)]

    def run(arch: int, number: int, process: int = 0) -> int:
        at, value = 0, 0
        while True:
            operation, then, otherwise, constant = steps[at]
            at += 1
            match operation:
                case seccomp._LOAD:
                    value = {0: number, 4: arch, 16: process}[constant]
                case seccomp._JUMP_IF_EQUAL:
                    at += then if value == constant else otherwise
                case seccomp._JUMP_IF_AT_LEAST:
                    at += then if value >= constant else otherwise
                case _:
                    return constant

    assert {number for number in range(50) if run(7, number) == seccomp._REFUSE} == {10, 20, 30}
    assert run(7, 11) == seccomp._ALLOW
    assert run(7, 0x40000000) == run(7, 0x40000000 + 11) == seccomp._REFUSE
    assert run(8, 11) == seccomp._KILL
    assert (run(7, 15, 0), run(7, 15, 1)) == (seccomp._ALLOW, seccomp._REFUSE)

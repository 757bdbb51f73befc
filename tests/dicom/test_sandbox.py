"""What a worker cannot do any more; each try runs in a process of its own."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.linux

TRY = """
import os, signal, socket, sys
from pathlib import Path
from p2pshare.dicom.sandbox import enter_sandbox, grant_cpu
target = Path(sys.argv[1])
before = os.open(target, os.O_RDONLY)
missing = enter_sandbox()
"""


def attempt(tmp_path, code):
    target = tmp_path / "target"
    target.write_text("secret")
    done = subprocess.run(
        [sys.executable, "-c", TRY + code, target], capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout.strip(), done.stderr


def test_descriptors_that_are_open_stay_readable(tmp_path):
    assert attempt(tmp_path, "print(os.pread(before, 10, 0).decode())")[1] == "secret"


def test_nothing_can_be_written(tmp_path):
    fd = "fd = os.memfd_create('x')\nos.write(fd, b'x')"
    assert "File too large" in attempt(tmp_path, fd)[2]


def test_memory_is_bounded(tmp_path):
    assert "MemoryError" in attempt(tmp_path, "bytearray(1 << 30)")[2]


def test_processor_time_is_bounded(tmp_path):
    status, _, _ = attempt(tmp_path, "grant_cpu(1)\nwhile True: pass")
    assert status == -24  # SIGXCPU


ANEW = """
import time
for _ in range(2):
    grant_cpu(1)
    end = time.process_time() + 0.8
    while time.process_time() < end:
        pass
print("done")
"""


def test_processor_time_is_granted_anew(tmp_path):
    assert attempt(tmp_path, ANEW)[1] == "done"

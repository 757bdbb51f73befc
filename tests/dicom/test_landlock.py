"""A process that Landlock holds opens nothing by name; what it had open it keeps."""

import subprocess
import sys

import pytest

from p2pshare.dicom import landlock

pytestmark = pytest.mark.linux

TRY = """
import os, socket, sys
from p2pshare.dicom.sandbox import enter_sandbox
missing = enter_sandbox()
"""


def attempt(tmp_path, code):
    done = subprocess.run([sys.executable, "-c", TRY + code], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout.strip(), done.stderr


def landlocked(tmp_path):
    _, missing, _ = attempt(tmp_path, "print(*missing, sep='; ')")
    if missing:
        pytest.skip(f"this kernel's sandbox lacks: {missing}")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("open(os.__file__)", "PermissionError"),
        ("os.listdir('/')", "PermissionError"),
        ("open('/proc/self/environ')", "PermissionError"),
        ("socket.create_connection(('127.0.0.1', 9))", "PermissionError"),
        ("os.kill(os.getppid(), 0)", "PermissionError"),
        ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "PermissionError"),
        ("socket.socket(socket.AF_UNIX)", "PermissionError"),
        ("os.execv('/bin/true', ['true'])", "PermissionError"),
    ],
)
def test_files_network_and_other_processes_are_out_of_reach(tmp_path, code, error):
    landlocked(tmp_path)
    status, _, stderr = attempt(tmp_path, code)
    assert status == 1
    assert error in stderr


def test_a_kernel_without_landlock_is_said(monkeypatch):
    monkeypatch.setattr(landlock, "_call", lambda *_: -1)
    assert landlock.deny_files_and_network() == ("no file access", "no network")

"""A file that p2pshare writes is the old one or the new one, whatever ends the writing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.disk_faults import disk_calls, with_fault

pytestmark = [pytest.mark.faults, pytest.mark.linux]

OLD, NEW = b"old" * 10_000, b"new" * 500_000
WRITE = """
import sys
from pathlib import Path
from p2pshare.errors import DiskTrouble
from p2pshare.store.diskio import write_whole
path, piece = Path(sys.argv[1]), b"new" * 100_000
try:
    write_whole(path, [piece] * 5)
except DiskTrouble as trouble:
    print(trouble, file=sys.stderr)
    sys.exit(3)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "file").write_bytes(OLD)
    return folder


def write_command(place: Path) -> list[str]:
    return [sys.executable, "-c", WRITE, str(place / "file")]


@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC", "error=EROFS"])
def test_a_write_that_is_stopped_at_any_call_leaves_the_old_or_the_new_file(place: Path, fault: str) -> None:
    log = place.parent / "strace.log"
    subprocess.run(write_command(place), check=True)  # compiles what it imports, so that each run makes the same calls
    calls = disk_calls(write_command(place), place, log)
    assert {"openat", "writev", "fdatasync", "rename", "fsync"} <= {call.name for call in calls}
    for call in calls:
        (place / "file").write_bytes(OLD)
        ran = with_fault(write_command(place), call, fault, log)
        left = {path.name: path.read_bytes() for path in place.iterdir()}
        written = left.pop("file")
        if fault == "signal=KILL":
            assert ran.returncode == -9, call
            assert all(name.endswith(".tmp") for name in left), call
        else:
            assert (ran.returncode, left) == (3, {}), (call, ran.stderr)
            assert str(place) not in ran.stderr, call
        assert written in (OLD, NEW), call
        for name in left:
            (place / name).unlink()


def test_a_write_that_was_acknowledged_was_synced_first_and_in_order(place: Path) -> None:
    log = place.parent / "strace.log"
    names = [call.name for call in disk_calls(write_command(place), place, log)]
    steps = [name for name in names if name in ("fdatasync", "rename", "fsync")]
    assert steps == ["fdatasync", "rename", "fsync"]


@pytest.mark.parametrize("at", ["fdatasync", "fsync"])
def test_a_sync_that_fails_is_not_tried_again(place: Path, at: str) -> None:
    log = place.parent / "strace.log"
    call = next(call for call in disk_calls(write_command(place), place, log) if call.name == at)
    assert with_fault(write_command(place), call, "error=EIO", log).returncode == 3
    assert log.read_text().count(f"{at}(") == 1

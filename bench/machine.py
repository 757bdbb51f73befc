"""What a result depends on: the machine, the versions, the day, and how busy it was."""

import datetime as dt
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

from p2pshare import __version__

_ROOT = Path(__file__).resolve().parent.parent


def about(work: Path) -> dict[str, str]:
    """Facts about this run; `work` is where everything is written."""
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "bench/run.py", *sys.argv[1:]]),
        "p2pshare": f"{__version__} ({_first_line(['git', '-C', str(_ROOT), 'describe', '--always', '--dirty'])})",
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} usable",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.1f} GiB",
        "disk": _first_line(["findmnt", "-no", "SOURCE,FSTYPE", "--target", str(work)]),
        "system": f"{platform.freedesktop_os_release().get('PRETTY_NAME', '?')}, Linux {platform.release()}",
        "python": platform.python_version(),
        "load at start": f"{os.getloadavg()[0]:.2f}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(argv: list[str]) -> str:
    try:
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    return ran.stdout.partition("\n")[0].strip() or "?"

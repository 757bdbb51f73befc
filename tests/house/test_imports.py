"""Starting the command line stays cheap: what a short command does not need is not loaded."""

import json
import resource
import subprocess
import sys

import pytest

from tests.house.project import ROOT

# each costs tens to hundreds of milliseconds, or brings secrets' machinery where none is needed
HEAVY = {"aiohttp", "cryptography", "nacl", "numpy", "pydicom", "scipy", "sqlcipher3", "textual"}
SECONDS_MAX = 0.15  # processor time of `p2pshare --version`, best of several


def loaded_by(code: str) -> set[str]:
    """The top-level packages loaded in a fresh interpreter once `code` has run."""
    report = "import json, sys; print('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    ran = run_python("-c", f"{code}\n{report}")
    return set(json.loads(ran.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import p2pshare.cli", id="the package"),
        pytest.param("import p2pshare.cli; p2pshare.cli.build_parser()", id="its parser"),
        pytest.param("import p2pshare.__main__", id="the entry point"),
    ],
)
def test_the_command_line_loads_nothing_heavy(code: str) -> None:
    loaded = loaded_by(code)
    assert "p2pshare" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]], ids=" ".join)
def test_a_command_that_only_answers_loads_nothing_heavy(arguments: list[str]) -> None:
    ran = run_python("-X", "importtime", "-m", "p2pshare", *arguments)
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in ran.stderr.splitlines() if "|" in line}
    assert {"argparse", "p2pshare"} <= loaded
    assert loaded & HEAVY == set()
    assert "p2pshare" in ran.stdout


def test_the_version_comes_at_once() -> None:
    assert min(processor_seconds("-m", "p2pshare", "--version") for _ in range(5)) < SECONDS_MAX


def processor_seconds(*arguments: str) -> float:
    """What one run of Python costs, however busy the machine is otherwise."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_python(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter, which is to succeed."""
    ran = subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    if ran.returncode:
        pytest.fail(ran.stdout + ran.stderr, pytrace=False)
    return ran

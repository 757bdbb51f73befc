"""The demo, as a visitor runs it: the whole main job, with a node killed half-way."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import Cli, Ran, matches_schema

SECONDS = 240  # it starts dozens of processes


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The folder that the demo ran in, and what it said."""
    if importlib.util.find_spec("data_store") is None:
        pytest.skip("the sample images (p2pshare's extra `demo`) are not here")
    folder = tmp_path_factory.mktemp("demo")
    ran = subprocess.run(
        [sys.executable, "-m", "p2pshare", "demo", "--json", "--folder", "told"],
        cwd=folder, env=Cli(folder).env, capture_output=True, check=False, timeout=SECONDS, encoding="utf-8",
    )  # fmt: skip
    return folder, Ran(ran.returncode, ran.stdout, ran.stderr)


def test_it_goes_to_its_end_and_compares_every_file(demo: tuple[Path, Ran]) -> None:
    folder, ran = demo
    assert (ran.code, ran.err) == (0, "")
    matches_schema(["demo"], ran.value)
    assert ran.value["folder"] == str(folder / "told")
    assert ran.value["files_compared"] > 0


def test_its_receipt_is_signed_by_the_recipient_for_all_of_the_share(demo: tuple[Path, Ran]) -> None:
    _, ran = demo
    receipt = ran.value["receipt"]
    assert (receipt["state"], receipt["signed_by"], receipt["share"]) == ("imported", "Dr Rao", ran.value["share"])


def test_its_two_vaults_can_be_looked_at_afterwards(demo: tuple[Path, Ran]) -> None:
    folder, _ = demo
    ana = Cli(folder / "told", "ana", "ana.key")
    rao = Cli(folder / "told", "dr-rao", "dr-rao.key")
    shared = {scan["scan"] for scan in rao.value("scan", "ls")["scans"]}
    assert shared
    assert shared <= {scan["scan"] for scan in ana.value("scan", "ls")["scans"]}

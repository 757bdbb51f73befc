"""One process sends and receives for a vault; every other command works beside it."""

import asyncio
import signal
from pathlib import Path

import pytest

from p2pshare.errors import EngineTaken
from tests.cli.running import Cli
from tests.e2e.pairs import make_pair, node
from tests.studies import make_study


@pytest.fixture
def ana(tmp_path: Path) -> Cli:
    make_study(tmp_path / "disc", 2)
    return asyncio.run(make_pair(tmp_path, tmp_path / "disc"))[0]


def test_a_second_node_on_one_vault_says_so_and_everything_else_goes_on(ana: Cli, tmp_path: Path) -> None:
    with node(ana) as first:
        second = ana.run("serve", "--listen", "127.0.0.1:0")
        assert second.code == 1
        assert second.out == ""
        assert EngineTaken().advice in second.err.replace("\n", " ")
        make_study(tmp_path / "another", 3)
        ana.ok("import", str(tmp_path / "another"))
        assert len(ana.value("scan", "ls")["scans"]) == 2
        assert ana.value("check", "--read-data")["ok"]
        assert ana.value("status")["serving"] == first.address
        assert first.stop() == (0, "")
    assert ana.value("status")["serving"] == ""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_however_a_node_ends_another_can_take_its_place(ana: Cli, how: signal.Signals) -> None:
    with node(ana) as first:
        first.process.send_signal(how)
        first.process.communicate(timeout=30)
        expected = {signal.SIGTERM: 0, signal.SIGINT: 130, signal.SIGKILL: -9}
        assert first.process.returncode == expected[how]
    assert ana.value("status")["serving"] == ""
    with node(ana) as second:
        assert ana.value("status")["serving"] == second.address
        assert second.stop() == (0, "")

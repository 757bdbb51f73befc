"""A node is killed half-way, at either end; what was durable is not sent again, and everything arrives."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from p2pshare.model import limits
from tests.cli.running import Cli, copied
from tests.e2e.pairs import ask, durable, hashes, make_pair, node, sessions_ended, until
from tests.e2e.proxy import CountingProxy
from tests.studies import make_study

IMAGES = 32  # of half a MiB: about 13 MB stored, in chunks of about 0.4 MB
RATE = "4"  # MB/s: slow enough for a half-way
FRAME = 37  # what a frame adds to a chunk (docs/protocol.md §2)


@pytest.fixture(scope="module")
def pair_made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, Cli]:
    folder = tmp_path_factory.mktemp("killed")
    make_study(folder / "disc", IMAGES, 512, 512)
    return asyncio.run(make_pair(folder, folder / "disc"))


class Story:
    """Ana shares a scan with Dr Rao over a road that counts."""

    def __init__(self, made: tuple[Cli, Cli], folder: Path, road: CountingProxy) -> None:
        self.disc = made[0].folder.parent / "disc"
        self.ana, self.rao = [replace(cli, folder=copied(cli.folder, folder / cli.folder.name)) for cli in made]
        self.road = road
        self.ana.value("person", "set", "Dr Rao", "--address", road.address)
        [scan] = self.ana.value("scan", "ls")["scans"]
        self.scan = scan["scan"]
        self.share = self.ana.value("share", "create", "--to", "Dr Rao", "--scan", self.scan)["share"]

    def accept(self) -> None:
        self.ana.value("share", "status", self.share, "--wait", "--until", "offered", "--timeout", "60")
        self.rao.value("inbox", "accept", self.share)

    def wait_half_way(self) -> None:
        until(lambda: len(ask(self.rao, durable)) >= IMAGES // 3)
        assert len(ask(self.rao, durable)) < IMAGES

    @property
    def wire_bytes(self) -> int:
        counted = self.ana.value("share", "status", self.share)["wire_bytes"]
        assert isinstance(counted, int)
        return counted

    def arrives(self) -> None:
        status = self.ana.value("share", "status", self.share, "--wait", "--timeout", "60")
        assert status["state"] == "imported", status
        for cli in (self.ana, self.rao):
            cli.value("scan", "export", self.scan, "-o", "out")
            assert hashes(cli.folder / "out") == hashes(self.disc)
            assert cli.value("check", "--read-data")["ok"]


@pytest.mark.parametrize("killed", ["sender", "receiver"])
def test_what_was_durable_when_a_node_was_killed_is_not_sent_again(
    killed: str, pair_made: tuple[Cli, Cli], tmp_path: Path
) -> None:
    with CountingProxy() as road:
        story = Story(pair_made, tmp_path, road)
        run: Callable[[Story], dict[tuple[bytes, int], int]] = kill_sender if killed == "sender" else kill_receiver
        before_wire, before = 0, {}
        raise NotImplementedError

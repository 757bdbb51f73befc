"""A node is killed half-way, at either end; what was durable is not sent again, and everything arrives."""

import asyncio
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

    def checks_what_went_again(self, durable_before: dict[tuple[bytes, int], int], counted: int, carried: int) -> None:
        """Since a kill, exactly the chunks went that were not durable: by the node's count, and by the road's."""
        missing = {key: length for key, length in ask(self.rao, durable).items() if key not in durable_before}
        assert missing
        went = sum(length + FRAME for length in missing.values())
        assert self.wire_bytes - counted == went
        assert went < self.road.forward - carried < went + went // 50 + 64 * limits.KIB


def test_a_sender_that_is_killed_half_way_sends_no_durable_chunk_again(
    pair_made: tuple[Cli, Cli], tmp_path: Path
) -> None:
    with CountingProxy() as road:
        story = Story(pair_made, tmp_path, road)
        with node(story.rao) as his:
            road.target = his.address
            with node(story.ana, "--limit-rate", RATE) as hers:
                story.accept()
                story.wait_half_way()
                hers.kill()
            until(lambda: ask(story.rao, sessions_ended))  # what came is durable then
            here, counted, carried = ask(story.rao, durable), story.wire_bytes, road.forward
            assert here
            with node(story.ana) as hers:
                story.arrives()
                story.checks_what_went_again(here, counted, carried)
                assert hers.stop() == (0, "")
            assert his.stop() == (0, "")


def test_a_receiver_that_is_killed_half_way_is_sent_only_what_was_not_durable(
    pair_made: tuple[Cli, Cli], tmp_path: Path
) -> None:
    with CountingProxy() as road:
        story = Story(pair_made, tmp_path, road)
        with node(story.ana, "--limit-rate", RATE) as hers:
            with node(story.rao) as his:
                road.target = his.address
                story.accept()
                story.wait_half_way()
                his.kill()
            until(lambda: ask(story.ana, sessions_ended))  # nothing more is being sent then
            here, counted, carried = ask(story.rao, durable), story.wire_bytes, road.forward
            with node(story.rao) as his:
                road.target = his.address
                story.arrives()
                story.checks_what_went_again(here, counted, carried)
                assert his.stop() == (0, "")
            assert hers.stop() == (0, "")
        # A kill costs what was in packs that had not closed (one fills while one is written), and what was on its way.
        lost = 2 * (limits.ARRIVALS_PACK_CLOSES_AT + limits.STORED_CHUNK_MAX) + limits.WINDOW
        assert story.wire_bytes <= sum(length + FRAME for length in ask(story.rao, durable).values()) + lost

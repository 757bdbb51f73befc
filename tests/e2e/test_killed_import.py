"""An import that is killed: what was stored is stored once and whole, and the next run goes on with the rest."""

import asyncio
import random
import threading
import time
from pathlib import Path

import pytest

from p2pshare.store.vault import Vault
from tests.cli.running import Cli, copied
from tests.e2e.pairs import ask, hashes, node
from tests.studies import make_study
from tests.world import KEY, one_person, vault_path

IMAGES = 180


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies, their images of half a MiB: more packs than are written together."""
    folder = tmp_path_factory.mktemp("disc")
    for number in range(3):
        make_study(folder / str(number), IMAGES // 3, 512, 512)
    return folder


@pytest.fixture
def ana(tmp_path: Path) -> Cli:
    async def make() -> None:
        async with one_person(tmp_path, "Ana"):
            pass

    asyncio.run(make())
    folder = tmp_path / "computer"
    folder.mkdir()
    copied(vault_path(tmp_path, "Ana"), folder / "vault")
    (folder / "vault.key").write_bytes(KEY.content)
    return Cli(folder)


async def counts(vault: Vault) -> tuple[int, int]:
    """How many images are filed, and how many objects there are."""
    rows = await vault.db.rows("SELECT (SELECT count(*) FROM instance), (SELECT count(*) FROM object)")
    return int(rows[0][0]), int(rows[0][1])


def kill_after(cli: Cli, disc: Path, images: int) -> int:
    """Import, and kill it once that many images are filed; how many there were then."""
    process = cli.start("import", str(disc))
    try:
        while process.poll() is None and ask(cli, counts)[0] < images:
            time.sleep(0.005)
    finally:
        process.kill()
        process.communicate(timeout=60)
    return ask(cli, counts)[0]


def everything_is_there_once(cli: Cli, disc: Path, folder: Path) -> None:
    images, objects = ask(cli, counts)
    assert images == IMAGES <= objects  # of two imports at once, both may seal an image before one has filed it
    assert cli.value("check", "--read-data")["ok"]
    for scan in cli.value("scan", "ls")["scans"]:
        cli.value("scan", "export", scan["scan"], "-o", str(folder / scan["scan"]))
    assert hashes(folder) == hashes(disc)


def test_an_import_killed_again_and_again_ends_with_every_image_once(ana: Cli, disc: Path, tmp_path: Path) -> None:
    chance = random.Random(1)
    before, cut_short = 0, 0
    for _ in range(4):
        stored = kill_after(ana, disc, before + chance.randint(1, 8))
        assert stored >= before
        assert ana.value("check", "--read-data")["ok"]
        cut_short += before < stored < IMAGES
        before = stored
    assert cut_short, "it was never killed half-way"
    counted = ana.value("import", str(disc))
    assert counted["stored"] + counted["duplicate"] == IMAGES
    assert counted["duplicate"] >= before
    assert ask(ana, counts) == (IMAGES, IMAGES)
    everything_is_there_once(ana, disc, tmp_path / "out")


def test_what_a_killed_import_left_half_written_is_erased_with_its_scan(ana: Cli, disc: Path) -> None:
    kill_after(ana, disc, 10)
    ana.value("import", str(disc))
    for scan in ana.value("scan", "ls")["scans"]:
        ana.value("scan", "erase", scan["scan"], "--yes")
    assert list((ana.folder / "vault" / "packs").rglob("*.p2pk")) == []
    assert list((ana.folder / "vault").rglob("*.tmp")) == []


def test_an_import_beside_a_node_and_another_import_stores_every_image_once(
    ana: Cli, disc: Path, tmp_path: Path
) -> None:
    with node(ana) as serving:
        reports = []
        others = [threading.Thread(target=lambda: reports.append(ana.run("import", str(disc), "--json"))) for _ in "ab"]
        for other in others:
            other.start()
        for other in others:
            other.join()
        assert [ran.code for ran in reports] == [0, 0]
        assert sum(ran.value["stored"] for ran in reports) == IMAGES
        assert sum(ran.value["duplicate"] for ran in reports) == IMAGES
        everything_is_there_once(ana, disc, tmp_path / "out")
        assert serving.stop() == (0, "")

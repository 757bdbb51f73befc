"""The recovery sheet, the vault's folder, and nothing else: not this computer's settings, not a network."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import PASSPHRASE, Cli, Ran
from tests.studies import make_study

NEW = "another six words of somebody careful"


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """What is brought from one computer to another: the vault's folder and the sheet; and the bytes of its images."""
    tmp_path = tmp_path_factory.mktemp("brought")
    home = tmp_path / "first"
    home.mkdir()
    (home / "passphrase").write_text(PASSPHRASE + "\n")
    first = Cli(home)
    made = first.bare(
        "--vault", "vault", "--passphrase-file", "passphrase", "setup", "--name", "Ana", "--recovery-file", "sheet",
    )  # fmt: skip
    assert made.code == 0, made
    images = make_study(tmp_path / "images", 5)
    said = first.bare("--vault", "vault", "--passphrase-file", "passphrase", "import", str(tmp_path / "images"))
    assert said.code == 0, said
    bag = tmp_path / "bag"
    shutil.copytree(home / "vault", bag / "vault")
    shutil.copy(home / "sheet", bag / "sheet")
    shutil.rmtree(home)
    return bag, sorted(path.read_bytes() for path in images)


@pytest.fixture
def elsewhere(brought: tuple[Path, list[bytes]], tmp_path: Path) -> tuple[Cli, list[bytes]]:
    """Another computer, where nobody ever used p2pshare."""
    bag, images = brought
    other = tmp_path / "other"
    shutil.copytree(bag, other)
    (other / "home").mkdir()  # and nothing in it
    (other / "new").write_text(NEW + "\n")
    (other / "old").write_text(PASSPHRASE + "\n")
    return Cli(other), images


def recovered(cli: Cli, images: list[bytes], run: Callable[..., Ran]) -> None:
    """Recover, and see what opens and what comes out."""
    vault = ("--vault", "vault")
    again = run(*vault, "recover", "--recovery-file", "sheet", "--new-passphrase-file", "new")
    assert again.code == 0, again
    old = run(*vault, "--passphrase-file", "old", "unlock", "--check")
    assert (old.code, old.out) == (3, ""), old
    new = run(*vault, "--passphrase-file", "new", "scan", "ls", "--json")
    assert new.code == 0, new
    (scan,) = new.value["scans"]
    out = run(*vault, "--passphrase-file", "new", "scan", "export", scan["scan"], "-o", "out")
    assert out.code == 0, out
    assert sorted(path.read_bytes() for path in (cli.folder / "out").rglob("*.dcm")) == images


def test_the_sheet_opens_a_copy_on_a_computer_that_knows_nothing(elsewhere: tuple[Cli, list[bytes]]) -> None:
    cli, images = elsewhere
    recovered(cli, images, cli.bare)
    left = {path.name for path in (cli.folder / "home").rglob("*") if path.is_file()}
    assert left == set()


@pytest.mark.linux
def test_the_sheet_opens_it_where_there_is_no_route_to_anywhere(elsewhere: tuple[Cli, list[bytes]]) -> None:
    cli, images = elsewhere
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        pytest.skip("needs root and unshare, to be in a network namespace without any route")
    probe = subprocess.run([unshare, "-n", "cat", "/proc/net/route"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip("this system does not let a network namespace be made")
    assert len(probe.stdout.splitlines()) <= 1  # the heading

    def offline(*words: str) -> Ran:
        ran = subprocess.run(
            [unshare, "-n", sys.executable, "-m", "p2pshare", *words], cwd=cli.folder, env=cli.env,
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60, encoding="utf-8",
        )  # fmt: skip
        assert "Traceback" not in ran.stderr, ran.stderr
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    recovered(cli, images, offline)


def test_a_wrong_sheet_changes_nothing(elsewhere: tuple[Cli, list[bytes]]) -> None:
    cli, _ = elsewhere
    header = (cli.folder / "vault" / "vault.p2pv").read_bytes()
    other = cli.bare(
        "--vault", "theirs", "--passphrase-file", "new", "setup", "--name", "Eve", "--recovery-file", "sheet.eve",
    )  # fmt: skip
    assert other.code == 0, other
    said = cli.bare("--vault", "vault", "recover", "--recovery-file", "sheet.eve", "--new-passphrase-file", "new")
    assert said.code == 3, said
    assert (cli.folder / "vault" / "vault.p2pv").read_bytes() == header
    assert cli.bare("--vault", "vault", "--passphrase-file", "old", "unlock", "--check").code == 0

"""Vaults made once and copied for each test: making one stretches a passphrase, which takes half a second."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.running import PASSPHRASE, Cli, copied

QUESTION = "Is the shadow on the left new?\nTHE VAULT IS LOCKED\x1b[2J\u202eevil\nThank you."
REASON = "Please send the older one too.\x1b]0;owned\x07"


def set_up(folder: Path, name: str) -> Cli:
    """A new vault in `folder`, with its passphrase file, key file and recovery sheet beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "passphrase").write_text(PASSPHRASE + "\n")
    cli = Cli(folder)
    made = cli.bare(
        "--vault", "vault", "--passphrase-file", "passphrase", "setup", "--name", name,
        "--recovery-file", "sheet.txt", "--key-file", "vault.key",
    )  # fmt: skip
    assert made.code == 0, made
    return cli


@pytest.fixture(scope="session")
def ana_made(tmp_path_factory: pytest.TempPathFactory, ct_small: Path, mr_small: Path) -> Path:
    """Ana's folder: a vault with two scans."""
    cli = set_up(tmp_path_factory.mktemp("made") / "ana", "Ana")
    cli.ok("import", str(ct_small), str(mr_small))
    return cli.folder


@pytest.fixture(scope="session")
def rao_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dr Rao's folder: an empty vault."""
    return set_up(tmp_path_factory.mktemp("made") / "rao", "Dr Rao").folder


@pytest.fixture
def ana(ana_made: Path, tmp_path: Path) -> Cli:
    """Ana's own copy for one test."""
    return Cli(copied(ana_made, tmp_path / "ana"))


@pytest.fixture
def rao(rao_made: Path, tmp_path: Path) -> Cli:
    """Dr Rao's own copy for one test."""
    return Cli(copied(rao_made, tmp_path / "rao"))


@dataclass(frozen=True)
class Pair:
    """Two people who verified each other, and four shares of Ana's: one in each state that needs no node to look at."""

    ana: Cli
    rao: Cli
    ct: str  # Ana's CT and MR
    mr: str
    words: str
    imported: str
    declined: str
    offered: str
    revoked: str


@pytest.fixture(scope="session")
def pair_made(ana_made: Path, rao_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The two after a day's work; their nodes have stopped."""
    folder = tmp_path_factory.mktemp("pair")
    ana, rao = Cli(copied(ana_made, folder / "ana")), Cli(copied(rao_made, folder / "rao"))
    ana.value("person", "card", "-o", "ana.card")
    rao.value("person", "card", "-o", "rao.card")
    words = ana.value("person", "add", str(rao.folder / "rao.card"))["words"]
    assert rao.value("person", "add", str(ana.folder / "ana.card"))["words"] == words
    ana.value("person", "verify", "Dr Rao", "--words", words)
    rao.value("person", "verify", "Ana", "--words", words)
    ct, mr = (
        next(s["scan"] for s in ana.value("scan", "ls")["scans"] if s["modalities"] == [kind]) for kind in ("CT", "MR")
    )
    (ana.folder / "question.txt").write_text(QUESTION)
    with rao.serving() as address:
        ana.value("person", "set", "rao", "--address", address)
        with ana.serving():
            ids = [
                ana.value("share", "create", "--to", "rao", "--scan", scan, "--question-file", "question.txt")["share"]
                for scan in (ct, mr, mr, mr)
            ]
            for share in ids:
                ana.value("share", "status", share, "--wait", "--until", "offered", "--timeout", "30")
            rao.value("inbox", "accept", ids[0])
            rao.value("inbox", "decline", ids[1], "--reason", REASON)
            ana.value("share", "revoke", ids[3], "--yes")
            ana.value("share", "status", ids[0], "--wait", "--timeout", "30")
            declined = ana.value("share", "status", ids[1], "--wait", "--timeout", "30", code=8)
            assert declined["state"] == "declined"
    return Pair(ana, rao, ct, mr, words, *ids)


@pytest.fixture
def pair(pair_made: Pair, tmp_path: Path) -> Pair:
    """A copy of the two for one test that changes something."""
    from dataclasses import replace

    return replace(
        pair_made,
        ana=Cli(copied(pair_made.ana.folder, tmp_path / "pair-ana")),
        rao=Cli(copied(pair_made.rao.folder, tmp_path / "pair-rao")),
    )


@pytest.fixture(scope="session")
def ct_scan(ana_made: Path) -> str:
    """The ID of Ana's CT."""
    scans = json.loads(Cli(ana_made).ok("scan", "ls", "--json"))["scans"]
    return next(s["scan"] for s in scans if s["modalities"] == ["CT"])

"""Two people with p2pshare, each with a vault of their own on this computer, worked as a person would: by commands.

Rule 1: whatever falls into a timed part opens the vault with its key file, unless the passphrase is what is measured.
"""

import asyncio
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from processes import BenchFailed, Ran, Service, run

from p2pshare.crypto.slots import KeyfileSecret
from p2pshare.store.db.connection import Row
from p2pshare.store.vault import Vault

P2PSHARE: Final = Path(sys.executable).with_name("p2pshare")
PASSPHRASE: Final = "a passphrase for measuring only"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a vault at `folder`/vault; their key file, recovery sheet and cards lie beside it."""

    name: str
    folder: Path

    @classmethod
    def fresh(cls, name: str, folder: Path) -> "Person":
        """Somebody with a new vault."""
        folder.mkdir(parents=True, mode=0o700)
        person = cls(name, folder)
        person.passphrase_file.write_text(PASSPHRASE + "\n")
        run(
            [P2PSHARE, "--vault", person.vault, "--passphrase-file", person.passphrase_file, "--key-file",
             person.key_file, "setup", "--name", name, "--recovery-file", folder / "recovery.txt"]
        )  # fmt: skip
        return person

    @property
    def vault(self) -> Path:
        """The vault's folder."""
        return self.folder / "vault"

    @property
    def key_file(self) -> Path:
        """What opens the vault without stretching a passphrase."""
        return self.folder / "key"

    @property
    def passphrase_file(self) -> Path:
        """What a person would type."""
        return self.folder / "passphrase"

    def copied_to(self, folder: Path) -> "Person":
        """The same person with a copy of the vault; only one of the copies may run."""
        shutil.copytree(self.folder, folder)
        return Person(self.name, folder)

    def command(self, *words: str | Path, by_passphrase: bool = False) -> list[str | Path]:
        """A command line on this vault that prints JSON."""
        secret: tuple[str | Path, ...] = ("--key-file", self.key_file)
        if by_passphrase:
            secret = ("--passphrase-file", self.passphrase_file)
        return [P2PSHARE, "--vault", self.vault, *secret, "--json", *words]

    def run(self, *words: str | Path, by_passphrase: bool = False) -> Ran:
        """Run a command on this vault."""
        return run(self.command(*words, by_passphrase=by_passphrase))

    def ask(self, *words: str | Path) -> dict[str, Any]:
        """Run a command on this vault and return what it says."""
        return self.run(*words).json()

    def serve(self) -> "Serving":
        """Start the node on a free port; returns when it listens."""
        log = self.folder / "serve.log"
        service = Service(self.command("serve", "--verbose", "--listen", "127.0.0.1:0"), log)
        try:
            return Serving(service, str(json.loads(service.first_line())["address"]))
        except BaseException:
            service.stop()
            raise

    def only_scan(self) -> str:
        """The id of the one scan in the vault."""
        scans = self.ask("scan", "ls")["scans"]
        if len(scans) != 1:
            raise BenchFailed(f"{len(scans)} scans where one was expected")
        return str(scans[0]["scan"])

    def export(self, target: Path) -> None:
        """Write the one scan's files to a new folder."""
        self.run("scan", "export", self.only_scan(), "-o", target)

    def rows(self, sql: str, *params: bytes | int | str) -> list[Row]:
        """What a query on this vault's database gives."""
        return asyncio.run(self._rows(sql, params))

    def number(self, sql: str, *params: bytes | int | str) -> int:
        """The one number that a query on this vault's database gives; 0 when there is none."""
        rows = self.rows(sql, *params)
        return int(rows[0][0] or 0) if rows else 0

    async def _rows(self, sql: str, params: tuple[bytes | int | str, ...]) -> list[Row]:
        vault = await open_vault(self)
        try:
            return await vault.db.rows(sql, params)
        finally:
            await vault.close()


@dataclass(frozen=True, slots=True)
class Serving:
    """A running node and where it listens."""

    service: Service
    address: str


async def open_vault(person: Person) -> Vault:
    """Open a person's vault in this process, to look at it."""
    return await Vault.open(person.vault, KeyfileSecret(person.key_file.read_bytes()))


def befriend(one: Person, other: Person) -> None:
    """Exchange cards and verify them, both ways."""
    for mine, theirs in ((one, other), (other, one)):
        card = mine.folder / f"{theirs.vault.parent.name}.card"
        theirs.run("person", "card", "-o", card)
        words = str(mine.ask("person", "add", card)["words"])
        mine.run("person", "verify", theirs.name, "--words", words)


def offer(sender: Person, recipient: Person, question: str = "Is this scan normal?") -> str:
    """Queue a share of the sender's one scan; return its id."""
    file = sender.folder / "question.txt"
    file.write_text(question)
    answer = sender.ask(
        "share", "create", "--to", recipient.name, "--scan", sender.only_scan(), "--question-file", file
    )
    return str(answer["share"])

"""Two people as a computer has them: vaults with key files, commands, and node processes that can be killed."""

import asyncio
import contextlib
import hashlib
import json
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from p2pshare.crypto.slots import KeyfileSecret
from p2pshare.store.vault import Vault
from tests.cli.running import Cli, copied
from tests.world import KEY, two_people

SECONDS = 60

T = TypeVar("T")


@dataclass
class Node:
    """A node process of one vault."""

    process: subprocess.Popen[str]
    address: str

    def kill(self) -> None:
        """As a power cut does for the process: nothing of it runs any more."""
        self.process.kill()
        self.process.communicate(timeout=SECONDS)

    def stop(self) -> tuple[int, str]:
        """Ask it to stop; its exit code and what it complained of."""
        self.process.terminate()
        _, complaints = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, complaints


@contextlib.contextmanager
def node(cli: Cli, *words: str) -> Iterator[Node]:
    """A node that runs until it is killed or the block ends."""
    process = cli.start("serve", "--listen", "127.0.0.1:0", "--json", *words)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=SECONDS)
        yield Node(process, json.loads(line)["address"])
    finally:
        if process.poll() is None:
            process.kill()
        if process.stdout is not None and not process.stdout.closed:
            process.communicate(timeout=SECONDS)


async def make_pair(folder: Path, imported: Path) -> tuple[Cli, Cli]:
    """Ana, who has imported a folder of images, and Dr Rao, who has none; they have verified each other."""
    async with two_people(folder / "vaults") as (ana, _):
        await ana.imports(imported)
    pair = []
    for name in ("ana", "dr-rao"):
        (folder / name).mkdir()
        copied(folder / "vaults" / name, folder / name / "vault")
        key_file = folder / name / "vault.key"
        key_file.touch(mode=0o600)
        key_file.write_bytes(KEY.content)
        pair.append(Cli(folder / name))
    return pair[0], pair[1]


def ask(cli: Cli, question: Callable[[Vault], Awaitable[T]]) -> T:
    """What a vault says, opened beside whatever process works on it."""

    async def look() -> T:
        secret = KeyfileSecret((cli.folder / cli.key_file).read_bytes())
        vault = await Vault.open(cli.folder / cli.vault, secret)
        try:
            return await question(vault)
        finally:
            await vault.close()

    return asyncio.run(look())


async def durable(vault: Vault) -> dict[tuple[bytes, int], int]:
    """Every chunk that is entered in the database, with its stored length."""
    rows = await vault.db.rows(
        "SELECT o.object_id, c.number, c.length FROM chunk c JOIN object o ON o.object = c.object"
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def sessions_ended(vault: Vault) -> bool:
    """Whether a session with somebody came to its end here."""
    return bool(await vault.db.rows("SELECT 1 FROM device WHERE last_seen IS NOT NULL"))


def until(holds: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Return as soon as something is so."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.02)


def hashes(folder: Path) -> list[str]:
    """The SHA-256 of every DICOM file below a folder, sorted."""
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.dcm"))

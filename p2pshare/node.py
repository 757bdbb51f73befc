"""Wiring only: opens a vault, starts what a use case needs, and hands out the services."""

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from p2pshare.crypto import codec
from p2pshare.crypto.slots import Secret
from p2pshare.errors import DiskTrouble
from p2pshare.service.clock import Clock, system_clock
from p2pshare.service.import_report import Told
from p2pshare.service.inbox import Inbox
from p2pshare.service.library import Library
from p2pshare.service.memory import reuse_large_buffers
from p2pshare.service.offers import Offers
from p2pshare.service.people import People
from p2pshare.service.upkeep import Upkeep
from p2pshare.store import erasing, snapshots
from p2pshare.store.vault import Vault

if TYPE_CHECKING:
    from p2pshare.service.importing import Importer  # heavy; most commands do not import files


@dataclass(frozen=True)
class Node:
    """An open vault and its services."""

    vault: Vault
    now: Clock

    @cached_property
    def library(self) -> Library:
        """Scans."""
        return Library(self.vault, self.now)

    @cached_property
    def people(self) -> People:
        """People."""
        return People(self.vault, self.now)

    @cached_property
    def offers(self) -> Offers:
        """Shares that I make."""
        return Offers(self.vault, self.now)

    @cached_property
    def inbox(self) -> Inbox:
        """Shares that others make to me."""
        return Inbox(self.vault, self.now)

    @cached_property
    def upkeep(self) -> Upkeep:
        """The vault itself."""
        return Upkeep(self.vault, self.now)


@asynccontextmanager
async def opened(path: Path, secret: Secret, now: Clock = system_clock) -> AsyncIterator[Node]:
    """The vault at `path`, open while the block runs; a snapshot is written if something worth one changed.

    An erasure that was interrupted is finished first.
    """
    vault = await Vault.open(path, secret)
    try:
        if not vault.db.read_only:
            await erasing.finish_left_over(vault, now())
        yield Node(vault, now)
        if not vault.db.read_only:
            await snapshots.write_if_needed(vault, now())
    finally:
        await vault.close()


async def set_up(path: Path, secrets: Sequence[Secret], name: str, now: Clock = system_clock) -> str:
    """Make a vault; return the person's fingerprint. Raises AlreadyExists."""
    vault = await Vault.create(path, secrets, name, now())
    try:
        with suppress(DiskTrouble):  # the vault is there; the next command writes one
            await snapshots.write_if_needed(vault, now())
        return vault.identity.person_id.hex()
    finally:
        await vault.close()


@asynccontextmanager
async def importing(
    path: Path, secret: Secret, told: Told, *, keep_unreadable: bool = False, now: Clock = system_clock
) -> AsyncIterator[tuple[Node, "Importer"]]:
    """An open vault with an importer, whose sandboxed readers start before any key exists."""
    from p2pshare.dicom.workers import Workers
    from p2pshare.service.importing import Importer

    reuse_large_buffers()
    async with await Workers.start() as workers:
        threading.Thread(target=codec.preload, daemon=True).start()  # while the passphrase is being stretched
        async with opened(path, secret, now) as node:
            yield node, Importer(node.vault, workers, now, told, keep_unreadable=keep_unreadable)


async def serve(
    path: Path, secret: Secret, listen: tuple[str, int], ready: Callable[[str], None], *,
    bytes_per_second: float | None = None, now: Clock = system_clock,
) -> None:  # fmt: skip
    """Run the headless node until cancelled. Raises EngineTaken, CannotListen."""
    from p2pshare.dicom.workers import Workers
    from p2pshare.engine.engine import Engine
    from p2pshare.engine.pace import Pace

    reuse_large_buffers()
    async with await Workers.start() as workers, opened(path, secret, now) as node:
        await Engine(node.vault, workers, now, Pace(bytes_per_second)).run(*listen, ready)

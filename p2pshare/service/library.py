"""The library: a person's scans, listed, found, shown, exported byte for byte, and erased."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pshare.dicom.export import ExportItem, export_names, write_file
from p2pshare.errors import DamagedPack, UsageError
from p2pshare.service import post
from p2pshare.service.clock import Clock
from p2pshare.service.sealing import open_object
from p2pshare.store import audit, erasing, scans
from p2pshare.store.locks import maintenance
from p2pshare.store.scans import ChunkPlace, Scan, SeriesRow, StoredInstance
from p2pshare.store.vault import Vault

__all__ = ["ExportedFile", "Library", "Scan", "ScanDetails"]


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One exported file: a path of our own making below the folder, and what it holds."""

    path: Path
    sop_uid: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ScanDetails:
    """A scan with its series, and what there is to know about it."""

    scan: Scan
    series: tuple[SeriesRow, ...]
    notes: tuple[str, ...]


class Library:
    """The use cases around scans."""

    def __init__(self, vault: Vault, now: Clock) -> None:
        """Work on `vault`."""
        self._vault = vault
        self._now = now

    async def listed(self) -> list[Scan]:
        """All scans, the newest first."""
        return await scans.listed(self._vault.db)

    async def found(self, text: str) -> list[Scan]:
        """Scans that match `text`: names, descriptions, dates, body parts, hospitals."""
        return await scans.found(self._vault.db, text)

    async def find(self, text: str) -> Scan:
        """The one scan whose id begins with `text`. Raises NotFound or Ambiguous."""
        return await scans.by_prefix(self._vault.db, text)

    async def with_uids(self, study_uids: Sequence[str]) -> list[Scan]:
        """The scans of these studies, the newest first."""
        wanted = set(study_uids)
        return [scan for scan in await self.listed() if scan.study_uid in wanted]

    async def details(self, text: str) -> ScanDetails:
        """A scan with its series. Raises NotFound or Ambiguous."""
        scan = await self.find(text)
        series = await scans.series_of(self._vault.db, scan)
        warnings = await scans.warnings_of(self._vault.db, scan)
        notes = [f"{count} of its images: {text}" for text, count in warnings]
        if scan.conflicts:
            notes.append(f"{scan.conflicts} images share a SOP Instance UID but differ; all are kept")
        if scan.patients > 1:
            notes.append(f"its images name {scan.patients} different patients")
        return ScanDetails(scan, tuple(series), tuple(notes))

    async def export(self, text: str, folder: Path, told: Callable[[int, int], None]) -> list[ExportedFile]:
        """Write a scan's files to `folder`, byte for byte as they came in.

        Raises:
            AlreadyExists: another file is in the way; nothing of it is overwritten.
            DamagedPack: a file cannot be had; those before it are written.
        """
        scan = await self.find(text)
        instances = await scans.instances_of(self._vault.db, scan)
        places = await scans.places_of_study(self._vault.db, scan)
        names = export_names([_export_item(i) for i in instances])
        await asyncio.to_thread(_make_folder, folder)
        files: list[ExportedFile] = []
        for number, instance in enumerate(instances):
            name = names[instance.object_id]
            plaintext = _plaintext(self._vault, instance, places.get(instance.object_id, []))
            await asyncio.to_thread(write_file, folder, name, plaintext)
            files.append(ExportedFile(folder / name, instance.sop_uid, instance.sha256.hex()))
            told(number + 1, len(instances))
        async with self._vault.db.transaction() as tx:
            await audit.enter(
                tx, self._vault.identity.device, "scan-exported", {"scan": scan.scan.hex(), "files": len(files)},
                self._now(),
            )  # fmt: skip
        return files

    async def erase(self, text: str) -> Scan:
        """Erase a scan from this vault for good: rows, keys and packs. Raises NotFound, Ambiguous or VaultBusy."""
        scan = await self.find(text)
        async with maintenance(self._vault.folder, exclusive=True):
            async with self._vault.db.transaction() as tx:
                for share in await erasing.erase_rows(tx, self._vault, scan, self._now()):
                    await post.take_back(tx, self._vault, share, self._now())
                await audit.enter(
                    tx, self._vault.identity.device, "scan-erased",
                    {"scan": scan.scan.hex(), "instances": scan.instances}, self._now(),
                )  # fmt: skip
            await erasing.finish(self._vault, self._now())
        return scan


def _export_item(instance: StoredInstance) -> ExportItem:
    return ExportItem(
        instance.object_id, instance.series_uid, instance.sop_uid, instance.series_number, instance.number
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from None


def _plaintext(vault: Vault, instance: StoredInstance, places: Sequence[ChunkPlace]) -> Iterator[bytes]:
    try:
        yield from open_object(vault.packs, instance.key, instance.commitment, instance.size, instance.sha256, places)
    except DamagedPack as error:
        raise DamagedPack(f"image {instance.sop_uid}: {error.what}") from None

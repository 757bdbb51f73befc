"""Packs on disk: immutable files of stored chunks with an encrypted index at their end (docs/format.md §4).

Rule 1: a pack is durable, under its name, before anybody is told of it; it is never changed afterwards.
Rule 2: what is read back is authenticated: the index by its seal, chunks by the digests in it (`verify`, or whoever
        opens them).
Rule 3: everything here blocks on the disk, so it belongs in a thread; all of it may be called from several at once.
Rule 4: a fault names its pack.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from p2pshare.crypto.packindex import (
    HEADER_SIZE,
    TRAILER_SIZE,
    index_length,
    open_index,
    pack_header,
    pack_trailer,
    parse_header,
    parse_trailer,
    seal_index,
)
from p2pshare.crypto.vaultkeys import VaultKeys
from p2pshare.errors import DamagedPack, DiskTrouble, Unsupported
from p2pshare.model.ids import ChunkDigest, PackId
from p2pshare.model.pack import PackIndex, PackPart, PackScope
from p2pshare.store.diskio import disk_trouble, make_folder, remove_durably, write_whole
from p2pshare.store.folder import PACK_SUFFIX, VaultFolder
from p2pshare.store.packbuilder import PackBuilder
from p2pshare.store.packreader import PackReader

__all__ = ["ClosedPack", "PackBuilder", "PackStore", "Placement", "placements"]

_PACK_NAME: Final = re.compile(rf"[0-9a-f]{{32}}{re.escape(PACK_SUFFIX)}\Z")
_DIGEST_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one stored chunk lies in its pack."""

    commitment: bytes
    number: int
    offset: int
    length: int
    digest: ChunkDigest


@dataclass(frozen=True, slots=True)
class ClosedPack:
    """A pack that is durable; `size` is that of the file."""

    pack_id: PackId
    generation: int
    size: int
    scope: PackScope
    owner: bytes
    placements: tuple[Placement, ...]


class PackStore:
    """The packs of a vault, or its snapshots."""

    def __init__(self, folder: VaultFolder, keys: VaultKeys, *, snapshots: bool = False) -> None:
        """`keys` seal what is written and open what is read; set the attribute anew after a change of generation."""
        self.keys = keys
        self._folder = folder
        self._snapshots = snapshots
        self._reader = PackReader()

    def write(self, builder: PackBuilder) -> ClosedPack:
        """Write a pack of what `builder` holds, durably. The caller holds `locks.maintenance` until it is entered.

        Raises:
            DiskTrouble: the disk refused; nothing of the pack is left.
            LocalError: `builder` was filled beyond what a pack may hold.
        """
        pack_id, generation = PackId(secrets.token_bytes(16)), self.keys.generation
        index = builder.index()
        header = pack_header(self.keys.vault_id, generation, pack_id)
        trailer = pack_trailer(HEADER_SIZE + builder.size, index_length(index))
        sealed = seal_index(self.keys.pack_key(generation, pack_id), header, trailer, index)
        path = self._path(pack_id)
        make_folder(path.parent)
        try:
            write_whole(path, [header, *builder.chunks(), sealed, trailer])
        except DiskTrouble:
            with suppress(OSError):
                path.unlink()  # renamed, but its folder did not sync
            raise
        size = HEADER_SIZE + builder.size + len(sealed) + TRAILER_SIZE
        return ClosedPack(pack_id, generation, size, index.scope, index.owner, tuple(placements(index)))

    def read_index(self, pack_id: PackId) -> PackIndex:
        """What the pack holds, authentic, and accounting for every byte of the file.

        Raises:
            DamagedPack: any byte of header, index or trailer, or the length of the file, is not what was written.
            DiskTrouble: this computer cannot open the file now.
        """
        path = self._path(pack_id)
        with _named(pack_id):
            size = self._reader.size(path)
            if size < HEADER_SIZE + TRAILER_SIZE:
                raise DamagedPack("it is too short")
            head, trailer = self._reader.read(path, [(0, HEADER_SIZE), (size - TRAILER_SIZE, TRAILER_SIZE)])
            header = parse_header(head)
            if header.vault_id != self.keys.vault_id:
                raise DamagedPack("it is of another vault")
            if header.pack_id != pack_id:
                raise DamagedPack("it is another pack than its name says")
            offset, length = parse_trailer(trailer, size)
            (sealed,) = self._reader.read(path, [(offset, length)])
            return open_index(self.keys.pack_key(header.generation, pack_id), head, trailer, sealed)

    def read(self, pack_id: PackId, offset: int, length: int) -> bytes:
        """One span of a pack. Raises as `read_many`."""
        return self.read_many(pack_id, [(offset, length)])[0]

    def read_many(self, pack_id: PackId, spans: Iterable[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length), as they are on disk: whoever uses them checks their digests.

        Raises:
            DamagedPack: the pack is missing or too short, or the disk cannot read it.
            DiskTrouble: this computer cannot open the file now.
        """
        return self._reader.read(self._path(pack_id), spans)

    def verify(self, pack_id: PackId) -> list[str]:
        """Read all of a pack and say what is not as it was written; empty if all is.

        Raises `DiskTrouble` when this computer cannot open the file now.
        """
        try:
            index = self.read_index(pack_id)
        except DamagedPack as error:
            return [error.what]
        names = {part.commitment: part.end.object_id for part in index.parts if part.end is not None}
        faults: list[str] = []
        for place in placements(index):
            fault = self._fault(pack_id, place)
            if fault:
                name = names.get(place.commitment, place.commitment).hex()
                faults.append(f"pack {pack_id.hex()}: chunk {place.number} of object {name}: {fault}")
        return faults

    def ids(self) -> Iterator[PackId]:
        """The packs on disk, in order of their ids; files with names that no pack has are passed over."""
        top = self._folder.snapshots if self._snapshots else self._folder.packs
        with disk_trouble("the packs cannot be listed"):
            folders = [top] if self._snapshots else sorted(folder for folder in top.iterdir() if folder.is_dir())
            names = [(folder, name) for folder in folders for name in sorted(entry.name for entry in folder.iterdir())]
        for folder, name in names:
            if _PACK_NAME.match(name):
                pack_id = PackId(bytes.fromhex(name.removesuffix(PACK_SUFFIX)))
                if self._path(pack_id).parent == folder:
                    yield pack_id

    def delete(self, pack_ids: Iterable[PackId]) -> None:
        """Remove packs, durably; one that is gone already is no error. Only under exclusive `locks.maintenance`.

        Raises `DiskTrouble`; the packs before the one that failed are gone then.
        """
        paths = [self._path(pack_id) for pack_id in pack_ids]
        self._reader.forget(paths)
        remove_durably(paths)

    def close(self) -> None:
        """Let go of the open files."""
        self._reader.close()

    def _path(self, pack_id: PackId) -> Path:
        return self._folder.snapshot_path(pack_id) if self._snapshots else self._folder.pack_path(pack_id)

    def _fault(self, pack_id: PackId, place: Placement) -> str | None:
        try:
            data = self.read(pack_id, place.offset, place.length)
        except DamagedPack:
            return "it cannot be read"
        return None if hashlib.sha256(data).digest() == place.digest else "it is not what was written"


def placements(index: PackIndex) -> Iterator[Placement]:
    """Where each chunk lies that `index` lists: one after another, from the header on."""
    offset = HEADER_SIZE
    for part in index.parts:
        for number, length in enumerate(part.lengths):
            yield Placement(part.commitment, part.first + number, offset, length, _digest(part, number))
            offset += length


def _digest(part: PackPart, number: int) -> ChunkDigest:
    return ChunkDigest(part.digests[_DIGEST_SIZE * number : _DIGEST_SIZE * (number + 1)])


@contextmanager
def _named(pack_id: PackId) -> Iterator[None]:
    """Put the pack's name into what is wrong with it. An unknown version in one's own vault is a fault too."""
    try:
        yield
    except (DamagedPack, Unsupported) as error:
        name = f"pack {pack_id.hex()}"
        raise DamagedPack(error.what if error.what.startswith(name) else f"{name}: {error.what}") from None

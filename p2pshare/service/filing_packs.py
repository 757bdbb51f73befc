"""From closed packs to rows: what a pack that is durable on disk becomes in the database."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from p2pshare.model.ids import ChunkDigest, ObjectId, ShareId
from p2pshare.model.limits import PACK_CLOSES_AT
from p2pshare.model.pack import PackEnd, PackScope
from p2pshare.model.ports import Sealed
from p2pshare.store.filing import FiledChunk, FiledPack
from p2pshare.store.packs import ClosedPack, PackBuilder, PackStore


@dataclass(slots=True)
class WrittenPacks:
    """Rows to enter for packs that are durable."""

    packs: list[FiledPack] = field(default_factory=list)
    chunks: list[FiledChunk] = field(default_factory=list)


def filed_pack(closed: ClosedPack, *, study_uid: str | None, share: ShareId | None) -> FiledPack:
    """The row of a closed pack."""
    return FiledPack(closed.pack_id, closed.generation, int(closed.scope), closed.size, study_uid, share)


def filed_chunks(closed: ClosedPack, object_ids: Mapping[bytes, ObjectId]) -> list[FiledChunk]:
    """The rows of a closed pack's chunks; `object_ids` gives the object of each commitment."""
    return [
        FiledChunk(object_ids[p.commitment], p.number, closed.pack_id, p.offset, p.length, p.digest)
        for p in closed.placements
    ]


class PackFiler:
    """Fills packs with whole small objects, one after another, and writes each when it is full. Blocking."""

    def __init__(self, packs: PackStore, scope: PackScope, share: ShareId, now: int) -> None:
        self._packs = packs
        self._scope = scope
        self._share = share
        self._now = now
        self._builder = PackBuilder(scope, share, now)
        self._object_ids: dict[bytes, ObjectId] = {}
        self._written = WrittenPacks()

    def add(
        self, commitment: bytes, key: bytes, number: int, data: Sealed, digest: ChunkDigest, object_id: ObjectId
    ) -> None:
        """Add the next chunk of an object, first writing the pack if it is full."""
        if self._builder.full(PACK_CLOSES_AT):
            self._write()
        self._object_ids[commitment] = object_id
        self._builder.add(commitment, key, number, data, digest)

    def end(self, commitment: bytes, end: PackEnd) -> None:
        """The object is complete."""
        self._builder.end(commitment, end)

    def close(self) -> WrittenPacks:
        """Write what is left, and return the rows of all."""
        if self._builder.size:
            self._write()
        return self._written

    def _write(self) -> None:
        closed = self._packs.write(self._builder)
        self._written.packs.append(filed_pack(closed, study_uid=None, share=self._share))
        self._written.chunks += filed_chunks(closed, self._object_ids)
        self._builder = PackBuilder(self._scope, self._share, self._now)

"""A pack being filled: stored chunks collected in memory, uncopied, until there is enough for one file.

Rule 1: a pack holds objects of one scope and one owner, so that erasing one thing removes whole files.
Rule 2: chunks may come in any order, of several objects in turn; each run of consecutive chunks becomes one part.
Rule 3: nothing here is durable, and nothing was acknowledged.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

from p2pshare.model.limits import PACK_INDEX_MAX
from p2pshare.model.objects import chunk_count
from p2pshare.model.pack import PackEnd, PackIndex, PackPart, PackScope
from p2pshare.model.packed import encode
from p2pshare.store.diskio import Piece

# What a part, and a chunk in it, take in the index, rounded up: field names, commitment and key; digest and length.
_PART_BYTES: Final = 160
_CHUNK_BYTES: Final = 40


class PackBuilder:
    """Collects chunks for one pack; `PackStore.write` writes it. Not for several threads at once."""

    def __init__(self, scope: PackScope, owner: bytes, now: int) -> None:
        """`owner` as in `PackIndex`; `now` in seconds since 1970."""
        self.scope = scope
        self.owner = owner
        self._now = now
        self._runs: list[_Run] = []
        self._going_on: dict[tuple[bytes, int], _Run] = {}  # by the chunk that would come next
        self._held: set[tuple[bytes, int]] = set()
        self._size = 0
        self._index_size = 0

    def add(self, commitment: bytes, key: bytes | None, number: int, data: Piece, digest: bytes) -> bool:
        """Take stored chunk `number` of the object with `commitment`; False, and nothing done, if it is here already.

        `data` is kept as it is, and must not change; `digest` is its SHA-256, computed by the caller, or promised by
        somebody else: then nothing is to be written before `sound` has said so.
        """
        if (commitment, number) in self._held:
            return False
        run = self._going_on.pop((commitment, number), None)
        if run is None:
            run = _Run(commitment, key, number)
            self._runs.append(run)
            self._index_size += _PART_BYTES
        run.chunks.append(data)
        run.digests += digest
        self._going_on[commitment, number + 1] = run
        self._held.add((commitment, number))
        self._size += len(data)
        self._index_size += _CHUNK_BYTES
        return True

    def end(self, commitment: bytes, end: PackEnd) -> None:
        """Say what the object is; its last chunk must have been added to this pack."""
        run = self._going_on.get((commitment, chunk_count(end.size)))
        if run is None:
            raise ValueError("the last chunk of the object is not in this pack")
        run.end = end
        self._index_size += len(encode(end))

    def holds(self, commitment: bytes, number: int) -> bool:
        """Whether that chunk is here already."""
        return (commitment, number) in self._held

    @property
    def size(self) -> int:
        """Stored bytes collected so far."""
        return self._size

    def full(self, limit: int) -> bool:
        """Whether it is time to close: `limit` stored bytes, or so many small objects that the index grows large."""
        return self._size >= limit or self._index_size >= PACK_INDEX_MAX // 2

    def sound(self) -> bool:
        """Whether every chunk here has the digest that it came with. Hashes all of them."""
        return all(
            hashlib.sha256(chunk).digest() == run.digests[place : place + 32]
            for run in self._runs
            for place, chunk in zip(range(0, len(run.digests), 32), run.chunks, strict=True)
        )

    def index(self) -> PackIndex:
        """What the pack holds, as it is now."""
        return PackIndex(
            scope=self.scope, owner=self.owner, created=self._now, parts=tuple(run.part() for run in self._runs)
        )

    def chunks(self) -> Iterator[Piece]:
        """The stored chunks, in the order of the index."""
        for run in self._runs:
            yield from run.chunks


class _Run:
    """Consecutive chunks of one object."""

    __slots__ = ("chunks", "commitment", "digests", "end", "first", "key")

    def __init__(self, commitment: bytes, key: bytes | None, first: int) -> None:
        self.commitment = commitment
        self.key = key
        self.first = first
        self.chunks: list[Piece] = []
        self.digests = bytearray()
        self.end: PackEnd | None = None

    def part(self) -> PackPart:
        return PackPart(
            commitment=self.commitment,
            key=self.key,
            first=self.first,
            lengths=tuple(len(chunk) for chunk in self.chunks),
            digests=bytes(self.digests),
            end=self.end,
        )

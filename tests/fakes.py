"""Stand-ins for what lies on the other side of a port: links without sockets, and a desk without a vault."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2pshare.errors import P2PShareError, PolicyRefusal, Unreachable, WrongChunk
from p2pshare.model.ids import DeviceId, ObjectId, PersonId, ShareId
from p2pshare.model.objects import ObjectShape
from p2pshare.model.ports import ChunkRun, MissingChunks, PeerIdentity, Sealed, StoredChunk

PEER = PeerIdentity(DeviceId(b"d" * 32), PersonId(b"p" * 32))


class FakeLink:
    """One end of a connection in memory. At most `depth` frames are on their way in each direction."""

    def __init__(self, depth: int) -> None:
        self.peer = PEER
        self.sent: list[bytes] = []
        self._depth = depth
        self._arrived: deque[bytes] = deque()
        self._changed = asyncio.Condition()
        self._open = True
        self.other: FakeLink = self

    async def send(self, frame: bytes | bytearray | memoryview | Sequence[bytes | memoryview]) -> None:
        whole = bytes(frame) if isinstance(frame, bytes | bytearray | memoryview) else b"".join(frame)
        async with self.other._changed:
            await self.other._changed.wait_for(lambda: len(self.other._arrived) < self._depth or not self.other._open)
            if not self._open or not self.other._open:
                raise Unreachable("closed")
            self.sent.append(whole)
            self.other._arrived.append(whole)
            self.other._changed.notify_all()

    async def receive(self) -> bytes | None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._arrived or not self._open or not self.other._open)
            frame = self._arrived.popleft() if self._arrived else None
            self._changed.notify_all()
            return frame

    async def close(self) -> None:
        self._open = False
        for end in (self, self.other):
            async with end._changed:
                end._changed.notify_all()


def link_pair(depth: int = 4) -> tuple[FakeLink, FakeLink]:
    """Both ends of a connection."""
    one, other = FakeLink(depth), FakeLink(depth)
    one.other, other.other = other, one
    return one, other


@dataclass(frozen=True, slots=True)
class FakeObject:
    """An object with its stored chunks; they are not encrypted, which nobody who moves them can tell."""

    shape: ObjectShape
    chunks: tuple[bytes, ...]

    def missing(self, share: ShareId) -> MissingChunks:
        """All of it, as something to ask for."""
        return MissingChunks(share, self.shape, tuple(range(len(self.chunks))))


def fake_object(name: str, lengths: Sequence[int]) -> FakeObject:
    """An object whose stored chunks have `lengths`, each filled with bytes that follow from `name`."""
    object_id = hashlib.sha256(name.encode()).digest()
    chunks = tuple(
        (hashlib.sha256(b"%b %d" % (name.encode(), number)).digest() * (length // 32 + 1))[:length]
        for number, length in enumerate(lengths)
    )
    digests = b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
    return FakeObject(ObjectShape(object_id, bytes(32), sum(lengths), tuple(lengths), digests), chunks)


@dataclass
class FakeDesk:
    """A desk that gives what it was filled with and remembers what it was told."""

    receipts: deque[bytes] = field(default_factory=lambda: deque([b"receipt"]))
    letters: deque[bytes] = field(default_factory=deque)
    wanted: deque[MissingChunks] = field(default_factory=deque)
    held: dict[ObjectId, FakeObject] = field(default_factory=dict)
    allowed: set[ShareId] = field(default_factory=set)
    unreadable: dict[ObjectId, P2PShareError] = field(default_factory=dict)
    not_acceptable: dict[bytes, P2PShareError] = field(default_factory=dict)

    receipts_taken: list[bytes] = field(default_factory=list)
    letters_taken: list[bytes] = field(default_factory=list)
    promised: dict[tuple[ObjectId, int], bytes] = field(default_factory=dict)  # digests of what was asked for
    kept: dict[tuple[ObjectId, int], bytes] = field(default_factory=dict)
    refusals: list[tuple[ShareId, ObjectId, str]] = field(default_factory=list)
    counted: int = 0
    served: list[int] = field(default_factory=list)  # bytes of each batch
    closings: int = 0
    wrong: WrongChunk | None = None  # found out at last
    news: asyncio.Event = field(default_factory=asyncio.Event)
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    def hold(self, share: ShareId, *objects: FakeObject) -> None:
        """Have `objects` to serve under `share`."""
        self.allowed.add(share)
        self.held.update({each.shape.id: each for each in objects})

    async def outgoing_receipt(self) -> Sealed | None:
        return Sealed(self.receipts.popleft()) if self.receipts else None

    async def outgoing_letters(self) -> Sequence[Sealed]:
        letters = [Sealed(letter) for letter in self.letters]
        self.letters.clear()
        return letters

    async def take_receipt(self, sealed: Sealed) -> None:
        self._check(sealed)
        self.receipts_taken.append(sealed)
        self.progress.set()

    async def take_envelope(self, sealed: Sealed) -> None:
        self._check(sealed)
        self.letters_taken.append(sealed)
        self.progress.set()

    async def missing(self, room: int) -> Sequence[MissingChunks]:
        named: list[MissingChunks] = []
        while self.wanted:
            first = self.wanted.popleft()
            fitting = 0
            while fitting < len(first.numbers) and first.shape.lengths[first.numbers[fitting]] <= room:
                room -= first.shape.lengths[first.numbers[fitting]]
                fitting += 1
            self.promised.update({(first.shape.id, n): first.shape.digest(n) for n in first.numbers[:fitting]})
            if fitting:
                named.append(MissingChunks(first.share, first.shape, first.numbers[:fitting]))
            if fitting < len(first.numbers):
                self.wanted.appendleft(MissingChunks(first.share, first.shape, first.numbers[fitting:]))
                break
        return named

    async def serve(self, share: ShareId, runs: Sequence[ChunkRun], room: int) -> Sequence[StoredChunk]:
        if share not in self.allowed:
            raise PolicyRefusal("no such share")
        chunks: list[StoredChunk] = []
        for object_id, number in ((run.object_id, run.first + n) for run in runs for n in range(run.count)):
            if object_id in self.unreadable:
                raise self.unreadable[object_id]
            data = self.held[object_id].chunks[number]
            if chunks and len(data) > room:
                break
            room -= len(data)
            chunks.append(StoredChunk(object_id, number, memoryview(data)))
        self.served.append(sum(len(chunk.data) for chunk in chunks))
        return chunks

    async def keep(self, share: ShareId, chunk: StoredChunk) -> None:
        assert (chunk.object_id, chunk.number) not in self.kept
        if hashlib.sha256(chunk.data).digest() != self.promised[chunk.object_id, chunk.number]:
            raise WrongChunk("its digest")
        self.kept[chunk.object_id, chunk.number] = bytes(chunk.data)
        self.progress.set()

    async def refused(self, share: ShareId, object_id: ObjectId, why: str) -> None:
        self.refusals.append((share, object_id, why))
        self.progress.set()

    async def sent(self, share: ShareId, wire_bytes: int) -> None:
        if share not in self.allowed:
            raise PolicyRefusal("it ended meanwhile")
        self.counted += wire_bytes

    async def changed(self) -> None:
        await self.news.wait()
        self.news.clear()

    async def closed(self) -> WrongChunk | None:
        self.closings += 1
        return self.wrong

    def _check(self, sealed: Sealed) -> None:
        if sealed in self.not_acceptable:
            raise self.not_acceptable[sealed]

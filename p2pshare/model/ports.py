"""What sync and the node ask of each other, as Protocols: the two never import one another's modules.

Rule 1: a carrier sees `Sealed` bytes and ids, nothing else.
Rule 2: every method may be called by several sessions at once; each call re-checks what it needs to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

from p2pshare.errors import WrongChunk
from p2pshare.model.ids import DeviceId, ObjectId, PersonId, ShareId
from p2pshare.model.objects import ObjectShape

Sealed = NewType("Sealed", bytes)  # an envelope, or a stored chunk: ciphertext that may leave the vault


@dataclass(frozen=True, slots=True)
class ChunkRun:
    """Chunks `first` .. `first + count - 1` of one object."""

    object_id: ObjectId
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """One stored chunk on its way; `data` is `Sealed` bytes or a view of them."""

    object_id: ObjectId
    number: int
    data: Sealed | memoryview


@dataclass(frozen=True, slots=True)
class MissingChunks:
    """Chunks of one object of an accepted share that are not durable here yet, in order."""

    share: ShareId
    shape: ObjectShape
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who the handshake proved to be at the other end."""

    device_id: DeviceId
    person_id: PersonId


class Desk(Protocol):
    """What the node does for one live session with one device; the engine makes one for each session."""

    async def outgoing_receipt(self) -> Sealed | None:
        """The newest receipt for that device, or None if nothing changed since this desk gave one.

        The first answer is a receipt: nothing else may be said before it.
        """

    async def outgoing_letters(self) -> Sequence[Sealed]:
        """Letters that the device has not acknowledged and that this desk has not handed out yet, in feed order."""

    async def take_receipt(self, sealed: Sealed) -> None:
        """Open, verify and enter a receipt. Raises `RemoteError` when it is not acceptable; the session goes on."""

    async def take_envelope(self, sealed: Sealed) -> None:
        """Open, verify and enter a letter.

        Raises `RemoteError` when its seal, signature or place does not fit: it takes nothing, and the session goes on,
        except after `ProtocolViolation`, which ends it.
        """

    async def missing(self, room: int) -> Sequence[MissingChunks]:
        """Chunks to ask for next, at most `room` stored bytes, none that this desk named before and that is still open.

        `room` is never less than the largest chunk. A chunk stops being open when it was kept or refused.
        """

    async def serve(self, share: ShareId, runs: Sequence[ChunkRun], room: int) -> Sequence[StoredChunk]:
        """The first stored chunks of `runs`, in order: at least one, then as many as fit in `room` bytes.

        Re-checks each time that this share lets that person have them. Raises `PolicyRefusal` or `NotFound` when it
        does not and `Damaged` when they cannot be read (all three are answered with Refused).
        """

    async def keep(self, share: ShareId, chunk: StoredChunk) -> None:
        """Take a chunk that was asked for; it is durable only later, and then a receipt says so.

        Waits while the disk is behind: the other side is then not read from. Raises `WrongChunk`, once it finds out,
        when this chunk or one before is not what its digest promised; nothing of such a chunk is ever durable.
        """

    async def refused(self, share: ShareId, object_id: ObjectId, why: str) -> None:
        """The other side will not serve that object."""

    async def sent(self, share: ShareId, wire_bytes: int) -> None:
        """`wire_bytes` of chunks are about to go out for `share` (frames as handed to the carrier).

        Raises `PolicyRefusal` when that person may not have them any more, though they were read before.
        """

    async def changed(self) -> None:
        """Return when any of the outgoing questions above may have a new answer since this last returned."""

    async def closed(self) -> WrongChunk | None:
        """The session ended: make what came durable, forget what was named, and tell if some of it was wrong."""


class Link(Protocol):
    """One authenticated, ordered, duplex connection that carries frames: what a carrier gives a session."""

    peer: PeerIdentity

    async def send(self, frame: bytes | bytearray | memoryview | Sequence[bytes | memoryview]) -> None:
        """Send one frame, waiting while the other side is slow. Raises `Unreachable` when the link is gone."""

    async def receive(self) -> bytes | None:
        """The next frame, at most `limits.FRAME_MAX` bytes, or None when the other side closed."""

    async def close(self) -> None:
        """Close at once; never raises."""

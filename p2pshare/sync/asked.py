"""What I asked the other side for and do not have yet: the window, and the measure of every chunk that arrives.

Rule 1: a chunk is taken only if it was asked for, has the promised length, and did not come before. That it has the
        promised digest too is for whoever keeps it to see, many at a time, before anything of it is durable.
Rule 2: never more stored bytes are open than the smaller of both sides' windows.
Rule 3: Wants are answered in order, so a Refused closes what is left of its object in the oldest Want naming it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from p2pshare.errors import LocalError, ProtocolViolation, WrongChunk
from p2pshare.model import limits
from p2pshare.model.ids import ObjectId, ShareId
from p2pshare.model.objects import ObjectShape
from p2pshare.model.ports import MissingChunks
from p2pshare.sync.wire import Chunk, Refused, Run, Want


@dataclass(frozen=True, slots=True)
class _Wanted:
    share: ShareId
    want: int  # serial number of the Want that names it
    length: int


class Asked:
    """The open Wants of one side of a session."""

    def __init__(self, window: int) -> None:
        """Let at most `window` stored bytes be open."""
        self.window = window  # the smaller of both sides'
        self._room = window
        self._wants = 0
        self._open: dict[ObjectId, dict[int, _Wanted]] = {}

    @property
    def room(self) -> int:
        """Stored bytes that may still be asked for."""
        return self._room

    def narrow(self, by: int) -> None:
        """Take `by` stored bytes from the window for good: the other side's is smaller."""
        self.window -= by
        self._room -= by

    def enter(self, missing: Sequence[MissingChunks]) -> list[Want]:
        """Open `missing`, and return the Wants that ask for it: one for each share, more where one would be too long.

        Raises:
            LocalError: it is more than `room`, or names a chunk that is open already.
        """
        wants: list[Want] = []
        for share, parts in _by_want(missing):
            self._wants += 1
            runs: list[Run] = []
            for shape, number in parts:
                self._open_chunk(share, shape, number)
                if runs and runs[-1].object_id == shape.id and runs[-1].first + runs[-1].count == number:
                    runs[-1] = Run(shape.id, runs[-1].first, runs[-1].count + 1)
                else:
                    runs.append(Run(shape.id, number, 1))
            wants.append(Want(share, tuple(runs)))
        return wants

    def take(self, chunk: Chunk) -> ShareId:
        """Close what `chunk` answers, and return the share it was asked for.

        Raises:
            ProtocolViolation: it was not asked for, or came before.
            WrongChunk: its length is not the promised one.
        """
        numbers = self._open.get(chunk.object_id, {})
        wanted = numbers.get(chunk.number)
        if wanted is None:
            raise ProtocolViolation("a chunk that was not asked for")
        if len(chunk.data) != wanted.length:
            raise WrongChunk("its length")
        self._close(chunk.object_id, numbers, [chunk.number])
        return wanted.share

    def refuse(self, refused: Refused) -> None:
        """Close what is left of that object in the oldest Want of that share that names it."""
        numbers = self._open.get(refused.object, {})
        wants = [wanted.want for wanted in numbers.values() if wanted.share == refused.share]
        if not wants:
            raise ProtocolViolation("a refusal of what was not asked for")
        oldest = min(wants)
        self._close(refused.object, numbers, [n for n, wanted in numbers.items() if wanted.want == oldest])

    def _open_chunk(self, share: ShareId, shape: ObjectShape, number: int) -> None:
        length = shape.lengths[number]
        numbers = self._open.setdefault(shape.id, {})
        if number in numbers:
            raise LocalError("a chunk was asked for twice")
        if length > self._room:
            raise LocalError("more was asked for than the window holds")
        numbers[number] = _Wanted(share, self._wants, length)
        self._room -= length

    def _close(self, object_id: ObjectId, numbers: dict[int, _Wanted], closing: Sequence[int]) -> None:
        for number in closing:
            self._room += numbers.pop(number).length
        if not numbers:
            del self._open[object_id]


def _by_want(missing: Sequence[MissingChunks]) -> Iterator[tuple[ShareId, list[tuple[ObjectShape, int]]]]:
    """Cut `missing` where the share changes and where a Want is full."""
    share: ShareId | None = None
    parts: list[tuple[ObjectShape, int]] = []
    for chunks in missing:
        for number in chunks.numbers:
            if share is not None and parts and (chunks.share != share or len(parts) == limits.WANT_CHUNKS_MAX):
                yield share, parts
                parts = []
            share = chunks.share
            parts.append((chunks.shape, number))
    if share is not None and parts:
        yield share, parts

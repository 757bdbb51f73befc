"""What the other side asked me for and did not get yet: its Wants, in the order they came.

Rule 1: memory is bounded: no more chunks are owed than could fit a window if each were as small as a chunk can be.
Rule 2: Wants are answered in order, and an object of a Want is served or refused before the next is begun.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from p2pshare.errors import LocalError, ProtocolViolation
from p2pshare.model.ids import ObjectId, ShareId
from p2pshare.model.ports import ChunkRun
from p2pshare.sync.wire import STORED_CHUNK_MIN, Chunk, Refused, Want


@dataclass(frozen=True, slots=True)
class OwedRuns:
    """The next chunks to serve, all for one share."""

    share: ShareId
    runs: Sequence[ChunkRun]


class Owed:
    """The unanswered Wants of the other side."""

    def __init__(self, window: int) -> None:
        """Let the other side ask for at most `window` stored bytes at once."""
        self._room = window // STORED_CHUNK_MIN
        self._wants: deque[_OwedWant] = deque()

    def enter(self, want: Want) -> None:
        """Owe what `want` names. Raises `ProtocolViolation` when that is certainly more than the window."""
        if want.chunks > self._room:
            raise ProtocolViolation("more was asked for than the window holds")
        self._room -= want.chunks
        runs: dict[ObjectId, deque[ChunkRun]] = {}
        for run in want.runs:
            runs.setdefault(run.object_id, deque()).append(ChunkRun(run.object_id, run.first, run.count))
        self._wants.append(_OwedWant(want.share, deque(runs.values())))

    def next(self, most: int, beyond: int = 0) -> OwedRuns | None:
        """At most `most` chunks to serve, of one Want, after the next `beyond`; None when nothing more is owed."""
        for want in self._wants:
            runs: list[ChunkRun] = []
            for run in (run for each in want.objects for run in each):
                passed = min(run.count, beyond)
                beyond -= passed
                taken = min(run.count - passed, most)
                if taken:
                    runs.append(ChunkRun(run.object_id, run.first + passed, taken))
                    most -= taken
                if not most:
                    break
            if runs:
                return OwedRuns(want.share, runs)
        return None

    def serve(self, chunk: Chunk) -> None:
        """Strike off `chunk`, which must be the next one owed."""
        runs = self._first()
        run = runs[0] if runs else None
        if run is None or (run.object_id, run.first) != (chunk.object_id, chunk.number):
            raise LocalError("a chunk that is not the next one owed")
        self._room += 1
        if run.count > 1:
            runs[0] = ChunkRun(run.object_id, run.first + 1, run.count - 1)
            return
        runs.popleft()
        if not runs:
            self._drop_object()

    def refuse(self, refused: Refused) -> None:
        """Strike off what is left of the next object owed, which must be the one that is refused."""
        runs = self._first()
        if not runs or (self._wants[0].share, runs[0].object_id) != (refused.share, refused.object):
            raise LocalError("a refusal of what is not owed next")
        self._room += sum(run.count for run in runs)
        self._drop_object()

    def _first(self) -> deque[ChunkRun]:
        return self._wants[0].objects[0] if self._wants else deque()

    def _drop_object(self) -> None:
        self._wants[0].objects.popleft()
        if not self._wants[0].objects:
            self._wants.popleft()


@dataclass(frozen=True, slots=True)
class _OwedWant:
    share: ShareId
    objects: deque[deque[ChunkRun]]  # the runs of each object, in order

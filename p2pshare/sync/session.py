"""What may be said when, by either side of a session: a table, and the counts that go with it (docs/protocol.md §3).

Rule 1: no IO, no tasks, no clock: frames go in, events come out, and the same calls give the same answers.
Rule 2: `TABLE` holds for both sides; what it does not name is forbidden. docs/session.svg is drawn from it.
Rule 3: the other side's fault is a `RemoteError` and ends the session; my own is a `LocalError` and was not sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from p2pshare.errors import LocalError, ProtocolViolation, Unsupported
from p2pshare.model import limits
from p2pshare.model.ids import ShareId
from p2pshare.model.ports import MissingChunks, StoredChunk
from p2pshare.sync.asked import Asked
from p2pshare.sync.owed import Owed, OwedRuns
from p2pshare.sync.wire import Bye, Chunk, Done, EnvelopeFrame, Frame, Hello, ReceiptFrame, Refused, Want

VERSION: Final = 1


class State(StrEnum):
    """How far one side has come in what it says."""

    SILENT = "silent"
    GREETED = "greeted"
    OPEN = "open"
    RESTED = "rested"
    CLOSED = "closed"


TABLE: Final[Mapping[State, Mapping[type[Frame], State]]] = {
    State.SILENT: {Hello: State.GREETED},
    State.GREETED: {
        ReceiptFrame: State.OPEN,
        Chunk: State.GREETED,  # answers follow the other side's Wants, not one's own turn
        Refused: State.GREETED,
        Bye: State.CLOSED,
    },
    State.OPEN: {
        ReceiptFrame: State.OPEN,
        EnvelopeFrame: State.OPEN,
        Want: State.OPEN,
        Chunk: State.OPEN,
        Refused: State.OPEN,
        Done: State.RESTED,
        Bye: State.CLOSED,
    },
    State.RESTED: {
        ReceiptFrame: State.OPEN,
        EnvelopeFrame: State.OPEN,
        Want: State.OPEN,
        Chunk: State.RESTED,
        Refused: State.RESTED,
        Bye: State.CLOSED,
    },
    State.CLOSED: {},
}


@dataclass(frozen=True, slots=True)
class Arrived:
    """A chunk that was asked for, with the promised length; its digest is checked by whoever keeps it."""

    share: ShareId
    chunk: StoredChunk


Event = Hello | ReceiptFrame | EnvelopeFrame | Want | Arrived | Refused | Done | Bye


class Session:
    """One session with one device, seen from here."""

    def __init__(self, window: int = limits.WINDOW) -> None:
        """Begin. `window`: stored bytes that may be open at once in either direction."""
        self.mine = State.SILENT
        self.theirs = State.SILENT
        self._window = window
        self._asked = Asked(window)
        self._owed = Owed(window)
        self._may_send = limits.SEALED_PER_SESSION_MAX
        self._may_come = limits.SEALED_PER_SESSION_MAX

    @property
    def room(self) -> int:
        """Stored bytes that may be asked for now: none before both sides may."""
        may_ask = Want in TABLE[self.mine] and self.theirs is not State.SILENT
        return self._asked.room if may_ask else 0

    @property
    def worth_asking(self) -> bool:
        """Whether half of the window is free, and a chunk of any size fits in."""
        return self.room >= max(limits.STORED_CHUNK_MAX, self._asked.window // 2)

    @property
    def full(self) -> bool:
        """Whether no further receipt or envelope may be sent: the session has to be begun anew."""
        return self._may_send == 0

    def may_send(self, kind: type[Frame]) -> bool:
        """Whether the table lets me send a frame of that kind now."""
        return kind in TABLE[self.mine]

    def owed(self, most: int, *, beyond: int = 0) -> OwedRuns | None:
        """The next chunks to serve, at most `most`, in the order they have to be sent; None when nothing is owed.

        `beyond` passes over that many, which are about to be sent.
        """
        return self._owed.next(most, beyond)

    def hello(self) -> Hello:
        """My Hello, entered as sent."""
        hello = Hello(VERSION, self._window)
        self.send(hello)
        return hello

    def ask(self, missing: Sequence[MissingChunks]) -> list[Want]:
        """The Wants that ask for `missing`, entered as sent. Raises `LocalError` when it is more than `room`."""
        self.mine = self._after_mine(Want)
        return self._asked.enter(missing)

    def send(self, frame: Hello | ReceiptFrame | EnvelopeFrame | Chunk | Refused | Done | Bye) -> None:
        """Enter `frame` as sent; call it before sending. Raises `LocalError` when it may not be sent now."""
        after = self._after_mine(type(frame))
        match frame:
            case ReceiptFrame() | EnvelopeFrame():
                if self.full:
                    raise LocalError("more receipts and letters than one session may hold")
                self._may_send -= 1
            case Chunk():
                self._owed.serve(frame)
            case Refused():
                self._owed.refuse(frame)
            case Hello() | Done() | Bye():
                pass
            case _:
                assert_never(frame)
        self.mine = after

    def receive(self, frame: Frame) -> Event:
        """Enter what the other side said, and return what it means.

        Raises:
            ProtocolViolation: it may not be said now, or is more than the limits let one session bring.
            WrongChunk: a chunk that was asked for is not the promised one.
            Unsupported: a Hello of another version.
        """
        after = TABLE[self.theirs].get(type(frame))
        if after is None:
            raise ProtocolViolation(f"a {type(frame).__name__} while {self.theirs}")
        event = self._enter(frame)
        self.theirs = after
        return event

    def _enter(self, frame: Frame) -> Event:
        match frame:
            case Hello():
                self._meet(frame)
            case ReceiptFrame() | EnvelopeFrame():
                if self._may_come == 0:
                    raise ProtocolViolation("more receipts and letters than one session may bring")
                self._may_come -= 1
            case Want():
                self._owed.enter(frame)
            case Chunk():
                share = self._asked.take(frame)
                return Arrived(share, StoredChunk(frame.object_id, frame.number, frame.data))
            case Refused():
                self._asked.refuse(frame)
            case Done() | Bye():
                pass
            case _:
                assert_never(frame)
        return frame

    def _meet(self, hello: Hello) -> None:
        if hello.version != VERSION:
            raise Unsupported(f"version {hello.version} of the exchange")
        if hello.window < limits.STORED_CHUNK_MAX:
            raise ProtocolViolation("a window that not one chunk fits in")
        self._asked.narrow(max(0, self._window - hello.window))

    def _after_mine(self, kind: type[Frame]) -> State:
        after = TABLE[self.mine].get(kind)
        if after is None:
            raise LocalError(f"a {kind.__name__} while {self.mine}")
        return after

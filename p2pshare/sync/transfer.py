"""Runs one session over a link: reads, answers and asks until either side ends it, and says why it ended.

Rule 1: one TaskGroup owns the four tasks, and the serving one its reading ahead; the first to end, for whatever
    reason, ends them all.
Rule 2: nothing grows with what the other side sends or does not read: letters and chunks are taken one at a time,
    chunks are served in batches of 1.5 MiB, of which the next is read while one is sent, and what is owed and
    asked is bounded by the session.
Rule 3: checkpoint, then send: bytes are counted at the desk before they go out.
Rule 4: a chunk is served only if the desk, asked again for every batch, lets that person have it: when it is read,
    and once more when it is counted, just before it goes out.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NoReturn, assert_never

from p2pshare.errors import (
    Damaged,
    LocalError,
    NotFound,
    P2PShareError,
    PolicyRefusal,
    ProtocolViolation,
    RemoteError,
    Unreachable,
    WrongChunk,
)
from p2pshare.model import limits
from p2pshare.model.ids import ShareId
from p2pshare.model.ports import ChunkRun, Desk, Link, StoredChunk
from p2pshare.sync.owed import OwedRuns
from p2pshare.sync.session import Arrived, Event, Session
from p2pshare.sync.wire import (
    STORED_CHUNK_MIN,
    Bye,
    Chunk,
    Done,
    EnvelopeFrame,
    Frame,
    Hello,
    ReceiptFrame,
    Refused,
    Want,
    decode_frame,
    encode_frame,
    frame_length,
)

SERVE_BYTES: Final = 3 * limits.MIB // 2  # what one question to the desk may bring into memory
_SERVE_CHUNKS: Final = SERVE_BYTES // STORED_CHUNK_MIN
BYE_SECONDS: Final = 2.0  # how long a side that does not read may delay our leaving


class EndReason(StrEnum):
    """Why a session ended."""

    LEFT = "left"  # the other side closed the connection
    BYE = "bye"  # it said so first
    LOST = "lost"  # the connection broke
    FULL = "full"  # the session brought all that one may; begin another
    VIOLATION = "violation"  # the other side broke the rules
    TROUBLE = "trouble"  # this side could not go on


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended. `why` is the other side's own text after a Bye: sanitise it before showing it."""

    reason: EndReason
    why: str = ""
    error: P2PShareError | None = None
    not_taken: int = 0  # receipts and letters that the desk refused


async def run_session(link: Link, desk: Desk, *, window: int = limits.WINDOW) -> Ended:
    """Exchange everything there is with the device at the other end until the session ends.

    Whatever happens, the link is closed and `desk.closed` called. Cancelling it says Bye first. Errors of this tree are
    returned in `Ended`; any other is a fault of the program and is raised.
    """
    transfer = _Transfer(link, desk, window)
    wrong: WrongChunk | None = None
    try:
        ended = await transfer.run()
    finally:
        try:
            await link.close()
        finally:
            wrong = await desk.closed()
    if wrong is not None and ended.reason is not EndReason.VIOLATION:
        return replace(ended, reason=EndReason.VIOLATION, error=wrong)
    return ended


class _Transfer:
    def __init__(self, link: Link, desk: Desk, window: int) -> None:
        self._link = link
        self._desk = desk
        self._session = Session(window)
        self._sending = asyncio.Lock()  # what the session enters as sent and what is sent have one order
        self._look = asyncio.Event()  # there may be room or reason to ask for more
        self._more = True  # the desk may have something to ask for
        self._asked = asyncio.Event()  # the other side asked for something
        self._not_taken = 0

    async def run(self) -> Ended:
        try:
            ended = await self._exchange()
        except asyncio.CancelledError:
            await self._say_bye("closing")
            raise
        if ended.reason is not EndReason.LOST:
            await self._say_bye(ended.error.code if ended.error else ended.reason)
        return replace(ended, not_taken=self._not_taken)

    async def _exchange(self) -> Ended:
        ended = Ended(EndReason.LEFT)
        try:
            async with asyncio.TaskGroup() as group:
                await self._send([self._session.hello()])
                work = (self._read(), self._speak(), self._want(), self._serve())
                tasks = [group.create_task(each) for each in work]
                finished, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                ended = finished.pop().result()
        except* P2PShareError as caught:
            ended = _because_of(caught)
        return ended

    # --- what comes -------------------------------------------------------------------------------------------

    async def _read(self) -> Ended:
        while (data := await self._link.receive()) is not None:
            event = self._session.receive(decode_frame(data))
            if isinstance(event, Bye):
                return Ended(EndReason.BYE, event.why)
            await self._take(event)
        return Ended(EndReason.LEFT)

    async def _take(self, event: Event) -> None:
        match event:
            case Arrived():
                await self._desk.keep(event.share, event.chunk)
                self._look.set()
            case ReceiptFrame() | EnvelopeFrame():
                await self._take_sealed(event)
            case Want():
                self._asked.set()
            case Refused():
                await self._desk.refused(ShareId(event.share), event.object, event.why)
                self._look_again()
            case Hello():
                self._look.set()
            case Done() | Bye():
                pass
            case _:
                assert_never(event)

    async def _take_sealed(self, frame: ReceiptFrame | EnvelopeFrame) -> None:
        try:
            if isinstance(frame, ReceiptFrame):
                await self._desk.take_receipt(frame.sealed)
            else:
                await self._desk.take_envelope(frame.sealed)
        except ProtocolViolation:
            raise
        except RemoteError:
            # The desk has logged it. One that does not open takes nothing, and the next may: what was on its way when
            # the other side learned a newer prekey is sealed to one whose secret may be gone.
            self._not_taken += 1

    # --- what goes --------------------------------------------------------------------------------------------

    async def _speak(self) -> Ended:
        """Receipts and letters, each time the desk has new ones."""
        while True:
            for frame in await self._news():
                if self._session.full:
                    return Ended(EndReason.FULL)
                await self._say(frame)
            self._look_again()
            await self._desk.changed()

    async def _news(self) -> list[ReceiptFrame | EnvelopeFrame]:
        receipt = await self._desk.outgoing_receipt()
        news: list[ReceiptFrame | EnvelopeFrame] = [] if receipt is None else [ReceiptFrame(receipt)]
        if news or self._session.may_send(EnvelopeFrame):
            news += [EnvelopeFrame(sealed) for sealed in await self._desk.outgoing_letters()]
        return news

    async def _want(self) -> NoReturn:
        """Wants, whenever half of the window is free: fewer and longer ones cost both sides less; then Done."""
        while True:
            await self._look.wait()
            self._look.clear()
            while self._more and self._session.worth_asking:
                self._more = False
                missing = await self._desk.missing(self._session.room)
                if missing:
                    self._more = True
                    await self._send(self._session.ask(missing))
                elif self._session.may_send(Done):
                    await self._say(Done())

    async def _serve(self) -> NoReturn:
        """Chunks, in the order they were asked for; the next are read while some are on their way."""
        owed: OwedRuns | None = None
        reading: asyncio.Task[Sequence[StoredChunk]] | None = None
        try:
            while True:
                owed = owed or self._session.owed(_SERVE_CHUNKS)
                if owed is None:
                    self._asked.clear()
                    await self._asked.wait()
                    continue
                share, runs = owed.share, owed.runs
                try:
                    chunks = await (reading or self._desk.serve(share, runs, SERVE_BYTES))
                except (PolicyRefusal, NotFound, Damaged) as error:
                    owed = reading = None
                    await self._serve_singly(share, runs, error)
                    continue
                owed = self._session.owed(_SERVE_CHUNKS, beyond=len(chunks))
                reading = None
                if owed is not None:
                    reading = asyncio.create_task(self._desk.serve(owed.share, owed.runs, SERVE_BYTES))
                try:
                    await self._send_chunks(share, chunks)
                except PolicyRefusal as error:  # it ended after they were read: what was read ahead is not sent either
                    await _abandon(reading)
                    owed = reading = None
                    await self._serve_singly(share, runs, error)
        finally:
            await _abandon(reading)

    async def _serve_singly(self, share: ShareId, runs: Sequence[ChunkRun], error: P2PShareError) -> None:
        """Of chunks that were not served together, serve what can be, and refuse the objects that it is about."""
        if len(runs) == 1:
            await self._say(Refused(share, runs[0].object_id, error.code))
            return
        for _ in runs:
            owed = self._session.owed(1)
            if owed is None:
                return
            try:
                chunks = await self._desk.serve(owed.share, owed.runs, SERVE_BYTES)
                await self._send_chunks(owed.share, chunks)
            except (PolicyRefusal, NotFound, Damaged) as again:
                await self._say(Refused(owed.share, owed.runs[0].object_id, again.code))

    async def _send_chunks(self, share: ShareId, chunks: Sequence[StoredChunk]) -> None:
        if not chunks:
            raise LocalError("nothing was served and nothing refused")
        frames = [Chunk(chunk.object_id, chunk.number, chunk.data) for chunk in chunks]
        await self._desk.sent(share, sum(frame_length(frame) for frame in frames))
        for frame in frames:
            await self._say(frame)

    async def _say(self, frame: ReceiptFrame | EnvelopeFrame | Chunk | Refused | Done | Bye) -> None:
        async with self._sending:
            self._session.send(frame)
            await self._link.send(encode_frame(frame))

    async def _send(self, frames: Sequence[Frame]) -> None:
        """Send frames that the session has entered."""
        async with self._sending:
            for frame in frames:
                await self._link.send(encode_frame(frame))

    async def _say_bye(self, why: str) -> None:
        if self._session.may_send(Bye):
            with suppress(Unreachable, TimeoutError):
                async with asyncio.timeout(BYE_SECONDS):
                    await self._say(Bye(why))

    def _look_again(self) -> None:
        self._more = True
        self._look.set()


async def _abandon(reading: asyncio.Task[Sequence[StoredChunk]] | None) -> None:
    if reading is not None:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _because_of(caught: ExceptionGroup[P2PShareError]) -> Ended:
    """The first error that tasks of one session raised; later ones follow from it."""
    error = next(each for each in caught.exceptions if isinstance(each, P2PShareError))
    match error:
        case Unreachable():
            return Ended(EndReason.LOST, error=error)
        case RemoteError():
            return Ended(EndReason.VIOLATION, error=error)
        case _:
            return Ended(EndReason.TROUBLE, error=error)

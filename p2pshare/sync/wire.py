"""Frames as bytes and as frozen types: what two nodes say to each other (docs/protocol.md §2).

Rule 1: a length is checked before anything is decoded or allocated; every other fault is `Malformed`.
Rule 2: a chunk's bytes are never copied here: encoding returns a head and the data, decoding a view of the frame.
Rule 3: no IO, no clock, no keys: the payloads of receipts, envelopes and chunks stay sealed.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from p2pshare.errors import Malformed, TooLarge
from p2pshare.model import limits
from p2pshare.model.ids import ObjectId, ShareId
from p2pshare.model.packed import Packed, decode, encode
from p2pshare.model.ports import Sealed

HELLO: Final = 1
RECEIPT: Final = 2
ENVELOPE: Final = 3
WANT: Final = 4
CHUNK: Final = 5
REFUSED: Final = 6
DONE: Final = 7
BYE: Final = 8

CHUNK_HEAD: Final = struct.Struct(">B32sI")  # type, object id, number
STORED_CHUNK_MIN: Final = 1 + limits.CHUNK_PAD + 16  # codec byte, the least padded payload, tag (docs/format.md §2)

_U8_MAX: Final = 0xFF
_U32_MAX: Final = 0xFFFF_FFFF
_SHARE_ID: Final = 16
_OBJECT_ID: Final = 32
_SMALL_MAX: Final = limits.REASON_MAX + 128  # Hello, Refused, Bye: a few numbers, ids and one reason
_WANT_MAX: Final = 64 + 48 * limits.WANT_CHUNKS_MAX  # a run is at most 45 bytes of msgpack, and names a chunk at least


class Hello(Packed, frozen=True):
    """Comes first and once. `window`: stored bytes that may be asked for at once of the side that says it."""

    version: int
    window: int


class Run(Packed, frozen=True, array_like=True):
    """Chunks `first` .. `first + count - 1` of one object, as a list of three."""

    object_id: ObjectId
    first: int
    count: int


class Want(Packed, frozen=True):
    """Asks for chunks of objects of one share."""

    share: ShareId
    runs: tuple[Run, ...]

    @property
    def chunks(self) -> int:
        """How many chunks it names."""
        return sum(run.count for run in self.runs)


class Refused(Packed, frozen=True):
    """What is left of that object in the oldest open Want that names it will not be served."""

    share: ShareId
    object: ObjectId
    why: str


class Bye(Packed, frozen=True):
    """I close. `why` is text from outside: it is sanitised before it is shown."""

    why: str


@dataclass(frozen=True, slots=True)
class ReceiptFrame:
    """An envelope that holds a Receipt."""

    sealed: Sealed


@dataclass(frozen=True, slots=True)
class EnvelopeFrame:
    """An envelope that holds a Letter."""

    sealed: Sealed


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stored chunk; `data` may be a view of the frame it came in."""

    object_id: ObjectId
    number: int
    data: Sealed | memoryview


@dataclass(frozen=True, slots=True)
class Done:
    """Everything I had to say is said; more may follow later."""


Frame = Hello | ReceiptFrame | EnvelopeFrame | Want | Chunk | Refused | Done | Bye

_PACKED: Final = {Hello: HELLO, Want: WANT, Refused: REFUSED, Bye: BYE}


def encode_frame(frame: Frame) -> tuple[bytes | memoryview, ...]:
    """Return the pieces whose concatenation is `frame`; the data of a chunk is the object that was given."""
    match frame:
        case Chunk():
            return CHUNK_HEAD.pack(CHUNK, frame.object_id, frame.number), frame.data
        case ReceiptFrame():
            return bytes((RECEIPT,)), frame.sealed
        case EnvelopeFrame():
            return bytes((ENVELOPE,)), frame.sealed
        case Done():
            return (bytes((DONE,)),)
        case Hello() | Want() | Refused() | Bye():
            return (bytes((_PACKED[type(frame)],)) + encode(frame),)
    assert_never(frame)


def frame_length(frame: Chunk) -> int:
    """How many bytes `frame` is on the wire, as handed to the carrier."""
    return CHUNK_HEAD.size + len(frame.data)


def decode_frame(data: bytes) -> Frame:
    """Return `data`, one whole message, as a frame.

    Raises:
        TooLarge: it is longer than frames of its type may be.
        Malformed: it is of no known type, or not exactly one well-formed frame of its type.
    """
    if len(data) > limits.FRAME_MAX:
        raise TooLarge("a frame")
    if not data:
        raise Malformed("an empty frame")
    reader = _READERS.get(data[0])
    if reader is None:
        raise Malformed(f"a frame of type {data[0]}")
    return reader(memoryview(data)[1:])


def _read_hello(payload: memoryview) -> Hello:
    hello = decode(payload, Hello, limit=_SMALL_MAX, what="a Hello")
    _check(1 <= hello.version <= _U8_MAX and 0 <= hello.window <= _U32_MAX, "a Hello")
    return hello


def _read_sealed(payload: memoryview, what: str) -> Sealed:
    if len(payload) > limits.ENVELOPE_MAX:
        raise TooLarge(what)
    if not payload:
        raise Malformed(what)
    return Sealed(bytes(payload))


def _read_receipt(payload: memoryview) -> ReceiptFrame:
    return ReceiptFrame(_read_sealed(payload, "a receipt"))


def _read_envelope(payload: memoryview) -> EnvelopeFrame:
    return EnvelopeFrame(_read_sealed(payload, "an envelope"))


def _read_want(payload: memoryview) -> Want:
    want = decode(payload, Want, limit=_WANT_MAX, what="a Want")
    _check(len(want.share) == _SHARE_ID and len(want.runs) > 0 and all(map(_is_run, want.runs)), "a Want")
    if want.chunks > limits.WANT_CHUNKS_MAX:
        raise TooLarge("a Want")
    return want


def _is_run(run: Run) -> bool:
    return len(run.object_id) == _OBJECT_ID and run.first >= 0 and 1 <= run.count <= _U32_MAX + 1 - run.first


def _read_chunk(payload: memoryview) -> Chunk:
    head = CHUNK_HEAD.size - 1
    length = len(payload) - head
    if length > limits.STORED_CHUNK_MAX:
        raise TooLarge("a chunk")
    if length < STORED_CHUNK_MIN:
        raise Malformed("a chunk that is cut short")
    return Chunk(ObjectId(bytes(payload[:32])), int.from_bytes(payload[32:head], "big"), payload[head:])


def _read_refused(payload: memoryview) -> Refused:
    refused = decode(payload, Refused, limit=_SMALL_MAX, what="a Refused")
    _check(len(refused.share) == _SHARE_ID and len(refused.object) == _OBJECT_ID, "a Refused")
    return refused


def _read_done(payload: memoryview) -> Done:
    if payload:
        raise Malformed("a Done with a payload")
    return Done()


def _read_bye(payload: memoryview) -> Bye:
    return decode(payload, Bye, limit=_SMALL_MAX, what="a Bye")


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise Malformed(what)


_READERS: Final[Mapping[int, Callable[[memoryview], Frame]]] = {
    HELLO: _read_hello,
    RECEIPT: _read_receipt,
    ENVELOPE: _read_envelope,
    WANT: _read_want,
    CHUNK: _read_chunk,
    REFUSED: _read_refused,
    DONE: _read_done,
    BYE: _read_bye,
}

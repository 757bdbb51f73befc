from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pshare.errors import Malformed, RemoteError, TooLarge
from p2pshare.model import limits
from p2pshare.model.ids import ObjectId, ShareId
from p2pshare.model.packed import encode
from p2pshare.model.ports import Sealed
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
    Run,
    Want,
    decode_frame,
    encode_frame,
    frame_length,
)

SHARE = ShareId(bytes(range(16)))
OBJECT = ObjectId(bytes(range(32)))
RUN = Run(OBJECT, 7, 3)
CHUNK = Chunk(OBJECT, 9, Sealed(b"\x02" * STORED_CHUNK_MIN))

FRAMES: list[Frame] = [
    Hello(1, limits.WINDOW),
    ReceiptFrame(Sealed(b"P2PE receipt")),
    EnvelopeFrame(Sealed(b"P2PE letter")),
    Want(SHARE, (RUN, Run(OBJECT, 0xFFFF_FFFF, 1))),
    CHUNK,
    Refused(SHARE, OBJECT, "policy-refusal"),
    Done(),
    Bye("closing"),
]


def on_the_wire(frame: Frame) -> bytes:
    return b"".join(encode_frame(frame))


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_every_frame_comes_back_as_it_was(frame: Frame) -> None:
    assert decode_frame(on_the_wire(frame)) == frame


@pytest.mark.parametrize(("kind", "frame"), list(enumerate(FRAMES, 1)))
def test_frames_have_the_documented_types(kind: int, frame: Frame) -> None:
    assert on_the_wire(frame)[0] == kind


def test_a_chunk_has_the_documented_bytes() -> None:
    assert on_the_wire(CHUNK) == b"\x05" + OBJECT + b"\x00\x00\x00\x09" + CHUNK.data
    assert frame_length(CHUNK) == len(on_the_wire(CHUNK))


def test_a_want_has_the_documented_bytes() -> None:
    assert on_the_wire(Want(SHARE, (RUN,))) == b"\x04" + encode({"share": SHARE, "runs": [[OBJECT, 7, 3]]})


def test_a_chunk_is_neither_copied_when_it_goes_nor_when_it_comes() -> None:
    assert encode_frame(CHUNK)[1] is CHUNK.data
    frame = on_the_wire(CHUNK)
    come = decode_frame(frame)
    assert isinstance(come, Chunk)
    assert isinstance(come.data, memoryview)
    assert come.data.obj is frame


def test_the_largest_chunk_fits_a_frame_and_one_byte_more_does_not() -> None:
    head = b"\x05" + OBJECT + bytes(4)
    largest = decode_frame(head + bytes(limits.STORED_CHUNK_MAX))
    assert isinstance(largest, Chunk)
    with pytest.raises(TooLarge):
        decode_frame(head + bytes(limits.STORED_CHUNK_MAX + 1))


@pytest.mark.parametrize("kind", [2, 3])
def test_an_envelope_may_have_its_largest_size_and_no_more(kind: int) -> None:
    decode_frame(bytes((kind,)) + bytes(limits.ENVELOPE_MAX))
    with pytest.raises(TooLarge):
        decode_frame(bytes((kind,)) + bytes(limits.ENVELOPE_MAX + 1))


def test_a_want_may_name_as_many_chunks_as_the_limit_and_no_more() -> None:
    most = Want(SHARE, tuple(Run(OBJECT, 0xFFFF_0000 + 2 * n, 1) for n in range(limits.WANT_CHUNKS_MAX)))
    assert decode_frame(on_the_wire(most)) == most
    with pytest.raises(TooLarge):
        decode_frame(on_the_wire(Want(SHARE, (*most.runs, RUN))))
    with pytest.raises(TooLarge):
        decode_frame(on_the_wire(Want(SHARE, (Run(OBJECT, 0, limits.WANT_CHUNKS_MAX + 1),))))


def want(**changes: object) -> bytes:
    return b"\x04" + encode({"share": SHARE, "runs": [[OBJECT, 0, 1]]} | changes)


MALFORMED = {
    "nothing": b"",
    "type 0": b"\x00",
    "an unknown type": b"\x09" + bytes(40),
    "an empty receipt": b"\x02",
    "an empty envelope": b"\x03",
    "a Hello that is no map": b"\x01\xc0",
    "a Hello of version 0": b"\x01" + encode({"version": 0, "window": 1}),
    "a Hello of version 256": b"\x01" + encode({"version": 256, "window": 1}),
    "a Hello with a negative window": b"\x01" + encode({"version": 1, "window": -1}),
    "a Hello with a window of 2**63": b"\x01" + encode({"version": 1, "window": 1 << 63}),
    "a Hello that says more": b"\x01" + encode({"version": 1, "window": 1, "more": 1}),
    "a Hello with bytes after it": b"\x01" + encode({"version": 1, "window": 1}) + b"\xc0",
    "a Want of a short share": want(share=SHARE[:15]),
    "a Want of nothing": want(runs=[]),
    "a Want of a short object": want(runs=[[OBJECT[:31], 0, 1]]),
    "a Want of no chunks": want(runs=[[OBJECT, 0, 0]]),
    "a Want of fewer than no chunks": want(runs=[[OBJECT, 0, 5], [OBJECT, 0, -1]]),
    "a Want from before the first": want(runs=[[OBJECT, -1, 1]]),
    "a Want past the last number": want(runs=[[OBJECT, 0xFFFF_FFFF, 2]]),
    "a Want with a run of four": want(runs=[[OBJECT, 0, 1, 1]]),
    "a Want of 2**63 chunks": want(runs=[[OBJECT, 0, 1 << 63]]),
    "a chunk cut in its head": b"\x05" + OBJECT,
    "a chunk cut in its tag": b"\x05" + OBJECT + bytes(4 + STORED_CHUNK_MIN - 1),
    "a refusal of a short object": b"\x06" + encode({"share": SHARE, "object": b"", "why": ""}),
    "a refusal of a long share": b"\x06" + encode({"share": OBJECT, "object": OBJECT, "why": ""}),
    "a Done that says more": b"\x07\xc0",
    "a Bye that is not text": b"\x08" + encode({"why": b"x"}),
    "a Bye that is not UTF-8": b"\x08\x81\xa3why\xa1\xff",
    "lists in lists": b"\x04" + b"\x91" * 5000,
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_has_not_the_form_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_frame(data)


@pytest.mark.parametrize("kind", [1, 6, 8])
def test_small_frames_are_refused_by_their_length_before_they_are_read(kind: int) -> None:
    with pytest.raises(TooLarge):
        decode_frame(bytes((kind,)) + encode({"why": "x" * 4000}))


@pytest.mark.parametrize("length", [limits.FRAME_MAX + 1, 3 * limits.MIB])
def test_a_frame_over_the_limit_is_refused_whatever_it_is(length: int) -> None:
    with pytest.raises(TooLarge):
        decode_frame(bytes(length))


@given(
    data=st.binary(max_size=300) | st.builds(lambda k, d: bytes((k,)) + d, st.integers(1, 8), st.binary(max_size=99))
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_a_frame_or_are_refused(data: bytes) -> None:
    try:
        frame = decode_frame(data)
    except RemoteError:
        return
    assert decode_frame(on_the_wire(frame)) == frame


@given(frame=st.sampled_from(FRAMES).map(on_the_wire), at=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=400, deadline=None)
def test_a_flipped_bit_gives_another_frame_or_is_refused(frame: bytes, at: int, bit: int) -> None:
    flipped = bytearray(frame)
    flipped[at % len(frame)] ^= 1 << bit
    with suppress(RemoteError):
        assert decode_frame(bytes(flipped)) != decode_frame(frame)


@given(frame=st.sampled_from(FRAMES).map(on_the_wire), at=st.integers(0, 10_000))
@settings(max_examples=200, deadline=None)
def test_a_frame_cut_short_is_refused_or_shorter(frame: bytes, at: int) -> None:
    cut = frame[: at % len(frame)]
    with suppress(RemoteError):
        assert on_the_wire(decode_frame(cut)) == cut

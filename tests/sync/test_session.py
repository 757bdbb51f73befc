import pytest

from p2pshare.errors import LocalError, ProtocolViolation, Unsupported, WrongChunk
from p2pshare.model import limits
from p2pshare.model.ids import ShareId
from p2pshare.model.ports import ChunkRun, Sealed
from p2pshare.sync.session import TABLE, Arrived, Session, State
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
)
from tests.fakes import fake_object

SHARE = ShareId(b"s" * 16)
SCAN = fake_object("scan", [600, 700])
OBJECT = SCAN.shape.id

HELLO = Hello(1, limits.WINDOW)
RECEIPT = ReceiptFrame(Sealed(b"receipt"))
ENVELOPE = EnvelopeFrame(Sealed(b"letter"))
WANT = Want(SHARE, (Run(OBJECT, 0, 2),))
CHUNK = Chunk(OBJECT, 0, Sealed(SCAN.chunks[0]))
REFUSED = Refused(SHARE, OBJECT, "policy-refusal")
DONE = Done()
BYE = Bye("closing")

# what the other side said to come where it is, and what I asked of it meanwhile
WAY: dict[State, list[Frame]] = {
    State.SILENT: [],
    State.GREETED: [HELLO],
    State.OPEN: [HELLO, RECEIPT],
    State.RESTED: [HELLO, RECEIPT, DONE],
    State.CLOSED: [HELLO, RECEIPT, BYE],
}


def heard(state: State) -> Session:
    """A session whose other side is in `state`, and was asked for all of SCAN once it had said Hello."""
    session = Session()
    session.hello()
    session.send(RECEIPT)
    for frame in WAY[state]:
        session.receive(frame)
    if state is not State.SILENT:
        session.ask([SCAN.missing(SHARE)])
    return session


def said(state: State) -> Session:
    """A session in which I am in `state`, and was asked for all of SCAN."""
    session = Session()
    for frame in (HELLO, RECEIPT, WANT):
        session.receive(frame)
    for frame in WAY[state]:
        assert not isinstance(frame, Want)
        session.send(frame)
    return session


ALLOWED = [(state, kind) for state, row in TABLE.items() for kind in row]
EVERY = (HELLO, RECEIPT, ENVELOPE, WANT, CHUNK, REFUSED, DONE, BYE)
CASES = [pytest.param(state, frame, id=f"{state}-{type(frame).__name__}") for state in State for frame in EVERY]


@pytest.mark.parametrize(("state", "frame"), CASES)
def test_the_other_side_may_say_what_the_table_names_and_nothing_else(state: State, frame: Frame) -> None:
    session = heard(state)
    if (state, type(frame)) in ALLOWED:
        session.receive(frame)
        assert session.theirs is TABLE[state][type(frame)]
    else:
        with pytest.raises(ProtocolViolation):
            session.receive(frame)
        assert session.theirs is state


@pytest.mark.parametrize(("state", "frame"), CASES)
def test_this_side_may_say_what_the_table_names_and_nothing_else(state: State, frame: Frame) -> None:
    session = said(state)

    def say() -> None:
        if isinstance(frame, Want):
            session.ask([SCAN.missing(SHARE)])
        else:
            session.send(frame)

    assert session.may_send(type(frame)) == ((state, type(frame)) in ALLOWED)
    if session.may_send(type(frame)):
        say()
        assert session.mine is TABLE[state][type(frame)]
    else:
        with pytest.raises(LocalError):
            say()
        assert session.mine is state


def test_the_table_is_that_of_the_protocol_page() -> None:
    assert set(TABLE) == set(State)
    assert set(TABLE[State.SILENT]) == {Hello}
    assert all(Hello not in row for state, row in TABLE.items() if state is not State.SILENT)
    assert not {EnvelopeFrame, Want, Done} & set(TABLE[State.GREETED])
    assert not TABLE[State.CLOSED]


def test_a_hello_of_another_version_is_not_supported() -> None:
    with pytest.raises(Unsupported):
        Session().receive(Hello(2, limits.WINDOW))


def test_a_window_that_no_chunk_fits_in_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        Session().receive(Hello(1, limits.STORED_CHUNK_MAX - 1))


@pytest.mark.parametrize(("theirs", "room"), [(2 * limits.MIB, 2 * limits.MIB), (0xFFFF_FFFF, limits.WINDOW)])
def test_the_smaller_window_of_both_counts(theirs: int, room: int) -> None:
    session = Session()
    session.hello()
    session.send(RECEIPT)
    session.receive(Hello(1, theirs))
    assert session.room == room


def test_nothing_is_asked_for_before_both_said_enough() -> None:
    session = Session()
    session.hello()
    session.receive(HELLO)
    assert session.room == 0
    session.send(RECEIPT)
    assert session.room == limits.WINDOW
    early = Session()
    early.hello()
    early.send(RECEIPT)
    assert early.room == 0


def test_a_chunk_arrives_with_its_share() -> None:
    event = heard(State.OPEN).receive(CHUNK)
    assert isinstance(event, Arrived)
    assert (event.share, event.chunk.object_id, event.chunk.number) == (SHARE, OBJECT, 0)
    assert event.chunk.data is CHUNK.data


@pytest.mark.parametrize(
    ("chunk", "error"),
    [
        pytest.param(Chunk(OBJECT, 2, CHUNK.data), ProtocolViolation, id="another number"),
        pytest.param(Chunk(ShareId(b"o" * 32), 0, CHUNK.data), ProtocolViolation, id="another object"),  # type: ignore[arg-type]
        pytest.param(Chunk(OBJECT, 1, CHUNK.data), WrongChunk, id="another chunk of it"),
        pytest.param(Chunk(OBJECT, 0, Sealed(SCAN.chunks[0] + b"\0")), WrongChunk, id="longer"),
    ],
)
def test_a_chunk_that_was_not_promised_ends_the_session(chunk: Chunk, error: type[Exception]) -> None:
    with pytest.raises(error):
        heard(State.OPEN).receive(chunk)


def test_a_chunk_that_comes_twice_ends_the_session() -> None:
    session = heard(State.OPEN)
    session.receive(CHUNK)
    with pytest.raises(ProtocolViolation):
        session.receive(CHUNK)


def test_a_chunk_after_its_refusal_ends_the_session() -> None:
    session = heard(State.OPEN)
    session.receive(REFUSED)
    with pytest.raises(ProtocolViolation):
        session.receive(CHUNK)


def test_what_was_refused_makes_room() -> None:
    session = heard(State.OPEN)
    assert session.room == limits.WINDOW - 1300
    session.receive(REFUSED)
    assert session.room == limits.WINDOW


def test_a_flood_of_wants_ends_the_session() -> None:
    session = heard(State.OPEN)
    flood = Want(SHARE, (Run(OBJECT, 0, 1000),))
    for _ in range(limits.WINDOW // STORED_CHUNK_MIN // flood.chunks):
        session.receive(flood)
    with pytest.raises(ProtocolViolation):
        session.receive(flood)


@pytest.mark.parametrize("frame", [RECEIPT, ENVELOPE])
def test_more_sealed_things_than_the_limit_end_the_session(frame: ReceiptFrame | EnvelopeFrame) -> None:
    session = heard(State.OPEN)  # one receipt came
    for _ in range(limits.SEALED_PER_SESSION_MAX - 1):
        session.receive(frame)
    with pytest.raises(ProtocolViolation):
        session.receive(frame)


def test_a_full_session_sends_no_more_sealed_things() -> None:
    session = said(State.OPEN)  # one receipt went
    for _ in range(limits.SEALED_PER_SESSION_MAX - 1):
        assert not session.full
        session.send(ENVELOPE)
    assert session.full
    with pytest.raises(LocalError):
        session.send(RECEIPT)


def test_what_is_owed_is_served_in_order() -> None:
    session = said(State.OPEN)
    owed = session.owed(10)
    assert owed is not None
    assert (owed.share, owed.runs) == (SHARE, [ChunkRun(OBJECT, 0, 2)])
    with pytest.raises(LocalError):
        session.send(Chunk(OBJECT, 1, CHUNK.data))
    session.send(CHUNK)
    session.send(REFUSED)
    assert session.owed(10) is None


@pytest.mark.parametrize("frame", [RECEIPT, ENVELOPE])
def test_after_done_more_may_follow(frame: Frame) -> None:
    session = heard(State.RESTED)
    session.receive(frame)
    assert session.theirs is State.OPEN
    session.receive(DONE)
    assert session.theirs is State.RESTED


def test_done_is_not_said_over_and_over() -> None:
    with pytest.raises(ProtocolViolation):
        heard(State.RESTED).receive(DONE)


def test_one_side_cannot_use_up_what_belongs_to_the_other() -> None:
    one, other = Session(), Session()
    other.receive(one.hello())
    one.receive(other.hello())
    for side, back in ((one, other), (other, one)):
        side.send(RECEIPT)
        back.receive(RECEIPT)
    for side, back in ((one, other), (other, one)):
        for want in side.ask([SCAN.missing(SHARE)]):
            back.receive(want)
    for number, data in enumerate(SCAN.chunks):
        for side, back in ((one, other), (other, one)):
            chunk = Chunk(OBJECT, number, Sealed(data))
            side.send(chunk)
            assert isinstance(back.receive(chunk), Arrived)
    assert one.room == other.room == limits.WINDOW


def test_more_is_worth_asking_for_when_half_of_the_smaller_window_is_free() -> None:
    def open_session(window: int) -> Session:
        session = Session()
        session.hello()
        session.receive(Hello(1, window))
        session.send(ReceiptFrame(Sealed(b"r")))
        return session

    narrow = open_session(limits.STORED_CHUNK_MAX)
    assert (narrow.room, narrow.worth_asking) == (limits.STORED_CHUNK_MAX, True)
    wide = open_session(limits.WINDOW)
    large = fake_object("large", [limits.STORED_CHUNK_MAX])
    small = fake_object("small", [limits.WINDOW // 2 - limits.STORED_CHUNK_MAX])
    more = fake_object("more", [STORED_CHUNK_MIN])
    wide.ask([large.missing(SHARE), small.missing(SHARE)])
    assert wide.worth_asking
    wide.ask([more.missing(SHARE)])
    assert wide.room > limits.STORED_CHUNK_MAX
    assert not wide.worth_asking

import pytest

from p2pshare.errors import LocalError, ProtocolViolation, WrongChunk
from p2pshare.model import limits
from p2pshare.model.ids import ShareId
from p2pshare.model.ports import MissingChunks, Sealed
from p2pshare.sync.asked import Asked
from p2pshare.sync.wire import STORED_CHUNK_MIN, Chunk, Refused, Run
from tests.fakes import FakeObject, fake_object

SHARE = ShareId(b"s" * 16)
OTHER_SHARE = ShareId(b"t" * 16)
SCAN = fake_object("scan", [600, 700, 800])
OTHER = fake_object("other", [600, 700, 800])


def chunk(scan: FakeObject, number: int) -> Chunk:
    return Chunk(scan.shape.id, number, Sealed(scan.chunks[number]))


def asked_for(*scans: FakeObject, window: int = limits.WINDOW) -> Asked:
    asked = Asked(window)
    asked.enter([scan.missing(SHARE) for scan in scans])
    return asked


def test_consecutive_chunks_become_one_run() -> None:
    asked = Asked(limits.WINDOW)
    (want,) = asked.enter([MissingChunks(SHARE, SCAN.shape, (0, 1)), MissingChunks(SHARE, OTHER.shape, (0, 2))])
    assert want.runs == (Run(SCAN.shape.id, 0, 2), Run(OTHER.shape.id, 0, 1), Run(OTHER.shape.id, 2, 1))


def test_each_share_has_its_own_want() -> None:
    wants = Asked(limits.WINDOW).enter([SCAN.missing(SHARE), OTHER.missing(OTHER_SHARE)])
    assert [want.share for want in wants] == [SHARE, OTHER_SHARE]


def test_a_want_is_cut_where_it_would_be_too_long() -> None:
    small = fake_object("small", [STORED_CHUNK_MIN] * (limits.WANT_CHUNKS_MAX + 1))
    wants = Asked(limits.WINDOW).enter([small.missing(SHARE)])
    assert [want.chunks for want in wants] == [limits.WANT_CHUNKS_MAX, 1]


def test_a_promised_chunk_is_taken_in_any_order() -> None:
    asked = asked_for(SCAN, OTHER)
    for scan in (OTHER, SCAN):
        for number in (2, 0, 1):
            assert asked.take(chunk(scan, number)) == SHARE
    assert asked.room == limits.WINDOW


def test_open_chunks_take_room_and_arrived_ones_give_it_back() -> None:
    asked = asked_for(SCAN)
    assert asked.room == limits.WINDOW - 2100
    asked.take(chunk(SCAN, 1))
    assert asked.room == limits.WINDOW - 1400


def test_more_than_the_room_is_not_asked_for() -> None:
    with pytest.raises(LocalError):
        asked_for(SCAN, window=2099)
    assert asked_for(SCAN, window=2100).room == 0


def test_what_is_open_is_not_asked_for_again() -> None:
    asked = asked_for(SCAN)
    with pytest.raises(LocalError):
        asked.enter([SCAN.missing(OTHER_SHARE)])


def test_a_chunk_that_came_twice_ends_it() -> None:
    asked = asked_for(SCAN)
    asked.take(chunk(SCAN, 0))
    with pytest.raises(ProtocolViolation):
        asked.take(chunk(SCAN, 0))


@pytest.mark.parametrize("number", [3, 0xFFFF_FFFF])
def test_a_number_that_was_not_asked_for_ends_it(number: int) -> None:
    with pytest.raises(ProtocolViolation):
        asked_for(SCAN).take(Chunk(SCAN.shape.id, number, Sealed(SCAN.chunks[0])))


def test_an_object_that_was_not_asked_for_ends_it() -> None:
    with pytest.raises(ProtocolViolation):
        asked_for(SCAN).take(chunk(OTHER, 0))


def test_a_chunk_cut_short_is_the_wrong_one_before_it_is_hashed() -> None:
    with pytest.raises(WrongChunk, match="length"):
        asked_for(SCAN).take(Chunk(SCAN.shape.id, 0, Sealed(SCAN.chunks[0][:-1])))


def test_a_refusal_closes_what_is_left_of_that_object() -> None:
    asked = asked_for(SCAN, OTHER)
    asked.take(chunk(SCAN, 0))
    asked.refuse(Refused(SHARE, SCAN.shape.id, ""))
    assert asked.room == limits.WINDOW - 2100
    with pytest.raises(ProtocolViolation):
        asked.take(chunk(SCAN, 1))


def test_a_refusal_leaves_later_wants_of_that_object_open() -> None:
    asked = Asked(limits.WINDOW)
    asked.enter([MissingChunks(SHARE, SCAN.shape, (0, 1))])
    asked.enter([MissingChunks(SHARE, SCAN.shape, (2,))])
    asked.refuse(Refused(SHARE, SCAN.shape.id, ""))
    assert asked.take(chunk(SCAN, 2)) == SHARE
    assert asked.room == limits.WINDOW


def test_each_want_of_an_object_may_be_refused() -> None:
    asked = Asked(limits.WINDOW)
    asked.enter([MissingChunks(SHARE, SCAN.shape, (0, 1))])
    asked.enter([MissingChunks(SHARE, SCAN.shape, (2,))])
    asked.refuse(Refused(SHARE, SCAN.shape.id, ""))
    asked.refuse(Refused(SHARE, SCAN.shape.id, ""))
    assert asked.room == limits.WINDOW


def test_what_was_refused_may_be_asked_for_again() -> None:
    asked = asked_for(SCAN)
    asked.refuse(Refused(SHARE, SCAN.shape.id, ""))
    asked.enter([SCAN.missing(OTHER_SHARE)])
    assert asked.take(chunk(SCAN, 0)) == OTHER_SHARE


@pytest.mark.parametrize(
    "refused", [Refused(OTHER_SHARE, SCAN.shape.id, ""), Refused(SHARE, OTHER.shape.id, "")], ids=["share", "object"]
)
def test_a_refusal_of_what_was_not_asked_for_ends_it(refused: Refused) -> None:
    with pytest.raises(ProtocolViolation):
        asked_for(SCAN).refuse(refused)


def test_a_smaller_window_of_the_other_side_holds() -> None:
    asked = Asked(limits.WINDOW)
    asked.narrow(1000)
    assert asked.room == limits.WINDOW - 1000

import pytest

from p2pshare.errors import LocalError, ProtocolViolation
from p2pshare.model import limits
from p2pshare.model.ids import ObjectId, ShareId
from p2pshare.model.ports import ChunkRun, Sealed
from p2pshare.sync.owed import Owed
from p2pshare.sync.wire import STORED_CHUNK_MIN, Chunk, Refused, Run, Want

SHARE = ShareId(b"s" * 16)
OTHER_SHARE = ShareId(b"t" * 16)
A = ObjectId(b"a" * 32)
B = ObjectId(b"b" * 32)


def owed(*wants: Want, window: int = limits.WINDOW) -> Owed:
    owing = Owed(window)
    for want in wants:
        owing.enter(want)
    return owing


def chunk(object_id: ObjectId, number: int) -> Chunk:
    return Chunk(object_id, number, Sealed(b""))


def test_nothing_is_owed_at_first() -> None:
    assert Owed(limits.WINDOW).next(10) is None


def test_wants_are_answered_in_the_order_they_came() -> None:
    owing = owed(Want(SHARE, (Run(A, 0, 1),)), Want(OTHER_SHARE, (Run(B, 0, 1),)))
    first = owing.next(10)
    assert first is not None
    assert (first.share, first.runs) == (SHARE, [ChunkRun(A, 0, 1)])
    owing.serve(chunk(A, 0))
    second = owing.next(10)
    assert second is not None
    assert (second.share, second.runs) == (OTHER_SHARE, [ChunkRun(B, 0, 1)])
    owing.serve(chunk(B, 0))
    assert owing.next(10) is None


def test_the_runs_of_one_object_are_served_together() -> None:
    owing = owed(Want(SHARE, (Run(A, 0, 2), Run(B, 0, 1), Run(A, 5, 1))))
    next_owed = owing.next(10)
    assert next_owed is not None
    assert next_owed.runs == [ChunkRun(A, 0, 2), ChunkRun(A, 5, 1), ChunkRun(B, 0, 1)]


def test_no_more_is_named_than_was_asked_for() -> None:
    owing = owed(Want(SHARE, (Run(A, 3, 2), Run(B, 0, 9))))
    next_owed = owing.next(4)
    assert next_owed is not None
    assert next_owed.runs == [ChunkRun(A, 3, 2), ChunkRun(B, 0, 2)]


def test_a_served_chunk_is_no_longer_owed() -> None:
    owing = owed(Want(SHARE, (Run(A, 3, 2),)))
    owing.serve(chunk(A, 3))
    next_owed = owing.next(10)
    assert next_owed is not None
    assert next_owed.runs == [ChunkRun(A, 4, 1)]


@pytest.mark.parametrize("wrong", [chunk(A, 4), chunk(B, 3)], ids=["number", "object"])
def test_only_the_next_chunk_is_served(wrong: Chunk) -> None:
    with pytest.raises(LocalError):
        owed(Want(SHARE, (Run(A, 3, 2), Run(B, 3, 1)))).serve(wrong)


def test_what_nobody_asked_for_is_neither_served_nor_refused() -> None:
    with pytest.raises(LocalError):
        Owed(limits.WINDOW).serve(chunk(A, 0))
    with pytest.raises(LocalError):
        Owed(limits.WINDOW).refuse(Refused(SHARE, A, ""))


def test_a_refusal_drops_the_rest_of_that_object_in_the_first_want_only() -> None:
    owing = owed(Want(SHARE, (Run(A, 0, 2), Run(B, 0, 1), Run(A, 5, 1))), Want(SHARE, (Run(A, 9, 1),)))
    owing.serve(chunk(A, 0))
    owing.refuse(Refused(SHARE, A, ""))
    owing.serve(chunk(B, 0))
    last = owing.next(10)
    assert last is not None
    assert last.runs == [ChunkRun(A, 9, 1)]


@pytest.mark.parametrize("wrong", [Refused(OTHER_SHARE, A, ""), Refused(SHARE, B, "")], ids=["share", "object"])
def test_only_the_next_object_is_refused(wrong: Refused) -> None:
    with pytest.raises(LocalError):
        owed(Want(SHARE, (Run(A, 0, 1), Run(B, 0, 1)))).refuse(wrong)


def test_more_chunks_than_could_fit_the_window_end_it() -> None:
    most = limits.WINDOW // STORED_CHUNK_MIN
    owing = owed(Want(SHARE, (Run(A, 0, most),)))
    with pytest.raises(ProtocolViolation):
        owing.enter(Want(SHARE, (Run(B, 0, 1),)))


def test_what_was_answered_makes_room() -> None:
    owing = owed(Want(SHARE, (Run(A, 0, 2),)), Want(SHARE, (Run(B, 0, 2),)), window=4 * STORED_CHUNK_MIN)
    owing.serve(chunk(A, 0))
    owing.serve(chunk(A, 1))
    owing.refuse(Refused(SHARE, B, ""))
    owing.enter(Want(SHARE, (Run(A, 0, 4),)))
    with pytest.raises(ProtocolViolation):
        owing.enter(Want(SHARE, (Run(B, 0, 1),)))


def test_what_is_about_to_be_sent_is_passed_over() -> None:
    owing = owed(Want(SHARE, (Run(A, 0, 3), Run(B, 0, 2))), Want(OTHER_SHARE, (Run(A, 7, 1),)))
    for beyond, share, runs in (
        (2, SHARE, [ChunkRun(A, 2, 1), ChunkRun(B, 0, 1)]),
        (3, SHARE, [ChunkRun(B, 0, 2)]),
        (4, SHARE, [ChunkRun(B, 1, 1)]),
        (5, OTHER_SHARE, [ChunkRun(A, 7, 1)]),
    ):
        found = owing.next(2, beyond)
        assert found is not None
        assert (found.share, found.runs) == (share, runs)
    assert owing.next(2, 6) is None

from p2pshare.sync.doorstep import Doorstep


def test_one_address_gets_its_share_and_no_more() -> None:
    doorstep = Doorstep(64, 4)
    assert [doorstep.enter("a") for _ in range(5)] == [True] * 4 + [False]
    assert doorstep.enter("b")


def test_all_together_get_their_number_and_no_more() -> None:
    doorstep = Doorstep(64, 4)
    entered = [doorstep.enter(str(n // 4)) for n in range(70)]
    assert entered == [True] * 64 + [False] * 6


def test_whoever_leaves_makes_room() -> None:
    doorstep = Doorstep(4, 2)
    for address in ("a", "a", "b", "b"):
        assert doorstep.enter(address)
    doorstep.leave("a")
    assert not doorstep.enter("b")
    assert doorstep.enter("a")
    assert not doorstep.enter("c")


def test_who_was_not_let_in_is_not_remembered() -> None:
    doorstep = Doorstep(1, 1)
    assert doorstep.enter("a")
    for n in range(1000):
        assert not doorstep.enter(str(n))
    doorstep.leave("a")
    assert len(doorstep._standing) == 0

import pytest

from p2pshare.sync.doorstep import Doorstep, Place, network_of


def nobody() -> None:
    raise AssertionError("somebody was turned away")


def entered(doorstep: Doorstep, address: str) -> Place | None:
    return doorstep.enter(address, nobody)


def test_one_network_gets_its_share_and_the_longest_of_it_makes_room() -> None:
    doorstep = Doorstep(64, 2)
    turned_away: list[int] = []
    assert doorstep.enter("b", lambda: turned_away.append(99))
    for number in range(3):
        assert doorstep.enter("a", lambda number=number: turned_away.append(number))  # type: ignore[misc]
    assert turned_away == [0]
    assert len(doorstep._places) == 3


def test_a_network_whose_places_all_knocked_right_gets_no_more() -> None:
    doorstep = Doorstep(4, 1)
    for network in "ab":
        place = entered(doorstep, network)
        assert place
        place.knocked = True
    for _ in range(3):
        assert entered(doorstep, "a") is None
    assert doorstep._of_network == {"a": 1, "b": 1}


def test_when_all_places_are_taken_the_longest_there_makes_room() -> None:
    doorstep = Doorstep(3, 2)
    turned_away: list[str] = []
    for name in "abcde":
        assert doorstep.enter(name, lambda name=name: turned_away.append(name))  # type: ignore[misc]
    assert turned_away == ["a", "b"]
    assert len(doorstep._places) == 3


def test_whoever_knocked_right_is_not_turned_away() -> None:
    doorstep = Doorstep(2, 2)
    first = entered(doorstep, "a")
    assert first
    first.knocked = True
    turned_away: list[str] = []
    assert doorstep.enter("b", lambda: turned_away.append("b"))
    last = entered(doorstep, "c")
    assert last
    assert turned_away == ["b"]
    last.knocked = True
    assert entered(doorstep, "d") is None
    assert len(doorstep._of_network) == 2


def test_whoever_leaves_makes_room_once() -> None:
    doorstep = Doorstep(4, 2)
    places = [entered(doorstep, address) for address in ("a", "a", "b", "b")]
    for place in places:
        assert place
        place.knocked = True
    assert entered(doorstep, "a") is None
    for _ in range(2):
        assert places[0]
        doorstep.leave(places[0])
    last = entered(doorstep, "a")
    assert last
    last.knocked = True
    assert entered(doorstep, "a") is None
    assert len(doorstep._places) == 4


def test_who_was_not_let_in_is_not_remembered() -> None:
    doorstep = Doorstep(1, 1)
    place = entered(doorstep, "a")
    assert place
    place.knocked = True
    for n in range(1000):
        assert entered(doorstep, str(n)) is None
    doorstep.leave(place)
    assert not doorstep._of_network


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("somewhere", "somewhere"),
    ],
)
def test_the_addresses_of_one_owner_are_one_network(address: str, network: str) -> None:
    assert network_of(address) == network

"""Who stands at the door: counts the sockets that have not shown yet who they are.

Rule 1: a flood of strangers costs a fixed number of sockets, and one network only its share of them.
Rule 2: when its network's places, or all, are taken, whoever stood there longest without a right knock makes room: a
        neighbour of somebody who occupies them still gets in, unless the flood is faster than the handshake.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Place:
    """One socket's place at the door."""

    network: str
    turn_away: Callable[[], None]
    knocked: bool = False  # it knew a knock key: it may stay until its time is up


class Doorstep:
    """Sockets that are not authenticated yet, by network."""

    def __init__(self, most: int, most_from_one: int) -> None:
        """Let `most` stand there at once, `most_from_one` of them from one network."""
        self._most = most
        self._most_from_one = most_from_one
        self._places: dict[Place, None] = {}  # the longest there first
        self._of_network: Counter[str] = Counter()

    def enter(self, address: str, turn_away: Callable[[], None]) -> Place | None:
        """A place for one more from `address`, or None; `turn_away` is called if it has to make room for another."""
        network = network_of(address)
        if self._of_network[network] >= self._most_from_one and not self._make_room(network):
            return None
        if len(self._places) >= self._most and not self._make_room():
            return None
        place = Place(network, turn_away)
        self._places[place] = None
        self._of_network[network] += 1
        return place

    def leave(self, place: Place) -> None:
        """Free a place: whoever had it is known now, or gone, or was turned away before."""
        if place in self._places:
            del self._places[place]
            self._of_network[place.network] -= 1
            self._of_network += Counter()  # drops what is zero

    def _make_room(self, network: str | None = None) -> bool:
        """Turn away whoever stood there longest, of that network if one is given, without a right knock."""
        among = (place for place in self._places if not place.knocked and network in (None, place.network))
        longest = next(among, None)
        if longest is None:
            return False
        self.leave(longest)
        longest.turn_away()
        return True


def network_of(address: str) -> str:
    """What one owner can have many addresses in: an IPv4 address alone, an IPv6 network of 64 bits (RFC 6177)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))

"""Who stands at the door: counts the sockets that have not shown yet who they are.

Rule 1: a flood of strangers costs a fixed number of sockets, and one address only its share of them.
"""

from collections import Counter


class Doorstep:
    """Sockets that are not authenticated yet, by address."""

    def __init__(self, most: int, most_from_one: int) -> None:
        """Let `most` stand there at once, `most_from_one` of them from one address."""
        self._most = most
        self._most_from_one = most_from_one
        self._standing: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count one more from `address`, unless that is too many."""
        if self._standing.total() >= self._most or self._standing[address] >= self._most_from_one:
            return False
        self._standing[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one less from `address`: it is known now, or gone."""
        self._standing[address] -= 1
        if not self._standing[address]:
            del self._standing[address]

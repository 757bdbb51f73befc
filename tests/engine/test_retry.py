import random

from p2pshare.engine.retry import LONGEST_SECONDS, BackOff


class Chance(random.Random):
    """Chance that always falls the same way."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


def test_each_wait_is_twice_the_last_until_the_longest() -> None:
    back_off = BackOff(Chance(0.5))
    assert [back_off.failed() for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_chance_moves_a_wait_by_a_quarter_at_most() -> None:
    assert BackOff(Chance(0.0)).failed() == 0.75
    assert 1.2 < BackOff(Chance(0.999)).failed() < 1.25


def test_two_nodes_that_fail_together_do_not_come_back_together() -> None:
    assert BackOff().failed() != BackOff().failed()


def test_after_a_success_it_begins_anew() -> None:
    back_off = BackOff(Chance(0.5))
    back_off.failed()
    back_off.failed()
    back_off.worked()
    assert back_off.failed() == 1


def test_a_node_that_fails_for_a_year_still_counts() -> None:
    back_off = BackOff(Chance(0.5), failures=100_000)
    assert back_off.failed() == LONGEST_SECONDS

"""When to try again: waits that double, with a little chance in them, so that nobody hammers anybody."""

import random
from dataclasses import dataclass, field
from typing import Final

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 300.0


@dataclass(slots=True)
class BackOff:
    """The waits after failures in a row; `chance` gives a number in [0, 1)."""

    chance: random.Random = field(default_factory=random.Random)
    failures: int = 0

    def failed(self) -> float:
        """Count a failure and return how many seconds to wait."""
        wait = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return wait * (0.75 + 0.5 * self.chance.random())

    def worked(self) -> None:
        """It worked: begin anew after the next failure."""
        self.failures = 0

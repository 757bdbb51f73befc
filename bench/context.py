"""What every measurement is given: where to write, what to store or send, how often, and where results go."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from corpora import Corpora, Material
from processes import BenchFailed, NotHere
from results import Failed, Results


@dataclass(slots=True)
class Context:
    """One run of the benchmarks. `folder` is this run's own, and is removed at its end."""

    folder: Path
    rounds: int
    corpora: Corpora
    results: Results
    say: Callable[[str], None]
    _made: int = field(default=0, init=False)

    @contextmanager
    def fresh(self, name: str) -> Iterator[Path]:
        """A new folder, removed with all that is in it when the block ends."""
        self._made += 1
        place = self.folder / f"{self._made:03}-{name}"
        place.mkdir(mode=0o700)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    @contextmanager
    def measuring(self, name: str) -> Iterator[None]:
        """A measurement; if it cannot be made, the results say so and the run goes on."""
        self.say(f"--- {name}")
        try:
            yield
        except NotHere as error:
            self.results.skipped.append(Failed(name, str(error)))
            self.say(f"skipped: {error}")
        except BenchFailed as error:
            self.results.failed.append(Failed(name, str(error)))
            self.say(f"FAILED: {error}")

    def pairs(self) -> Iterator[tuple[int, bool]]:
        """The number of each round, and whether p2pshare is first in it: it takes turns."""
        for number in range(self.rounds):
            yield number, number % 2 == 0


def both(material: Material) -> str:
    """What a line says of the material it is about."""
    return f"{material.digests.total():,} files, {material.size / (1 << 20):,.0f} MiB"


def settle() -> None:
    """Write out what earlier work left in memory, so that nobody pays for it."""
    os.sync()

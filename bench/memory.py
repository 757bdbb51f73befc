"""Memory of a family of processes, sampled while they work: proportional set size, as Linux reckons it.

Pages that several processes share count once, divided among them (smaps_rollup's Pss). The sandboxed readers of DICOM
(one zygote and its workers) are told apart by their command line.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from processes import family

_EVERY_SECONDS: Final = 0.04
_WORKER: Final = b"p2pshare.dicom.worker"
KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: bytes of the nodes' own processes, each root by itself, and of all their workers."""

    roots: dict[int, int]
    workers: int

    @property
    def nodes(self) -> int:
        """Bytes of everything but the workers."""
        return sum(self.roots.values())


class Sampler:
    """Samples in a thread while the block runs, beginning when `begun()` first says so."""

    def __init__(self, roots: Iterable[int], begun: Callable[[], bool] = lambda: True) -> None:
        """Watch the processes in `roots` and all that descend from them."""
        self._roots = list(roots)
        self._begun = begun
        self.samples: list[Sample] = []
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join()

    def add(self, root: int) -> None:
        """Watch one more process."""
        self._roots.append(root)

    def _sample(self) -> None:
        while not self._leaving.is_set() and not self._begun():
            time.sleep(0.005)
        while not self._leaving.wait(_EVERY_SECONDS):
            if sample := self._look():
                self.samples.append(sample)

    def _look(self) -> Sample | None:
        roots: dict[int, int] = {}
        workers = 0
        for root in tuple(self._roots):
            for pid in family([root]):
                size = pss(pid)
                if is_worker(pid):
                    workers += size
                else:
                    roots[root] = roots.get(root, 0) + size
        return Sample(roots, workers) if roots else None


def pss(pid: int) -> int:
    """The proportional set size of a process in bytes; 0 if it has gone or may not be looked at."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * KIB
    return 0


def is_worker(pid: int) -> bool:
    """Whether it is a sandboxed reader or what forks them."""
    with suppress(OSError):
        return _WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has that very file open."""
    with suppress(OSError):
        wanted = path.stat()
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found = link.stat()
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return True
    return False

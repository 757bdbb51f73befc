"""What an import tells a person: an outcome for every file, totals, and how long it will take."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from p2pshare.model.dicom import FileOutcome


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A file that was not stored as a scan, or was stored with something to know, and why. `file` is as found."""

    file: str
    why: str
    outcome: FileOutcome


@dataclass(slots=True)
class ImportReport:
    """What became of every file. `studies` are the Study Instance UIDs that gained something."""

    counts: Counter[FileOutcome] = field(default_factory=Counter)
    studies: set[str] = field(default_factory=set)
    known_studies: set[str] = field(default_factory=set)
    problems: list[FileProblem] = field(default_factory=list)
    bytes: int = 0

    def add(self, outcome: FileOutcome, file: str, why: str = "", size: int = 0) -> None:
        """Count one file; say why where there is something to say."""
        self.counts[outcome] += 1
        self.bytes += size
        if why:
            self.problems.append(FileProblem(file, why, outcome))

    def seen(self, study_uid: str, size: int) -> None:
        """Count a file that is unchanged since it was stored in `study_uid`: a duplicate that was not even read."""
        self.counts[FileOutcome.DUPLICATE] += 1
        self.known_studies.add(study_uid)
        self.bytes += size


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far an import has come; `files_total` is None while the medium is still being looked through."""

    files_done: int
    files_total: int | None
    bytes_done: int
    bytes_total: int | None
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the bytes so far; None while there is nothing to go by."""
        if not self.bytes_total or self.bytes_done <= 0 or self.seconds < 1:
            return None
        return self.seconds * max(0, self.bytes_total - self.bytes_done) / self.bytes_done


Told = Callable[[ImportProgress], None]

"""What is imported and sent: synthetic CT, made once and kept between runs, with the SHA-256 of every file.

The maker (`make_corpus.py`) lies beside the project, not in it. Without it, a folder given by --corpus is the study,
and what needs other material is skipped.
"""

import hashlib
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from processes import BenchFailed, NotHere, run

MAKER: Final = Path(__file__).resolve().parents[2] / "shared" / "bench" / "make_corpus.py"
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Material:
    """Files to import or send: a folder, the digest of every file in it, and their bytes together."""

    folder: Path
    digests: Counter[str]
    size: int


class Corpora:
    """Makes material when it is first asked for."""

    def __init__(self, cache: Path, given: Path | None, instances: int, mib: int, say: Callable[[str], None]) -> None:
        """`given` takes the place of the study; `cache` outlives the run."""
        self._cache = cache
        self._given = given
        self._instances = instances
        self._mib = mib
        self._say = say
        self._known: dict[str, Material] = {}

    def study(self) -> Material:
        """A CT of many instances."""
        if self._given is not None:
            return self._material("study", lambda: self._given or Path())
        name = f"study-{self._instances}"
        return self._material(
            name, lambda: self._made(name, "study", "--instances", str(self._instances), "--series", "4")
        )

    def multiframe(self) -> Material:
        """One large multi-frame object, in a folder of its own."""
        name = f"multiframe-{self._mib}"
        return self._material(name, lambda: self._made(name, "multiframe", "--mib", str(self._mib)))

    def mutated(self, folder: Path, percent: float) -> Material:
        """A copy of the study at `folder` in which some instances were changed, with new SOP Instance UIDs."""
        shutil.copytree(self.study().folder, folder)
        run([sys.executable, _maker(), "mutate", folder, "--percent", str(percent)])
        return material_at(folder)

    def _material(self, name: str, folder: Callable[[], Path]) -> Material:
        if name not in self._known:
            self._known[name] = material_at(folder())
        return self._known[name]

    def _made(self, name: str, kind: str, *options: str) -> Path:
        """Make it beside its place, and put it there when it is whole."""
        place = self._cache / name
        if not place.is_dir():
            maker = _maker()
            self._say(f"making {name} in {self._cache}, once")
            building = self._cache / f".{name}.new"
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
            out = building if kind == "study" else building / "object.dcm"
            run([sys.executable, maker, kind, out, *options])
            building.rename(place)
        return place


def material_at(folder: Path) -> Material:
    """What is in `folder`; reading it all also brings it into the page cache, as far as memory allows."""
    digests: Counter[str] = Counter()
    size = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digests[_sha256(path)] += 1
            size += path.stat().st_size
    if not digests:
        raise BenchFailed(f"there are no files in {folder}")
    return Material(folder.resolve(), digests, size)  # a peer would store a link as a link


def check_same(folder: Path, expected: Counter[str], what: str) -> None:
    """Raise BenchFailed unless `folder` holds exactly the files whose digests are `expected`, under whatever names."""
    found = material_at(folder).digests
    if found != expected:
        lost, extra = (expected - found).total(), (found - expected).total()
        raise BenchFailed(f"{what}: {lost} files are missing or changed, {extra} should not be there")


def tree_size(folder: Path) -> int:
    """The bytes of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _maker() -> Path:
    if not MAKER.is_file():
        raise NotHere("make_corpus.py is not beside the project; --corpus DIR takes a folder of DICOM files instead")
    return MAKER


def _sha256(path: Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            whole.update(piece)
    return whole.hexdigest()

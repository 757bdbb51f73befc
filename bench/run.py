"""Measures p2pshare beside the tools that people use now, and prints what it found as a table and as JSON.

    bench/run.py [import] [transfer] [resume] [again] [memory] [startup] [listing]     (default: all)

Rule 1: pairs are interleaved, and who is first takes turns; what is reported is a ratio of one run on one machine.
Rule 2: whatever cannot be measured here is named, with the reason; nothing is left out silently.
"""

import argparse
import importlib
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import machine
import peers
from context import Context
from corpora import Corpora
from processes import BenchFailed
from results import Failed, Results

MEASUREMENTS: Final = {
    "import": "importing", "transfer": "transferring", "resume": "resuming", "again": "repeating",
    "memory": "footprint", "startup": "starting", "listing": "listing",
}  # fmt: skip
_WITH_PEERS: Final = {"import": ("restic",), "transfer": ("rsync", "sshd", "ssh", "ssh-keygen")}


def main() -> int:
    """Run what was chosen; 1 if something could not be measured."""
    args = _arguments()
    signal.signal(signal.SIGTERM, _end)
    work = Path(args.work).absolute()
    work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=work))
    try:
        results = _measured(args, work, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    path = Path(args.json) if args.json else work / f"results-{time.strftime('%Y%m%d-%H%M%S')}.json"
    results.save(path)
    for name, value in results.about.items():
        print(f"{name}: {value}")
    print("", *results.table(), "", f"JSON: {path}", sep="\n")
    return 1 if results.failed else 0


def _measured(args: argparse.Namespace, work: Path, folder: Path) -> Results:
    chosen = args.measurements or list(MEASUREMENTS)
    if set(chosen) & set(_WITH_PEERS):
        peers.install_missing(_say)
    results = Results({**machine.about(work), **_peer_versions(chosen), "rounds": str(args.rounds)})
    corpora = Corpora(work, Path(args.corpus) if args.corpus else None, args.instances, args.mib, _say)
    context = Context(folder, args.rounds, corpora, results, _say)
    for name in chosen:
        try:
            importlib.import_module(MEASUREMENTS[name]).measure(context)
        except KeyboardInterrupt:
            results.failed.append(Failed(name, "interrupted"))
            break
    return results


def _peer_versions(chosen: list[str]) -> dict[str, str]:
    versions = {}
    for name in sorted({"restic", "rsync", "sshd"} & {peer for one in chosen for peer in _WITH_PEERS.get(one, ())}):
        try:
            versions[name] = peers.version(name)
        except BenchFailed as error:
            versions[name] = str(error)
    return versions


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure p2pshare beside the tools that people use now.")
    parser.add_argument("measurements", nargs="*", metavar="MEASUREMENT", help=f"of: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--rounds", type=_positive, default=3, help="pairs of each comparison (default: 3)")
    parser.add_argument("--corpus", metavar="DIR", help="a folder of DICOM files of one study, instead of making one")
    parser.add_argument("--instances", type=_positive, default=2000, help="instances of the study that is made")
    parser.add_argument("--mib", type=_positive, default=512, help="MiB of the multi-frame object that is made")
    parser.add_argument(
        "--work", metavar="DIR", default=str(Path(tempfile.gettempdir()) / "p2pshare-bench"),
        help="where to write; needs about 8 GiB, and keeps the corpora for the next run (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="where to put the results (default: in the --work folder)")
    args = parser.parse_args()
    if unknown := set(args.measurements) - set(MEASUREMENTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    return args


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a number from 1 on")
    return number


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends it as ^C does: with every process ended and every folder removed."""
    raise KeyboardInterrupt


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

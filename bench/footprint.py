"""Memory while importing and while sending: the proportional set size of all processes together, and its peak.

The import unlocks by passphrase; sampling begins when its process has the database open, which it does only after the
256 MiB of Argon2id were used and given back. The nodes open with key files and are sampled from "listening" on. The
sandboxed readers (a zygote and two workers for each node) are counted apart.
"""

from collections.abc import Callable
from pathlib import Path

from context import Context, both
from corpora import Material
from memory import Sample, Sampler, has_open
from nodes import Person
from pairing import paired_people, sender_with
from processes import BenchFailed, Service
from results import MIB, Line, shown

GOAL_MIB = 300.0


def measure(context: Context) -> None:
    """Import and transfer of the study, and of the large object."""
    for what in ("study", "object"):
        with context.measuring(f"memory, {what}"):
            material = context.corpora.study() if what == "study" else context.corpora.multiframe()
            with context.fresh("memory") as folder:
                _import(context, f"memory, import {what}", folder, material)
            with context.fresh("sender") as place, context.fresh("memory") as folder:
                _transfer(context, f"memory, transfer {what}", folder, sender_with(material, place), material)


def _import(context: Context, name: str, folder: Path, material: Material) -> None:
    person = Person.fresh("Ana", folder / "ana")
    database = person.vault / "vault.db"
    argv = person.command("import", material.folder, by_passphrase=True)
    with (
        Service(argv, folder / "import.log") as importing,
        Sampler([importing.pid], lambda: has_open(importing.pid, database)) as sampler,
    ):
        importing.finish()
    _report(context, name, sampler, {"import": importing.pid}, both(material))


def _transfer(context: Context, name: str, folder: Path, sender: Person, material: Material) -> None:
    with paired_people(folder, sender) as pair:
        pair.start()
        who = {
            "sender": pair.serving[pair.sender.name].service.pid,
            "recipient": pair.serving[pair.recipient.name].service.pid,
        }
        with Sampler(pair.pids) as sampler, pair.watch(pair.offered()) as watch:
            share = pair.recipient.ask("inbox", "ls")["inbox"][0]["id"]
            with Service(pair.recipient.command("inbox", "accept", share), folder / "accept.log") as accepting:
                sampler.add(accepting.pid)
                accepting.finish()
            watch.state("imported")
        pair.check(share, material)
    _report(context, name, sampler, who, f"{both(material)}; both nodes and the accept command together")


def _report(context: Context, name: str, sampler: Sampler, who: dict[str, int], about: str) -> None:
    samples = sampler.samples
    if not samples:
        raise BenchFailed("no sample was taken")
    nodes = _peak(samples, lambda s: s.nodes)
    parts = ", ".join(f"{label} {_peak_of(samples, pid):.0f}" for label, pid in who.items())
    note = (
        f"{about}; MiB at each one's peak: {parts}, all workers {_peak(samples, lambda s: s.workers):.0f},"
        f" everything {_peak(samples, lambda s: s.nodes + s.workers):.0f}; {len(samples)} samples"
    )
    context.say(f"{name}: {nodes:.0f} MiB; {note}")
    series = {"nodes": [s.nodes / MIB for s in samples], "workers": [s.workers / MIB for s in samples]}
    context.results.lines.append(
        Line(f"{name}, peak without workers", nodes, "MiB", GOAL_MIB, shown(nodes, "MiB"), "", note, series)
    )


def _peak(samples: list[Sample], of: Callable[[Sample], int]) -> float:
    return max(of(sample) for sample in samples) / MIB


def _peak_of(samples: list[Sample], pid: int) -> float:
    return _peak(samples, lambda sample: sample.roots.get(pid, 0))

"""A first transfer to a second vault beside `rsync -a` over ssh to a second folder, both on the loopback address.

Timed, ours: from starting `p2pshare inbox accept` (with a key file) to the moment the sender's vault holds the
recipient's verified receipt for "delivered" (every chunk durable there) and for "imported" (every image decrypted,
hashed and filed there). Both nodes run and are connected. Not timed: import, offer, and the hash comparison at the end.
Timed, rsync: the one command, its ssh connection included. rsync does not wait for the disk; p2pshare does.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import floor
import floor_opening
from context import Context, both, settle
from corpora import Material, check_same
from nodes import Person
from pairing import Pair, paired_people, sender_with
from peers import Sshd, running_sshd
from processes import Ran, cpu_seconds, family
from results import alone, paired
from watching import Watch

DELIVERED_GOAL = 0.30
IMPORTED_GOAL = 0.45


@dataclass(frozen=True, slots=True)
class Sent:
    """Seconds from the start of `inbox accept`, and CPU seconds of both nodes and that command."""

    accepted: float
    delivered: float
    imported: float
    cpu: float
    wire_share: float


def measure(context: Context) -> None:
    """The study, and the large object."""
    with context.measuring("first transfer of the study"):
        _compare(context, "study", context.corpora.study())
    with context.measuring("first transfer of the multi-frame object"):
        _compare(context, "object", context.corpora.multiframe())


def _compare(context: Context, what: str, material: Material) -> None:
    ours: list[Sent] = []
    peer: list[Ran] = []
    with context.fresh("sender") as place, running_sshd(place / "sshd") as sshd:
        sender = sender_with(material, place)
        for number, ours_first in context.pairs():
            for mine in (True, False) if ours_first else (False, True):
                with context.fresh("transfer") as folder:
                    if mine:
                        ours.append(_ours(folder, sender, material))
                    else:
                        peer.append(_rsync(folder, sshd, material))
            last = ours[-1]
            context.say(
                f"round {number + 1}: p2pshare delivered {last.delivered:.2f} s, imported {last.imported:.2f} s,"
                f" rsync {peer[-1].seconds:.2f} s"
            )
        settle()
        bare = [floor.seconds(sender.vault / "packs") for _ in ours]
        opening = [floor_opening.seconds(sender) for _ in ours]
    _report(context, what, material, ours, peer)
    context.results.lines += [
        alone(f"transfer {what}, floor: the same bytes over the bare carrier", bare, "s"),
        alone(f"transfer {what}, floor: opening them with two threads", opening, "s"),
    ]


def _report(context: Context, what: str, material: Material, ours: list[Sent], peer: list[Ran]) -> None:
    theirs = [ran.seconds for ran in peer]
    lines = context.results.lines
    lines += [
        paired(
            f"transfer {what}, delivered, rsync over ssh", [s.delivered for s in ours], theirs, goal=DELIVERED_GOAL,
            note=both(material),
        ),
        paired(f"transfer {what}, imported, rsync over ssh", [s.imported for s in ours], theirs, goal=IMPORTED_GOAL),
        paired(f"transfer {what}, CPU of both sides, rsync over ssh", [s.cpu for s in ours], [r.cpu for r in peer]),
        alone(f"transfer {what}, of it: the accept command", [s.accepted for s in ours], "s"),
        alone(f"transfer {what}, bytes sent per stored byte", [s.wire_share for s in ours], "x"),
    ]  # fmt: skip


def _ours(folder: Path, sender: Person, material: Material) -> Sent:
    with paired_people(folder, sender) as pair:
        pair.start()
        share = pair.offered()
        with pair.watch(share) as watch:
            watch.state("offered")
            sent = _accepted(pair, share, watch)
        pair.check(share, material)
    return sent


def _accepted(pair: Pair, share: str, watch: Watch) -> Sent:
    settle()
    nodes = family(pair.pids)
    before, began = cpu_seconds(nodes), time.monotonic()
    ran = pair.recipient.run("inbox", "accept", share)
    delivered = watch.state("delivered")
    imported = watch.state("imported")
    nodes = sorted({*nodes, *family(pair.pids)})
    cpu = cpu_seconds(nodes) - before + ran.cpu
    return Sent(
        ran.seconds, delivered.at - began, imported.at - began, cpu, imported.wire_bytes / imported.stored_bytes
    )


def _rsync(folder: Path, sshd: Sshd, material: Material) -> Ran:
    target = folder / "target"
    target.mkdir()
    settle()
    ran = sshd.rsync(material.folder, target)
    check_same(target, material.digests, "rsync")
    return ran

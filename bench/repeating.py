"""Sharing again what the recipient has: with nothing new, and with one image in a hundred changed.

Each time the sender's node is stopped, the share is queued, and the node is started: bytes and seconds count from the
moment its connection arrives. A person has to accept; the time until they do is not counted. All bytes pass a relay.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from context import Context, both
from corpora import Material
from nodes import offer
from pairing import Pair, paired_people, sender_with
from processes import BenchFailed
from relay import Relay
from results import alone, shown

SECONDS_GOAL = 0.5
KB_GOAL = 100.0
CHANGED_GOAL = 1.1
PERCENT = 1.0
_AFTERWARDS_SECONDS = 0.3  # what is said after "imported" counts too

_NEWEST = "SELECT max(instance) FROM instance"
_CHANGED = (
    "SELECT sum(c.length) FROM instance i JOIN chunk c ON c.object = i.object WHERE i.instance > ?"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Repeated:
    """Seconds from connected to offered and from accepted to imported, and bytes both ways."""

    share: str
    offering: float
    fetching: float
    wire: int


def measure(context: Context) -> None:
    """Transfer once, then again and again."""
    with context.measuring("the same share again"):
        material = context.corpora.study()
        with context.fresh("sender") as place:
            sender = sender_with(material, place)
            with context.fresh("again") as folder, Relay("") as relay, paired_people(folder, sender, relay) as pair:
                pair.start()
                _transfer_once(pair)
                _nothing_new(context, pair, relay, material)
                _some_changed(context, pair, relay, material, folder)


def _transfer_once(pair: Pair) -> None:
    share = pair.offered()
    with pair.watch(share) as watch:
        pair.recipient.run("inbox", "accept", share)
        watch.state("imported")


def _nothing_new(context: Context, pair: Pair, relay: Relay, material: Material) -> None:
    found = [_again(pair, relay) for _ in range(context.rounds)]
    pair.check(found[-1].share, material)
    parts = f"{both(material)}; connected to offered {shown(found[-1].offering, 's')}, accepted to imported"
    seconds = [one.offering + one.fetching for one in found]
    context.results.lines += [
        alone(
            "again, nothing new, seconds of the nodes", seconds, "s", goal=SECONDS_GOAL,
            note=f"{parts} {shown(found[-1].fetching, 's')} (last round)",
        ),
        alone("again, nothing new, bytes on the wire", [one.wire / 1000 for one in found], "KB", goal=KB_GOAL),
    ]  # fmt: skip


def _some_changed(context: Context, pair: Pair, relay: Relay, material: Material, folder: Path) -> None:
    with context.measuring(f"{PERCENT:g} % changed"):
        changed = context.corpora.mutated(folder / "changed", PERCENT)
        newest = pair.sender.number(_NEWEST)
        pair.stop(pair.sender)
        pair.sender.run("import", changed.folder)
        size = pair.sender.number(_CHANGED, newest)
        if not size:
            raise BenchFailed("nothing was changed")
        once = _again(pair, relay)
        everything = Material(changed.folder, material.digests | changed.digests, changed.size)
        pair.check(once.share, everything)
        note = (
            f"{(changed.digests - material.digests).total()} images changed, {shown(size, 'MB')} stored;"
            f" connected to offered {shown(once.offering, 's')}, accepted to imported {shown(once.fetching, 's')}"
        )
        context.results.lines.append(
            alone(
                f"again, {PERCENT:g} % changed, wire bytes per stored byte of it", [once.wire / size], "x",
                goal=CHANGED_GOAL, ours=shown(float(once.wire), "MB"), note=note,
            )
        )  # fmt: skip


def _again(pair: Pair, relay: Relay) -> Repeated:
    """Queue a share while the sender's node is down, start it, accept, and see it imported."""
    if pair.serving[pair.sender.name].service.running:
        pair.stop(pair.sender)
    share = offer(pair.sender, pair.recipient)
    relay.forward = relay.back = 0
    relay.connected.clear()
    with pair.watch(share) as sent, pair.watch(share, at_recipient=True) as got:
        pair.start_sender()
        offered = sent.state("offered").at
        got.state("offered")
        pair.recipient.run("inbox", "accept", share)
        accepted = got.state("accepted").at
        imported = sent.state("imported").at
        time.sleep(_AFTERWARDS_SECONDS)
        return Repeated(share, offered - relay.connected[0], imported - accepted, relay.total)

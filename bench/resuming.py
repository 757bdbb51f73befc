"""A transfer whose sender or recipient is killed (SIGKILL) at half and started again, and what is sent twice then.

All bytes pass a relay that counts them, both ways and with every handshake; the sender's own count stands beside it.
A chunk that was durable at the recipient and came again would lie in another place than before: these are counted.
"""

import time
from pathlib import Path

from context import Context, both
from corpora import Material
from nodes import Person
from pairing import Pair, paired_people, sender_with
from relay import Relay
from results import MIB, Line, alone, shown

WIRE_GOAL = 1.03
_SETTLES_SECONDS = 0.5  # until the side that lives has noticed, and written what it holds

_DURABLE = (
    "SELECT o.object_id, c.number, p.pack_id, c.offset, c.length FROM share_object s"
    " JOIN object o ON o.object_id = s.object_id JOIN chunk c ON c.object = o.object JOIN pack p ON p.pack = c.pack"
    " WHERE s.share = ? AND s.direction = 'in' AND s.scan >= 0"
)
_WIRE = "SELECT wire_bytes FROM share WHERE share = ? AND direction = 'out'"
_STORED = "SELECT stored_bytes FROM share WHERE share = ? AND direction = 'out'"


def measure(context: Context) -> None:
    """The study and the large object, each with either side killed."""
    for what in ("study", "object"):
        with context.measuring(f"resuming the {what}"):
            material = context.corpora.study() if what == "study" else context.corpora.multiframe()
            with context.fresh("sender") as place:
                sender = sender_with(material, place)
                for victim in ("sender", "recipient"):
                    with context.fresh("resume") as folder:
                        _interrupted(context, f"resume {what}, {victim} killed at half", folder, sender, material)


def _interrupted(context: Context, name: str, folder: Path, sender: Person, material: Material) -> None:
    with Relay("") as relay, paired_people(folder, sender, relay) as pair:
        pair.start()
        share = pair.offered()
        key = bytes.fromhex(share)
        relay.forward = relay.back = 0
        _kill_at_half(pair, share, by_sender="sender killed" in name)
        first, sent = relay.total, pair.sender.number(_WIRE, key)
        durable = _durable(pair.recipient, key)
        began = time.monotonic()
        (pair.start_sender if "sender killed" in name else pair.start_recipient)()
        with pair.watch(share) as watch:
            seconds = watch.state("imported").at - began
        total, sent_in_all = relay.total, pair.sender.number(_WIRE, key)
        stored = pair.sender.number(_STORED, key)
        again = _came_again(durable, _durable(pair.recipient, key))
        pair.check(share, material)
    had = sum(length for _, length in durable.values())
    own = f"the sender's own count {shown(sent_in_all / stored, 'x')}, {shown(sent / MIB, 'MiB')} of it before"
    note = (
        f"{both(material)}, {shown(stored / MIB, 'MiB')} stored; {shown(had / MIB, 'MiB')} durable when killed;"
        f" wire {shown(first / MIB, 'MiB')} before and {shown((total - first) / MIB, 'MiB')} after; {own};"
        f" imported {seconds:.2f} s after the restart began"
    )
    context.say(f"{name}: {total / stored:.4f}; {note}")
    context.results.lines += [
        Line(
            f"{name}, wire bytes per stored byte", total / stored, "x", WIRE_GOAL, shown(total / MIB, "MiB"), "", note,
            {"wire_first": [first], "wire_all": [total], "own_count": [sent_in_all], "stored": [stored]},
        ),
        alone(f"{name}, durable chunks that came again", [float(again)], "chunks", goal=0),
    ]  # fmt: skip


def _kill_at_half(pair: Pair, share: str, *, by_sender: bool) -> None:
    """Accept, and kill when half of the chunks are durable at the recipient."""
    with pair.watch(share, at_recipient=True) as watch:
        pair.recipient.run("inbox", "accept", share)
        watch.until(lambda moment: moment.done * 2 >= moment.total)
        pair.kill(pair.sender if by_sender else pair.recipient)
    time.sleep(_SETTLES_SECONDS)


def _durable(person: Person, share: bytes) -> dict[tuple[bytes, int], tuple[tuple[bytes, int], int]]:
    """The share's chunks that are durable there: where each lies, and how long it is."""
    return {(row[0], row[1]): ((row[2], row[3]), row[4]) for row in person.rows(_DURABLE, share)}


def _came_again(
    before: dict[tuple[bytes, int], tuple[tuple[bytes, int], int]],
    after: dict[tuple[bytes, int], tuple[tuple[bytes, int], int]],
) -> int:
    return sum(1 for chunk, (place, _) in before.items() if after[chunk][0] != place)

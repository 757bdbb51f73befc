"""A sender who has imported something and a recipient with an empty vault, known to each other and verified."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from corpora import Material, check_same
from nodes import Person, Serving, befriend, offer
from processes import BenchFailed
from relay import Relay
from watching import Watch

from p2pshare.store.shares import Direction


@dataclass(slots=True)
class Pair:
    """Sender and recipient; their nodes run once `start` was called, and end with the block that made the pair."""

    sender: Person
    recipient: Person
    folder: Path
    relay: Relay | None
    nodes: ExitStack
    serving: dict[str, Serving] = field(default_factory=dict)

    def start(self) -> None:
        """Start both nodes; the sender dials."""
        self.start_recipient()
        self.start_sender()

    def start_recipient(self) -> None:
        """Start the recipient's node, and tell the sender (or the relay) where it listens."""
        address = self._serve(self.recipient)
        if self.relay is not None:
            self.relay.target = address
            address = self.relay.address
        self.sender.run("person", "set", self.recipient.name, "--address", address)

    def start_sender(self) -> None:
        """Start the sender's node."""
        self._serve(self.sender)

    def _serve(self, person: Person) -> str:
        serving = person.serve()
        self.nodes.callback(serving.service.stop)
        self.serving[person.name] = serving
        return serving.address

    def stop(self, person: Person) -> None:
        """Stop a node as a person would."""
        self.serving[person.name].service.stop()

    def kill(self, person: Person) -> None:
        """SIGKILL a node."""
        self.serving[person.name].service.kill()

    def trouble(self) -> str:
        """What a node said when it ended by itself; nothing while both run as they should."""
        ended = [name for name, serving in self.serving.items() if serving.service.failed]
        return "; ".join(f"the node of {name} ended: {self.serving[name].service.log()}" for name in ended)

    def watch(self, share: str, *, at_recipient: bool = False) -> Watch:
        """Watch a share in the sender's vault, or in the recipient's."""
        if at_recipient:
            return Watch(self.recipient, share, Direction.IN, self.trouble)
        return Watch(self.sender, share, Direction.OUT, self.trouble)

    def offered(self) -> str:
        """Share the sender's scan and return the share's id once the recipient has acknowledged the offer."""
        share = offer(self.sender, self.recipient)
        with self.watch(share) as watch:
            watch.state("offered", 60)
        return share

    def check(self, share: str, material: Material) -> None:
        """The recipient's signed receipt says imported, and what they export is what the sender imported."""
        receipt = self.sender.ask("share", "receipt", share)
        if receipt["state"] != "imported":
            raise BenchFailed(f"the receipt says {receipt['state']}")
        self.recipient.export(self.folder / f"out-{share[:8]}")
        check_same(self.folder / f"out-{share[:8]}", material.digests, "what was sent")

    @property
    def pids(self) -> list[int]:
        """The two nodes' process ids."""
        return [serving.service.pid for serving in self.serving.values()]


@contextmanager
def paired_people(folder: Path, template: Person, relay: Relay | None = None) -> Iterator[Pair]:
    """A copy of `template` as the sender, and a new recipient."""
    sender = template.copied_to(folder / "ana")
    recipient = Person.fresh("Dr Rao", folder / "rao")
    befriend(sender, recipient)
    with ExitStack() as nodes:
        yield Pair(sender, recipient, folder, relay, nodes)


def sender_with(material: Material, folder: Path) -> Person:
    """Somebody who has imported `material`."""
    person = Person.fresh("Ana", folder / "ana")
    person.run("import", material.folder)
    return person

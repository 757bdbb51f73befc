"""What carriers have in common: what a node must tell them, and what they give it.

Rule 1: a carrier hands out links to devices whose identity it has proved, and nothing before that.
Rule 2: it asks who may connect each time somebody does, so that blocking and new knock keys take effect at once.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from p2pshare.crypto.keys import SigningKey
from p2pshare.model.ids import DeviceId, PersonId
from p2pshare.model.ports import Link


@dataclass(frozen=True, slots=True)
class Contact:
    """A device that may connect: its public key, and whose it is."""

    public: bytes
    person_id: PersonId


class Identity(Protocol):
    """Who this node is, and who may connect to it."""

    @property
    def device(self) -> SigningKey:
        """This device's key."""

    @property
    def knock_keys(self) -> Sequence[bytes]:
        """The knock keys that contacts may use now."""

    async def lookup(self, device_id: DeviceId) -> Contact | None:
        """The contact that this device is, or None when it is unknown or blocked."""


OnLink = Callable[[Link], Awaitable[None]]


class Listener(Protocol):
    """The waiting side of a duplex carrier: runs a node's `OnLink` for each device that connected and was proved."""

    @property
    def address(self) -> str:
        """Where others reach it, as cards write it."""

    async def close(self) -> None:
        """Stop listening, and end every connection that came in."""

"""The inbox: what others offer, accepted or declined by a person."""

from dataclasses import dataclass

from p2pshare.errors import PersonBlocked, PolicyRefusal, TooLarge
from p2pshare.model.ids import PersonId
from p2pshare.model.letters import AnswerLetter
from p2pshare.model.limits import REASON_MAX
from p2pshare.model.views import ShareState
from p2pshare.service import post
from p2pshare.service.clock import Clock
from p2pshare.store import audit, people, shares
from p2pshare.store.shares import Direction, Share
from p2pshare.store.vault import Vault


@dataclass(frozen=True, slots=True)
class Offered:
    """A share in the inbox and who it is from."""

    share: Share
    name: str
    verified: bool


class Inbox:
    """The use cases around shares that others make to me."""

    def __init__(self, vault: Vault, now: Clock) -> None:
        """Work on `vault`."""
        self._vault = vault
        self._now = now

    async def listed(self) -> list[Offered]:
        """Everything in the inbox, the newest first."""
        return [await self._with_name(s) for s in await shares.listed(self._vault.db, Direction.IN)]

    async def find(self, text: str) -> Offered:
        """The one share whose id begins with `text`. Raises NotFound or Ambiguous."""
        return await self._with_name(await shares.by_prefix(self._vault.db, text, Direction.IN))

    async def accept(self, text: str) -> Offered:
        """Accept a share: its images are fetched from now on. Raises PolicyRefusal when it is not open to that."""
        return await self._answer(text, accepted=True, reason="")

    async def decline(self, text: str, reason: str) -> Offered:
        """Decline a share and say why. Raises PolicyRefusal when it is not open to that."""
        if len(reason.encode()) > REASON_MAX:
            raise TooLarge("the reason")
        return await self._answer(text, accepted=False, reason=reason)

    async def _answer(self, text: str, *, accepted: bool, reason: str) -> Offered:
        found = await self.find(text)
        share = found.share
        wanted = ShareState.ACCEPTED if accepted else ShareState.DECLINED
        if share.state is wanted:
            return found
        now = self._now()
        async with self._vault.db.transaction() as tx:
            share = await shares.get(tx, share.share, Direction.IN) or share  # as it is now
            if share.state is not ShareState.OFFERED:
                raise PolicyRefusal(f"this share is {share.state.value} already")
            sender = await people.by_id(tx, share.person)
            if sender is None or sender.blocked:
                raise PersonBlocked(found.name)
            await shares.move(tx, share, wanted, reason, now)
            answer = AnswerLetter(share=share.share, accepted=accepted, reason=reason)
            await post.write(tx, self._vault, share.person, answer, now)
            await audit.enter(
                tx, self._vault.identity.device, f"inbox-{wanted.value}",
                {"share": share.share.hex(), "person": share.person.hex(), "reason": reason}, now,
            )  # fmt: skip
        return await self.find(share.share.hex())

    async def _with_name(self, share: Share) -> Offered:
        sender = await people.by_id(self._vault.db, PersonId(share.person))
        return Offered(share, sender.name if sender else "", bool(sender and sender.verified))

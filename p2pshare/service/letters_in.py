"""Letters that come in: each takes its place in its feed, in one transaction with what it says.

Rule 1: a letter whose seal, signature or place does not fit takes nothing and changes nothing but the log.
Rule 2: an authentic letter that is not understood, or not acceptable, takes its number and is receipted with why.
"""

from p2pshare.crypto.keys import check_prekey
from p2pshare.crypto.seal import check_letter, decode_body, open_sealed
from p2pshare.errors import (
    Forged,
    Forked,
    NotForMe,
    P2PShareError,
    PolicyRefusal,
    ProtocolViolation,
    RemoteError,
    Replayed,
    StrangerRefused,
)
from p2pshare.model.ids import NO_LETTER, DeviceId, Epoch, LetterHash, ShareId, parse_uid
from p2pshare.model.letters import (
    AnswerLetter,
    Body,
    ContactLetter,
    Letter,
    Receipt,
    RevokeLetter,
    ShareLetter,
)
from p2pshare.model.limits import FEED_EPOCHS_MAX, NAME_MAX, OPEN_OFFERS_MAX, QUESTION_MAX, REASON_MAX
from p2pshare.model.ports import PeerIdentity, Sealed
from p2pshare.model.views import ENDED, ShareState
from p2pshare.service.clock import Clock
from p2pshare.service.layouts import BASE_MISSING, check_totals
from p2pshare.service.people import People
from p2pshare.service.receipts_in import take_receipt
from p2pshare.store import audit, feeds, people, shares
from p2pshare.store.db import Transaction
from p2pshare.store.erasing import ERASED_HERE
from p2pshare.store.feeds import InHead
from p2pshare.store.people import DeviceRow
from p2pshare.store.shares import Direction, NewShare, Share
from p2pshare.store.studies import KEPT_FILES
from p2pshare.store.vault import Vault


class Refusal(P2PShareError):
    """The letter was authentic, but what it says cannot be accepted. Nothing of it was done."""


class LettersIn:
    """Opens what arrives from one device and enters it."""

    def __init__(self, vault: Vault, now: Clock, peer: PeerIdentity, term: int | None) -> None:
        """Take letters from `peer`; every write checks the engine's `term`."""
        self._vault = vault
        self._now = now
        self._peer = peer
        self._term = term
        self._people = People(vault, now)

    async def take_envelope(self, sealed: Sealed) -> None:
        """Open, verify and enter one letter. Raises RemoteError when it does not fit."""
        content = await self._open(sealed)
        if not isinstance(content, Letter):
            raise ProtocolViolation("a receipt where a letter belongs")
        device = await self._sender(content.sender)
        letter_hash = check_letter(content, device.device.public)
        if content.recipient != self._vault.identity.person_id:
            raise NotForMe("a letter inside an envelope of mine")
        try:
            async with self._vault.db.transaction(self._term) as tx:
                await self._enter(tx, content, letter_hash, device)
        except Forked:
            await self._keep_fork(content, letter_hash)
            raise

    async def take_receipt(self, sealed: Sealed) -> None:
        """Open, verify and enter one receipt. Raises RemoteError when it does not fit."""
        content = await self._open(sealed)
        if not isinstance(content, Receipt):
            raise ProtocolViolation("a letter where a receipt belongs")
        await take_receipt(self._vault, self._now(), self._peer, content, self._term)

    async def _open(self, sealed: Sealed) -> Letter | Receipt:
        prekeys = [(own.prekey, own.secret) for own in await people.own_prekeys(self._vault.db)]
        return open_sealed(sealed, prekeys, self._vault.identity.device_id)

    async def _sender(self, sender: bytes) -> DeviceRow:
        device = await people.device(self._vault.db, DeviceId(sender))
        person = await people.by_id(self._vault.db, self._peer.person_id)
        if person is None or person.blocked:
            raise StrangerRefused("somebody who is blocked")
        if device is None or device.device.person_id != self._peer.person_id or sender != self._peer.device_id:
            raise Forged("a letter from another device than the one that brought it")
        return device

    async def _enter(self, tx: Transaction, letter: Letter, letter_hash: LetterHash, device: DeviceRow) -> None:
        device_id = device.device.device_id
        head = await feeds.in_head(tx, device_id, Epoch(letter.epoch))
        if await _is_duplicate(tx, device_id, letter, letter_hash, head):
            return
        await self._check_place(tx, device_id, letter, head)
        if letter.prekey is not None:
            check_prekey(device.device.public, letter.prekey)
            await people.learn_prekey(tx, device_id, letter.prekey)
        refused = await self._do(tx, letter, device_id)
        await feeds.enter_letter(tx, device_id, letter, letter_hash, refused, self._now())

    async def _check_place(self, tx: Transaction, device: DeviceId, letter: Letter, head: InHead | None) -> None:
        if head is None:
            last = await feeds.latest_in_head(tx, device)
            if await feeds.epochs_of(tx, device) >= FEED_EPOCHS_MAX:
                raise ProtocolViolation("too many lives of one feed")
            if letter.number != 1:
                raise ProtocolViolation(f"letter {letter.number} before letter 1")
            if letter.previous != last:
                detail: audit.Detail = {"device": device.hex(), "rollback": last != NO_LETTER}
                await audit.enter(tx, self._vault.identity.device, "feed-begun-elsewhere", detail, self._now())
            return
        if head.forked:
            raise Forked("a feed that contradicted itself before")
        if letter.number != head.number + 1:
            raise ProtocolViolation(f"letter {letter.number} after letter {head.number}")
        if letter.previous != head.hash:
            raise Forked(f"letter {letter.number} names another letter before it")

    async def _keep_fork(self, letter: Letter, letter_hash: LetterHash) -> None:
        device = DeviceId(letter.sender)
        async with self._vault.db.transaction(self._term) as tx:
            head = await feeds.in_head(tx, device, Epoch(letter.epoch))
            if head is not None and head.forked:
                return  # two versions are kept; more of them would only fill the disk
            await feeds.enter_fork(tx, device, letter, letter_hash, self._now())
            await audit.enter(
                tx, self._vault.identity.device, "fork",
                {"device": device.hex(), "number": letter.number}, self._now(),
            )  # fmt: skip

    async def _do(self, tx: Transaction, letter: Letter, device: DeviceId) -> str | None:
        """Do what the letter says; return None, or why it was refused."""
        try:
            await self._act(tx, decode_body(letter), device)
        except (RemoteError, PolicyRefusal, Refusal) as error:
            why = f"{error.code}: {error.what}" if error.what else error.code
            await audit.enter(
                tx, self._vault.identity.device, "letter-refused",
                {"device": device.hex(), "number": letter.number, "why": why}, self._now(),
            )  # fmt: skip
            return why[:REASON_MAX]
        return None

    async def _act(self, tx: Transaction, body: Body, device: DeviceId) -> None:
        match body:
            case ShareLetter():
                await self._offered(tx, body, device)
            case AnswerLetter():
                await self._answered(tx, body)
            case RevokeLetter():
                await self._revoked(tx, body)
            case ContactLetter():
                await self._people.take_contact(tx, self._peer.person_id, body.card)

    async def _offered(self, tx: Transaction, body: ShareLetter, device: DeviceId) -> None:
        check_totals(body)
        if len(body.share) != 16 or not body.scans:
            raise Refusal("a share without an id or without scans")
        if len(body.question.encode()) > QUESTION_MAX or any(len(s.patient) > 2 * NAME_MAX for s in body.scans):
            raise Refusal("a share with too much text")
        for scan in body.scans:
            if scan.study_uid != KEPT_FILES:
                parse_uid(scan.study_uid, "Study Instance UID of a scan")
        known = await shares.get(tx, ShareId(body.share), Direction.IN)
        if known and (known.person != self._peer.person_id or known.state not in _MAY_BE_OFFERED_ANEW):
            raise Replayed("a share that was offered before")
        if known and known.state is ShareState.REFUSED and known.why == ERASED_HERE:
            raise Refusal("a share whose scan was erased")
        # What a person accepted stays accepted only while it is the same content under another layout.
        agreed = known is not None and _was_accepted(known) and _same_content(known, body)
        if known is None and await shares.open_offers(tx, self._peer.person_id) >= OPEN_OFFERS_MAX:
            raise Refusal("too many offers that were not answered yet")
        state = ShareState.ACCEPTED if agreed else ShareState.OFFERED
        new = NewShare(Direction.IN, self._peer.person_id, device, state, body, None)
        await shares.enter(tx, new, self._now())
        await audit.enter(
            tx, self._vault.identity.device, "share-offered",
            {"share": body.share.hex(), "person": self._peer.person_id.hex(), "objects": body.objects}, self._now(),
        )  # fmt: skip

    async def _answered(self, tx: Transaction, body: AnswerLetter) -> None:
        share = await shares.get(tx, ShareId(body.share), Direction.OUT)
        if share is None or share.person != self._peer.person_id:
            raise Refusal("an answer to a share that was not offered")
        if share.state not in (ShareState.QUEUED, ShareState.OFFERED):
            raise Refusal("an answer to a share that was answered or ended")
        state = ShareState.ACCEPTED if body.accepted else ShareState.DECLINED
        await shares.move(tx, share, state, body.reason[:REASON_MAX], self._now())
        await audit.enter(
            tx, self._vault.identity.device, f"share-{state.value}",
            {"share": body.share.hex(), "person": share.person.hex()}, self._now(),
        )  # fmt: skip

    async def _revoked(self, tx: Transaction, body: RevokeLetter) -> None:
        share = await shares.get(tx, ShareId(body.share), Direction.IN)
        if share is None or share.person != self._peer.person_id:
            raise Refusal("a revocation of a share that was not offered")
        if share.state not in ENDED:
            await shares.move(tx, share, ShareState.REVOKED, "revoked by the sender", self._now())
        await audit.enter(
            tx, self._vault.identity.device, "share-revoked-by-sender",
            {"share": body.share.hex(), "person": share.person.hex(), "kept": share.state in ENDED}, self._now(),
        )  # fmt: skip


_MAY_BE_OFFERED_ANEW = (ShareState.OFFERED, ShareState.ACCEPTED, ShareState.SENDING, ShareState.REFUSED)


def _was_accepted(known: Share) -> bool:
    """Whether a person accepted it, and nothing but its layout's base was in the way since."""
    if known.state is ShareState.REFUSED:
        return known.why.endswith(BASE_MISSING)
    return known.state in (ShareState.ACCEPTED, ShareState.SENDING)


def _same_content(known: Share, body: ShareLetter) -> bool:
    return (
        known.scans, known.objects, known.chunks_total, known.stored_bytes, known.question, known.expires
    ) == (body.scans, body.objects, body.chunks, body.stored_bytes, body.question, body.expires)  # fmt: skip


async def _is_duplicate(
    tx: Transaction, device: DeviceId, letter: Letter, letter_hash: LetterHash, head: InHead | None
) -> bool:
    """Whether this very letter was taken before; another one with its number is a fork."""
    if head is None or letter.number > head.number:
        return False
    if letter_hash in await feeds.known_hashes(tx, device, Epoch(letter.epoch), letter.number):
        return True
    raise Forked(f"another letter {letter.number}")

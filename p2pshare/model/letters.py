"""Letters and receipts: what one device says to a person, and the signed statement of what arrived.

A letter's body is one of the tagged structures of `Body`; what is signed is the body's bytes as sent, together with
its place in the feed (docs/protocol.md §3, §4).
"""

from enum import StrEnum

from p2pshare.model.card import Prekey
from p2pshare.model.objects import ObjectRef
from p2pshare.model.packed import Packed, Whole


class ScanSummary(Packed, frozen=True):
    """What the recipient sees of a scan before accepting it: the sender's words, not yet verified."""

    study_uid: str
    patient: str
    birth_date: str
    date: str
    description: str
    modalities: str
    instances: Whole
    bytes: Whole


class ShareLetter(Packed, frozen=True, tag="share", tag_field="t"):
    """Offers scans. `objects`, `chunks` and `stored_bytes` are totals of the whole layout, base included."""

    share: bytes
    scans: tuple[ScanSummary, ...]
    question: str
    expires: Whole | None
    layout: ObjectRef
    keyring: ObjectRef
    objects: Whole
    chunks: Whole
    stored_bytes: Whole


class AnswerLetter(Packed, frozen=True, tag="answer", tag_field="t"):
    """Accepts or declines an offered share."""

    share: bytes
    accepted: bool
    reason: str


class RevokeLetter(Packed, frozen=True, tag="revoke", tag_field="t"):
    """Ends a share: no further chunk is served, and the recipient is asked to erase what came."""

    share: bytes


class ContactLetter(Packed, frozen=True, tag="contact", tag_field="t"):
    """The sender's newest card file, whole: new addresses, knock keys or devices."""

    card: bytes


Body = ShareLetter | AnswerLetter | RevokeLetter | ContactLetter


class Letter(Packed, frozen=True, tag="letter", tag_field="t"):
    """One numbered letter of a feed, as signed. `prekey` is the sender device's newest, under its own signature."""

    sender: bytes
    recipient: bytes
    epoch: bytes
    number: Whole
    previous: bytes
    body: bytes
    prekey: Prekey | None
    signature: bytes


class FeedHead(Packed, frozen=True):
    """The last letter of a feed that is durable at the recipient."""

    epoch: bytes
    number: Whole
    hash: bytes


class RefusedLetter(Packed, frozen=True):
    """A letter that was authentic but not understood or not acceptable; it still counts as arrived."""

    epoch: bytes
    number: Whole
    why: str


class ArrivalState(StrEnum):
    """How far a share has come at its recipient."""

    OFFERED = "offered"
    SENDING = "sending"
    DELIVERED = "delivered"  # every chunk's digest verified, and durable
    IMPORTED = "imported"  # decrypted, and every plaintext SHA-256 verified
    REFUSED = "refused"


class ShareArrival(Packed, frozen=True):
    """What of one share is durable at the recipient. `layout` is the object id of the share's layout."""

    share: bytes
    layout: bytes
    state: ArrivalState
    chunks: Whole
    why: str


class ReceiptBody(Packed, frozen=True):
    """What a receipt signs. `counter` grows with every receipt from this device to that one."""

    sender: bytes
    recipient: bytes
    counter: Whole
    time: Whole
    feeds: tuple[FeedHead, ...]
    refused: tuple[RefusedLetter, ...]
    shares: tuple[ShareArrival, ...]
    prekey: Prekey | None


class Receipt(Packed, frozen=True, tag="receipt", tag_field="t"):
    """A `ReceiptBody` as bytes, and the sender device's signature over them."""

    body: bytes
    signature: bytes


Sealable = Letter | Receipt

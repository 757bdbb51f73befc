"""Letters as tests write them, and what becomes of them at the other side."""

from p2pshare.crypto.codec import Codec
from p2pshare.crypto.keys import SigningKey
from p2pshare.crypto.seal import check_letter, sign_letter
from p2pshare.model.ids import NO_LETTER, Epoch, LetterHash, PersonId
from p2pshare.model.letters import Body, Letter, ScanSummary, ShareLetter
from p2pshare.model.objects import ObjectRef
from p2pshare.model.ports import Sealed
from p2pshare.service.letters_in import LettersIn
from p2pshare.service.sealing import seal_object
from p2pshare.store import feeds
from tests.world import Person

SHARE = b"s" * 16


def an_offer(share: bytes = SHARE, question: str = "?", description: str = "CT Chest", objects: int = 1) -> ShareLetter:
    refs = []
    for content in (b"layout", b"keyring"):
        sealed = seal_object(content, Codec.RAW)
        refs.append(ObjectRef(shape=sealed.shape, key=sealed.key, sha256=sealed.sha256))
    summary = ScanSummary("1.2.3", "Doe^Jane", "", "", description, "CT", 1, 1000)
    return ShareLetter(
        share=share, scans=(summary,), question=question, expires=None, layout=refs[0], keyring=refs[1],
        objects=objects, chunks=objects, stored_bytes=1041 * objects,
    )  # fmt: skip


def letters_of(rao: Person, ana: Person) -> LettersIn:
    """What takes, at Dr Rao, what Ana's device brings."""
    return LettersIn(rao.vault, rao.clock, ana.peer, None)


async def takes(rao: Person, ana: Person, sealed: Sealed) -> None:
    await letters_of(rao, ana).take_envelope(sealed)


async def heads(rao: Person, ana: Person) -> list[int]:
    return [head.number for head in await feeds.heads_for_receipt(rao.vault.db, ana.peer.device_id)]


async def refusals(rao: Person, ana: Person) -> list[str]:
    return [each.why for each in await feeds.refusals_for_receipt(rao.vault.db, ana.peer.device_id)]


def signed(
    ana: Person, rao: Person, body: Body, number: int = 1, previous: bytes = NO_LETTER, epoch: bytes = b"e" * 16,
    device: SigningKey | None = None, to: PersonId | None = None,
) -> Letter:  # fmt: skip
    letter, _ = sign_letter(
        device or ana.vault.identity.device, to or rao.peer.person_id, Epoch(epoch), number, LetterHash(previous), body,
        None,
    )  # fmt: skip
    return letter


def hash_of(ana: Person, letter: Letter) -> LetterHash:
    return check_letter(letter, ana.vault.identity.device.public)

"""People, letters and vaults as the tests of crypto need them, made anew at each run."""

from collections.abc import Callable, Iterator

import pytest

from p2pshare.crypto.keys import SigningKey, certify, device_id, new_knock_key, new_prekey, person_id
from p2pshare.errors import P2PShareError
from p2pshare.model.card import Card, DeviceEntry
from p2pshare.model.ids import Epoch
from p2pshare.model.letters import AnswerLetter, ArrivalState, FeedHead, ReceiptBody, RefusedLetter, ShareArrival

NOW = 1_700_000_000

ANN, ANNS_NODE = SigningKey.generate(), SigningKey.generate()
BOB, BOBS_NODE = SigningKey.generate(), SigningKey.generate()
ANNS_DEVICE, BOBS_DEVICE = device_id(ANNS_NODE.public), device_id(BOBS_NODE.public)
BOBS_ID = person_id(BOB.public)
ANNS_PREKEY, ANNS_SECRET = new_prekey(ANNS_NODE, 1, NOW)
BOBS_PREKEY, BOBS_SECRET = new_prekey(BOBS_NODE, 1, NOW)

EPOCH = Epoch(b"e" * 16)
ANSWER = AnswerLetter(share=b"s" * 16, accepted=True, reason="")


def card() -> Card:
    """Ann's card, with one device."""
    entry = DeviceEntry(
        device=ANNS_NODE.public,
        certified=NOW,
        certificate=certify(ANN, ANNS_NODE, NOW),
        prekey=ANNS_PREKEY,
        knock=new_knock_key(),
        addresses=("scans.example:7444", "192.0.2.7:7444", "[2001:db8::7]:7444"),
    )
    return Card(name="Ann", person=ANN.public, number=1, created=NOW, devices=(entry,), mailbox=None)


def receipt_body() -> ReceiptBody:
    """What a receipt of Ann's device to Bob's says."""
    return ReceiptBody(
        sender=ANNS_DEVICE,
        recipient=BOBS_DEVICE,
        counter=1,
        time=NOW,
        feeds=(FeedHead(epoch=EPOCH, number=3, hash=b"h" * 32),),
        refused=(RefusedLetter(epoch=EPOCH, number=2, why="malformed"),),
        shares=(ShareArrival(share=b"s" * 16, layout=b"l" * 32, state=ArrivalState.OFFERED, chunks=0, why=""),),
        prekey=ANNS_PREKEY,
    )


def flips(data: bytes, step: int = 1) -> Iterator[bytes]:
    """`data` with one bit changed in one byte, for every `step`-th byte; the bit differs from byte to byte."""
    for at in range(0, len(data), step):
        changed = bytearray(data)
        changed[at] ^= 1 << (at % 8)
        yield bytes(changed)


def refuses_every_flip(
    data: bytes, read: Callable[[bytes], object], *errors: type[P2PShareError], step: int = 1
) -> None:
    """Assert that `read` takes `data`, and refuses it with one of `errors` when any bit of it is another."""
    read(data)
    for changed in flips(data, step):
        with pytest.raises(errors):
            read(changed)

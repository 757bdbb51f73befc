"""Vectors of what travels: letters, receipts, and the envelopes they are sealed in.

Sealing draws randomness inside the library, so an envelope stays as it was first written (`Kept`) while it still opens
to the same plaintext.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from made_people import ANN, ANNS_NODE, BOB, BOBS_NODE, prekey_pair, signed_prekey, with_s_raised
from msgspec.structs import replace
from writing import Segment, Value, Vector, cut, flipped, read_bytes, seeded

from p2pshare.crypto import hpke
from p2pshare.crypto.keys import SigningKey, device_id, person_id
from p2pshare.crypto.labels import label, lp, u32, u64
from p2pshare.crypto.seal import sign_letter, sign_receipt
from p2pshare.model.card import Prekey
from p2pshare.model.ids import NO_LETTER, Epoch, LetterHash
from p2pshare.model.letters import (
    AnswerLetter,
    ArrivalState,
    FeedHead,
    Letter,
    Receipt,
    ReceiptBody,
    RefusedLetter,
    ShareArrival,
)
from p2pshare.model.packed import encode

NODE, PERSON, ME = device_id(ANNS_NODE.public), person_id(BOB.public), device_id(BOBS_NODE.public)
EPOCH = Epoch(seeded("epoch", 16))
SHARE = seeded("share", 16)
BODY = AnswerLetter(share=SHARE, accepted=False, reason="not my patient")
BAD = "malformed"


class Kept:
    """The envelopes of earlier runs."""

    def __init__(self, folder: Path) -> None:
        """Read the envelopes of the vectors in `folder`."""
        self._sealed = [read_bytes(file, "envelope")[6:] for file in sorted(folder.glob("envelope-*.json"))]

    def seal(self, prekey: Prekey, secret: bytes, info: bytes, plain: bytes) -> bytes:
        """`plain` sealed to `prekey`: as it was before, or anew."""
        for sealed in self._sealed:
            if hpke.open_with(secret, info, sealed) == plain:
                return sealed
        sealed = hpke.seal_to(prekey.public, info, plain)
        self._sealed.append(sealed)
        return sealed


def vectors(kept: Kept) -> Iterator[Vector]:
    """All of them."""
    yield from _letters()
    yield from _bodies()
    yield from _receipts()
    yield from _envelopes(kept)


# --- letters ----------------------------------------------------------------------------------------------


def _letter(number: int = 1, previous: LetterHash = NO_LETTER, prekey: Prekey | None = None) -> Letter:
    return sign_letter(ANNS_NODE, PERSON, EPOCH, number, previous, BODY, prekey)[0]


def _resigned(letter: Letter, by: SigningKey = ANNS_NODE) -> Letter:
    place = letter.sender + letter.recipient + letter.epoch + u64(letter.number) + letter.previous
    return replace(letter, signature=by.sign("sig/letter", place + lp(letter.body)))


def _letter_vector(name: str, layer: str, expect: str, what: str, letter: Letter | bytes) -> Vector:
    packed = letter if isinstance(letter, bytes) else encode(letter)
    return Vector(f"letter-{name}", "letter", layer, expect, what, {"sender": ANNS_NODE.public, "packed": packed})


def _letters() -> Iterator[Vector]:
    good, hashed = sign_letter(ANNS_NODE, PERSON, EPOCH, 1, NO_LETTER, BODY, None)

    def changed(name: str, what: str, expect: str = "forged", **fields: object) -> Vector:
        return _letter_vector(name, "letter", expect, what, replace(good, **fields))

    first = _letter_vector("first", "body", "ok", "The first letter of a feed.", good)
    yield Vector(first.name, "letter", "body", "ok", first.what, first.input, {"hash": hashed})
    second = _letter(2, hashed, prekey_pair("ann", ANNS_NODE, 7)[0])
    yield _letter_vector("second", "body", "ok", "The second, which names letter-first, and brings a prekey.", second)
    yield changed("signature-bit", "A bit of the signature.", signature=flipped(good.signature, 5))
    yield changed("s-not-canonical", "Its signature has S too large.", signature=with_s_raised(good.signature))
    yield changed("signature-short", "A signature of 63 bytes.", signature=good.signature[:63])
    yield changed("recipient-changed", "It was for somebody else.", recipient=person_id(ANN.public))
    yield changed("epoch-changed", "It was of another epoch.", epoch=seeded("other epoch", 16))
    yield changed("body-changed", "It said no and says yes.", body=encode(replace(BODY, accepted=True)))
    previous = LetterHash(seeded("another letter", 32))
    yield changed("number-changed", "Letter 1 as letter 2.", number=2, previous=previous)
    follows = replace(second, previous=previous)
    yield _letter_vector("previous-changed", "letter", "forged", "It followed another letter.", follows)
    by_bob = _resigned(good, BOBS_NODE)
    yield _letter_vector("signed-by-another", "letter", "forged", "Another device signed it.", by_bob)
    as_bob = _resigned(replace(good, sender=ME))
    yield _letter_vector("sender-another", "letter", "forged", "It names another device as its sender.", as_bob)
    foreign = replace(good, prekey=prekey_pair("bob", BOBS_NODE, 7)[0])
    yield _letter_vector("prekey-of-another", "letter", "forged", "It brings the prekey of another device.", foreign)
    zero = signed_prekey(ANNS_NODE, 8, bytes(1216))
    yield changed("prekey-zero", "It brings a prekey of zeros, signed.", BAD, prekey=zero)
    later = _resigned(replace(good, previous=previous))
    yield _letter_vector(
        "first-of-a-later-epoch", "body", "ok", "Number 1, which names the last of an epoch before.", later
    )
    place = (good.sender + good.recipient + good.epoch + u64(1) + good.previous) + lp(good.body)
    receipt = ANNS_NODE.sign("sig/receipt", place)
    yield changed("signed-as-receipt", "The signature is under the label of receipts.", signature=receipt)
    for name, what, fields in (
        ("number-0", "Number 0, signed.", {"number": 0}),
        ("second-without-previous", "Number 2 after none, signed.", {"number": 2}),
        ("epoch-short", "An epoch of 15 bytes, signed.", {"epoch": EPOCH[:15]}),
        ("recipient-long", "A recipient of 33 bytes, signed.", {"recipient": PERSON + b"\x00"}),
    ):
        yield _letter_vector(name, "letter", BAD, what, _resigned(replace(good, **fields)))


def _bodies() -> Iterator[Vector]:
    good = _letter()

    def body(name: str, expect: str, what: str, packed: bytes) -> Vector:
        return _letter_vector(f"body-{name}", "body", expect, what, _resigned(replace(good, body=packed)))

    packed = encode(BODY)
    later = packed.replace(b"\xa6answer", b"\xa6opines")
    yield body("kind-unknown", "unsupported", "Authentic; of a kind that version 1 does not have.", later)
    yield body("trailing-byte", BAD, "Authentic; one byte after the body.", packed + b"\x00")
    yield body("cut", BAD, "Authentic; the body's last byte is missing.", packed[:-1])
    yield body("unknown-field", BAD, "Authentic; a field too many.", b"\x85" + packed[1:] + b"\xa4more\xc0")
    yield body(
        "wrong-type", BAD, "Authentic; `accepted` is a number.", packed.replace(b"accepted\xc2", b"accepted\x00")
    )
    yield body("not-utf-8", BAD, "Authentic; a text that is not UTF-8.", packed.replace(b"patient", b"pat\xffent"))
    yield body("no-tag", BAD, "Authentic; no tag.", b"\x83" + packed[1:].replace(b"\xa1t\xa6answer", b""))
    yield body("nothing", BAD, "Authentic; no bytes.", b"")


# --- receipts ---------------------------------------------------------------------------------------------


def _receipt_body() -> ReceiptBody:
    return ReceiptBody(
        sender=NODE,
        recipient=ME,
        counter=12,
        time=1_700_000_100,
        feeds=(FeedHead(epoch=EPOCH, number=4, hash=seeded("letter 4", 32)),),
        refused=(RefusedLetter(epoch=EPOCH, number=3, why="unsupported"),),
        shares=(
            ShareArrival(share=SHARE, layout=seeded("layout", 32), state=ArrivalState.DELIVERED, chunks=9, why=""),
        ),
        prekey=None,
    )


def _receipts() -> Iterator[Vector]:
    said = _receipt_body()
    good = sign_receipt(ANNS_NODE, said)

    def receipt(name: str, expect: str, what: str, value: Receipt) -> Vector:
        given: dict[str, Value] = {"sender": ANNS_NODE.public, "packed": encode(value)}
        return Vector(f"receipt-{name}", "receipt", "receipt", expect, what, given)

    def saying(name: str, expect: str, what: str, **fields: object) -> Vector:
        return receipt(name, expect, what, sign_receipt(ANNS_NODE, replace(said, **fields)))

    yield receipt("good", "ok", "One feed, one refused letter, one share.", good)
    raised = encode(replace(said, counter=13))
    yield receipt("counter-raised", "forged", "Another counter under the old signature.", replace(good, body=raised))
    by_bob = sign_receipt(BOBS_NODE, said)
    yield receipt("signed-by-another", "forged", "Another device signed it.", by_bob)
    yield receipt("s-not-canonical", "forged", "S too large.", replace(good, signature=with_s_raised(good.signature)))
    yield saying("sender-another", "forged", "It names another device as its sender, signed.", sender=ME)
    head, arrival = said.feeds[0], said.shares[0]
    yield saying("hash-short", BAD, "A letter hash of 31 bytes.", feeds=(replace(head, hash=bytes(31)),))
    yield saying("epoch-long", BAD, "An epoch of 17 bytes.", feeds=(replace(head, epoch=bytes(17)),))
    yield saying("layout-short", BAD, "A layout id of 0 bytes.", shares=(replace(arrival, layout=b""),))
    yield saying("counter-negative", BAD, "Its counter is -1.", counter=-1)
    yield saying("chunks-negative", BAD, "A share with -9 chunks.", shares=(replace(arrival, chunks=-9),))
    zero = signed_prekey(ANNS_NODE, 8, bytes(1216))
    yield saying("prekey-zero", BAD, "It brings a prekey of zeros, signed.", prekey=zero)
    state = good.body.replace(b"\xa9delivered", b"\xa9destroyed")
    signed = Receipt(body=state, signature=ANNS_NODE.sign("sig/receipt", state))
    yield receipt("state-unknown", BAD, "A state of a share that does not exist, signed.", signed)
    again = good.body + b"\xc0"
    signed = Receipt(body=again, signature=ANNS_NODE.sign("sig/receipt", again))
    yield receipt("trailing-byte", BAD, "A second value after the body, signed.", signed)
    long = Receipt(body=bytes(65_537), signature=good.signature)
    start, end = encode(long).split(long.body)
    notes: list[Segment] = [(start, "its beginning"), (b"\x00", "a body of 65,537 bytes", 65_537), (end, "its end")]
    given: dict[str, Value] = {"sender": ANNS_NODE.public, "packed": notes}
    what = "Its body is longer than 64 KiB."
    yield Vector("receipt-too-large", "receipt", "receipt", "too-large", what, given)


# --- envelopes --------------------------------------------------------------------------------------------


def _envelopes(kept: Kept) -> Iterator[Vector]:
    prekey, secret = prekey_pair("bob", BOBS_NODE, 3)
    other, other_secret = prekey_pair("bob older", BOBS_NODE, 2)
    keys: list[Value] = [
        {"public": prekey.public, "secret": secret},
        {"public": other.public, "secret": other_secret},
    ]
    letter = _letter()

    def info(to: bytes = ME, key: Prekey = prekey) -> bytes:
        return label("hpke/envelope") + b"\x01\x01" + hashlib.sha256(key.public).digest() + to

    def plain(packed: bytes, size: int = 4096) -> bytes:
        head = u32(len(packed)) + packed
        return head + bytes(size - len(head))

    def envelope(name: str, layer: str, expect: str, what: str, data: bytes) -> Vector:
        notes = ((4, "magic"), (1, "version"), (1, "suite"), (1088, "ML-KEM ciphertext"), (32, "X25519 key"))
        if len(data) < 1126:
            notes = ()
        noted = cut(data, *notes, (-1, "ciphertext and tag"))
        given: dict[str, Value] = {"device": ME, "prekeys": keys, "sender": ANNS_NODE.public, "envelope": noted}
        return Vector(f"envelope-{name}", "envelope", layer, expect, what, given)

    def sealed(name: str, layer: str, expect: str, what: str, content: bytes) -> Vector:
        return envelope(name, layer, expect, what, b"P2PE\x01\x01" + kept.seal(prekey, secret, info(), content))

    packed = encode(letter)
    good = b"P2PE\x01\x01" + kept.seal(prekey, secret, info(), plain(packed))
    yield envelope("letter", "body", "ok", "A letter.", good)
    receipt = encode(sign_receipt(ANNS_NODE, _receipt_body()))
    yield sealed("receipt", "receipt", "ok", "A receipt.", plain(receipt))
    older = b"P2PE\x01\x01" + kept.seal(other, other_secret, info(key=other), plain(packed))
    yield envelope("older-prekey", "body", "ok", "A letter, sealed to the older of two live prekeys.", older)
    long_letter = sign_letter(ANNS_NODE, PERSON, EPOCH, 1, NO_LETTER, replace(BODY, reason="no " * 1500), None)[0]
    yield sealed("long", "body", "ok", "A letter whose padding is Padm\u00e9's.", plain(encode(long_letter), 4864))
    lost = "not-for-me"
    yield envelope("ml-kem-changed", "envelope", lost, "A bit of the ML-KEM ciphertext.", flipped(good, 100))
    yield envelope("x25519-changed", "envelope", lost, "A bit of the X25519 key.", flipped(good, 1100))
    yield envelope("x25519-zero", "envelope", lost, "The X25519 key is zero.", good[:1094] + bytes(32) + good[1126:])
    yield envelope("ciphertext-changed", "envelope", lost, "A bit of the ciphertext.", flipped(good, 2000))
    yield envelope("tag-changed", "envelope", lost, "A bit of the tag.", flipped(good, -1))
    foreign, foreign_secret = prekey_pair("ann", ANNS_NODE, 7)
    key_info = info(key=foreign)
    to_ann = b"P2PE\x01\x01" + kept.seal(foreign, foreign_secret, key_info, plain(packed))
    yield envelope("other-prekey", "envelope", lost, "It is sealed to a prekey that is not here.", to_ann)
    to_other = b"P2PE\x01\x01" + kept.seal(prekey, secret, info(to=NODE), plain(packed))
    yield envelope("other-device", "envelope", lost, "It is sealed to the prekey, but for another device.", to_other)
    unlabelled = b"P2PE\x01\x01" + kept.seal(prekey, secret, b"", plain(packed))
    yield envelope("without-info", "envelope", lost, "It is sealed without `info`.", unlabelled)
    yield envelope("version-raised", "envelope", "unsupported", "Version 2.", good[:4] + b"\x02" + good[5:])
    yield envelope("suite-changed", "envelope", "unsupported", "Suite 2.", good[:5] + b"\x02" + good[6:])
    yield envelope("magic-changed", "envelope", BAD, "Its magic is P2PC.", b"P2PC" + good[4:])
    yield envelope("cut", "envelope", BAD, "It ends too early to be one.", good[:-1])
    yield envelope("nothing", "envelope", BAD, "No bytes.", b"")
    large: list[Segment] = [(good, "an envelope"), (b"\x00", "more than 96 KiB", 98_305 - len(good))]
    given: dict[str, Value] = {"device": ME, "prekeys": keys, "sender": ANNS_NODE.public, "envelope": large}
    yield Vector("envelope-too-large", "envelope", "envelope", "too-large", "It is larger than 96 KiB.", given)
    yield envelope("trailing-byte", "envelope", lost, "One byte after it.", good + b"\x00")
    for name, what, content in (
        ("padding-with-a-bit", "The last byte of the padding is 1.", plain(packed)[:-1] + b"\x01"),
        ("padding-too-long", "More padding than Padm\u00e9's.", plain(packed, 4608)),
        ("length-too-long", "Its length is greater than the rest.", u32(4093) + plain(packed)[4:]),
        ("length-huge", "Its length is 4 GiB.", b"\xff" * 4 + plain(packed)[4:]),
        ("length-short", "Its length is one byte short.", u32(len(packed) - 1) + plain(packed)[4:]),
        ("value-trailing", "A second value after the letter.", plain(packed + b"\xc0")),
        ("content-nothing", "A content of no bytes.", plain(b"")),
    ):
        yield sealed(name, "envelope", BAD, what, content)
    tagged = packed.replace(b"\xa6letter", b"\xa6packet")
    yield sealed("kind-unknown", "envelope", "unsupported", "Neither a letter nor a receipt.", plain(tagged))
    forged = encode(replace(letter, signature=flipped(letter.signature, 40)))
    yield sealed("letter-forged", "letter", "forged", "A letter with a wrong signature.", plain(forged))

"""Letters, receipts and envelopes: signed for everybody who keeps them, sealed to the one device that opens them.

Rule 1: the signature covers content and place in the feed, not the sealing: a letter can be sealed anew.
Rule 2: signatures are checked over the bytes as received, before what they sign is decoded.
Rule 3: an envelope that does not open is not for me; one that opens and is not right is broken.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, cast, get_args

import msgspec

from p2pshare.crypto import hpke
from p2pshare.crypto.keys import SigningKey, check_prekey, device_id, verify
from p2pshare.crypto.labels import label, lp, u32, u64
from p2pshare.crypto.prelude import PRELUDE_SIZE, SUITE, VERSION, check_prelude, prelude
from p2pshare.errors import Forged, Malformed, NotForMe, TooLarge, Unsupported, UsageError
from p2pshare.model.card import Prekey
from p2pshare.model.ids import NO_LETTER, DeviceId, Epoch, LetterHash, PersonId
from p2pshare.model.letters import Body, Letter, Receipt, ReceiptBody, Sealable
from p2pshare.model.limits import ENVELOPE_MAX, ENVELOPE_PAD_MIN, LETTER_MAX, RECEIPT_MAX
from p2pshare.model.packed import T, decode, encode
from p2pshare.model.ports import Sealed

MAGIC: Final = b"P2PE"

_ID_SIZE: Final = 32
_SHORT_ID_SIZE: Final = 16  # of epochs and shares
_SEALABLE_MAX: Final = max(LETTER_MAX, RECEIPT_MAX)
_ENVELOPE_MIN: Final = PRELUDE_SIZE + hpke.OVERHEAD + ENVELOPE_PAD_MIN
_PLACE_MAX: Final = 2048  # what a letter takes besides its body: place, signature, newest prekey


class _Tagged(msgspec.Struct):
    t: str


def sign_letter(
    device: SigningKey,
    recipient: PersonId,
    epoch: Epoch,
    number: int,
    previous: LetterHash,
    body: Body,
    prekey: Prekey | None,
) -> tuple[Letter, LetterHash]:
    """The next letter of a feed, and the hash that the one after it names.

    Raises `TooLarge` when the body is too long for a letter with any prekey (it may be sealed again with a newer one),
    `UsageError` when a text in it cannot be written in UTF-8.
    """
    packed = _packed(body)
    if len(packed) > LETTER_MAX - _PLACE_MAX:
        raise TooLarge("the letter")
    signed = _letter_fields(device_id(device.public), recipient, epoch, number, previous, packed)
    letter = Letter(
        sender=device_id(device.public),
        recipient=recipient,
        epoch=epoch,
        number=number,
        previous=previous,
        body=packed,
        prekey=prekey,
        signature=device.sign("sig/letter", signed),
    )
    return letter, _letter_hash(signed)


def check_letter(letter: Letter, sender_public: bytes) -> LetterHash:
    """Check form, signature and prekey of a letter, and return its hash; its place and body are for the caller.

    Raises:
        Malformed: a field has not its length, or number and `previous` contradict each other.
        Forged: the device with `sender_public` is not its sender, or signed something else.
    """
    sizes = (len(letter.sender), len(letter.recipient), len(letter.epoch), len(letter.previous))
    if sizes != (_ID_SIZE, _ID_SIZE, _SHORT_ID_SIZE, _ID_SIZE) or letter.number < 1:
        raise Malformed("a letter")
    if (
        letter.number > 1 and letter.previous == NO_LETTER
    ):  # the first of a later epoch names the last of the one before
        raise Malformed("a letter whose number does not fit the one that it follows")
    if letter.sender != device_id(sender_public):
        raise Forged("a letter of another device")
    signed = _letter_fields(letter.sender, letter.recipient, letter.epoch, letter.number, letter.previous, letter.body)
    verify(sender_public, "sig/letter", signed, letter.signature)
    if letter.prekey is not None:
        check_prekey(sender_public, letter.prekey)
    return _letter_hash(signed)


def decode_body(letter: Letter) -> Body:
    """What a letter says.

    Raises:
        Unsupported: it is of a kind that this version does not know.
        Malformed: it is not what its kind must be.
    """
    return _decode_tagged(letter.body, cast("type[Body]", Body), LETTER_MAX, "a letter's body")


def sign_receipt(device: SigningKey, body: ReceiptBody) -> Receipt:
    """The receipt that says `body`, signed by the device that `body` names as its sender.

    Raises `TooLarge` when it says more than a receipt holds.
    """
    packed = _packed(body)
    if len(packed) > RECEIPT_MAX - _PLACE_MAX:
        raise TooLarge("the receipt")
    return Receipt(body=packed, signature=device.sign("sig/receipt", packed))


def check_receipt(receipt: Receipt, sender_public: bytes) -> ReceiptBody:
    """What a receipt says, if the device with `sender_public` signed it.

    Raises:
        TooLarge, Malformed: it has not the form.
        Forged: that device did not sign it, or is not the sender that it names.
    """
    if len(receipt.body) > RECEIPT_MAX:
        raise TooLarge("a receipt")
    verify(sender_public, "sig/receipt", receipt.body, receipt.signature)
    body = decode(receipt.body, ReceiptBody, limit=RECEIPT_MAX, what="a receipt")
    if body.sender != device_id(sender_public):
        raise Forged("a receipt of another device")
    _check_receipt_sizes(body)
    if body.prekey is not None:
        check_prekey(sender_public, body.prekey)
    return body


def seal(content: Sealable, prekey: Prekey, recipient: DeviceId) -> Sealed:
    """`content` in an envelope that only the device `recipient` opens, with the secret of `prekey`.

    Raises `TooLarge` when no reader would take it.
    """
    packed = encode(content)
    if len(packed) > _SEALABLE_MAX:
        raise TooLarge("the letter")
    plain = u32(len(packed)) + packed
    plain += bytes(_padded_length(len(packed)) - len(plain))
    return Sealed(prelude(MAGIC) + hpke.seal_to(prekey.public, _info(prekey, recipient), plain))


def open_sealed(data: Sealed, prekeys: Sequence[tuple[Prekey, bytes]], my_device: DeviceId) -> Sealable:
    """The letter or receipt in an envelope; its signature is not checked yet.

    Args:
        data: the envelope.
        prekeys: my live prekeys with their secrets; the newest first is the quickest.
        my_device: this device.

    Raises:
        TooLarge, Malformed, Unsupported: it is no envelope that this version reads, or its content is broken.
        NotForMe: no prekey opens it.
    """
    if len(data) > ENVELOPE_MAX:
        raise TooLarge("an envelope")
    check_prelude(data, MAGIC, "an envelope")
    if len(data) < _ENVELOPE_MIN:
        raise Malformed("an envelope that ends too early")
    sealed = data[PRELUDE_SIZE:]
    for prekey, secret in prekeys:
        plain = hpke.open_with(secret, _info(prekey, my_device), sealed)
        if plain is not None:
            content = cast("type[Sealable]", Sealable)
            return _decode_tagged(_unpadded(plain), content, _SEALABLE_MAX, "an envelope's content")
    raise NotForMe


def padme(length: int) -> int:
    """`length` rounded up so that it tells little: Padmé, at most 12 % more (Nikitin and others, 2019, §4)."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-length // step) * step


def _packed(body: Body | ReceiptBody) -> bytes:
    try:
        return encode(body)
    except UnicodeEncodeError:  # half a character, as a terminal hands over bytes that it could not read
        raise UsageError("something that was typed is not text") from None


def _letter_fields(sender: bytes, recipient: bytes, epoch: bytes, number: int, previous: bytes, body: bytes) -> bytes:
    return sender + recipient + epoch + u64(number) + previous + lp(body)


def _letter_hash(signed: bytes) -> LetterHash:
    return LetterHash(hashlib.sha256(label("letter/hash") + signed).digest())


def _check_receipt_sizes(body: ReceiptBody) -> None:
    ids = [body.recipient, *(head.hash for head in body.feeds), *(share.layout for share in body.shares)]
    short = [head.epoch for head in body.feeds] + [letter.epoch for letter in body.refused]
    short += [share.share for share in body.shares]
    if {len(one) for one in ids} != {_ID_SIZE} or not {len(one) for one in short} <= {_SHORT_ID_SIZE}:
        raise Malformed("a receipt with an id of a wrong length")


def _info(prekey: Prekey, device: DeviceId) -> bytes:
    return label("hpke/envelope") + bytes((VERSION, SUITE)) + hashlib.sha256(prekey.public).digest() + device


def _padded_length(packed: int) -> int:
    return max(ENVELOPE_PAD_MIN, padme(4 + packed))


def _unpadded(plain: bytes) -> bytes:
    length = int.from_bytes(plain[:4], "big")
    packed, padding = plain[4 : 4 + length], plain[4 + length :]
    if len(plain) != _padded_length(length) or padding.strip(b"\x00"):
        raise Malformed("an envelope with wrong padding")
    return packed


def _decode_tagged(data: bytes, kind: type[T], limit: int, what: str) -> T:
    try:
        return decode(data, kind, limit=limit, what=what)
    except Malformed:
        if _is_of_another_kind(data, kind, limit):
            raise Unsupported(what) from None
        raise


def _is_of_another_kind(data: bytes, kind: object, limit: int) -> bool:
    try:
        tag = decode(data, _Tagged, limit=limit, what="a tag").t
    except Malformed:
        return False
    return tag not in {member.__struct_config__.tag for member in get_args(kind)}

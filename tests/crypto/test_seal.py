"""Letters and receipts hold for one sender and one place; an envelope opens for one device, or not at all."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from p2pshare.crypto import hpke
from p2pshare.crypto.keys import SigningKey, new_prekey
from p2pshare.crypto.labels import label, lp, u32, u64
from p2pshare.crypto.seal import (
    check_letter,
    check_receipt,
    decode_body,
    open_sealed,
    padme,
    seal,
    sign_letter,
    sign_receipt,
)
from p2pshare.errors import Forged, Malformed, NotForMe, P2PShareError, TooLarge, Unsupported, UsageError
from p2pshare.model.card import Prekey
from p2pshare.model.ids import NO_LETTER, LetterHash
from p2pshare.model.letters import Body, ContactLetter, Letter, Receipt, RevokeLetter
from p2pshare.model.limits import ENVELOPE_MAX, ENVELOPE_PAD_MIN, LETTER_MAX
from p2pshare.model.packed import encode
from p2pshare.model.ports import Sealed
from tests.crypto.samples import (
    ANN,
    ANNS_DEVICE,
    ANNS_NODE,
    ANNS_PREKEY,
    ANSWER,
    BOBS_DEVICE,
    BOBS_ID,
    BOBS_NODE,
    BOBS_PREKEY,
    BOBS_SECRET,
    EPOCH,
    NOW,
    flips,
    receipt_body,
    refuses_every_flip,
)

BOBS_KEYS = [(BOBS_PREKEY, BOBS_SECRET)]
SOME_HASH = LetterHash(b"h" * 32)
LONGEST = LETTER_MAX - 2048 - len(encode(ContactLetter(card=bytes(60_000)))) + 60_000  # a card that just fits


def letter_with(body: Body = ANSWER, prekey: Prekey | None = ANNS_PREKEY) -> Letter:
    return sign_letter(ANNS_NODE, BOBS_ID, EPOCH, 1, NO_LETTER, body, prekey)[0]


def resigned(letter: Letter, by: SigningKey = ANNS_NODE) -> Letter:
    """`letter` signed as it is, whatever is in it."""
    place = letter.sender + letter.recipient + letter.epoch + u64(letter.number) + letter.previous
    return replace(letter, signature=by.sign("sig/letter", place + lp(letter.body)))


def info(prekey: Prekey = BOBS_PREKEY, device: bytes = BOBS_DEVICE) -> bytes:
    return label("hpke/envelope") + b"\x01\x01" + hashlib.sha256(prekey.public).digest() + device


def sealed_anyway(plain: bytes) -> Sealed:
    """An envelope to Bob with any plaintext."""
    return Sealed(b"P2PE\x01\x01" + hpke.seal_to(BOBS_PREKEY.public, info(), plain))


# --- letters ----------------------------------------------------------------------------------------------


def test_a_signed_letter_passes_and_says_what_was_said() -> None:
    letter, letter_hash = sign_letter(ANNS_NODE, BOBS_ID, EPOCH, 1, NO_LETTER, ANSWER, ANNS_PREKEY)
    assert check_letter(letter, ANNS_NODE.public) == letter_hash
    assert decode_body(letter) == ANSWER
    following, _ = sign_letter(ANNS_NODE, BOBS_ID, EPOCH, 2, letter_hash, RevokeLetter(share=b"s" * 16), None)
    check_letter(following, ANNS_NODE.public)
    assert following.previous == letter_hash


def test_a_letters_hash_is_the_documented_one_and_leaves_out_signature_and_prekey() -> None:
    letter = letter_with()
    signed = ANNS_DEVICE + BOBS_ID + EPOCH + u64(1) + bytes(32) + lp(letter.body)
    expected = hashlib.sha256(b"p2pshare/v1/letter/hash\x00" + signed).digest()
    assert check_letter(letter, ANNS_NODE.public) == expected
    assert check_letter(replace(letter, prekey=None), ANNS_NODE.public) == expected


@pytest.mark.parametrize("name", ["recipient", "epoch", "body", "signature"])
def test_every_flipped_byte_of_a_letter_is_refused(name: str) -> None:
    letter = letter_with()
    for changed in flips(getattr(letter, name)):
        with pytest.raises(Forged):
            check_letter(replace(letter, **{name: changed}), ANNS_NODE.public)


@pytest.mark.parametrize(
    "place",
    [
        {"number": 0},
        {"number": 0, "previous": SOME_HASH},
        {"number": -1, "previous": SOME_HASH},
        {"number": 2},
        {"number": 2, "previous": b"h" * 31},
        {"sender": ANNS_DEVICE + b"\x00"},
        {"recipient": BOBS_ID[:-1]},
        {"epoch": EPOCH + b"\x00"},
        {"number": 1 << 64, "previous": SOME_HASH},
    ],
)
def test_a_signed_letter_in_an_impossible_place_is_malformed(place: dict[str, object]) -> None:
    letter = replace(letter_with(), **place)
    if letter.number in range(1 << 64):  # no other number can be signed
        letter = resigned(letter)
    with pytest.raises(Malformed):
        check_letter(letter, ANNS_NODE.public)


def test_a_letter_is_of_the_device_that_it_names() -> None:
    letter = letter_with()
    with pytest.raises(Forged):
        check_letter(letter, BOBS_NODE.public)
    with pytest.raises(Forged):
        check_letter(resigned(letter, BOBS_NODE), ANNS_NODE.public)
    with pytest.raises(Forged):
        check_letter(resigned(replace(letter, sender=BOBS_DEVICE)), ANNS_NODE.public)


def test_a_letter_brings_only_its_own_devices_prekey() -> None:
    with pytest.raises(Forged):
        check_letter(letter_with(prekey=BOBS_PREKEY), ANNS_NODE.public)
    with pytest.raises(Malformed):
        check_letter(letter_with(prekey=replace(ANNS_PREKEY, public=b"")), ANNS_NODE.public)


def test_an_unknown_kind_of_body_is_unsupported_and_a_broken_one_malformed() -> None:
    packed = encode(ANSWER)
    letter = letter_with()
    with pytest.raises(Unsupported):
        decode_body(replace(letter, body=packed.replace(b"\xa6answer", b"\xa6future")))
    with pytest.raises(Unsupported):
        decode_body(replace(letter, body=b"\x81\xa1t\xa6future"))
    for broken in (b"", b"\xc0", packed[:-1], packed + b"\xc0", b"\x81\xa1t\xa6answer", b"\x81\xa1t\x07", b"\x80"):
        with pytest.raises(Malformed):
            decode_body(replace(letter, body=broken))
    with pytest.raises(TooLarge):
        decode_body(replace(letter, body=bytes(LETTER_MAX + 1)))


def test_the_longest_letter_fits_its_envelope_with_any_prekey() -> None:
    letter = letter_with(ContactLetter(card=bytes(LONGEST)))
    sealed = seal(letter, BOBS_PREKEY, BOBS_DEVICE)
    assert len(sealed) <= ENVELOPE_MAX
    assert open_sealed(sealed, BOBS_KEYS, BOBS_DEVICE) == letter
    with pytest.raises(TooLarge):
        letter_with(ContactLetter(card=bytes(LONGEST + 1)))


def test_a_text_that_is_none_is_the_typists_error() -> None:
    with pytest.raises(UsageError):
        letter_with(replace(ANSWER, reason="\udc80"))


# --- receipts ---------------------------------------------------------------------------------------------


def test_a_signed_receipt_passes() -> None:
    assert check_receipt(sign_receipt(ANNS_NODE, receipt_body()), ANNS_NODE.public) == receipt_body()


def test_an_empty_receipt_passes() -> None:
    nothing = replace(receipt_body(), feeds=(), refused=(), shares=(), prekey=None)
    assert check_receipt(sign_receipt(ANNS_NODE, nothing), ANNS_NODE.public) == nothing


def test_every_flipped_byte_of_a_receipt_is_refused() -> None:
    receipt = sign_receipt(ANNS_NODE, receipt_body())
    for changed in flips(receipt.signature):
        with pytest.raises(Forged):
            check_receipt(replace(receipt, signature=changed), ANNS_NODE.public)
    for changed in flips(receipt.body):
        with pytest.raises(Forged):
            check_receipt(replace(receipt, body=changed), ANNS_NODE.public)


def test_a_receipt_is_of_the_device_that_signed_it() -> None:
    for receipt in (sign_receipt(BOBS_NODE, receipt_body()), sign_receipt(ANN, receipt_body())):
        with pytest.raises(Forged):
            check_receipt(receipt, ANNS_NODE.public)
    with pytest.raises(Forged):
        check_receipt(sign_receipt(ANNS_NODE, replace(receipt_body(), sender=BOBS_DEVICE)), ANNS_NODE.public)


@pytest.mark.parametrize(
    "changed",
    [
        {"recipient": b"r"},
        {"counter": -1},
        {"time": -1},
        {"feeds": (replace(receipt_body().feeds[0], epoch=b""),)},
        {"feeds": (replace(receipt_body().feeds[0], hash=b""),)},
        {"feeds": (replace(receipt_body().feeds[0], number=-1),)},
        {"refused": (replace(receipt_body().refused[0], epoch=b""),)},
        {"refused": (replace(receipt_body().refused[0], number=-1),)},
        {"shares": (replace(receipt_body().shares[0], share=b""),)},
        {"shares": (replace(receipt_body().shares[0], layout=b""),)},
        {"shares": (replace(receipt_body().shares[0], chunks=-1),)},
    ],
)
def test_a_signed_receipt_with_impossible_values_is_malformed(changed: dict[str, object]) -> None:
    receipt = sign_receipt(ANNS_NODE, replace(receipt_body(), **changed))
    with pytest.raises(Malformed):
        check_receipt(receipt, ANNS_NODE.public)


def test_a_receipt_brings_only_its_own_devices_prekey() -> None:
    receipt = sign_receipt(ANNS_NODE, replace(receipt_body(), prekey=BOBS_PREKEY))
    with pytest.raises(Forged):
        check_receipt(receipt, ANNS_NODE.public)


def test_a_receipt_too_long_for_an_envelope_is_not_signed_and_not_read() -> None:
    long = replace(receipt_body(), shares=receipt_body().shares * 1000)
    with pytest.raises(TooLarge):
        sign_receipt(ANNS_NODE, long)
    packed = encode(long)
    with pytest.raises(TooLarge):
        check_receipt(Receipt(body=packed, signature=ANNS_NODE.sign("sig/receipt", packed)), ANNS_NODE.public)


# --- envelopes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [letter_with(), sign_receipt(ANNS_NODE, receipt_body())])
def test_what_was_sealed_opens_for_its_device(content: Letter | Receipt) -> None:
    assert open_sealed(seal(content, BOBS_PREKEY, BOBS_DEVICE), BOBS_KEYS, BOBS_DEVICE) == content


def test_any_live_prekey_opens_an_envelope() -> None:
    keys = [new_prekey(BOBS_NODE, number, NOW) for number in range(4)]
    for prekey, _ in keys:
        assert open_sealed(seal(letter_with(), prekey, BOBS_DEVICE), keys, BOBS_DEVICE) == letter_with()


def test_what_is_for_somebody_else_is_not_for_me() -> None:
    for sealed in (seal(letter_with(), BOBS_PREKEY, ANNS_DEVICE), seal(letter_with(), ANNS_PREKEY, BOBS_DEVICE)):
        with pytest.raises(NotForMe):
            open_sealed(sealed, BOBS_KEYS, BOBS_DEVICE)
    with pytest.raises(NotForMe):
        open_sealed(seal(letter_with(), BOBS_PREKEY, BOBS_DEVICE), [], BOBS_DEVICE)


def test_every_flipped_byte_of_an_envelope_is_refused() -> None:
    refuses_every_flip(
        seal(letter_with(), BOBS_PREKEY, BOBS_DEVICE),
        lambda changed: open_sealed(Sealed(changed), BOBS_KEYS, BOBS_DEVICE),
        NotForMe,
        Malformed,
        Unsupported,
    )


def test_an_envelope_tells_no_more_of_its_content_than_a_padded_size() -> None:
    sizes = {
        len(seal(letter_with(replace(ANSWER, reason="r" * length)), BOBS_PREKEY, BOBS_DEVICE))
        for length in range(0, 2000, 100)
    }
    assert sizes == {6 + 1136 + ENVELOPE_PAD_MIN}


@given(st.integers(1, 1 << 40))
def test_padme_adds_at_most_twelve_percent_and_leaves_few_sizes(length: int) -> None:
    padded = padme(length)
    assert length <= padded <= length * 1.12 + 1
    assert padme(padded) == padded
    assert padme(length + 1) >= padded
    significant = padded.bit_length().bit_length()
    assert padded % (1 << max(0, padded.bit_length() - 1 - significant)) == 0


@pytest.mark.parametrize(
    ("length", "padded"), [(0, 0), (1, 1), (2, 2), (9, 10), (4096, 4096), (4097, 4352), (65540, 67584)]
)
def test_padme_gives_known_sizes(length: int, padded: int) -> None:
    assert padme(length) == padded


PACKED = encode(letter_with())
HEAD = u32(len(PACKED)) + PACKED
SPACE = bytes(4096 - len(HEAD))


@pytest.mark.parametrize(
    "plain",
    [
        HEAD + SPACE[:-1] + b"\x01",
        HEAD + SPACE + bytes(512),
        u32(4093) + PACKED + SPACE,
        u32(len(PACKED) - 1) + PACKED + SPACE,
        u32(len(PACKED) + 1) + PACKED + SPACE,
        b"\xff" * 4096,
        bytes(4096),
        u32(len(PACKED) + 1) + PACKED + b"\xc0" + SPACE[1:],
    ],
)
def test_an_envelope_whose_content_is_not_right_is_malformed(plain: bytes) -> None:
    with pytest.raises(Malformed):
        open_sealed(sealed_anyway(plain), BOBS_KEYS, BOBS_DEVICE)


def test_an_envelope_with_neither_letter_nor_receipt_is_unsupported() -> None:
    packed = PACKED.replace(b"\xa6letter", b"\xa6parcel")
    with pytest.raises(Unsupported):
        open_sealed(sealed_anyway(u32(len(packed)) + packed + SPACE), BOBS_KEYS, BOBS_DEVICE)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", Malformed),
        (b"P2PE\x01\x01", Malformed),
        (b"P2PE\x02\x01" + bytes(5232), Unsupported),
        (b"P2PE\x01\x00" + bytes(5232), Unsupported),
        (b"P2PC\x01\x01" + bytes(5232), Malformed),
        (b"P2PE\x01\x01" + bytes(5231), Malformed),
        (b"P2PE\x01\x01" + bytes(5232), NotForMe),
        (b"P2PE\x01\x01" + bytes(ENVELOPE_MAX), TooLarge),
    ],
)
def test_what_is_no_envelope_is_refused_by_name(data: bytes, error: type[P2PShareError]) -> None:
    with pytest.raises(error):
        open_sealed(Sealed(data), BOBS_KEYS, BOBS_DEVICE)


def test_a_letter_too_long_for_an_envelope_is_not_sealed() -> None:
    with pytest.raises(TooLarge):
        seal(replace(letter_with(), body=bytes(LETTER_MAX)), BOBS_PREKEY, BOBS_DEVICE)


def test_what_is_signed_as_a_letter_is_no_receipt() -> None:
    packed = encode(receipt_body())
    as_letter = ANNS_NODE.sign("sig/letter", packed)
    with pytest.raises(Forged):
        check_receipt(Receipt(body=packed, signature=as_letter), ANNS_NODE.public)

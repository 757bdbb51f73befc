"""Signatures are over one label and one list of fields, and verify only as libsodium's strict rules say."""

import hashlib
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from p2pshare.crypto import hpke
from p2pshare.crypto.keys import (
    SigningKey,
    certify,
    check_certificate,
    check_prekey,
    device_id,
    fingerprint,
    is_signature,
    new_knock_key,
    new_prekey,
    person_id,
    verify,
)
from p2pshare.errors import DamagedVault, Forged, Malformed
from tests.crypto.samples import ANN, ANNS_NODE, BOB, NOW, flips, refuses_every_flip

GROUP_ORDER = (1 << 252) + 27742317777372353535851937790883648493  # RFC 8032 §5.1

# What libsodium makes of github.com/novifinancial/ed25519-speccheck: of twelve edge cases it takes one, a key and a
# nonce point of mixed order that fit without the cofactor. It refuses small order, S out of range, and encodings that
# are not canonical.
SPECCHECK_ACCEPTED = {3}


def test_a_signature_verifies() -> None:
    verify(ANN.public, "sig/card", b"fields", ANN.sign("sig/card", b"fields"))


def test_every_flipped_byte_of_a_signature_is_refused() -> None:
    signature = ANN.sign("sig/card", b"fields")
    refuses_every_flip(signature, lambda changed: verify(ANN.public, "sig/card", b"fields", changed), Forged)


def test_a_signature_holds_for_its_key_label_and_fields_only() -> None:
    signature = ANN.sign("sig/card", b"fields")
    for public, name, fields in (
        (BOB.public, "sig/card", b"fields"),
        (ANN.public, "sig/letter", b"fields"),
        (ANN.public, "sig/card", b"field"),
        (ANN.public, "sig/card\x00f", b"ields"),
    ):
        with pytest.raises(Forged):
            verify(public, name, fields, signature)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Forged):
        verify(ANN.public, "sig/card", b"", ANN.sign("sig/card", b"").ljust(65, b"\0")[:length])


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
def test_a_key_that_is_none_verifies_nothing(public: bytes) -> None:
    with pytest.raises(Forged):
        verify(public, "sig/card", b"", b"\x01" + bytes(63))


def test_a_signature_has_one_encoding() -> None:
    signature = ANN.sign("sig/card", b"fields")
    raised = int.from_bytes(signature[32:], "little") + GROUP_ORDER  # the same S, by the order of the group
    with pytest.raises(Forged):
        verify(ANN.public, "sig/card", b"fields", signature[:32] + raised.to_bytes(32, "little"))


def test_a_key_comes_back_from_its_seed() -> None:
    again = SigningKey.from_seed(ANN.seed)
    assert again.public == ANN.public
    assert again.sign("sig/card", b"") == ANN.sign("sig/card", b"")
    assert SigningKey.generate().public != ANN.public
    with pytest.raises(DamagedVault):
        SigningKey.from_seed(ANN.seed[:-1])


def test_nothing_shows_a_seed() -> None:
    shown = f"{ANN!r} {ANN}"
    assert ANN.seed.hex()[:8] not in shown
    assert ANN.public.hex()[:8] in shown


def test_ids_are_labelled_hashes_and_differ_by_role() -> None:
    assert person_id(ANN.public) == hashlib.sha256(b"p2pshare/v1/fp/person\x00" + ANN.public).digest()
    assert device_id(ANN.public) == hashlib.sha256(b"p2pshare/v1/fp/device\x00" + ANN.public).digest()
    assert fingerprint(person_id(ANN.public)) == person_id(ANN.public).hex()


def test_a_certificate_is_for_one_person_device_and_time() -> None:
    certificate = certify(ANN, ANNS_NODE, NOW)
    check_certificate(ANN.public, ANNS_NODE.public, NOW, certificate)
    for person, device, when in ((BOB, ANNS_NODE, NOW), (ANN, BOB, NOW), (ANN, ANNS_NODE, NOW + 1)):
        with pytest.raises(Forged):
            check_certificate(person.public, device.public, when, certificate)


def test_a_person_cannot_claim_a_device_that_does_not_agree() -> None:
    claimed = certify(BOB, ANNS_NODE, NOW)[:64]
    for half in (certify(ANN, ANNS_NODE, NOW)[64:], certify(BOB, BOB, NOW)[64:], b""):
        with pytest.raises(Forged):
            check_certificate(BOB.public, ANNS_NODE.public, NOW, claimed + half)


def test_key_fields_of_a_wrong_width_are_refused_whatever_is_signed() -> None:
    joined = ANN.public + ANNS_NODE.public
    certificate = certify(ANN, ANNS_NODE, NOW)
    with pytest.raises(Malformed):
        check_certificate(joined[:33], joined[33:], NOW, certificate)
    with pytest.raises(Malformed):
        check_certificate(ANN.public, ANNS_NODE.public + b"\x00", NOW, certificate)
    with pytest.raises(Malformed):
        check_certificate(ANN.public[:31], ANNS_NODE.public, NOW, certificate)
    with pytest.raises(Malformed):
        check_certificate(ANN.public, ANNS_NODE.public, -1, certificate)


def test_a_prekey_is_its_devices_and_can_be_sealed_to() -> None:
    prekey, secret = new_prekey(ANNS_NODE, 3, NOW)
    check_prekey(ANNS_NODE.public, prekey)
    assert (prekey.number, prekey.created, len(secret)) == (3, NOW, 96)
    assert hpke.open_with(secret, b"", hpke.seal_to(prekey.public, b"", b"plain")) == b"plain"


def test_every_changed_field_of_a_prekey_is_refused() -> None:
    prekey, _ = new_prekey(ANNS_NODE, 3, NOW)
    for changed in (replace(prekey, number=4), replace(prekey, created=NOW + 1)):
        with pytest.raises(Forged):
            check_prekey(ANNS_NODE.public, changed)
    for public in flips(prekey.public, step=17):
        with pytest.raises(Forged):
            check_prekey(ANNS_NODE.public, replace(prekey, public=public))
    with pytest.raises(Forged):
        check_prekey(BOB.public, prekey)


@pytest.mark.parametrize("device", [b"", bytes(31), bytes(33)])
def test_a_prekey_of_no_device_is_refused(device: bytes) -> None:
    with pytest.raises(Malformed):
        check_prekey(device, new_prekey(ANNS_NODE, 3, NOW)[0])


def test_knock_keys_are_fresh() -> None:
    assert len({new_knock_key() for _ in range(50)}) == 50
    assert len(new_knock_key()) == 32


@pytest.mark.corpus
def test_verification_passes_wycheproof(corpus: Path) -> None:
    content = json.loads((corpus / "vectors" / "wycheproof" / "ed25519_test.json").read_text())
    tried = 0
    for group in content["testGroups"]:
        for test in group["tests"]:
            message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
            accepted = is_signature(bytes.fromhex(group["publicKey"]["pk"]), message, signature)
            assert accepted == (test["result"] == "valid"), test["tcId"]
            tried += 1
    assert tried == 151


@pytest.mark.corpus
def test_verification_takes_one_of_the_twelve_edge_cases(corpus: Path) -> None:
    cases = json.loads((corpus / "vectors" / "ed25519-speccheck" / "cases.json").read_text())
    accepted = {
        number
        for number, case in enumerate(cases)
        if is_signature(*(bytes.fromhex(case[name]) for name in ("pub_key", "message", "signature")))
    }
    assert len(cases) == 12
    assert accepted == SPECCHECK_ACCEPTED

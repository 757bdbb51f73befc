"""What is sealed to a prekey opens with its secret, as RFC 9180 says, and with nothing else.

The library's single shot takes no AAD and shows no key, so published vectors cannot be put into it. `Bridge` is RFC
9180 written out here over X-Wing; the vectors prove the bridge, and the bridge and our functions open each other's.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from p2pshare.crypto import hpke
from p2pshare.crypto.labels import mac
from p2pshare.errors import DamagedVault, Malformed
from tests.crypto.samples import flips

X_WING, DH_X25519, HKDF_SHA256, CHACHA = 0x647A, 0x0020, 0x0001, 0x0003
LABEL = bytes.fromhex("5c2e2f2f5e5c")  # X-Wing's, as a drawing of one
INFO, PLAIN = b"info", b"a letter"


class Bridge:
    """RFC 9180 §5.1 in base mode with HKDF-SHA256 and ChaCha20-Poly1305, from a shared secret on."""

    def __init__(self, shared_secret: bytes, info: bytes, kem: int = X_WING) -> None:
        self._suite = b"HPKE" + kem.to_bytes(2, "big") + b"\x00\x01\x00\x03"
        context = b"\x00" + self._extract(b"", b"psk_id_hash", b"") + self._extract(b"", b"info_hash", info)
        secret = self._extract(shared_secret, b"secret", b"")
        self.key = self._expand(secret, b"key", context, 32)
        self.base_nonce = self._expand(secret, b"base_nonce", context, 12)
        self.exporter_secret = self._expand(secret, b"exp", context, 32)

    def seal(self, number: int, aad: bytes, plaintext: bytes) -> bytes:
        return ChaCha20Poly1305(self.key).encrypt(self._nonce(number), plaintext, aad)

    def open(self, number: int, aad: bytes, ciphertext: bytes) -> bytes:
        return ChaCha20Poly1305(self.key).decrypt(self._nonce(number), ciphertext, aad)

    def _nonce(self, number: int) -> bytes:
        return bytes(a ^ b for a, b in zip(self.base_nonce, number.to_bytes(12, "big"), strict=True))

    def _extract(self, salt: bytes, name: bytes, key: bytes) -> bytes:
        return mac(salt or bytes(32), b"HPKE-v1" + self._suite + name + key)

    def _expand(self, key: bytes, name: bytes, info: bytes, length: int) -> bytes:
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + self._suite + name + info
        return HKDFExpand(hashes.SHA256(), length, labelled).derive(key)


def combined(ml_kem_secret: bytes, x25519_secret: bytes, ephemeral: bytes, x25519_public: bytes) -> bytes:
    """X-Wing's combiner (draft-connolly-cfrg-xwing-kem §5.3)."""
    return hashlib.sha3_256(ml_kem_secret + x25519_secret + ephemeral + x25519_public + LABEL).digest()


def decapsulated(secret: bytes, encapsulated: bytes) -> bytes:
    ml_kem, x25519 = loaded(secret)
    ephemeral = encapsulated[1088:]
    return combined(
        ml_kem.decapsulate(encapsulated[:1088]),
        x25519.exchange(X25519PublicKey.from_public_bytes(ephemeral)),
        ephemeral,
        x25519.public_key().public_bytes_raw(),
    )


def encapsulated_to(public: bytes) -> tuple[bytes, bytes]:
    ml_kem_secret, ciphertext = MLKEM768PublicKey.from_public_bytes(public[:1184]).encapsulate()
    key = X25519PrivateKey.generate()
    ephemeral = key.public_key().public_bytes_raw()
    x25519_secret = key.exchange(X25519PublicKey.from_public_bytes(public[1184:]))
    return combined(ml_kem_secret, x25519_secret, ephemeral, public[1184:]), ciphertext + ephemeral


def loaded(secret: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    return MLKEM768PrivateKey.from_seed_bytes(secret[:64]), X25519PrivateKey.from_private_bytes(secret[64:])


def public_of(secret: bytes) -> bytes:
    ml_kem, x25519 = loaded(secret)
    return ml_kem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


# --- our functions ----------------------------------------------------------------------------------------


def test_what_was_sealed_opens_with_the_secret_and_the_info() -> None:
    public, secret = hpke.new_pair()
    assert (len(public), len(secret)) == (hpke.PUBLIC_SIZE, hpke.SECRET_SIZE)
    assert public == public_of(secret)
    sealed = hpke.seal_to(public, INFO, PLAIN)
    assert len(sealed) == len(PLAIN) + hpke.OVERHEAD
    assert hpke.open_with(secret, INFO, sealed) == PLAIN
    assert hpke.open_with(secret, b"other", sealed) is None
    assert hpke.open_with(hpke.new_pair()[1], INFO, sealed) is None


def test_nothing_is_sealed_twice_alike() -> None:
    public, _ = hpke.new_pair()
    assert len({hpke.seal_to(public, INFO, PLAIN) for _ in range(20)}) == 20


def test_every_flipped_byte_is_refused() -> None:
    public, secret = hpke.new_pair()
    sealed = hpke.seal_to(public, INFO, PLAIN)
    # X25519 ignores the highest bit of a point (RFC 7748 §5); X-Wing hashes it, so that this too is noticed
    top_bit = sealed[:1119] + bytes([sealed[1119] ^ 0x80]) + sealed[1120:]
    assert not any(hpke.open_with(secret, INFO, changed) for changed in [*flips(sealed), top_bit])


@pytest.mark.parametrize("length", [0, 1, 1087, 1119, 1120, 1135])
def test_what_is_too_short_does_not_open(length: int) -> None:
    public, secret = hpke.new_pair()
    assert hpke.open_with(secret, INFO, hpke.seal_to(public, INFO, b"")[:length]) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda public: b"",
        lambda public: public[:-1],
        lambda public: public + b"\x00",
        lambda public: b"\xff\xff\xff" + public[3:],
        lambda public: public[:-32] + bytes(32),
        lambda public: public[:-32] + b"\x01" + bytes(31),
    ],
)
def test_what_is_no_key_is_not_sealed_to(spoil) -> None:
    public = spoil(hpke.new_pair()[0])
    with pytest.raises(Malformed):
        hpke.check_public(public)
    with pytest.raises(Malformed):
        hpke.seal_to(public, INFO, PLAIN)


def test_a_secret_of_a_wrong_length_is_damage_of_ours() -> None:
    with pytest.raises(DamagedVault):
        hpke.open_with(bytes(95), INFO, bytes(2000))


def test_a_forgotten_secret_is_not_kept() -> None:
    public, secret = hpke.new_pair()
    hpke.open_with(secret, INFO, hpke.seal_to(public, INFO, PLAIN))
    assert hpke._load_secret.cache_info().currsize
    hpke.forget_secrets()
    assert not hpke._load_secret.cache_info().currsize


# --- the bridge, and over it ------------------------------------------------------------------------------


def test_the_bridge_opens_what_we_seal() -> None:
    public, secret = hpke.new_pair()
    sealed = hpke.seal_to(public, INFO, PLAIN)
    bridge = Bridge(decapsulated(secret, sealed[:1120]), INFO)
    assert bridge.open(0, b"", sealed[1120:]) == PLAIN


def test_we_open_what_the_bridge_seals() -> None:
    public, secret = hpke.new_pair()
    shared_secret, encapsulated = encapsulated_to(public)
    assert hpke.open_with(secret, INFO, encapsulated + Bridge(shared_secret, INFO).seal(0, b"", PLAIN)) == PLAIN
    assert hpke.open_with(secret, INFO, encapsulated + Bridge(shared_secret, INFO).seal(0, b"x", PLAIN)) is None


@pytest.mark.corpus
def test_the_bridges_key_schedule_is_rfc_9180s(corpus: Path) -> None:
    (vector,) = _hpke(corpus, "test-vectors", mode=0, kem_id=DH_X25519, kdf_id=HKDF_SHA256, aead_id=CHACHA)
    bridge = Bridge(bytes.fromhex(vector["shared_secret"]), bytes.fromhex(vector["info"]), DH_X25519)
    _is_schedule(bridge, vector)
    assert len(vector["encryptions"]) > 200


@pytest.mark.corpus
def test_our_suite_is_that_of_the_post_quantum_vectors(corpus: Path) -> None:
    (vector,) = _hpke(corpus, "hpke-pq-test-vectors", mode=0, kem_id=X_WING, kdf_id=HKDF_SHA256, aead_id=CHACHA)
    secret = _expanded(vector)
    public, encapsulated, info = (bytes.fromhex(vector[name]) for name in ("pkRm", "enc", "info"))
    assert public_of(secret) == public
    shared_secret = decapsulated(secret, encapsulated)
    assert shared_secret == bytes.fromhex(vector["shared_secret"])
    bridge = Bridge(shared_secret, info)
    _is_schedule(bridge, vector)
    hpke.check_public(public)
    # the vector's own key, encapsulated key and schedule, in the one form that ours opens: without AAD
    assert hpke.open_with(secret, info, encapsulated + bridge.seal(0, b"", PLAIN)) == PLAIN


@pytest.mark.corpus
def test_x_wing_is_the_same_under_the_other_kdf_of_the_vectors(corpus: Path) -> None:
    vectors = [v for v in _hpke(corpus, "hpke-pq-test-vectors", kem_id=X_WING) if v["kdf_id"] != HKDF_SHA256]
    for vector in vectors:
        shared_secret = decapsulated(_expanded(vector), bytes.fromhex(vector["enc"]))
        assert shared_secret == bytes.fromhex(vector["shared_secret"])
    assert vectors


@pytest.mark.corpus
def test_opening_decapsulates_as_wycheproof_says_of_ml_kem(corpus: Path) -> None:
    key = X25519PrivateKey.generate()
    own = key.public_key().public_bytes_raw()
    x25519_secret = key.exchange(key.public_key())
    opened = 0
    for test in _wycheproof(corpus, "mlkem_768"):
        seed, ciphertext, expected = (bytes.fromhex(test[name]) for name in ("seed", "c", "K"))
        sealed = ciphertext + own + Bridge(combined(expected, x25519_secret, own, own), INFO).seal(0, b"", PLAIN)
        if len(seed) != 64:
            continue  # a secret of another length is refused before: test_a_secret_of_a_wrong_length_…
        valid = test["result"] == "valid"
        assert hpke.open_with(seed + key.private_bytes_raw(), INFO, sealed) == (PLAIN if valid else None), test["tcId"]
        opened += valid
    assert opened == 153


@pytest.mark.corpus
def test_opening_exchanges_as_wycheproof_says_of_x25519(corpus: Path) -> None:
    ml_kem = MLKEM768PrivateKey.generate()
    ml_kem_secret, ciphertext = ml_kem.public_key().encapsulate()
    opened = refused = 0
    for test in _wycheproof(corpus, "x25519"):
        ephemeral, private, expected = (bytes.fromhex(test[name]) for name in ("public", "private", "shared"))
        own = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        bridge = Bridge(combined(ml_kem_secret, expected, ephemeral, own), INFO)
        secret = ml_kem.private_bytes_raw() + private
        result = hpke.open_with(secret, INFO, ciphertext + ephemeral + bridge.seal(0, b"", PLAIN))
        zero = "ZeroSharedSecret" in test["flags"]
        assert result == (None if zero else PLAIN), test["tcId"]
        opened += not zero
        refused += zero
    assert opened > 400
    assert refused > 20


@pytest.mark.corpus
def test_keys_are_taken_as_wycheproof_says(corpus: Path) -> None:
    good = hpke.new_pair()[0]
    tried = {True: 0, False: 0}
    for test in _wycheproof(corpus, "mlkem_768_encaps"):
        tried[_is_taken(bytes.fromhex(test["ek"]) + good[1184:], test["result"] == "valid")] += 1
    for test in _wycheproof(corpus, "x25519"):
        tried[_is_taken(good[:1184] + bytes.fromhex(test["public"]), "ZeroSharedSecret" not in test["flags"])] += 1
    for test in _wycheproof(corpus, "mlkem_768_keygen_seed"):
        assert public_of(bytes.fromhex(test["seed"]) + b"k" * 32)[:1184] == bytes.fromhex(test["ek"])
    assert min(tried.values()) > 100


def _is_taken(public: bytes, expected: bool) -> bool:
    if expected:
        hpke.check_public(public)
        return True
    with pytest.raises(Malformed):
        hpke.check_public(public)
    return False


def _is_schedule(bridge: Bridge, vector: dict[str, Any]) -> None:
    assert bridge.key == bytes.fromhex(vector["key"])
    assert bridge.base_nonce == bytes.fromhex(vector["base_nonce"])
    assert bridge.exporter_secret == bytes.fromhex(vector["exporter_secret"])
    for number, encryption in enumerate(vector["encryptions"]):
        aad, sealed, plain = (bytes.fromhex(encryption[name]) for name in ("aad", "ct", "pt"))
        assert bridge.seal(number, aad, plain) == sealed
        assert bridge.open(number, aad, sealed) == plain


def _expanded(vector: dict[str, Any]) -> bytes:
    return hashlib.shake_256(bytes.fromhex(vector["skRm"])).digest(96)  # X-Wing's seed, as it expands it (§5.2)


def _hpke(corpus: Path, name: str, **wanted: int) -> list[dict[str, Any]]:
    vectors = json.loads((corpus / "vectors" / "hpke-rfc9180" / f"{name}.json").read_text())
    return [vector for vector in vectors if all(vector[key] == value for key, value in wanted.items())]


def _wycheproof(corpus: Path, name: str) -> Iterator[dict[str, Any]]:
    content = json.loads((corpus / "vectors" / "wycheproof" / f"{name}_test.json").read_text())
    return (test for group in content["testGroups"] for test in group["tests"])

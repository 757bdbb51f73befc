"""Who is who: Ed25519 keys of persons and devices, what they sign for each other, and the ids made of them.

Rule 1: every signature is over a label and fields, never over bytes that somebody else chose alone.
Rule 2: verification is libsodium's: it refuses points of small order, and encodings that are not canonical.
"""

import hashlib
import secrets
from typing import Final, Self

import nacl.bindings
import nacl.exceptions

from p2pshare.crypto import hpke
from p2pshare.crypto.labels import label, u64
from p2pshare.errors import DamagedVault, Forged, Malformed
from p2pshare.model.card import Prekey
from p2pshare.model.ids import DeviceId, PersonId

PUBLIC_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
CERTIFICATE_SIZE: Final = 2 * SIGNATURE_SIZE
SEED_SIZE: Final = 32
KNOCK_KEY_SIZE: Final = 32


class SigningKey:
    """An Ed25519 key pair, of a person or of a device."""

    __slots__ = ("_secret", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise DamagedVault("a signing key of a wrong length")
        self.seed = seed
        self.public, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)

    @classmethod
    def generate(cls) -> Self:
        """A fresh random key."""
        return cls(secrets.token_bytes(SEED_SIZE))

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The key of a 32-byte seed."""
        return cls(seed)

    def sign(self, name: str, fields: bytes) -> bytes:
        """The 64-byte signature over label `name` and `fields`."""
        return nacl.bindings.crypto_sign(label(name) + fields, self._secret)[:SIGNATURE_SIZE]

    def __repr__(self) -> str:
        return f"SigningKey({self.public.hex()[:8]}…)"


def verify(public: bytes, name: str, fields: bytes, signature: bytes) -> None:
    """Raise `Forged` unless `signature` is that of `public` over label `name` and `fields`."""
    if not is_signature(public, label(name) + fields, signature):
        raise Forged(f"the signature {name}")


def is_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is a strict Ed25519 signature of `public` over `message`."""
    if len(public) != PUBLIC_SIZE or len(signature) != SIGNATURE_SIZE:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def person_id(public: bytes) -> PersonId:
    """The fingerprint of a person key."""
    return PersonId(hashlib.sha256(label("fp/person") + public).digest())


def device_id(public: bytes) -> DeviceId:
    """The fingerprint of a device key."""
    return DeviceId(hashlib.sha256(label("fp/device") + public).digest())


def fingerprint(id_bytes: bytes) -> str:
    """An id as programs write it: 64 lower-case hexadecimal digits."""
    return id_bytes.hex()


def certify(person: SigningKey, device: SigningKey, when: int) -> bytes:
    """The certificate that the device is the person's since `when` (seconds since 1970).

    Both sign: a person cannot claim somebody else's device, nor a device a person.
    """
    fields = person.public + device.public + u64(when)
    return person.sign("sig/device", fields) + device.sign("sig/owner", fields)


def check_certificate(person_public: bytes, device_public: bytes, when: int, certificate: bytes) -> None:
    """Raise `Forged` unless `certificate` is what `certify` gives."""
    _check_public(person_public)
    _check_public(device_public)
    if len(certificate) != CERTIFICATE_SIZE:
        raise Forged("a certificate of a wrong length")
    fields = person_public + device_public + u64(when)
    verify(person_public, "sig/device", fields, certificate[:SIGNATURE_SIZE])
    verify(device_public, "sig/owner", fields, certificate[SIGNATURE_SIZE:])


def new_prekey(device: SigningKey, number: int, now: int) -> tuple[Prekey, bytes]:
    """A fresh prekey, signed by its device, and its secret (96 bytes)."""
    public, secret = hpke.new_pair()
    signature = device.sign("sig/prekey", _prekey_fields(device.public, number, now, public))
    return Prekey(number=number, created=now, public=public, signature=signature), secret


def check_prekey(device_public: bytes, prekey: Prekey) -> None:
    """Check that the device signed `prekey` and that it can be sealed to.

    Raises:
        Forged: the signature is not the device's.
        Malformed: it is, but over something that is no key.
    """
    _check_public(device_public)
    if len(prekey.public) != hpke.PUBLIC_SIZE:
        raise Malformed("a prekey of a wrong length")
    fields = _prekey_fields(device_public, prekey.number, prekey.created, prekey.public)
    verify(device_public, "sig/prekey", fields, prekey.signature)
    hpke.check_public(prekey.public)


def new_knock_key() -> bytes:
    """A fresh knock key: who has it can ask this device for a connection."""
    return secrets.token_bytes(KNOCK_KEY_SIZE)


def _prekey_fields(device_public: bytes, number: int, created: int, public: bytes) -> bytes:
    return device_public + u64(number) + u64(created) + public


def _check_public(public: bytes) -> None:
    # Fields of a fixed width must have it, or two different lists of fields could be the same bytes.
    if len(public) != PUBLIC_SIZE:
        raise Malformed("a public key of a wrong length")

"""HPKE as p2pshare uses it (RFC 9180): base mode, one message, to an X-Wing key.

X-Wing (KEM 0x647a) joins ML-KEM-768 and X25519, so a message stays sealed while either of them holds.
Public keys are 1,216 bytes (1,184 + 32), secret keys 96 (the 64-byte ML-KEM seed and the X25519 key).
"""

from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from p2pshare.errors import DamagedVault, Malformed

PUBLIC_SIZE: Final = 1216
SECRET_SIZE: Final = 96
OVERHEAD: Final = 1120 + 16  # encapsulated key, tag

_ML_KEM_PUBLIC: Final = 1184
_ML_KEM_SEED: Final = 64
_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
# Any scalar tells a point of low order apart: it is a multiple of 8, so their product is zero (RFC 7748 §6.1).
_PROBE: Final = X25519PrivateKey.from_private_bytes(bytes(32))


def new_pair() -> tuple[bytes, bytes]:
    """A fresh key pair: public, secret."""
    ml_kem = MLKEM768PrivateKey.generate()
    x25519 = X25519PrivateKey.generate()
    public = ml_kem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    return public, ml_kem.private_bytes_raw() + x25519.private_bytes_raw()


def check_public(public: bytes) -> None:
    """Raise `Malformed` unless `public` can be sealed to."""
    _load_public(public)


def seal_to(public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """`plaintext` sealed to whoever holds the secret of `public`. Raises `Malformed` when that is not a key."""
    return _SUITE.encrypt(plaintext, _load_public(public), info)


def open_with(secret: bytes, info: bytes, sealed: bytes) -> bytes | None:
    """What was sealed to the public half of `secret` with this `info`, or None when `sealed` is not that."""
    try:
        return _SUITE.decrypt(sealed, _load_secret(secret), info)
    except InvalidTag:
        return None


def forget_secrets() -> None:
    """Drop what is kept of secrets used lately; for when one was erased."""
    _load_secret.cache_clear()


def _load_public(public: bytes) -> MLKEM768X25519PublicKey:
    if len(public) != PUBLIC_SIZE:
        raise Malformed("a prekey of a wrong length")
    try:
        ml_kem = MLKEM768PublicKey.from_public_bytes(public[:_ML_KEM_PUBLIC])
        x25519 = X25519PublicKey.from_public_bytes(public[_ML_KEM_PUBLIC:])
        _PROBE.exchange(x25519)
        return MLKEM768X25519PublicKey(ml_kem, x25519)
    except ValueError:
        raise Malformed("a prekey that is not a key") from None


@lru_cache(maxsize=16)  # every live secret is tried on every envelope, and loading one takes longer than trying it
def _load_secret(secret: bytes) -> MLKEM768X25519PrivateKey:
    if len(secret) != SECRET_SIZE:
        raise DamagedVault("a prekey secret")
    ml_kem = MLKEM768PrivateKey.from_seed_bytes(secret[:_ML_KEM_SEED])
    return MLKEM768X25519PrivateKey(ml_kem, X25519PrivateKey.from_private_bytes(secret[_ML_KEM_SEED:]))

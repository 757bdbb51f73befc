"""One-time sealing: ChaCha20-Poly1305 (RFC 8439) under keys that are used for one message each.

Rule 1: the nonce is zero, so the key must have been derived for this one message, with a fresh salt or id in it.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

TAG_SIZE: Final = 16
ZERO: Final = bytes(12)


def seal_once(key: bytes, aad: bytes, plaintext: bytes) -> bytes:
    """`plaintext` sealed under a key that seals nothing else; 16 bytes longer."""
    return ChaCha20Poly1305(key).encrypt(ZERO, plaintext, aad)


def open_once(key: bytes, aad: bytes, sealed: bytes) -> bytes | None:
    """What `seal_once` sealed, or None when any byte of key, `aad` or `sealed` is another."""
    try:
        return ChaCha20Poly1305(key).decrypt(ZERO, sealed, aad)
    except InvalidTag:
        return None

"""What docs/format.md §1 composes everything from: labels, derived keys, sealing, signatures."""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from tests.independent.msgpack import Refused, refuse_unless


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def lp(data: bytes) -> bytes:
    return u32(len(data)) + data


def label(name: str) -> bytes:
    return f"p2pshare/v1/{name}\0".encode()


def digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def hkdf_expand(secret: bytes, info: bytes, length: int = 32) -> bytes:
    return hmac.digest(secret, info + b"\x01", "sha256")[:length]  # one block of RFC 5869 is enough everywhere


def kdf(key: bytes, name: str, fields: bytes = b"", salt: bytes = b"") -> bytes:
    return hkdf_expand(hmac.digest(salt or bytes(32), key, "sha256"), label(name) + fields)


def aead_open(key: bytes, nonce: bytes, aad: bytes, sealed: bytes) -> bytes:
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, aad)
    except (InvalidTag, ValueError):
        raise Refused("a ciphertext that does not open") from None


def open_once(key: bytes, aad: bytes, sealed: bytes) -> bytes:
    return aead_open(key, bytes(12), aad, sealed)


def check_signature(public: bytes, name: str, fields: bytes, signature: bytes) -> None:
    refuse_unless(len(public) == 32 and len(signature) == 64, "a key or signature of another length")
    try:
        crypto_sign_open(signature + label(name) + fields, public)
    except BadSignatureError:
        raise Refused(f"the signature {name}") from None


def check_prelude(data: bytes, magic: bytes) -> None:
    refuse_unless(data[:6] == magic + b"\x01\x01", f"not {magic.decode()} of version 1 and suite 1")

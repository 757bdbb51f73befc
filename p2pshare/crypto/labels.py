"""Labels and fields: what every hash, signature and derived key begins with, so that no two uses can be confused.

Rule 1: nothing is hashed, signed or derived without a label of its own (docs/format.md §1).
Rule 2: what follows a label is of fixed width or carries its length.
"""

import hmac
from functools import cache
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from p2pshare.errors import Malformed

KEY_SIZE: Final = 32


@cache
def label(name: str) -> bytes:
    """`p2pshare/v1/NAME` in ASCII, and one NUL byte."""
    return b"p2pshare/v1/" + name.encode("ascii") + b"\x00"


def u8(value: int) -> bytes:
    """`value` as one byte. Raises `Malformed` when it does not fit."""
    return _fixed(value, 1)


def u32(value: int) -> bytes:
    """`value` as four bytes, the most significant first. Raises `Malformed` when it does not fit."""
    return _fixed(value, 4)


def u64(value: int) -> bytes:
    """`value` as eight bytes, the most significant first. Raises `Malformed` when it does not fit."""
    return _fixed(value, 8)


def lp(data: bytes) -> bytes:
    """`data` after its length as a u32."""
    return u32(len(data)) + data


def kdf(key: bytes, name: str, fields: bytes = b"", salt: bytes = b"") -> bytes:
    """The 32-byte key that `key` gives for the use called `name`: HKDF-SHA256 with the label in `info`."""
    return hkdf(key, label(name) + fields, salt)


def hkdf(key: bytes, info: bytes, salt: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869), 32 bytes."""
    return HKDF(algorithm=hashes.SHA256(), length=KEY_SIZE, salt=salt, info=info).derive(key)


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104), 32 bytes."""
    return hmac.digest(key, data, "sha256")


def same(one: bytes, other: bytes) -> bool:
    """Whether both are equal, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one, other)


def _fixed(value: int, width: int) -> bytes:
    try:
        return value.to_bytes(width, "big")
    except OverflowError:
        raise Malformed(f"a number does not fit {8 * width} bits") from None

"""Words for people: eight that two of them compare, and six that make a passphrase.

Rule 1: the eight words come from both person keys alone, so both computers find them without talking.
Rule 2: making them is slow on purpose: a forger has to find a key whose words fit, at this price for each try.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from p2pshare.crypto.labels import label
from p2pshare.crypto.wordlist import WORDS
from p2pshare.errors import LocalError
from p2pshare.model.limits import ARGON2_LANES

SAFETY_WORDS: Final = 8
PASSPHRASE_WORDS: Final = 6  # 66 bits, before stretching

_BITS: Final = 11  # 2,048 words
_MEMORY_KIB: Final = 256 * 1024
_PASSES: Final = 3
_COMPARED: Final = 1024  # characters of what somebody typed


def safety_words(person_key_a: bytes, person_key_b: bytes) -> tuple[str, ...]:
    """The eight words of two people, the same whichever comes first. Takes half a second and 256 MiB."""
    smaller, larger = sorted((person_key_a, person_key_b))
    # libsodium gives 16 bytes or more, and Argon2 of another length is another value: hence not slots.stretch.
    argon2 = Argon2id(
        salt=hashlib.sha256(label("words")).digest()[:16],
        length=SAFETY_WORDS * _BITS // 8,
        iterations=_PASSES,
        lanes=ARGON2_LANES,
        memory_cost=_MEMORY_KIB,
    )
    try:
        return _spelled(argon2.derive(label("words") + smaller + larger))
    except MemoryError:
        raise LocalError("making the words takes 256 MiB of memory, which is not free") from None


def same_words(typed: str, words: Sequence[str]) -> bool:
    """Whether somebody typed `words`, whatever the case, the punctuation and the spacing, in a constant time."""
    return hmac.compare_digest(_squeezed(typed[:_COMPARED]), _squeezed(" ".join(words)))


def suggest_passphrase() -> str:
    """Six random words with spaces between them."""
    return " ".join(secrets.choice(WORDS) for _ in range(PASSPHRASE_WORDS))


def _spelled(bits: bytes) -> tuple[str, ...]:
    number, count = int.from_bytes(bits, "big"), 8 * len(bits) // _BITS
    return tuple(WORDS[(number >> _BITS * i) % len(WORDS)] for i in reversed(range(count)))


def _squeezed(text: str) -> bytes:
    return " ".join("".join(c if c.isalpha() else " " for c in text.lower()).split()).encode()

"""Recovery codes: 32 random bytes as a person prints, reads and types them (docs/format.md §5).

Rule 1: what people confuse is read as what was meant: case, I and L for 1, O for 0, any spacing.
Rule 2: a typing error is told from a wrong code, by 20 bits of checksum, before anything is tried.
"""

import hashlib
import secrets
from itertools import pairwise
from typing import Final

from p2pshare.crypto.labels import KEY_SIZE, label
from p2pshare.errors import UsageError

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32
_MEANT: Final = str.maketrans({"I": "1", "L": "1", "O": "0"})
_GROUP: Final = 4
_LINE: Final = 7 * _GROUP
_LENGTH: Final = 2 * _LINE
_CHECK: Final = 4  # characters
_ZERO_BITS: Final = 4  # 32 bytes and these fill 52 characters
_SHEET_MAX: Final = 64 * 1024


def new_code() -> bytes:
    """A fresh code: 32 random bytes."""
    return secrets.token_bytes(KEY_SIZE)


def format_code(code: bytes) -> str:
    """The code as it is printed: two lines of seven groups of four characters."""
    letters = _letters(int.from_bytes(code, "big") << _ZERO_BITS, _LENGTH - _CHECK) + _check_letters(code)
    groups = [letters[i : i + _GROUP] for i in range(0, _LENGTH, _GROUP)]
    return " ".join(groups[:7]) + "\n" + " ".join(groups[7:])


def parse_code(text: str) -> bytes:
    """The code in `text`: typed, or somewhere in a whole printed sheet.

    Raises `UsageError` when there is none, or one with a typing error; the text itself is never repeated.
    """
    if len(text) > _SHEET_MAX:
        raise UsageError("that is too long for a recovery sheet")
    lines = [_squeezed(line) for line in text.splitlines()]
    lines = [line for line in lines if line]
    code_lines = [line for line in lines if _is_code(line, _LINE)]
    candidates = [first + second for first, second in pairwise(code_lines)]
    candidates += [line for line in (*lines, "".join(lines)) if _is_code(line, _LENGTH)]
    for candidate in candidates:
        code = _decoded(candidate)
        if code is not None:
            return code
    if candidates:
        raise UsageError("there is a typing error in the recovery code")
    raise UsageError("no recovery code was found: it has two lines of seven groups of four characters")


def _squeezed(line: str) -> str:
    return "".join(line.split()).replace("-", "").upper().translate(_MEANT)


def _is_code(letters: str, length: int) -> bool:
    return len(letters) == length and all(letter in _ALPHABET for letter in letters)


def _decoded(letters: str) -> bytes | None:
    number = 0
    for letter in letters[:-_CHECK]:
        number = number * 32 + _ALPHABET.index(letter)
    code, rest = divmod(number, 1 << _ZERO_BITS)
    as_bytes = code.to_bytes(KEY_SIZE, "big")
    return as_bytes if rest == 0 and letters[-_CHECK:] == _check_letters(as_bytes) else None


def _check_letters(code: bytes) -> str:
    digest = hashlib.sha256(label("recovery/check") + code).digest()
    return _letters(int.from_bytes(digest[:3], "big") >> 4, _CHECK)


def _letters(number: int, count: int) -> str:
    return "".join(_ALPHABET[(number >> 5 * i) & 31] for i in reversed(range(count)))

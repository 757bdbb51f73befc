"""What opens a vault, read from where a person keeps it: passphrase files, key files, recovery sheets."""

import secrets
from pathlib import Path

from p2pshare.crypto.recovery import format_code, new_code, parse_code
from p2pshare.crypto.slots import KeyfileSecret, PassphraseSecret, RecoverySecret, Secret
from p2pshare.crypto.words import suggest_passphrase
from p2pshare.errors import UsageError
from p2pshare.service import handing_out

__all__ = ["KeyfileSecret", "PassphraseSecret", "RecoverySecret", "Secret", "suggest_passphrase"]

_TEXT_MAX = 65536
_KEYFILE_BYTES = 32
_WEAK_BELOW = 12

_SHEET = """\
p2pshare recovery sheet
=======================

This code opens the vault of {name} when the passphrase is forgotten.
Whoever has this sheet and the vault's folder can read every scan: keep it apart
from the computer, in a safe place. Nobody else can reset the passphrase.

Code:

{code}

To use it:  p2pshare --vault DIR recover --recovery-file THIS-FILE --new-passphrase-file FILE
"""


def passphrase_from(path: Path) -> PassphraseSecret:
    """The passphrase on the first line of a file. Raises UsageError."""
    return PassphraseSecret(_read_text(path).split("\n", 1)[0].rstrip("\r"))


def is_weak(secret: PassphraseSecret) -> bool:
    """Whether a passphrase is so short that a thief's computer would find it."""
    return len(secret.text) < _WEAK_BELOW


def key_from(path: Path) -> KeyfileSecret:
    """The content of a key file. Raises UsageError."""
    return KeyfileSecret(_read(path))


def recovery_from(path: Path) -> RecoverySecret:
    """The code on a recovery sheet. Raises UsageError when there is none, or one with a typing error."""
    return RecoverySecret(parse_code(_read_text(path)))


def new_key_file(path: Path) -> KeyfileSecret:
    """Make a key file that only its owner can read. Raises AlreadyExists."""
    content = secrets.token_bytes(_KEYFILE_BYTES)
    handing_out.write_new(path, content)
    return KeyfileSecret(content)


def new_recovery_sheet(path: Path, name: str) -> RecoverySecret:
    """Draw a recovery code and write its sheet to a new file. Raises AlreadyExists: the old one may be needed."""
    code = new_code()
    lines = "\n".join(f"    {line}" for line in format_code(code).splitlines())
    handing_out.write_new(path, _SHEET.format(name=name, code=lines).encode())
    return RecoverySecret(code)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_TEXT_MAX + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > _TEXT_MAX:
        raise UsageError(f"{path}: too large")
    return data


def _read_text(path: Path) -> str:
    try:
        return _read(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file") from None

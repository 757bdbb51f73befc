"""Files handed to a person, outside the vault: key files, recovery sheets, cards, receipts.

Rule 1: only its owner can read one (mode 0600), and it is durable when the command says so.
Rule 2: what cannot be written is the person's to mend, and says so (`UsageError`): the vault is not concerned.
"""

import os
import secrets
from pathlib import Path

from p2pshare.errors import AlreadyExists, UsageError
from p2pshare.store.diskio import sync_folder


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not be there yet: an older one may be needed. Raises AlreadyExists or UsageError."""
    try:
        _write(path, data)
        sync_folder(path.absolute().parent)
    except FileExistsError:
        raise AlreadyExists(str(path)) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def write_over(path: Path, data: bytes) -> None:
    """Write a file, replacing an earlier one of that name whole. Raises UsageError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        _write(temporary, data)
        try:
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.absolute().parent)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    """Make a file with `data`, synced; nothing of it stays if that fails."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise

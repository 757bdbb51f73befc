"""Identifiers: each kind of id is a type of its own, so that one cannot stand in for another.

All are opaque bytes of a fixed length except DICOM UIDs, which are validated text (PS3.5 §9.1).
"""

import re
from typing import NewType

from p2pshare.errors import BadIdentity

VaultId = NewType("VaultId", bytes)  # 16 random bytes
PackId = NewType("PackId", bytes)  # 16 random bytes; also the file's name
ObjectId = NewType("ObjectId", bytes)  # 32: SHA-256, see docs/format.md
ChunkDigest = NewType("ChunkDigest", bytes)  # 32: SHA-256 of a stored chunk
PersonId = NewType("PersonId", bytes)  # 32: fingerprint of a person key
DeviceId = NewType("DeviceId", bytes)  # 32: fingerprint of a device key
ShareId = NewType("ShareId", bytes)  # 16 random bytes, drawn by the sender
Epoch = NewType("Epoch", bytes)  # 16 random bytes; one life of a feed
LetterHash = NewType("LetterHash", bytes)  # 32: what the next letter of the feed names
ScanId = NewType("ScanId", bytes)  # 16: hash of the Study Instance UID, the same at both ends
Uid = NewType("Uid", str)  # a DICOM UID

NO_LETTER = LetterHash(bytes(32))  # what the first letter of a feed names as the one before

_UID = re.compile(r"[0-9]+(\.[0-9]+)*\Z")
UID_MAX = 64  # PS3.5 §9.1


def parse_uid(text: str, what: str) -> Uid:
    """Return `text` as a UID, or raise `BadIdentity` naming `what`.

    Digits and dots, at most 64 characters (PS3.5 §9.1). Leading zeros in a component are against the standard but
    common in real files, and harmless, so they pass.
    """
    if not text:
        raise BadIdentity(f"no {what}")
    if len(text) > UID_MAX or not _UID.match(text):
        raise BadIdentity(f"the {what} is not a UID")
    return Uid(text)

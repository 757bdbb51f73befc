"""The audit log's chain: each entry's hash covers the one before, so none can be changed or left out unnoticed.

Only the last hash of each write is signed (label sig/audit, by the device key): it fixes all before it.
"""

import hashlib
from typing import Final

from p2pshare.crypto.labels import label, lp, u64

LOG_START: Final = bytes(32)  # what the first entry names as the one before


def link(previous: bytes, number: int, time: int, kind: str, detail: str) -> bytes:
    """The hash of entry `number` after `previous`; `time` in seconds since 1970, `detail` a JSON text."""
    fields = u64(number) + u64(time) + lp(kind.encode()) + lp(detail.encode())
    return hashlib.sha256(label("audit/link") + previous + fields).digest()

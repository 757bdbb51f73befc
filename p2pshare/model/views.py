"""What the services tell a person about: scans, people, shares; the command line and the screens print these."""

from enum import StrEnum


class ShareState(StrEnum):
    """Where a share stands, from either side (docs/protocol.md §6)."""

    QUEUED = "queued"
    OFFERED = "offered"
    ACCEPTED = "accepted"
    SENDING = "sending"
    DELIVERED = "delivered"
    IMPORTED = "imported"
    DECLINED = "declined"
    REVOKED = "revoked"
    EXPIRED = "expired"
    REFUSED = "refused"


ENDED = frozenset(
    {ShareState.IMPORTED, ShareState.DECLINED, ShareState.REVOKED, ShareState.EXPIRED, ShareState.REFUSED}
)

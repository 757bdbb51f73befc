"""Why a share waits, in words, from what the vault knows now."""

import datetime as dt

from p2pshare.model.views import ShareState
from p2pshare.store import people
from p2pshare.store.locks import engine_held
from p2pshare.store.shares import Share
from p2pshare.store.vault import Vault


async def why(vault: Vault, share: Share) -> str:
    """One sentence: what has to happen next, or what happened last. Names in it are unsanitised."""
    if share.why:
        return share.why
    match share.state:
        case ShareState.IMPORTED:
            return "arrived whole, opened and verified; the signed receipt is kept"
        case ShareState.OFFERED:
            return f"{await _name(vault, share)} has it in the inbox and has not answered yet"
        case ShareState.DECLINED | ShareState.REVOKED | ShareState.EXPIRED | ShareState.REFUSED:
            return f"it was {share.state.value}"
        case ShareState.QUEUED | ShareState.ACCEPTED | ShareState.SENDING | ShareState.DELIVERED:
            return await _waiting(vault, share)


async def _waiting(vault: Vault, share: Share) -> str:
    if not engine_held(vault.folder):
        return "p2pshare is not running here: start `p2pshare serve`"
    devices = await people.devices_of(vault.db, share.person)
    trouble = next((d for d in devices if d.trouble), None)
    if trouble is not None:
        seen = max((d.last_seen for d in devices if d.last_seen), default=None)
        last = f"; last seen {_when(seen)}" if seen else ""
        again = f"; next try {_when(trouble.next_try)}" if trouble.next_try else ""
        return f"{trouble.trouble}{last}{again}"
    name = await _name(vault, share)
    match share.state:
        case ShareState.DELIVERED:
            return f"complete at {name}'s computer, which is opening it"
        case ShareState.SENDING:
            return f"being sent: {share.chunks_done} of {share.chunks_total} pieces are safe at the other end"
        case _:
            return f"waits for {name}'s computer to answer"


async def _name(vault: Vault, share: Share) -> str:
    person = await people.by_id(vault.db, share.person)
    return person.name if person else "the other person"


def _when(seconds: int | None) -> str:
    if seconds is None:
        return ""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).astimezone().strftime("%a %d %b %H:%M:%S")

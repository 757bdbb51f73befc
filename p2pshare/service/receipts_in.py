"""Receipts that come in: the only thing that clears the outbox and the proof of what arrived."""

from p2pshare.crypto.keys import check_prekey
from p2pshare.crypto.seal import check_receipt
from p2pshare.errors import Forged, NotForMe
from p2pshare.model.ids import ShareId
from p2pshare.model.letters import ArrivalState, Receipt, ReceiptBody, ShareArrival
from p2pshare.model.limits import REASON_MAX
from p2pshare.model.packed import encode
from p2pshare.model.ports import PeerIdentity
from p2pshare.model.views import ShareState
from p2pshare.service.layouts import BASE_MISSING
from p2pshare.store import audit, feeds, people, shares
from p2pshare.store.db import Transaction
from p2pshare.store.shares import Direction, Share
from p2pshare.store.vault import Vault

_RANK = {
    ShareState.QUEUED: 0,
    ShareState.OFFERED: 1,
    ShareState.ACCEPTED: 2,
    ShareState.SENDING: 3,
    ShareState.DELIVERED: 4,
    ShareState.IMPORTED: 5,
}
_SAYS = {
    ArrivalState.SENDING: ShareState.SENDING,
    ArrivalState.DELIVERED: ShareState.DELIVERED,
    ArrivalState.IMPORTED: ShareState.IMPORTED,
    ArrivalState.REFUSED: ShareState.REFUSED,
}


async def take_receipt(vault: Vault, now: int, peer: PeerIdentity, receipt: Receipt, term: int | None) -> None:
    """Verify and enter a receipt from `peer`; one that is not newer than the last changes nothing.

    Raises:
        Forged: it is not signed by the device that brought it. NotForMe: it is for another device.
    """
    device = await people.device(vault.db, peer.device_id)
    if device is None:
        raise Forged("a receipt from a device that is not known")
    body = check_receipt(receipt, device.device.public)
    if body.sender != peer.device_id:
        raise Forged("a receipt in another device's name")
    if body.recipient != vault.identity.device_id:
        raise NotForMe("a receipt")
    async with vault.db.transaction(term) as tx:
        if not await feeds.enter_receipt(tx, peer.device_id, body.counter, receipt, now):
            return
        await _apply(tx, vault, now, peer, receipt, body)
        if body.prekey is not None:
            check_prekey(device.device.public, body.prekey)
            await people.learn_prekey(tx, peer.device_id, body.prekey)


async def _apply(
    tx: Transaction, vault: Vault, now: int, peer: PeerIdentity, receipt: Receipt, body: ReceiptBody
) -> None:
    for head in body.feeds:
        if not await feeds.acknowledge(tx, peer.person_id, peer.device_id, head):
            # The contact acknowledges a letter that this vault does not know: the vault was rolled back.
            detail: audit.Detail = {"device": peer.device_id.hex(), "number": head.number}
            await _once(tx, vault, "rollback-seen", detail, now)
    await _mark_offered(tx, peer, now)
    for arrival in body.shares:
        share = await shares.get(tx, ShareId(arrival.share), Direction.OUT)
        if share and share.person == peer.person_id and share.layout == arrival.layout:
            await _follow(tx, vault, now, share, arrival, receipt)
    for refused in body.refused:  # last: a letter that came twice was refused the second time only
        share_id = await feeds.mark_refused(tx, peer.person_id, refused)
        share = await shares.get(tx, share_id, Direction.OUT) if share_id else None
        if share and share.state in (ShareState.QUEUED, ShareState.OFFERED):
            await shares.move(tx, share, ShareState.REFUSED, refused.why[:REASON_MAX], now)


async def _once(tx: Transaction, vault: Vault, kind: str, detail: audit.Detail, now: int) -> None:
    last = await tx.row("SELECT 1 FROM log WHERE kind = ? AND time > ?", (kind, now - 86400))
    if not last:
        await audit.enter(tx, vault.identity.device, kind, detail, now)


async def _mark_offered(tx: Transaction, peer: PeerIdentity, now: int) -> None:
    waiting = {letter.share for letter in await feeds.unacknowledged(tx, peer.person_id, peer.device_id)}
    for share in await shares.of_person(tx, peer.person_id, Direction.OUT, (ShareState.QUEUED,)):
        if share.share not in waiting:
            await shares.move(tx, share, ShareState.OFFERED, "", now)


async def _follow(
    tx: Transaction, vault: Vault, now: int, share: Share, arrival: ShareArrival, receipt: Receipt
) -> None:
    said = _SAYS.get(arrival.state)
    if said is None or share.state not in _RANK:
        return
    done = min(max(arrival.chunks, 0), share.chunks_total)
    await shares.count_done(tx, share.share, Direction.OUT, done)
    if said is ShareState.REFUSED and share.state is ShareState.IMPORTED:
        return  # erased there since: what was proven stays proven
    if said is ShareState.REFUSED:
        await shares.move(tx, share, said, arrival.why[:REASON_MAX], now, receipt=encode(receipt))
    elif _RANK[said] > _RANK[share.state]:
        await shares.move(tx, share, said, "", now, receipt=encode(receipt))
    else:
        return
    if said is not ShareState.SENDING and not (said is ShareState.REFUSED and arrival.why == BASE_MISSING):
        await audit.enter(
            tx, vault.identity.device, f"share-{said.value}",
            {"share": share.share.hex(), "person": share.person.hex(), "layout": share.layout.hex()}, now,
        )  # fmt: skip

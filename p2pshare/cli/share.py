"""Commands about shares that I make."""

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

from p2pshare.cli.context import confirm, open_node
from p2pshare.cli.output import Output, counted, size_text, table
from p2pshare.errors import NotFound
from p2pshare.model.text import shown
from p2pshare.model.views import ENDED, ShareState
from p2pshare.node import Node
from p2pshare.service.offers import Share, read_question
from p2pshare.service.reasons import why

OK, QUEUED, REFUSED = 0, 6, 8
_POLL_SECONDS = 0.1
_ORDER = [ShareState.QUEUED, ShareState.OFFERED, ShareState.ACCEPTED, ShareState.SENDING, ShareState.DELIVERED,
          ShareState.IMPORTED]  # fmt: skip


async def create(args: argparse.Namespace, out: Output) -> int:
    """Offer scans to a person."""
    question = read_question(Path(args.question_file)) if args.question_file else ""
    async with open_node(args) as node:
        expires = node.now() + 86400 * args.expires_days if args.expires_days else None
        share = await node.offers.create(args.to, args.scan, question, expires=expires, unverified=args.unverified)
        found = await node.offers.find(share.hex())
        reason = await why(node.vault, found)
        name = next((p.name for p in await node.people.listed() if p.person == found.person), "")
    what = f"{counted(found.objects, 'image')}, {size_text(found.stored_bytes)} encrypted"
    lines = [
        shown(f"Share {share.hex()[:8]} to {name} ({found.person.hex()[:8]}): {what}, queued."),
        shown(f"Now: {reason}"),
    ]
    out.data({"share": share.hex()}, lines)
    return OK


async def ls(args: argparse.Namespace, out: Output) -> int:
    """List my shares."""
    async with open_node(args) as node:
        shares = await node.offers.listed()
        names = {p.person: p.name for p in await node.people.listed()}
        reasons = [await why(node.vault, s) for s in shares]
    value = [
        {**_value(s, r), "to": names.get(s.person, ""), "created": s.created}
        for s, r in zip(shares, reasons, strict=True)
    ]
    rows = [
        [s.share.hex()[:8], names.get(s.person, ""), s.state.value, f"{s.chunks_done}/{s.chunks_total}", _told(s, r)]
        for s, r in zip(shares, reasons, strict=True)
    ]
    lines = table(["ID", "TO", "STATE", "PIECES", "WHY"], rows, plain=out.plain)
    out.data({"shares": value}, lines if shares else ["Nothing shared yet."])
    return OK


async def status(args: argparse.Namespace, out: Output) -> int:
    """Show how far a share has come; with --wait, wait for it."""
    deadline = time.monotonic() + args.timeout if args.timeout is not None else None
    async with open_node(args) as node:
        share = await node.offers.find(args.id)
        while args.wait and not _reached(share, ShareState(args.until)):
            if deadline is not None and time.monotonic() >= deadline:
                break
            out.progress(f"{share.state.value}: {share.chunks_done} of {share.chunks_total} pieces")
            await asyncio.sleep(_POLL_SECONDS)
            share = await node.offers.find(share.share.hex())
        reason = await why(node.vault, share)
    out.data(_value(share, reason), [shown(f"{share.share.hex()[:8]} is {share.state.value}: {_told(share, reason)}")])
    if not args.wait or (share.state in _ORDER and _reached(share, ShareState(args.until))):
        return OK
    return REFUSED if share.state in ENDED else QUEUED


async def revoke(args: argparse.Namespace, out: Output) -> int:
    """Stop a share."""
    async with open_node(args) as node:
        share = await node.offers.find(args.id)
        question = "Revoking stops new downloads and asks for erasure. It cannot recall copies."
        confirm(args, question, share.share.hex()[:6], out)
        share = await node.offers.revoke(share.share.hex())
        reason = await why(node.vault, share)
    out.data(_value(share, reason), ["Revoked: nothing more is sent. Copies that arrived cannot be recalled."])
    return OK


async def receipt(args: argparse.Namespace, out: Output) -> int:
    """Show the signed receipt of a share."""
    async with open_node(args) as node:
        share = await node.offers.find(args.id)
        proof = await node.offers.receipt(share)
        if proof is None:
            raise NotFound("a receipt for this share yet")
        if args.output:
            await _save(node, Path(args.output), proof.file)
    value = {
        "share": share.share.hex(), "state": proof.state, "signed_by": proof.signed_by, "device": proof.device,
        "time": proof.time, "layout": proof.layout, "signature": proof.signature,
    }  # fmt: skip
    line = (
        f"{proof.signed_by}'s computer signed: all {share.objects} objects {proof.state} (layout {proof.layout[:16]})."
    )
    out.data(value, [shown(line)])
    return OK


async def _save(node: Node, path: Path, data: bytes) -> None:
    await node.offers.save(path, data)


def _reached(share: Share, until: ShareState) -> bool:
    if share.state not in _ORDER:
        return True
    return _ORDER.index(share.state) >= _ORDER.index(until)


def _told(share: Share, reason: str) -> str:
    """The reason, marked where it is the recipient's words and not ours."""
    return f"they wrote: {reason}" if share.state is ShareState.DECLINED else reason


def _value(share: Share, reason: str) -> dict[str, Any]:
    return {
        "share": share.share.hex(),
        "state": share.state.value,
        "why": reason,
        "chunks_done": share.chunks_done,
        "chunks_total": share.chunks_total,
        "wire_bytes": share.wire_bytes,
    }

"""Commands about what others share with me."""

import argparse
from typing import Any

from p2pshare.cli.context import open_node
from p2pshare.cli.output import Output, counted, date_text, name_text, size_text, table
from p2pshare.model.text import shown
from p2pshare.service.inbox import Offered

OK = 0


async def ls(args: argparse.Namespace, out: Output) -> int:
    """List what was offered."""
    async with open_node(args) as node:
        offers = await node.inbox.listed()
    rows = [
        [
            o.share.share.hex()[:8], "ok verified" if o.verified else "? not verified", o.name, o.share.state.value,
            f"{o.share.chunks_done}/{o.share.chunks_total}", "; ".join(s.description or "scan" for s in o.share.scans),
            o.share.question.split("\n", 1)[0],
        ]
        for o in offers
    ]  # fmt: skip
    lines = table(["ID", "", "FROM", "STATE", "PIECES", "SCANS", "QUESTION"], rows, plain=out.plain)
    out.data({"inbox": [_value(o) for o in offers]}, lines if offers else ["Nothing was offered to you yet."])
    return OK


async def show(args: argparse.Namespace, out: Output) -> int:
    """Show one offer, its question first."""
    async with open_node(args) as node:
        offer = await node.inbox.find(args.id)
    out.data(_value(offer), _lines(offer, out))
    return OK


async def accept(args: argparse.Namespace, out: Output) -> int:
    """Accept an offer."""
    async with open_node(args) as node:
        offer = await node.inbox.accept(args.id)
    out.data(_value(offer), ["Accepted. The images are fetched while `p2pshare serve` runs on both sides."])
    return OK


async def decline(args: argparse.Namespace, out: Output) -> int:
    """Decline an offer."""
    async with open_node(args) as node:
        offer = await node.inbox.decline(args.id, args.reason)
    out.data(_value(offer), ["Declined. Nothing of it was fetched; the sender is told why."])
    return OK


def _value(offer: Offered) -> dict[str, Any]:
    share = offer.share
    return {
        "id": share.share.hex(),
        "from": offer.name,
        "verified": offer.verified,
        "question": share.question,
        "scans": [
            {
                "study_uid": s.study_uid, "patient": s.patient, "birth_date": s.birth_date, "date": s.date,
                "description": s.description, "modalities": [m for m in s.modalities.split("\\") if m],
                "instances": s.instances, "bytes": s.bytes,
            }
            for s in share.scans
        ],
        "bytes": share.stored_bytes,
        "state": share.state.value,
        "why": share.why,
        "chunks_done": share.chunks_done,
        "chunks_total": share.chunks_total,
    }  # fmt: skip


def _lines(offer: Offered, out: Output) -> list[str]:
    share = offer.share
    mark = "Verified" if offer.verified else "Not verified (compare the eight words)"
    lines = [out.bold(shown(f"{mark}: {offer.name}")), *(out.quoted(share.question) if share.question else [])]
    lines += [
        shown(f"{name_text(s.patient)} · {s.description or 'scan'} · {date_text(s.date)} · {images}")
        for s in share.scans
        for images in [counted(s.instances, "image")]
    ]
    lines.append(
        f"{share.state.value}, {size_text(share.stored_bytes)} to fetch"
        + (f": {shown(share.why)}" if share.why else "")
    )
    return lines

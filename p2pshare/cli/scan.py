"""Commands about scans."""

import argparse
from pathlib import Path
from typing import Any

from p2pshare.cli.context import confirm, open_node
from p2pshare.cli.output import Output, counted, date_text, name_text, size_text, table
from p2pshare.model.text import shown
from p2pshare.service.library import Scan

OK = 0


async def ls(args: argparse.Namespace, out: Output) -> int:
    """List all scans."""
    async with open_node(args) as node:
        scans = await node.library.listed()
    empty = "No scans yet. Import a folder or a disc with `p2pshare import PATH`."
    out.data({"scans": [scan_value(s) for s in scans]}, _list(scans, out, empty))
    return OK


async def find(args: argparse.Namespace, out: Output) -> int:
    """Find scans."""
    async with open_node(args) as node:
        scans = await node.library.found(" ".join(args.text))
    out.data({"scans": [scan_value(s) for s in scans]}, _list(scans, out, "Nothing found."))
    return OK


async def show(args: argparse.Namespace, out: Output) -> int:
    """Show one scan with its series."""
    async with open_node(args) as node:
        details = await node.library.details(args.scan)
    scan = details.scan
    value = {
        **scan_value(scan),
        "patient_id": scan.patient_id,
        "birth_date": scan.birth_date,
        "institution": scan.institution,
        "series": [
            {
                "series_uid": s.series_uid, "modality": s.modality, "description": s.description,
                "number": s.number, "body_part": s.body_part, "instances": s.instances,
            }
            for s in details.series
        ],
        "notes": list(details.notes),
    }  # fmt: skip
    heads = ["SERIES", "KIND", "DESCRIPTION", "BODY PART", "IMAGES"]
    rows = [
        [str(s.number if s.number is not None else ""), s.modality, s.description, s.body_part, str(s.instances)]
        for s in details.series
    ]
    facts = [scan.institution, f"{scan.series} series", counted(scan.instances, "image"), size_text(scan.bytes)]
    lines = [
        out.bold(
            shown(f"{scan.description or 'scan'} · {date_text(scan.study_date)} · {name_text(scan.patient_name)}")
        ),
        shown(" · ".join(fact for fact in facts if fact)),
        f"ID {scan.scan.hex()}",
        *table(heads, rows, plain=out.plain),
        *(f"note: {shown(note)}" for note in details.notes),
    ]
    out.data(value, lines)
    return OK


async def export(args: argparse.Namespace, out: Output) -> int:
    """Write a scan's files to a folder."""
    folder = Path(args.output)
    async with open_node(args) as node:
        files = await node.library.export(
            args.scan, folder, lambda done, total: out.progress(f"{done} of {total} files written")
        )
    value = [{"path": str(f.path), "sop_uid": f.sop_uid, "sha256": f.sha256} for f in files]
    lines = [
        f"{counted(len(files), 'file')} written to {shown(str(folder))}, byte for byte as imported, and not encrypted."
    ]
    out.data({"files": value}, lines)
    return OK


async def erase(args: argparse.Namespace, out: Output) -> int:
    """Erase a scan for good."""
    async with open_node(args) as node:
        scan = await node.library.find(args.scan)
        what = f"{scan.description or 'this scan'}, {counted(scan.instances, 'image')}"
        confirm(args, f"Erase {what}, for good? This cannot be undone.", scan.scan.hex()[:6], out)
        await node.library.erase(scan.scan.hex())
    advice = (
        "It is no longer in this vault. Copies of the vault made earlier, and people you shared it with, still have it."
    )
    out.data({"erased": scan.scan.hex(), "instances": scan.instances}, [advice])
    return OK


def scan_value(scan: Scan) -> dict[str, Any]:
    """A scan as JSON; text as decoded from the files."""
    return {
        "scan": scan.scan.hex(),
        "study_uid": scan.study_uid,
        "patient": scan.patient_name,
        "date": scan.study_date,
        "description": scan.description,
        "modalities": [m for m in scan.modalities.split("\\") if m],
        "instances": scan.instances,
        "bytes": scan.bytes,
        "state": _state(scan),
    }


def _state(scan: Scan) -> str:
    if scan.conflicts:
        return "conflict"
    return "mixed-patients" if scan.patients > 1 else "stored"


def _list(scans: list[Scan], out: Output, empty: str) -> list[str]:
    if not scans:
        return [empty]
    heads = ["ID", "DATE", "PATIENT", "DESCRIPTION", "KIND", "IMAGES", "SIZE", ""]
    rows = [
        [
            s.scan.hex()[:8], date_text(s.study_date), name_text(s.patient_name), s.description,
            s.modalities.replace("\\", "/"), str(s.instances), size_text(s.bytes),
            "" if _state(s) == "stored" else f"! {_state(s)}",
        ]
        for s in scans
    ]  # fmt: skip
    return table(heads, rows, plain=out.plain)

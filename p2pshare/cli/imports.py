"""The import command."""

import argparse
from pathlib import Path

from p2pshare.cli.context import secret_for, vault_of
from p2pshare.cli.output import Output, counted, size_text
from p2pshare.cli.scan import scan_value
from p2pshare.model.dicom import FileOutcome
from p2pshare.model.text import shown
from p2pshare.node import importing
from p2pshare.service.import_report import ImportProgress

OK, PARTIAL = 0, 7
_SHOWN_PROBLEMS = 20


async def import_files(args: argparse.Namespace, out: Output) -> int:
    """Import files, folders and archives; say what became of every file."""
    path = vault_of(args)
    secret = secret_for(args, path)
    files = [Path(p) for p in args.paths]
    async with importing(
        path, secret, lambda progress: out.progress(_progress(progress)), keep_unreadable=args.keep_unreadable
    ) as (node, importer):
        report = await (importer.preview(files) if args.dry_run else importer.run(files))
        for missing in importer.sandbox_missing:
            out.say(f"On this system the readers are not kept from everything: {missing}.")
        studies = await node.library.with_uids([*report.studies, *report.known_studies])
    counts = {outcome.value: report.counts[outcome] for outcome in FileOutcome}
    value = {
        **counts,
        "studies": [scan_value(s) for s in studies],
        "problems": [{"file": p.file, "why": p.why, "outcome": p.outcome.value} for p in report.problems],
    }
    lines = [_sentence(counts, dry_run=args.dry_run)]
    shown_problems = report.problems if out.verbose else report.problems[:_SHOWN_PROBLEMS]
    lines += [f"  {p.outcome.value}: {shown(p.file)}: {shown(p.why)}" for p in shown_problems]
    if len(report.problems) > len(shown_problems):
        lines.append(f"  and {len(report.problems) - len(shown_problems)} more (-v shows all)")
    out.data(value, lines)
    return PARTIAL if report.counts[FileOutcome.UNREADABLE] else OK


def _sentence(counts: dict[str, int], *, dry_run: bool) -> str:
    stored = counts["stored"] + counts["conflict"]
    verb = "would be stored" if dry_run else "saved"
    more = {
        "duplicate": "already here",
        "conflict": "with the identifier of another image, both kept",
        "skipped": "passed over",
        "unreadable": "could not be read",
    }
    parts = [f"{counts[outcome]} {what}" for outcome, what in more.items() if counts[outcome]]
    return "; ".join([f"{counted(stored, 'image')} {verb}", *parts]) + "."


def _progress(progress: ImportProgress) -> str:
    total = f" of {progress.files_total}" if progress.files_total is not None else ""
    left = progress.seconds_left
    eta = f", about {left:.0f} s left" if left is not None else ""
    return f"{progress.files_done}{total} files, {size_text(progress.bytes_done)}{eta}"

"""The import command."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from p2pshare.cli.context import secret_for, vault_of
from p2pshare.cli.output import Output, counted, size_text
from p2pshare.cli.scan import scan_value
from p2pshare.model.dicom import FileOutcome
from p2pshare.model.text import shown
from p2pshare.node import importing
from p2pshare.service.import_report import FileProblem, ImportProgress

OK, PARTIAL = 0, 7
_SHOWN_REASONS = 20
_SHOWN_FILES = 3  # of each reason


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
    out.data(value, [*lines, *_problem_lines(report.problems, every=out.verbose)])
    return PARTIAL if report.counts[FileOutcome.UNREADABLE] else OK


def _problem_lines(problems: Sequence[FileProblem], *, every: bool) -> list[str]:
    """What became of files that were not simply stored: by reason, with a few names unless `every`."""
    if every:
        return [f"  {p.outcome.value}: {shown(p.file)}: {shown(p.why)}" for p in problems]
    alike: dict[tuple[FileOutcome, str], list[str]] = {}
    for problem in problems:
        alike.setdefault((problem.outcome, problem.why), []).append(problem.file)
    lines: list[str] = []
    for (outcome, why), files in list(alike.items())[:_SHOWN_REASONS]:
        if len(files) == 1:
            lines.append(f"  {outcome.value}: {shown(files[0])}: {shown(why)}")
            continue
        lines.append(f"  {outcome.value}, {counted(len(files), 'file')}: {shown(why)}")
        lines += [f"    {shown(file)}" for file in files[:_SHOWN_FILES]]
        if len(files) > _SHOWN_FILES:
            lines.append(f"    and {len(files) - _SHOWN_FILES} more (-v shows all)")
    if len(alike) > _SHOWN_REASONS:
        lines.append(f"  and {counted(len(alike) - _SHOWN_REASONS, 'other reason')} (-v shows all)")
    return lines


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

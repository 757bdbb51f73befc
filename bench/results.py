"""What a run found: one line for each thing measured, shown as a table and kept as JSON.

A ratio is the median of the ratios of the pairs, each pair measured one right after the other.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """One thing measured. `value` is what the goal speaks of; a goal is met when `value` is not above it.

    `unit` is "x" (times the peer), "s", "MiB", or "KB". `samples` are all numbers behind it, in the order they came.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    ours: str = ""
    peer: str = ""
    note: str = ""
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        return None if self.goal is None else self.value <= self.goal


@dataclass(frozen=True, slots=True)
class Failed:
    """A measurement that could not be made, and why."""

    name: str
    why: str


@dataclass(slots=True)
class Results:
    """All lines of one run, with what was skipped or failed."""

    about: Mapping[str, str]
    lines: list[Line] = field(default_factory=list)
    skipped: list[Failed] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write everything to `path` as JSON."""
        lines = [{**dataclasses.asdict(line), "met": line.met} for line in self.lines]
        value: dict[str, Any] = {
            "about": dict(self.about),
            "lines": lines,
            "skipped": [dataclasses.asdict(one) for one in self.skipped],
            "failed": [dataclasses.asdict(one) for one in self.failed],
        }
        path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")

    def table(self) -> list[str]:
        """Everything as lines of text (a Markdown table, and lists below it)."""
        rows = [["what", "p2pshare", "peer", "result", "goal", ""]]
        rows += [[_safe(cell) for cell in _cells(line)] for line in self.lines]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        text = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
        text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
        text += [f"note: {line.name}: {line.note}" for line in self.lines if line.note]
        text += [f"skipped: {one.name}: {one.why}" for one in self.skipped]
        text += [f"FAILED: {one.name}: {one.why}" for one in self.failed]
        return text


def paired(
    name: str, ours: Sequence[float], peer: Sequence[float], *, unit: str = "s", goal: float | None = None,
    note: str = "",
) -> Line:  # fmt: skip
    """A line that compares pairs; `unit` is that of the samples."""
    ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]
    spread = f"pairs {min(ratios):.2f} to {max(ratios):.2f}" if len(ratios) > 1 else "one pair"
    return Line(
        name, median(ratios), "x", goal, shown(median(ours), unit), shown(median(peer), unit),
        f"{spread}; {note}" if note else spread, {"ours": list(ours), "peer": list(peer)},
    )  # fmt: skip


def alone(
    name: str, samples: Sequence[float], unit: str, *, goal: float | None = None, ours: str = "", note: str = ""
) -> Line:
    """A line without a peer: the median of `samples`."""
    middle = median(samples)
    return Line(name, middle, unit, goal, ours or shown(middle, unit), "", note, {"ours": list(samples)})


def shown(value: float, unit: str) -> str:
    """A number with its unit, for people."""
    match unit:
        case "x":
            return f"{value:.3f} x"
        case "s":
            return f"{value:.3f} s" if value < 1 else f"{value:.2f} s"
        case "MiB":
            return f"{value:.1f} MiB"
        case "MB":
            return f"{value / 1e6:.1f} MB"
        case "KB":
            return f"{value:.1f} KB"
        case _:
            return f"{value:,.{1 if value % 1 else 0}f} {unit}"


def _cells(line: Line) -> list[str]:
    goal = "" if line.goal is None else f"<= {shown(line.goal, line.unit)}"
    return [line.name, line.ours, line.peer, shown(line.value, line.unit), goal, _VERDICTS[line.met]]


_VERDICTS = {True: "met", False: "MISSED", None: ""}


def _safe(cell: str) -> str:
    return cell.replace("|", "/")

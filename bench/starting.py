"""How long `p2pshare --version` takes, beside Python doing nothing: what every command pays before it begins."""

import sys

from context import Context
from nodes import P2PSHARE
from processes import run
from results import alone

GOAL_SECONDS = 0.15
_TIMES = 10


def measure(context: Context) -> None:
    """Alternate the two."""
    with context.measuring("start-up"):
        ours: list[float] = []
        bare: list[float] = []
        for _ in range(_TIMES):
            ours.append(run([P2PSHARE, "--version"]).seconds)
            bare.append(run([sys.executable, "-c", "pass"]).seconds)
        context.results.lines += [
            alone("p2pshare --version", ours, "s", goal=GOAL_SECONDS, note=f"median of {_TIMES}"),
            alone("python -c pass, for comparison", bare, "s"),
        ]

"""Completion scripts, made from the grammar."""

import argparse

from p2pshare.cli.output import Output
from p2pshare.cli.parser import build_parser

OK = 0


async def completion(args: argparse.Namespace, out: Output) -> int:
    """Print a completion script for a shell."""
    import shtab

    script = shtab.complete(build_parser(), args.shell)
    out.data({"shell": args.shell, "script": script}, script.splitlines())
    return OK

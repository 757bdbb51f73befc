"""Completion scripts, made from the grammar."""

import argparse
from collections.abc import Iterator

from p2pshare.cli.output import Output
from p2pshare.cli.parser import build_parser

OK = 0


async def completion(args: argparse.Namespace, out: Output) -> int:
    """Print a completion script for a shell."""
    import shtab

    parser = build_parser()
    kinds = {"FILE": shtab.FILE, "PATH": shtab.FILE, "DIR": shtab.DIRECTORY}
    for action in _actions(parser):
        if isinstance(action.metavar, str) and action.metavar in kinds:
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]  # how shtab is told
    script = shtab.complete(parser, args.shell)
    out.data({"shell": args.shell, "script": script}, script.splitlines())
    return OK


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of every command."""
    for action in parser._actions:  # argparse has no public way to ask
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions(inner)

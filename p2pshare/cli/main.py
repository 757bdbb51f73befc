"""Runs one command: parses, calls its handler, and turns every error into a sentence and an exit code."""

import argparse
import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from p2pshare.cli.output import Output
from p2pshare.cli.parser import build_parser
from p2pshare.errors import P2PShareError

INTERRUPTED = 130

Handler = Callable[[argparse.Namespace, Output], Awaitable[int]]


def run(argv: Sequence[str]) -> int:
    """Run `p2pshare` with `argv`; return the exit code (USERS.md's table, docs/cli.md)."""
    args = build_parser().parse_args(argv)
    out = Output(json=args.json, plain=args.plain, quiet=args.quiet, verbose=args.verbose, color=not args.no_color)
    try:
        return asyncio.run(_run(_handler(args.handler), args, out))
    except P2PShareError as error:
        out.failed(error)
        return error.exit_code
    except KeyboardInterrupt:
        out.say("Interrupted. What was stored is safe; the same command goes on where it stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; nothing more can be said on it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def _run(handler: Handler, args: argparse.Namespace, out: Output) -> int:
    """Run the handler so that SIGTERM ends it as ^C does, with every `finally` run."""
    task = asyncio.ensure_future(handler(args, out))
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            return 0 if args.handler.endswith(":serve") else INTERRUPTED
        raise


def _handler(name: str) -> Handler:
    """Import the handler only now: `--version` and `--help` need none of it."""
    module, _, function = name.partition(":")
    return cast("Handler", getattr(importlib.import_module(f"p2pshare.cli.{module}"), function))

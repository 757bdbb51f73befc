"""Runs one command: parses, calls its handler, and turns every error into a sentence and an exit code."""

import argparse
import asyncio
import errno
import importlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

from p2pshare.cli.output import Output
from p2pshare.cli.parser import build_parser
from p2pshare.errors import DiskTrouble, Fault, Interrupted, P2PShareError

ERROR = 1

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)  # what printing to a file can meet

Handler = Callable[[argparse.Namespace, Output], Awaitable[int]]


def run(argv: Sequence[str]) -> int:
    """Run `p2pshare` with `argv`; return the exit code (USERS.md's table, docs/cli.md)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold keys
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nobody does linear algebra: no threads for it
    # Until the grammar has understood the options, only this much of them is known.
    out = Output(json="--json" in argv, plain=False, quiet=False, verbose=False, color=False)
    try:
        args = build_parser().parse_args(argv)
        out = Output(json=args.json, plain=args.plain, quiet=args.quiet, verbose=args.verbose, color=not args.no_color)
        return asyncio.run(_run(_handler(args.handler), args, out))
    except BrokenPipeError:
        # Whoever read our output has left; nothing more can be said on it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last door: beyond it is only a traceback
        return _failed(error, out)


def _failed(error: BaseException, out: Output) -> int:
    """Say what went wrong; return its exit code."""
    told = _told(error)
    if isinstance(told, Fault) and out.verbose:
        out.say("".join(traceback.format_tb(error.__traceback__)))  # lines of code; no values, which may be private
    out.failed(told)
    return told.exit_code


def _told(error: BaseException) -> P2PShareError:
    """The error of ours that `error` is, holds, or amounts to."""
    if isinstance(error, KeyboardInterrupt):
        return Interrupted()
    for leaf in _leaves(error):
        if isinstance(leaf, P2PShareError):
            return leaf
        if isinstance(leaf, OSError) and leaf.errno in _DISK:
            return DiskTrouble(os.strerror(leaf.errno))
    frames = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
    return Fault(f"{type(error).__name__} at {frames[-1] if frames else 'an unknown place'}")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors that a group of tasks failed with, or the one error that it is."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


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
        if not stopped:
            raise
        if args.handler.endswith(":serve"):
            return 0  # that is how a server is stopped
        raise Interrupted from None


def _handler(name: str) -> Handler:
    """Import the handler only now: `--version` and `--help` need none of it."""
    module, _, function = name.partition(":")
    return cast("Handler", getattr(importlib.import_module(f"p2pshare.cli.{module}"), function))

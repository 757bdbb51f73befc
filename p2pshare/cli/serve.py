"""The headless node."""

import argparse

from p2pshare.cli.context import secret_for, settings, vault_of
from p2pshare.cli.output import Output
from p2pshare.errors import UsageError
from p2pshare.node import serve as run_node
from p2pshare.service.listening import parse_listen

OK = 0
DEFAULT_LISTEN = "0.0.0.0:4747"


async def serve(args: argparse.Namespace, out: Output) -> int:
    """Send and receive until stopped by SIGTERM or ^C."""
    path = vault_of(args)
    listen = parse_listen(args.listen or settings().listen or DEFAULT_LISTEN)
    if args.limit_rate is not None and args.limit_rate <= 0:
        raise UsageError("--limit-rate takes a number above 0")
    rate = args.limit_rate * 1e6 if args.limit_rate is not None else None

    def ready(address: str) -> None:
        out.event("listening", {"address": address}, f"Sending and receiving at {address}. Stop with ^C.")

    await run_node(path, secret_for(args, path), listen, ready, bytes_per_second=rate)
    return OK

"""What `p2pshare` says when it is run without a command: where to begin."""

import argparse

from p2pshare.cli.context import has_vault, vault_of
from p2pshare.cli.output import Output
from p2pshare.errors import UsageError

USAGE = 2

_NEW = """\
p2pshare keeps your medical images in an encrypted vault on this computer, and sends the scans you choose
straight to the people you choose. No account, no server in between.

There is no vault here yet. To make yours:
    p2pshare setup --name "YOUR NAME" --recovery-file recovery-sheet.txt
To watch two made-up people do it first:
    p2pshare demo
"""

_KNOWN = """\
p2pshare needs to be told what to do:
    p2pshare import PATH     save scans from a disc, a folder or a ZIP archive
    p2pshare scan ls         list your scans
    p2pshare person ls       list the people you share with
    p2pshare inbox ls        list what others share with you
    p2pshare status          see what is going on
"""

_HELP = "All commands: p2pshare --help. More about one of them: p2pshare scan --help"


async def welcome(args: argparse.Namespace, out: Output) -> int:
    """Say how to begin, or how to go on where there is a vault."""
    if out.json:
        raise UsageError("no command was given")
    out.say(_KNOWN if has_vault(vault_of(args)) else _NEW)
    out.say(_HELP)
    return USAGE

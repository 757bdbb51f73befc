"""Kinds of arguments: what may be typed for each, and the parser that refuses the rest.

Rule 1: what a person typed wrong is an error of ours, so that it is said, and made safe to show, like every other.
"""

import argparse
from collections.abc import Callable
from typing import NoReturn

from p2pshare.errors import UsageError

_NUMBER_MAX = 2**31 - 1


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError where argparse would print and exit, and whose usage line is short."""

    own_arguments: Callable[[argparse.ArgumentParser], object] | None = None

    def format_help(self) -> str:
        """The help; its first line leaves out the global options, which are listed below."""
        if self.own_arguments is not None:
            own = argparse.ArgumentParser(prog=self.prog, add_help=False)
            self.own_arguments(own)
            self.usage = own.format_usage().removeprefix("usage: ").strip()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UsageError(message)


def as_text(typed: str) -> str:
    """Text as a person means it; a word that is not in the terminal's encoding is none."""
    try:
        typed.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("not readable as text") from None
    return typed


def whole_number(typed: str) -> int:
    """A number of a size that computers agree on."""
    if not (typed.isascii() and typed.isdigit() and int(typed[:12]) <= _NUMBER_MAX):
        raise argparse.ArgumentTypeError(f"{typed!r} is not a whole number")
    return int(typed)


def number_from_1(typed: str) -> int:
    """How many, where none makes no sense."""
    number = whole_number(typed)
    if number == 0:
        raise argparse.ArgumentTypeError("it begins at 1")
    return number


def amount(typed: str) -> float:
    """A number that is neither negative nor without end."""
    try:
        amount = float(typed)
    except ValueError:
        amount = -1.0
    if not 0 <= amount <= _NUMBER_MAX:
        raise argparse.ArgumentTypeError(f"{typed!r} is not a number from 0 on")
    return amount


def scan_argument(parser: argparse.ArgumentParser) -> None:
    """Let a command name a scan."""
    parser.add_argument(
        "scan", metavar="SCAN", type=as_text, help="the beginning of a scan's ID, or its Study Instance UID"
    )


def id_argument(parser: argparse.ArgumentParser) -> None:
    """Let a command name a share."""
    parser.add_argument("id", metavar="ID", type=as_text, help="the beginning of a share's ID")


def person_argument(parser: argparse.ArgumentParser) -> None:
    """Let a command name a person."""
    parser.add_argument(
        "person", metavar="PERSON", type=as_text, help="a name, a word of it, or the beginning of an ID of `person ls`"
    )

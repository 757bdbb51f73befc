"""The command line's grammar: every verb, option and its help, and which handler runs it.

Rule 1: nothing heavy is imported here; a handler is named, and imported only when it runs.
Rule 2: global options may stand before or after the verb.
"""

import argparse
from collections.abc import Callable
from typing import Any

from p2pshare import __version__
from p2pshare.cli.arguments import (
    Parser,
    amount,
    as_text,
    id_argument,
    number_from_1,
    person_argument,
    scan_argument,
    whole_number,
)

_Sub = Any  # argparse's own type for a group of subparsers is private

_EXIT_CODES = (
    "Exit codes: 0 done; 1 error; 2 not understood; 3 wrong passphrase; 4 not found; 5 damaged or forged; 6 queued,"
    " not there yet; 7 done in part; 8 a safety rule says no; 9 an answer is needed; 130 interrupted."
    " All is told in docs/cli.md."
)


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    parser = Parser(
        prog="p2pshare",
        description="Keep your medical images in an encrypted vault on this computer, and send the scans you choose"
        " straight to the people you choose.",
        epilog=_EXIT_CODES,
        parents=[_global_options(suppress=False)],
        allow_abbrev=False,
        usage="p2pshare [options] COMMAND ...",
    )
    parser.add_argument("--version", action="version", version=f"p2pshare {__version__}")
    parser.set_defaults(handler="welcome:welcome")
    verbs = parser.add_subparsers(prog=parser.prog, title="commands", metavar="COMMAND")
    for add in (_vault_verbs, _scan_verbs, _person_verbs, _share_verbs, _inbox_verbs, _node_verbs):
        add(verbs)
    return parser


def _global_options(*, suppress: bool) -> argparse.ArgumentParser:
    """The options of every command. After a verb they must not reset what stood before it."""
    options = Parser(add_help=False, allow_abbrev=False)
    group = options.add_argument_group("global options")

    def add(*names: str, default: object, **kind: Any) -> None:
        group.add_argument(*names, default=argparse.SUPPRESS if suppress else default, **kind)

    add("--vault", metavar="DIR", default=None, help="the vault's folder (or P2PSHARE_VAULT, or the config file)")
    add(
        "--passphrase-file", metavar="FILE", default=None,
        help="read the passphrase from the first line of FILE (or P2PSHARE_PASSPHRASE_FILE)",
    )  # fmt: skip
    add(
        "--passphrase-fd",
        metavar="N",
        type=whole_number,
        default=None,
        help="read the passphrase from file descriptor N",
    )
    add("--key-file", metavar="FILE", default=None, help="open the vault with a key file instead of a passphrase")
    add("--json", action="store_true", default=False, help="print one line of JSON for programs (see docs/cli.md)")
    add("--plain", action="store_true", default=False, help="plain lines, tabs between columns: for screen readers")
    add("-q", "--quiet", action="store_true", default=False, help="print nothing but results and errors")
    add("-v", "--verbose", action="store_true", default=False, help="say more")
    add("--no-color", action="store_true", default=False, help="no colours (so does NO_COLOR in the environment)")
    add("--no-input", action="store_true", default=False, help="never ask; end with exit code 9 instead")
    add("--yes", action="store_true", default=False, help="take every confirmation as given")
    return options


def _verb(
    verbs: _Sub, name: str, handler: str, text: str, more: Callable[[argparse.ArgumentParser], object] | None = None
) -> None:
    parser = verbs.add_parser(
        name, help=text, description=f"{text[:1].upper()}{text[1:]}.", parents=[_global_options(suppress=True)],
        allow_abbrev=False,
    )  # fmt: skip
    parser.set_defaults(handler=handler)
    parser.own_arguments = more or _nothing
    parser.own_arguments(parser)


def _nothing(parser: argparse.ArgumentParser) -> None:
    """For a command without arguments of its own."""


def _noun(verbs: _Sub, name: str, text: str) -> _Sub:
    parser = verbs.add_parser(
        name, help=text, description=f"{text[:1].upper()}{text[1:]}.", parents=[_global_options(suppress=True)],
        allow_abbrev=False,
    )  # fmt: skip
    parser.usage = f"{parser.prog} COMMAND ..."
    return parser.add_subparsers(prog=parser.prog, title="commands", metavar="COMMAND", required=True)


# --- the vault ---


def _vault_verbs(verbs: _Sub) -> None:
    _verb(verbs, "setup", "vault:setup", "make your vault, once", _setup_options)
    _verb(verbs, "unlock", "vault:unlock", "see whether the vault opens", _unlock_options)
    _verb(
        verbs,
        "import",
        "imports:import_files",
        "save scans from files, folders, discs and ZIP archives",
        _import_options,
    )
    _verb(verbs, "check", "vault:check", "see whether everything is here and as it was written", _check_options)
    _verb(verbs, "recover", "vault:recover", "set a new passphrase with the recovery sheet", _recover_options)
    _passphrase_verbs(verbs)
    _verb(verbs, "log", "vault:log", "show what happened in this vault", _log_options)
    _verb(verbs, "status", "vault:status", "show what this vault holds and what waits", _status_options)


def _setup_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A passphrase is asked for, twice, unless --passphrase-file or --passphrase-fd give it. With --key-file FILE a"
        " key file is made there, which opens the vault without the passphrase."
    )
    parser.add_argument("--name", required=True, type=as_text, help="your name, as others will see it on your card")
    parser.add_argument(
        "--recovery-file", metavar="FILE", required=True,
        help="write the recovery sheet here; print it and keep it apart from this computer",
    )  # fmt: skip


def _unlock_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", required=True, help="open and close again, and say so")


def _import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a file, a folder, or a ZIP archive")
    parser.add_argument("--keep-unreadable", action="store_true", help="keep files that cannot be read, as they are")
    parser.add_argument("--dry-run", action="store_true", help="say what would be stored, and store nothing")


def _check_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--read-data", action="store_true", help="read, decrypt and compare every byte")


def _recover_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recovery-file", metavar="FILE", required=True, help="the recovery sheet, or a file with its code typed in"
    )
    parser.add_argument(
        "--new-passphrase-file", metavar="FILE", required=True, help="the new passphrase, on the first line of FILE"
    )
    parser.add_argument(
        "--new-recovery-file", metavar="FILE", help="also make a new recovery code, and write its sheet here"
    )


def _passphrase_verbs(verbs: _Sub) -> None:
    passphrase = _noun(verbs, "passphrase", "what opens your vault")
    _verb(
        passphrase, "change", "vault:change_passphrase", "let a new passphrase open the vault in place of the old one",
        _change_options,
    )  # fmt: skip


def _change_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "The new passphrase is asked for, twice, unless --new-passphrase-file gives it."
    parser.add_argument("--new-passphrase-file", metavar="FILE", help="the new passphrase, on the first line of FILE")


def _log_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--last", metavar="N", type=number_from_1, help="only the last N entries")


def _status_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", action="store_true", help="say for everything that waits why it does")


# --- scans ---


def _scan_verbs(verbs: _Sub) -> None:
    scan = _noun(verbs, "scan", "your scans")
    _verb(scan, "ls", "scan:ls", "list all scans, the newest first")
    _verb(scan, "show", "scan:show", "show one scan with its series", scan_argument)
    _verb(
        scan, "find", "scan:find", "find scans by name, description, date, body part or hospital",
        lambda p: p.add_argument("text", metavar="TEXT", nargs="+", type=as_text, help="words, or beginnings of words"),
    )  # fmt: skip
    _verb(scan, "export", "scan:export", "write a scan's files to a folder, byte for byte", _export_options)
    _verb(scan, "erase", "scan:erase", "erase a scan from this vault for good", scan_argument)


def _export_options(parser: argparse.ArgumentParser) -> None:
    scan_argument(parser)
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="the folder to write to")


# --- people ---


def _person_verbs(verbs: _Sub) -> None:
    person = _noun(verbs, "person", "the people you share with")
    _verb(person, "card", "person:card", "write your card to a file, to give to somebody", _card_options)
    _verb(
        person, "add", "person:add", "add a person by the card file they gave you",
        lambda p: p.add_argument("file", metavar="FILE", help="their card file"),
    )  # fmt: skip
    _verb(person, "ls", "person:ls", "list people")
    _verb(person, "verify", "person:verify", "confirm that both of you see the same eight words", _verify_options)
    _verb(person, "set", "person:set_person", "set where a person's computer is reached", _set_options)
    _verb(person, "block", "person:block", "block a person: nothing more is sent to them or served", person_argument)
    _verb(person, "unblock", "person:unblock", "unblock a person", person_argument)


def _card_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the file to write")
    parser.add_argument(
        "--address", metavar="HOST:PORT", action="append", type=as_text, default=None,
        help="put this address on your card (repeat for several); they stay until set anew",
    )  # fmt: skip


def _verify_options(parser: argparse.ArgumentParser) -> None:
    person_argument(parser)
    parser.add_argument(
        "--words", metavar="WORDS", required=True, type=as_text, help="the eight words that the other side reads out"
    )


def _set_options(parser: argparse.ArgumentParser) -> None:
    person_argument(parser)
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        required=True,
        type=as_text,
        help="tried first; an empty text goes back to the card's",
    )


# --- shares and the inbox ---


def _share_verbs(verbs: _Sub) -> None:
    share = _noun(verbs, "share", "scans that you share with others")
    _verb(share, "create", "share:create", "offer scans to a person", _create_options)
    _verb(share, "ls", "share:ls", "list your shares")
    _verb(share, "status", "share:status", "show how far a share has come, and why it waits", _wait_options)
    _verb(share, "revoke", "share:revoke", "stop a share; copies that arrived cannot be recalled", id_argument)
    _verb(share, "receipt", "share:receipt", "show the recipient's signed receipt", _receipt_options)


def _create_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", metavar="PERSON", required=True, type=as_text, help="who is to have them")
    parser.add_argument(
        "--scan", metavar="SCAN", required=True, type=as_text, action="append", help="which scan (repeat for several)"
    )
    parser.add_argument("--question-file", metavar="FILE", help="a text file with your question")
    parser.add_argument("--expires-days", metavar="N", type=number_from_1, help="end the offer after N days")
    parser.add_argument(
        "--unverified", action="store_true", help="send although the person is not verified; this is logged"
    )


def _wait_options(parser: argparse.ArgumentParser) -> None:
    id_argument(parser)
    parser.add_argument("--wait", action="store_true", help="wait until the share is imported, or has ended")
    parser.add_argument(
        "--until", choices=("offered", "accepted", "delivered", "imported"), default="imported",
        help="what to wait for (default: imported)",
    )  # fmt: skip
    parser.add_argument("--timeout", metavar="S", type=amount, help="wait at most S seconds (exit code 6)")


def _receipt_options(parser: argparse.ArgumentParser) -> None:
    id_argument(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="also write the receipt as it was signed")


def _inbox_verbs(verbs: _Sub) -> None:
    inbox = _noun(verbs, "inbox", "scans that others share with you")
    _verb(inbox, "ls", "inbox:ls", "list what was offered to you")
    _verb(inbox, "show", "inbox:show", "show one offer, its question first", id_argument)
    _verb(inbox, "accept", "inbox:accept", "accept an offer: its images are fetched", id_argument)
    _verb(inbox, "decline", "inbox:decline", "decline an offer", _decline_options)


def _decline_options(parser: argparse.ArgumentParser) -> None:
    id_argument(parser)
    parser.add_argument("--reason", metavar="TEXT", required=True, type=as_text, help="why; the sender reads it")


# --- the node ---


def _node_verbs(verbs: _Sub) -> None:
    _verb(verbs, "serve", "serve:serve", "send and receive until stopped", _serve_options)
    _verb(verbs, "demo", "demo:demo", "watch two made-up people share a scan on this computer", _demo_options)
    _verb(
        verbs, "completion", "completion:completion", "print a completion script for your shell",
        lambda p: p.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="your shell"),
    )  # fmt: skip


def _serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=as_text,
        help="where to listen; port 0 takes any (default: every address, port 4747)",
    )
    parser.add_argument(
        "--limit-rate", metavar="MB", type=amount, help="send at most MB megabytes a second (default: no limit)"
    )


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", metavar="DIR", help="where to put the two vaults (default: a new folder in /tmp)")

"""What a command needs before it can begin: which vault, what opens it, and a person's yes.

Rule 1: secrets never come in arguments or environment values; those only name files.
Rule 2: options before the environment before the config file (USERS.md).
Rule 3: only a person at a terminal is asked, and can always leave with ^C.
"""

import argparse
import getpass
import os
import signal
import sys
import termios
import warnings
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

from p2pshare.cli.output import Output
from p2pshare.config import Config, config_path, read_config, vault_path
from p2pshare.errors import NeedsInput, NotConfirmed, NoVault, UsageError
from p2pshare.node import Node, opened
from p2pshare.service import unlocking
from p2pshare.service.unlocking import PassphraseSecret, Secret

_TRIES = 3  # at typing a new passphrase the same twice


def settings() -> Config:
    """The config file."""
    return read_config(config_path())


def vault_of(args: argparse.Namespace) -> Path:
    """The vault's folder."""
    return vault_path(args.vault, settings())


def has_vault(path: Path) -> bool:
    """Whether there is a vault at `path`, as far as we may look."""
    try:
        return (path / "vault.p2pv").exists()
    except OSError:
        return False


def open_node(args: argparse.Namespace) -> AbstractAsyncContextManager[Node]:
    """The vault that the options name, opened with what they give. Raises NoVault before it asks for anything."""
    path = vault_of(args)
    return opened(path, secret_for(args, path))


def secret_for(args: argparse.Namespace, path: Path) -> Secret:
    """What opens the vault at `path`: a key file, a passphrase from a file or descriptor, or one typed by a person."""
    if not has_vault(path):
        raise NoVault(str(path))
    config = settings()
    if args.key_file:
        return unlocking.key_from(Path(args.key_file))
    given = _named_passphrase(args, Config())
    if given is None and config.key_file:
        return unlocking.key_from(Path(config.key_file).expanduser())
    given = given or _named_passphrase(args, config)
    if given is None:
        _need_person(args, "the passphrase (--passphrase-file, --passphrase-fd or --key-file)")
        given = PassphraseSecret(_typed("Passphrase: "))
    return given


def new_passphrase(args: argparse.Namespace, out: Output) -> PassphraseSecret:
    """The passphrase for a new vault: named by the options, or typed twice by a person, who is told what it means."""
    given = _named_passphrase(args, settings())
    if given is not None:
        return given
    return typed_passphrase(args, out, "a passphrase for the new vault (--passphrase-file or --passphrase-fd)")


def typed_passphrase(args: argparse.Namespace, out: Output, what: str) -> PassphraseSecret:
    """A new passphrase, typed twice by a person, who is told what it means. Raises NeedsInput, naming `what`."""
    _need_person(args, what)
    out.say("The passphrase opens your vault. Nobody can reset it; only the recovery sheet helps when it is forgotten.")
    out.say(f"Six random words are safe and can be remembered, for example:  {unlocking.suggest_passphrase()}")
    for _ in range(_TRIES):
        first = _typed("New passphrase: ")
        if first and first == _typed("The same again: "):
            return PassphraseSecret(first)
        out.say("The two were not the same." if first else "It was empty.")
    raise NeedsInput("the same passphrase, typed twice")


def confirm(args: argparse.Namespace, question: str, word: str, out: Output) -> None:
    """Have a person at a terminal type `word`; elsewhere the command itself is the confirmation.

    Raises:
        NotConfirmed: they typed something else. NeedsInput: --no-input forbids to ask, and there is no --yes.
    """
    if args.yes:
        return
    if args.no_input:
        raise NeedsInput("a confirmation (--yes)")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    out.say(question)
    print(f"Type {word} to go on: ", end="", file=sys.stderr, flush=True)
    try:
        with _interruptible():
            typed = sys.stdin.readline()
    except UnicodeDecodeError:
        typed = ""
    if typed.strip() != word:
        raise NotConfirmed


def _named_passphrase(args: argparse.Namespace, config: Config) -> PassphraseSecret | None:
    """The passphrase that an option, the environment or `config` points to."""
    if args.passphrase_fd is not None:
        return PassphraseSecret(_read_descriptor(args.passphrase_fd))
    file = args.passphrase_file or os.environ.get("P2PSHARE_PASSPHRASE_FILE") or config.passphrase_file
    return unlocking.passphrase_from(Path(file).expanduser()) if file else None


def _need_person(args: argparse.Namespace, what: str) -> None:
    if args.no_input or not sys.stdin.isatty():
        raise NeedsInput(what)


def _typed(prompt: str) -> str:
    """What a person types with the echo off; refused where the echo cannot be turned off."""
    try:
        with _interruptible(), warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(prompt)
    except (EOFError, OSError, UnicodeDecodeError, termios.error, getpass.GetPassWarning):
        raise NeedsInput("a passphrase, typed at a terminal") from None


@contextmanager
def _interruptible() -> Iterator[None]:
    """While a person is asked, ^C and SIGTERM end the command at once: the event loop, which is waiting, cannot."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _read_descriptor(number: int) -> str:
    try:
        with os.fdopen(number, "rb", closefd=False) as file:
            return file.readline(65536).decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"file descriptor {number}: {type(error).__name__}") from None

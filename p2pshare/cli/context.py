"""What a command needs before it can begin: which vault, and what opens it. Secrets never come in arguments."""

import argparse
import getpass
import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from p2pshare.config import Config, config_path, read_config, vault_path
from p2pshare.errors import NeedsInput, NoVault, UsageError
from p2pshare.model.text import shown
from p2pshare.node import Node, opened
from p2pshare.service import unlocking
from p2pshare.service.unlocking import PassphraseSecret, Secret


def settings() -> Config:
    """The config file."""
    return read_config(config_path())


def vault_of(args: argparse.Namespace) -> Path:
    """The vault's folder."""
    return vault_path(args.vault, settings())


def open_node(args: argparse.Namespace) -> AbstractAsyncContextManager[Node]:
    """The vault that the options name, opened with what they give. Raises NoVault before it asks for anything."""
    path = vault_of(args)
    return opened(path, secret_for(args, path))


def secret_for(args: argparse.Namespace, path: Path) -> Secret:
    """What opens the vault at `path`: a key file, a passphrase from a file or descriptor, or one typed by a person."""
    if not (path / "vault.p2pv").exists():
        raise NoVault(str(path))
    config = settings()
    key_file = args.key_file or config.key_file
    if key_file:
        return unlocking.key_from(Path(key_file))
    return passphrase(args, config, "Passphrase: ")


def passphrase(args: argparse.Namespace, config: Config, prompt: str) -> PassphraseSecret:
    """The passphrase that the options or the environment point to, or that a person types."""
    if args.passphrase_fd is not None:
        return PassphraseSecret(_read_descriptor(args.passphrase_fd))
    file = args.passphrase_file or os.environ.get("P2PSHARE_PASSPHRASE_FILE") or config.passphrase_file
    if file:
        return unlocking.passphrase_from(Path(file))
    if args.no_input or not sys.stdin.isatty():
        raise NeedsInput("the passphrase (--passphrase-file, --passphrase-fd or --key-file)")
    return PassphraseSecret(getpass.getpass(prompt))


def confirmed(args: argparse.Namespace, question: str, word: str) -> bool:
    """Whether a person at a terminal types `word`; without one, the command itself is the confirmation."""
    if args.yes or args.no_input or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    print(f"{shown(question)}\nType {word!r} to go on: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == word


def _read_descriptor(number: int) -> str:
    try:
        with os.fdopen(number, "rb", closefd=False) as file:
            return file.readline(65536).decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"file descriptor {number}: {type(error).__name__}") from None

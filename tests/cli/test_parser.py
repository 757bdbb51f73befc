import argparse
from collections.abc import Iterator

import pytest

from p2pshare.cli.parser import build_parser
from p2pshare.errors import UsageError
from tests.house.test_docs import commands

EVERY = list(commands(build_parser()))
SAID_IN_THE_PROJECT = """
--vault DIR --passphrase-file F setup --name NAME --recovery-file R
import PATH OTHER --json
scan ls
scan show SCAN
scan find TEXT
scan export SCAN -o DIR
scan erase SCAN --json
person card -o FILE
person add FILE
person ls
person verify PERSON --words WORDS
person set PERSON --address HOST:1
person block PERSON
serve --listen HOST:1 --json
share create --to PERSON --scan SCAN --question-file F --json
share ls
share status ID --wait --timeout 5
share revoke ID
inbox ls
inbox show ID
inbox accept ID
inbox decline ID --reason TEXT
check --read-data
recover --recovery-file R --new-passphrase-file F
passphrase change --new-passphrase-file F
log
unlock --check
status --why
demo
completion bash
""".strip().splitlines()


@pytest.mark.parametrize("line", SAID_IN_THE_PROJECT)
def test_a_command_is_understood_in_these_words(line: str) -> None:
    assert build_parser().parse_args(line.split()).handler != "welcome:welcome"


@pytest.mark.parametrize(
    "before", [["--json", "--vault", "v", "scan", "ls"], ["scan", "--json", "--vault", "v", "ls"],
               ["scan", "ls", "--json", "--vault", "v"], ["--vault", "v", "scan", "--json", "ls"]],
)  # fmt: skip
def test_global_options_stand_anywhere(before: list[str]) -> None:
    args = build_parser().parse_args(before)
    assert (args.json, args.vault, args.plain) == (True, "v", False)


@pytest.mark.parametrize(
    "line",
    ["frobnicate", "scan", "scan frobnicate", "scan ls --frobnicate", "log --last 0", "log --last -1", "log --last x",
     "share status x --timeout nan", "share status x --timeout -1", "share status x --timeout inf",
     "share create --to x --scan y --expires-days 0", "--passphrase-fd -1 log", "--passphrase-fd 99999999999999 log",
     "share status x --until never", "completion fish", "unlock", "--vers", "serve --limit-rate -3"],
)  # fmt: skip
def test_what_is_not_understood_is_an_error_of_ours(line: str) -> None:
    with pytest.raises(UsageError):
        build_parser().parse_args(line.split())


def test_what_cannot_be_text_is_refused_where_text_is_meant_but_not_where_a_file_is() -> None:
    with pytest.raises(UsageError, match="not readable as text"):
        build_parser().parse_args(["scan", "find", "\udcff"])
    assert build_parser().parse_args(["import", "\udcff"]).paths == ["\udcff"]


def test_find_takes_several_words() -> None:
    assert build_parser().parse_args(["scan", "find", "knee", "left"]).text == ["knee", "left"]


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (a for a in parser._actions if a.help != argparse.SUPPRESS)


@pytest.mark.parametrize(("command", "parser"), EVERY, ids=[c for c, _ in EVERY])
def test_every_option_of_a_command_says_what_it_does(command: str, parser: argparse.ArgumentParser) -> None:
    assert parser.description
    assert all(action.help for action in actions(parser)), command
    assert parser.format_help().isascii()


@pytest.mark.parametrize(("command", "parser"), EVERY, ids=[c for c, _ in EVERY])
def test_help_uses_the_words_of_people(command: str, parser: argparse.ArgumentParser) -> None:
    text = parser.format_help().lower()
    for word in ("blob", "manifest", "peer", "key exchange", " node", "ciphertext"):
        assert word not in text, f"{command}: {word}"


def test_every_command_names_a_handler_that_is_there() -> None:
    import importlib

    for _, parser in EVERY:
        module, _, function = str(parser.get_default("handler")).partition(":")
        assert callable(getattr(importlib.import_module(f"p2pshare.cli.{module}"), function))


def test_no_option_takes_a_secret() -> None:
    for command, parser in EVERY:
        for action in actions(parser):
            for option in action.option_strings:
                if any(word in option for word in ("passphrase", "recovery", "key")):
                    assert option.endswith(("-file", "-fd")), f"{command} {option}"

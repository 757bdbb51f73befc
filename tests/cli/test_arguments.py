import argparse

import pytest

from p2pshare.cli.arguments import Parser, amount, as_text, number_from_1, whole_number
from p2pshare.errors import UsageError


def test_a_wrong_command_line_is_an_error_of_ours_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="p2pshare")
    parser.add_argument("--to", required=True)
    with pytest.raises(UsageError, match="--to"):
        parser.parse_args([])
    assert capsys.readouterr() == ("", "")


def test_the_usage_line_names_only_what_the_command_adds() -> None:
    shared = Parser(add_help=False)
    shared.add_argument("--everywhere", help="global")
    parser = Parser(prog="p2pshare do", parents=[shared])
    parser.own_arguments = lambda p: p.add_argument("what", help="own")
    parser.own_arguments(parser)
    text = parser.format_help()
    assert text.startswith("usage: p2pshare do what\n")
    assert "--everywhere" in text


def test_text_is_what_can_be_written_down() -> None:
    assert as_text("山田 \x1b") == "山田 \x1b"
    with pytest.raises(argparse.ArgumentTypeError):
        as_text("\udcff")


@pytest.mark.parametrize(("typed", "number"), [("0", 0), ("7", 7), ("2147483647", 2**31 - 1)])
def test_whole_numbers_are_read(typed: str, number: int) -> None:
    assert whole_number(typed) == number


@pytest.mark.parametrize("typed", ["-1", "", "1.5", "1e3", "٣", "2147483648", "9" * 10_000, " 7"])
def test_what_is_no_whole_number_is_refused(typed: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        whole_number(typed)


def test_counting_begins_at_one() -> None:
    assert number_from_1("1") == 1
    with pytest.raises(argparse.ArgumentTypeError):
        number_from_1("0")


@pytest.mark.parametrize(("typed", "number"), [("0", 0.0), ("0.5", 0.5), ("1e3", 1000.0)])
def test_amounts_are_read(typed: str, number: float) -> None:
    assert amount(typed) == number


@pytest.mark.parametrize("typed", ["-1", "nan", "inf", "", "much"])
def test_what_is_no_amount_is_refused(typed: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        amount(typed)

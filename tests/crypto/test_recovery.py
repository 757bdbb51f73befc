"""A recovery code is read however it was typed or printed, and a typing error is told as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pshare.crypto.recovery import format_code, new_code, parse_code
from p2pshare.errors import UsageError

CODES = st.binary(min_size=32, max_size=32)
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@given(CODES)
def test_a_printed_code_is_two_lines_of_seven_groups_and_comes_back(code: bytes) -> None:
    printed = format_code(code)
    assert [len(line.split()) for line in printed.split("\n")] == [7, 7]
    assert {len(group) for group in printed.split()} == {4}
    assert parse_code(printed) == code


@given(CODES, st.sampled_from(["", " ", "-", "\n", "  - "]), st.booleans())
def test_case_spacing_and_letters_taken_for_digits_do_not_matter(code: bytes, between: str, small: bool) -> None:
    letters = format_code(code).replace(" ", "").replace("\n", "")
    typed = between.join(letters[i : i + 4] for i in range(0, 56, 4)).replace("0", "O").replace("1", "I")
    assert parse_code(typed.lower() if small else typed.replace("I", "L")) == code


@given(CODES, st.text(max_size=200), st.text(max_size=200))
def test_a_code_is_found_on_a_whole_sheet(code: bytes, before: str, after: str) -> None:
    first, second = format_code(code).split("\n")
    assert parse_code(f"{before}\n\n   {first}\n\n   {second}  \n{after}") == code


@given(CODES, st.integers(0, 55), st.sampled_from(ALPHABET))
def test_a_changed_letter_is_a_typing_error(code: bytes, at: int, letter: str) -> None:
    letters = format_code(code).replace(" ", "").replace("\n", "")
    if letters[at] != letter:
        with pytest.raises(UsageError, match="typing error"):
            parse_code(letters[:at] + letter + letters[at + 1 :])


def test_swapped_neighbours_are_typing_errors() -> None:
    letters = format_code(new_code()).replace(" ", "").replace("\n", "")
    for at in range(55):
        if letters[at] != letters[at + 1]:
            with pytest.raises(UsageError, match="typing error"):
                parse_code(letters[:at] + letters[at + 1] + letters[at] + letters[at + 2 :])


@pytest.mark.parametrize("text", ["", "hello", "U" * 56, "0" * 55, "0" * 57, "\x00" * 56, "é" * 56, "no code\nat all"])
def test_a_text_without_a_code_is_told_as_one(text: str) -> None:
    with pytest.raises(UsageError, match="no recovery code"):
        parse_code(text)


def test_a_very_long_text_is_not_searched() -> None:
    with pytest.raises(UsageError, match="too long"):
        parse_code("0" * 70_000)


def test_what_was_typed_is_never_repeated() -> None:
    typed = "7" + format_code(bytes(32))[1:]
    with pytest.raises(UsageError) as refused:
        parse_code(typed)
    assert typed[:9] not in str(refused.value)


def test_codes_are_fresh() -> None:
    assert len({new_code() for _ in range(50)}) == 50
    assert len(new_code()) == 32


def test_the_format_is_the_documented_one() -> None:
    printed = format_code(bytes(31) + b"\x01")
    assert printed.replace(" ", "").replace("\n", "")[:52] == "0" * 50 + "0G"  # 256 bits, then 4 zero bits

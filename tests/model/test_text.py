import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pshare.model.text import shown, shown_lines


@pytest.mark.parametrize("text", ["Müller^Anna", "山田^太郎", "علی\u200cرضا", "👩\u200d🔬", "", "[bold]x[/bold]"])
def test_honest_text_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[2Jb", "a␛[2Jb"),
        ("a\0b\n\r\tc\x7f", "a␀b␊␍␉c␡"),
        ("\x9b31m", "<U+009B>31m"),
        ("abc\u202egpj.exe", "abc<U+202E>gpj.exe"),
        ("\u2066x\u2069", "<U+2066>x<U+2069>"),
        ("a\u2028b", "a<U+2028>b"),
        ("\ud800", "<U+D800>"),
        ("a\ufeffb\u200bc", "a<U+FEFF>b<U+200B>c"),
    ],
)
def test_what_could_act_is_replaced_by_what_shows(text: str, expected: str) -> None:
    assert shown(text) == expected


@given(st.text(alphabet=st.characters(), max_size=200))
def test_nothing_that_is_shown_can_move_a_cursor(text: str) -> None:
    for char in shown(text):
        assert unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.category(char) != "Cf" or char in "\u200c\u200d"


def test_long_text_is_cut_and_says_so() -> None:
    assert shown("x" * 11, limit=10) == "x" * 9 + "…"
    assert shown("x" * 10, limit=10) == "x" * 10


def test_lines_are_kept_apart_and_each_is_safe() -> None:
    assert shown_lines("one\r\ntwo\tx\n\x1b[A") == ["one", "two    x", "␛[A"]

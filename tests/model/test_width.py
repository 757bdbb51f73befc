import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pshare.model.width import clipped, folded, padded, width


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("", 0),
        ("Anna", 4),
        ("Müller", 6),
        ("Mu\u0308ller", 6),  # the mark combines
        ("山田", 4),
        ("한국", 4),
        ("ｗ", 2),
        ("עברית", 5),
        ("مُحَمَّد", 4),  # with vowel signs
        ("نام\u200cها", 5),  # a joiner takes no room
        ("☤", 1),
        ("🩻", 2),
        ("\u0e5c", 1),  # no character yet
    ],
)
def test_text_takes_as_many_cells_as_a_terminal_gives_it(text: str, cells: int) -> None:
    assert width(text) == cells


@pytest.mark.parametrize("name", ["Anna", "山田太郎", "עברית", "e\u0301te\u0301", ""])
def test_padded_names_end_in_one_column(name: str) -> None:
    assert width(padded(name, 12)) == 12
    assert padded(name, 12).startswith(name)


def test_what_is_too_long_for_its_column_is_not_padded() -> None:
    assert padded("too long", 3) == "too long"


def test_what_fits_is_not_clipped() -> None:
    assert clipped("山田", 4) == "山田"


def test_clipped_text_says_that_something_went() -> None:
    assert clipped("abcdef", 4) == "abc…"
    assert clipped("山田太郎", 4) == "山…"  # a wide character is not cut in half


@given(st.text(max_size=60), st.integers(3, 20))
def test_clipped_text_fits(text: str, cells: int) -> None:
    assert width(clipped(text, cells)) <= cells


@given(st.text(max_size=60), st.integers(2, 20))
def test_folded_pieces_fit_and_make_up_the_text(text: str, cells: int) -> None:
    pieces = folded(text, cells)
    assert "".join(pieces) == text
    assert all(width(piece) <= cells for piece in pieces)


def test_a_mark_stays_with_what_it_marks() -> None:
    assert folded("ae\u0301b", 2) == ["ae\u0301", "b"]
    assert unicodedata.combining(folded("e\u0301" * 3, 1)[1][0]) == 0


@pytest.mark.parametrize("cells", [1, 0, -5])
def test_a_line_without_room_still_takes_one_character_at_a_time(cells: int) -> None:
    assert folded("山a", cells) == ["山", "a"]

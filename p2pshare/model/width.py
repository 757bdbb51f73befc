"""How wide text is on a terminal, in cells: wide scripts take two, marks that combine take none (UAX #11)."""

import unicodedata


def width(text: str) -> int:
    """The cells that `text` (already made safe) takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(char) for char in text)


def padded(text: str, cells: int) -> str:
    """`text` with spaces after it, up to `cells`."""
    return text + " " * max(0, cells - width(text))


def clipped(text: str, cells: int) -> str:
    """`text` in at most `cells` (3 or more); where something had to go, it ends in an ellipsis."""
    if width(text) <= cells:
        return text
    return folded(text, cells - 1)[0] + "…"


def folded(text: str, cells: int) -> list[str]:
    """`text` in pieces of at most `cells` (but one character at least) that make it up; one empty piece for none."""
    pieces, start, used = [], 0, 0
    for index, char in enumerate(text):
        room = _cells(char)
        if used + room > cells and index > start:
            pieces.append(text[start:index])
            start, used = index, 0
        used += room
    return [*pieces, text[start:]]


def _cells(char: str) -> int:
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Cf") or unicodedata.combining(char):
        return 0
    if category == "Cn":
        return 1  # not a character yet; unicodedata calls such wide, terminals do not
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1

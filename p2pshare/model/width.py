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


def _cells(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1

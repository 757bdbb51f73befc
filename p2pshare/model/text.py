"""The one sanitiser: makes any foreign text inert and visible before it reaches a screen.

Control characters (C0, DEL, C1), bidirectional controls, invisible formatting and lone surrogates are replaced by
visible stand-ins, so that a name can neither move the cursor nor hide what it says.
"""

import unicodedata

_KEEP_FORMAT = frozenset("\u200c\u200d")  # joiners that Persian, Hindi and family emoji need


def _stand_in(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"<U+{code:04X}>"


def _is_unsafe(char: str) -> bool:
    category = unicodedata.category(char)
    if category in ("Cc", "Cs", "Zl", "Zp"):
        return True
    return category == "Cf" and char not in _KEEP_FORMAT


def shown(text: str, *, limit: int = 4096) -> str:
    """Return `text` safe for one line of a terminal: nothing in it acts, everything in it shows.

    Longer text is cut at `limit` characters and ends in an ellipsis.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(_stand_in(c) if _is_unsafe(c) else c for c in cut)


def shown_lines(text: str, *, limit: int = 65536) -> list[str]:
    """Return `text` as lines that are each safe to show; tabs become spaces."""
    return [shown(line.replace("\t", "    ")) for line in text[:limit].replace("\r\n", "\n").split("\n")]

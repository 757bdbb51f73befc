"""Text by Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 §6.1): always some text, and a warning where it is a guess.

Rule 1: nothing here raises; a wrong or missing character set must not hide a patient's scan.
Rule 2: only DICOM's own character sets are looked up, never a codec that a file names.
"""

import re
import warnings
from typing import Final

from pydicom.charset import decode_bytes, python_encoding

CHARSETS_MAX: Final = 16
GUESSED: Final = "the character set of its text is missing or wrong; names may be misread"
DAMAGED: Final = "some of its text does not fit its character set"

_DEFAULT: Final = "iso8859"  # what pydicom calls the default repertoire
_NAME_RESETS: Final = frozenset(b"^=")
_TEXT_RESETS: Final = frozenset(b"\r\n\t\f")
_ALONE: Final = ("GB18030", "GBK", "ISO_IR 192")  # no code extensions beside these
_LATIN: Final = ("", "ISO_IR 6", "ISO 2022 IR 6", "ISO_IR 100", "ISO 2022 IR 100")
_PAIRS: Final = re.compile(rb"(?:[\xb0-\xf7][\xa1-\xfe])+")  # GB 2312 hanzi
_COMMON_PAIRS: Final = re.compile(rb"[\xb0-\xd7][\xa1-\xfe]")  # its first level, in order of pronunciation
_HIGH_RUNS: Final = re.compile(rb"[\x80-\xff]+")


class Charset:
    """The character sets that one data set declares; `warnings` grows while decoding."""

    def __init__(self, declared: bytes) -> None:
        self.warnings: set[str] = set()
        names = [_tidy(name) for name in declared[:1024].decode("latin-1").split("\\")[:CHARSETS_MAX]]
        if any(name not in python_encoding for name in names):
            self.warnings.add(GUESSED)
        self._latin = names[0] in _LATIN
        self._declared = bool(names[0])
        codecs = [str(python_encoding.get(name, _DEFAULT)) for name in names]
        self._codecs = codecs[:1] if names[0] in _ALONE else codecs

    def text(self, value: bytes) -> str:
        """`value` of any text VR but PN, decoded; padding removed."""
        if value.isascii() and b"\x1b" not in value:
            return _trim(value.decode("ascii"))
        return self._finish(self._decode(value, _TEXT_RESETS))

    def name(self, value: bytes) -> str:
        """A person's name (PS3.5 §6.2.1): its groups, with `=` and `^` as they are."""
        if value.isascii() and b"\x1b" not in value:
            return _trim(value.decode("ascii")).rstrip("=")
        groups = [self._decode(group, _NAME_RESETS) for group in value.split(b"=")]
        return self._finish("=".join(groups)).rstrip("=")

    def _finish(self, text: str) -> str:
        if "\ufffd" in text or "\x1b" in text:
            self.warnings.add(DAMAGED)
        return _trim(text)

    def _decode(self, value: bytes, resets: frozenset[int]) -> str:
        if self._latin and b"\x1b" not in value and (guess := self._mislabelled(value)) is not None:
            self.warnings.add(GUESSED)
            return guess
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom's; ours are in the record
                return str(decode_bytes(value, self._codecs, resets))
        except (LookupError, ValueError):
            self.warnings.add(DAMAGED)
            return value.decode("latin-1")

    def _mislabelled(self, value: bytes) -> str | None:
        """What `value` reads as when it says Latin-1, or nothing, but is evidently something else."""
        if value.isascii():
            return None
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            pass
        if _is_chinese(value):
            return value.decode("gb18030", errors="replace")
        return None if self._declared else value.decode("latin-1")


def _is_chinese(value: bytes) -> bool:
    """Whether all that is not ASCII is whole GB 2312 characters, mostly common ones, and more than one."""
    runs = _HIGH_RUNS.findall(value)
    if not all(_PAIRS.fullmatch(run) for run in runs):
        return False
    pairs = sum(len(run) for run in runs) // 2
    common = sum(len(_COMMON_PAIRS.findall(run)) for run in runs)
    return pairs >= 2 and 2 * common >= pairs


def _tidy(name: str) -> str:
    """A character set's name with common misspellings put right: `ISO-IR 100`, `ISO_2022_IR_6`, `UTF-8`."""
    name = name.strip(" \0").upper()
    if match := re.fullmatch(r"ISO[ _-]?(2022[ _-])?IR[ _-]?(\d{1,3})", name):
        return f"ISO 2022 IR {match[2]}" if match[1] else f"ISO_IR {match[2]}"
    return {"UTF-8": "ISO_IR 192", "UTF8": "ISO_IR 192", "GB2312": "GBK"}.get(name, name)


def _trim(text: str) -> str:
    """`text` without padding (PS3.5 §6.2); a NUL within it becomes visible."""
    return text.strip(" \0").replace("\0", "\ufffd")

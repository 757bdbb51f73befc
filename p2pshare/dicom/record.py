"""Raw values of a data set to the frozen record; the only place where a DICOM value becomes one of ours.

Rule 1: identity is validated and refused when it is not valid; every other value that does not fit is left out.
Rule 2: what was left out or guessed is said in the record's warnings.
"""

import re
from collections.abc import Mapping
from typing import Final

from p2pshare.dicom.charset import Charset
from p2pshare.dicom.pixels import Geometry
from p2pshare.dicom.scan import Elements
from p2pshare.errors import BadIdentity
from p2pshare.model.dicom import DicomRecord
from p2pshare.model.ids import Uid, parse_uid

TEXT_MAX: Final = 1024  # characters kept of one text
WARNINGS_MAX: Final = 20

# PS3.6
CHARACTER_SET: Final = 0x00080005
SOP_CLASS: Final = 0x00080016
SOP_INSTANCE: Final = 0x00080018
STUDY_DATE: Final = 0x00080020
STUDY_TIME: Final = 0x00080030
ACCESSION: Final = 0x00080050
MODALITY: Final = 0x00080060
INSTITUTION: Final = 0x00080080
STUDY_DESCRIPTION: Final = 0x00081030
SERIES_DESCRIPTION: Final = 0x0008103E
PATIENT_NAME: Final = 0x00100010
PATIENT_ID: Final = 0x00100020
BIRTH_DATE: Final = 0x00100030
SEX: Final = 0x00100040
BODY_PART: Final = 0x00180015
STUDY: Final = 0x0020000D
SERIES: Final = 0x0020000E
SERIES_NUMBER: Final = 0x00200011
INSTANCE_NUMBER: Final = 0x00200013
SAMPLES: Final = 0x00280002
PHOTOMETRIC: Final = 0x00280004
FRAMES: Final = 0x00280008
ROWS: Final = 0x00280010
COLUMNS: Final = 0x00280011
BITS_ALLOCATED: Final = 0x00280100
DIRECTORY_RECORDS: Final = 0x00041220

WANTED: Final = frozenset(
    (
        CHARACTER_SET, SOP_CLASS, SOP_INSTANCE, STUDY_DATE, STUDY_TIME, ACCESSION, MODALITY, INSTITUTION,
        STUDY_DESCRIPTION, SERIES_DESCRIPTION, PATIENT_NAME, PATIENT_ID, BIRTH_DATE, SEX, BODY_PART, STUDY, SERIES,
        SERIES_NUMBER, INSTANCE_NUMBER, SAMPLES, PHOTOMETRIC, FRAMES, ROWS, COLUMNS, BITS_ALLOCATED,
    )
)  # fmt: skip

_DATE: Final = re.compile(r"(\d{4})[.]?(0[1-9]|1[0-2])[.]?(0[1-9]|[12]\d|3[01])")  # dots: before 1993 (PS3.5 §6.2)
_TIME: Final = re.compile(r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)([.]\d{1,6})?)?)?")
_INTEGER: Final = re.compile(r"[+-]?\d{1,32}([.]0*)?")


class Values:
    """Typed access to one data set's raw values; `warnings` grows while reading."""

    def __init__(self, found: Elements) -> None:
        self._raw: Mapping[int, bytes] = found.values
        self._order = ("little", "big")[found.big_endian]
        self._charset = Charset(self._raw.get(CHARACTER_SET, b""))
        self._warnings = list(found.warnings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out or guessed so far."""
        return tuple(dict.fromkeys([*self._warnings, *sorted(self._charset.warnings)]))[:WARNINGS_MAX]

    def warn(self, what: str) -> None:
        """Add a warning."""
        self._warnings.append(what)

    def identifier(self, tag: int) -> str:
        """A UID without its padding, not validated; "" if absent."""
        return self._raw.get(tag, b"").decode("latin-1").strip(" \0")

    def text(self, tag: int) -> str:
        """A text, or ""."""
        value = self._raw.get(tag)
        return self._cut(self._charset.text(value)) if value else ""

    def name(self, tag: int) -> str:
        """A person's name, or ""."""
        value = self._raw.get(tag)
        return self._cut(self._charset.name(value)) if value else ""

    def date(self, tag: int, what: str) -> str:
        """A DA value, or "" with a warning."""
        text = self.identifier(tag)
        if not text:
            return ""
        match = _DATE.fullmatch(text)
        if match is None:
            self.warn(f"the {what} is not a date")
            return ""
        return "".join(match.groups())

    def time(self, tag: int, what: str) -> str:
        """A TM value, or "" with a warning."""
        text = self.identifier(tag)
        if not text:
            return ""
        match = _TIME.fullmatch(text)
        if match is None:
            self.warn(f"the {what} is not a time")
            return ""
        return "".join(part or "" for part in match.groups())

    def integer(self, tag: int, what: str) -> int | None:
        """An IS value, or None; with a warning when it is there and is none."""
        text = self.identifier(tag)
        if not text:
            return None
        if not _INTEGER.fullmatch(text) or abs(number := int(text.split(".")[0])) > 0x7FFFFFFF:
            self.warn(f"the {what} is not a number")
            return None
        return number

    def unsigned(self, tag: int, what: str) -> int:
        """A US value, or 0; with a warning when it is there and is none."""
        value = self._raw.get(tag)
        if not value:
            return 0
        if len(value) not in (2, 4):
            self.warn(f"the {what} is not a number")
            return 0
        return int.from_bytes(value, "big" if self._order == "big" else "little")

    def _cut(self, text: str) -> str:
        if len(text) <= TEXT_MAX:
            return text
        self.warn("a text is longer than p2pshare shows")
        return text[:TEXT_MAX]


def geometry(values: Values) -> Geometry:
    """What the header declares of its image, with 0 frames and samples read as one."""
    frames = values.integer(FRAMES, "number of frames") or 1
    if frames < 0:
        values.warn("the number of frames is not a number")
    return Geometry(
        rows=values.unsigned(ROWS, "number of rows"),
        columns=values.unsigned(COLUMNS, "number of columns"),
        samples=values.unsigned(SAMPLES, "number of samples") or 1,
        bits=values.unsigned(BITS_ALLOCATED, "number of bits"),
        frames=max(frames, 1),
        photometric=values.identifier(PHOTOMETRIC),
    )


def identity(values: Values, sop_fallback: str) -> tuple[Uid, Uid, Uid]:
    """Study, series and SOP Instance UID.

    Raises:
        BadIdentity: one of them is missing or is not a UID.
    """
    return (
        parse_uid(values.identifier(STUDY), "Study Instance UID"),
        parse_uid(values.identifier(SERIES), "Series Instance UID"),
        parse_uid(values.identifier(SOP_INSTANCE) or sop_fallback, "SOP Instance UID"),
    )


def record_of(
    values: Values, uids: tuple[Uid, Uid, Uid], *, sop_class: str, syntax: str, image: Geometry | None,
    encapsulated: bool,
) -> DicomRecord:  # fmt: skip
    """The record; `image` is None for an object without pixel data."""
    study_uid, series_uid, sop_uid = uids
    fields = {
        "patient_name": values.name(PATIENT_NAME),
        "patient_id": values.text(PATIENT_ID),
        "birth_date": values.date(BIRTH_DATE, "birth date"),
        "sex": values.text(SEX),
        "study_date": values.date(STUDY_DATE, "study date"),
        "study_time": values.time(STUDY_TIME, "study time"),
        "study_description": values.text(STUDY_DESCRIPTION),
        "accession": values.text(ACCESSION),
        "institution": values.text(INSTITUTION),
        "modality": values.text(MODALITY),
        "series_description": values.text(SERIES_DESCRIPTION),
        "body_part": values.text(BODY_PART),
        "sop_class": optional_uid(values, values.identifier(SOP_CLASS) or sop_class, "SOP Class UID"),
        "transfer_syntax": optional_uid(values, syntax, "Transfer Syntax UID"),
    }
    return DicomRecord(
        study_uid=study_uid,
        series_uid=series_uid,
        sop_uid=sop_uid,
        series_number=values.integer(SERIES_NUMBER, "series number"),
        instance_number=values.integer(INSTANCE_NUMBER, "instance number"),
        frames=image.frames if image else 0,
        rows=image.rows if image else 0,
        columns=image.columns if image else 0,
        bits_allocated=image.bits if image else 0,
        encapsulated=encapsulated,
        warnings=values.warnings,
        **fields,
    )


def optional_uid(values: Values, text: str, what: str) -> str:
    """`text` if it is a UID, else "" with a warning."""
    if not text:
        return ""
    try:
        return parse_uid(text, what)
    except BadIdentity as error:
        values.warn(error.what)
        return ""

"""What the vault keeps of a DICOM file: the record that a sandboxed worker makes of it, once."""

from enum import StrEnum

from p2pshare.model.ids import Uid
from p2pshare.model.packed import Packed


class DicomRecord(Packed, frozen=True):
    """The attributes p2pshare lists, searches and orders by; text is decoded by the file's character set.

    Dates are DA (YYYYMMDD) and times TM as in the file; "" where the file has none. `frames`, `rows` and `columns`
    are 0 for objects without pixels.
    """

    study_uid: Uid
    series_uid: Uid
    sop_uid: Uid
    sop_class: str
    transfer_syntax: str
    patient_name: str
    patient_id: str
    birth_date: str
    sex: str
    study_date: str
    study_time: str
    study_description: str
    accession: str
    institution: str
    modality: str
    series_description: str
    series_number: int | None
    body_part: str
    instance_number: int | None
    frames: int
    rows: int
    columns: int
    bits_allocated: int
    encapsulated: bool
    warnings: tuple[str, ...]


class FileOutcome(StrEnum):
    """What became of one file at import."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"  # stored too: same SOP Instance UID as another instance, other bytes
    SKIPPED = "skipped"
    UNREADABLE = "unreadable"


class ReadVerdict(StrEnum):
    """What a worker found a file to be."""

    INSTANCE = "instance"
    DICOMDIR = "dicomdir"
    NOT_DICOM = "not-dicom"
    TRUNCATED = "truncated"
    BOMB = "bomb"
    TOO_DEEP = "too-deep"
    BAD_IDENTITY = "bad-identity"
    BROKEN = "broken"
    DIED = "died"  # the worker was killed by a limit; said by the supervisor


class ReadReport(Packed, frozen=True):
    """A worker's answer for one file: a record, or why there is none.

    `covered` and `prefix_sha256` bind the record to bytes: it counts only if the first `covered` bytes of what is
    stored hash to `prefix_sha256` and the whole has `size` bytes.
    """

    verdict: ReadVerdict
    why: str
    record: DicomRecord | None
    size: int
    covered: int
    prefix_sha256: bytes

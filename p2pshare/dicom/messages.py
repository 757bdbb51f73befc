"""What the node, the zygote and the workers say to each other over Unix sockets; descriptors travel beside it.

Rule 1: every message is a length and one packed structure; the length is checked before anything is allocated.
Rule 2: what a worker says is foreign: it has been reading hostile files. Its reports are decoded strictly and
checked again against what was asked.
"""

from collections.abc import Sequence
from typing import Final, cast

from p2pshare.dicom.sources import FileSource, PrefixSource, Source, ZipEntrySource
from p2pshare.errors import BadIdentity, Malformed, TooLarge
from p2pshare.model.dicom import DicomRecord, ReadReport, ReadVerdict
from p2pshare.model.ids import parse_uid
from p2pshare.model.limits import KIB
from p2pshare.model.packed import Packed, T, decode, encode

BATCH_MAX: Final = 25  # sources in one message, and descriptors beside it
MESSAGE_MAX: Final = 256 * KIB
HEADER: Final = 4

_TEXT_MAX: Final = 2 * KIB  # characters of any text in a report
_TEXTS_MAX: Final = 32  # warnings
_NUMBER_MAX: Final = 0xFFFFFFFF


class FileTask(Packed, frozen=True, tag="file", tag_field="t"):
    """A `FileSource` without its descriptor."""

    size: int


class ZipEntryTask(Packed, frozen=True, tag="zip", tag_field="t"):
    """A `ZipEntrySource` without its descriptor."""

    offset: int
    compressed_size: int
    size: int
    method: int
    crc: int


class PrefixTask(Packed, frozen=True, tag="prefix", tag_field="t"):
    """A `PrefixSource` without its descriptor."""

    size: int
    covered: int


Task = FileTask | ZipEntryTask | PrefixTask


class Batch(Packed, frozen=True):
    """Sources to read; their descriptors come along in the same order. One report answers each."""

    tasks: tuple[Task, ...]


class Ready(Packed, frozen=True):
    """A worker's first message: it is in its sandbox, of which `missing` could not be had here."""

    missing: tuple[str, ...]


class Spawn(Packed, frozen=True, tag="spawn", tag_field="t"):
    """To the zygote: fork a worker for the socket that comes along."""


class Kill(Packed, frozen=True, tag="kill", tag_field="t"):
    """To the zygote: end that worker."""

    pid: int


class Spawned(Packed, frozen=True, tag="spawned", tag_field="t"):
    """From the zygote, in the order of the `Spawn` messages."""

    pid: int


class Exited(Packed, frozen=True, tag="exited", tag_field="t"):
    """From the zygote: how a worker ended, as an exit code or the negative number of a signal."""

    pid: int
    status: int


def frame(message: Packed) -> bytes:
    """The bytes of a message on a socket."""
    body = encode(message)
    return len(body).to_bytes(HEADER, "big") + body


def body_length(header: bytes | bytearray) -> int:
    """The length that a frame's header announces.

    Raises:
        TooLarge: it is beyond `MESSAGE_MAX`.
    """
    length = int.from_bytes(header[:HEADER], "big")
    if length > MESSAGE_MAX:
        raise TooLarge("a message between the node and its readers")
    return length


def opened(body: bytes | memoryview, kind: type[T]) -> T:
    """The message in a frame's body."""
    return decode(body, kind, limit=MESSAGE_MAX, what="a message between the node and its readers")


def to_zygote(body: bytes) -> Spawn | Kill:
    """What the node asks of the zygote."""
    return cast("Spawn | Kill", opened(body, cast("type[object]", Spawn | Kill)))


def from_zygote(body: bytes) -> Spawned | Exited:
    """What the zygote tells the node."""
    return cast("Spawned | Exited", opened(body, cast("type[object]", Spawned | Exited)))


def next_body(buffer: bytearray) -> bytes | None:
    """Take the first frame off the front of `buffer` and return its body; None while it is not complete."""
    if len(buffer) < HEADER:
        return None
    end = HEADER + body_length(buffer)
    if len(buffer) < end:
        return None
    body = bytes(buffer[HEADER:end])
    del buffer[:end]
    return body


def task_of(source: Source) -> Task:
    """A source without its descriptor."""
    match source:
        case FileSource(_, size):
            return FileTask(size)
        case ZipEntrySource(_, offset, compressed_size, size, method, crc):
            return ZipEntryTask(offset, compressed_size, size, method, crc)
        case PrefixSource(_, size, covered):
            return PrefixTask(size, covered)


def source_of(task: Task, fd: int) -> Source:
    """The source that `task` and its descriptor make."""
    match task:
        case FileTask():
            return FileSource(fd, task.size)
        case ZipEntryTask():
            return ZipEntrySource(fd, task.offset, task.compressed_size, task.size, task.method, task.crc)
        case PrefixTask():
            return PrefixSource(fd, task.size, task.covered)


def checked(report: ReadReport, source: Source) -> ReadReport:
    """`report`, if it can be an honest reader's report on `source`.

    Raises:
        Malformed: it cannot.
    """
    fits = (
        report.size == source.size
        and 0 <= report.covered <= report.size
        and (report.record is None) == (report.verdict is not ReadVerdict.INSTANCE)
        and len(report.prefix_sha256) == (32 if report.record else 0)
        and len(report.why) <= _TEXT_MAX
        and (report.record is None or _fits(report.record))
    )
    if not fits:
        raise Malformed("a reader's report")
    return report


def _fits(record: DicomRecord) -> bool:
    try:
        for uid in (record.study_uid, record.series_uid, record.sop_uid):
            parse_uid(uid, "UID")
        for optional in filter(None, (record.sop_class, record.transfer_syntax)):
            parse_uid(optional, "UID")
    except BadIdentity:
        return False
    fields: Sequence[object] = [getattr(record, name) for name in record.__struct_fields__]
    numbers = [value for value in fields if isinstance(value, int)]
    return (
        all(len(text) <= _TEXT_MAX for text in [*fields, *record.warnings] if isinstance(text, str))
        and len(record.warnings) <= _TEXTS_MAX
        and all(-_NUMBER_MAX <= number <= _NUMBER_MAX for number in numbers)
    )

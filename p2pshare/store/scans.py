"""Scans as a person asks for them: listed, found, shown, and looked up by the beginning of an id."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2pshare.errors import Ambiguous, NotFound
from p2pshare.model.ids import ObjectId, PackId, ScanId
from p2pshare.store.db import Database
from p2pshare.store.params import blobs


@dataclass(frozen=True, slots=True)
class Scan:
    """One study as listed. Text is as decoded from the files: sanitise before showing."""

    study: int
    scan: ScanId
    study_uid: str
    patient_name: str
    patient_id: str
    birth_date: str
    study_date: str
    description: str
    institution: str
    modalities: str
    series: int
    instances: int
    bytes: int
    conflicts: int
    patients: int


_COLUMNS = (
    "s.study, s.scan, s.study_uid, s.patient_name, s.patient_id, s.birth_date, s.study_date, s.description,"
    " s.institution, s.modalities, s.series, s.instances, s.bytes, s.conflicts, s.patients"
)


async def listed(db: Database) -> list[Scan]:
    """All scans, the newest first."""
    rows = await db.rows(f"SELECT {_COLUMNS} FROM study s ORDER BY s.study_date DESC, s.study", ())  # noqa: S608 - constant
    return [Scan(*row) for row in rows]


async def found(db: Database, text: str) -> list[Scan]:
    """Scans in whose text every word of `text` begins a word; where there are none, those that contain the text.

    The second look finds names in scripts that do not separate words.
    """
    words = ["".join(c if c.isalnum() else " " for c in part).split() for part in text.split()]
    terms = " ".join(f'"{word}"*' for part in words for word in part)
    rows: Sequence[tuple[object, ...]] = []
    if terms:
        rows = await db.rows(
            f"SELECT {_COLUMNS} FROM study_text t JOIN study s ON s.study = t.rowid"  # noqa: S608 - constant
            " WHERE study_text MATCH ? ORDER BY s.study_date DESC, s.study",
            (terms,),
        )
    if not rows and text.strip():
        escaped = text.strip().replace("!", "!!").replace("%", "!%").replace("_", "!_")
        rows = await db.rows(
            f"SELECT {_COLUMNS} FROM study_text t JOIN study s ON s.study = t.rowid"  # noqa: S608 - constant
            " WHERE t.text LIKE ? ESCAPE '!' ORDER BY s.study_date DESC, s.study",
            (f"%{escaped}%",),
        )
    return [Scan(*row) for row in rows]  # type: ignore[arg-type]


async def by_prefix(db: Database, text: str) -> Scan:
    """The one scan whose id begins with `text`, or whose Study Instance UID is `text`.

    Raises:
        NotFound: none does. Ambiguous: several do.
    """
    wanted = text.strip().lower()
    rows = await db.rows(
        f"SELECT {_COLUMNS} FROM study s WHERE lower(hex(s.scan)) LIKE ? OR s.study_uid = ? LIMIT 2",  # noqa: S608 - constant
        (f"{wanted}%" if wanted and all(c in "0123456789abcdef" for c in wanted) else "-", text.strip()),
    )
    if not rows:
        raise NotFound(f"scan {text!r}")
    if len(rows) > 1:
        raise Ambiguous(f"scan {text!r}")
    return Scan(*rows[0])


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One series of a scan, as shown."""

    series_uid: str
    modality: str
    description: str
    number: int | None
    body_part: str
    instances: int


async def series_of(db: Database, scan: Scan) -> list[SeriesRow]:
    """The series of a scan in order of their numbers."""
    rows = await db.rows(
        "SELECT e.series_uid, e.modality, e.description, e.number, e.body_part,"
        " (SELECT count(*) FROM instance i WHERE i.series = e.series) FROM series e WHERE e.study = ?"
        " ORDER BY e.number IS NULL, e.number, e.series",
        (scan.study,),
    )
    return [SeriesRow(*row) for row in rows]


async def warnings_of(db: Database, scan: Scan) -> list[tuple[str, int]]:
    """What the workers found odd in a scan's files, each with how many files have it, the most frequent first."""
    rows = await db.rows("SELECT warnings FROM instance WHERE study = ? AND warnings <> ''", (scan.study,))
    counts = Counter(line for row in rows for line in str(row[0]).split("\n"))
    return counts.most_common(20)


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """One instance with what it takes to read it back."""

    instance: int
    series_number: int | None
    number: int | None
    series_uid: str
    sop_uid: str
    sop_class: str
    conflict: int
    file_name: str
    object_id: ObjectId
    commitment: bytes
    key: bytes = field(repr=False)
    size: int
    sha256: bytes
    kind: str


async def instances_of(db: Database, scan: Scan) -> list[StoredInstance]:
    """All instances of a scan, series by series, in order of their numbers."""
    rows = await db.rows(
        "SELECT i.instance, e.number, i.number, e.series_uid, i.sop_uid, i.sop_class, i.conflict, i.file_name,"
        " o.object_id, o.commitment, o.key, o.size, o.sha256, o.kind"
        " FROM instance i JOIN series e ON e.series = i.series JOIN object o ON o.object = i.object WHERE i.study = ?"
        " ORDER BY e.number IS NULL, e.number, e.series, i.number IS NULL, i.number, i.instance",
        (scan.study,),
    )
    return [StoredInstance(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where one chunk of an object lies, and its digest."""

    object_id: ObjectId
    number: int
    pack_id: PackId
    offset: int
    length: int
    digest: bytes


async def places_of_study(db: Database, scan: Scan) -> dict[ObjectId, list[ChunkPlace]]:
    """The chunks of every instance of a scan, by object, in order."""
    rows = await db.rows(
        "SELECT o.object_id, c.number, p.pack_id, c.offset, c.length, c.digest FROM instance i"
        " JOIN object o ON o.object = i.object JOIN chunk c ON c.object = o.object JOIN pack p ON p.pack = c.pack"
        " WHERE i.study = ? ORDER BY c.object, c.number",
        (scan.study,),
    )
    return _by_object(rows)


async def places_of(db: Database, object_ids: Sequence[ObjectId]) -> dict[ObjectId, list[ChunkPlace]]:
    """The durable chunks of the given objects, in order; an object without any is left out."""
    rows = await db.rows(
        "SELECT o.object_id, c.number, p.pack_id, c.offset, c.length, c.digest FROM json_each(?) j"
        " CROSS JOIN object o ON o.object_id = unhex(j.value) JOIN chunk c ON c.object = o.object"
        " JOIN pack p ON p.pack = c.pack ORDER BY c.object, c.number",
        (blobs(object_ids),),
    )
    return _by_object(rows)


async def filed_objects(db: Database, object_ids: Sequence[ObjectId]) -> set[ObjectId]:
    """Which of the given objects are filed as an instance already."""
    rows = await db.rows(
        "SELECT o.object_id FROM json_each(?) j CROSS JOIN object o ON o.object_id = unhex(j.value)"
        " JOIN instance i ON i.object = o.object",
        (blobs(object_ids),),
    )
    return {ObjectId(row[0]) for row in rows}


def _by_object(rows: Sequence[tuple[object, ...]]) -> dict[ObjectId, list[ChunkPlace]]:
    places: dict[ObjectId, list[ChunkPlace]] = {}
    for row in rows:
        place = ChunkPlace(*row)  # type: ignore[arg-type]
        places.setdefault(place.object_id, []).append(place)
    return places

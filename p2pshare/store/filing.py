"""Filing: enters packs, objects and instances in the database, in one transaction that the caller holds.

Rule 1: rows are entered only after their packs are durable on disk.
Rule 2: whether an instance is new, a duplicate or a conflict is decided here, inside the transaction.
Rule 3: row numbers are drawn inside the transaction, so that every table is filled by one executemany.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from p2pshare.model.dicom import DicomRecord, FileOutcome
from p2pshare.model.ids import ChunkDigest, ObjectId, PackId, ShareId
from p2pshare.model.objects import ObjectKind
from p2pshare.store.db import Transaction
from p2pshare.store.params import texts
from p2pshare.store.studies import StudyBook, drop_empty, recount


@dataclass(frozen=True, slots=True)
class FiledPack:
    """A pack that is durable on disk. `study_uid` or `share` say what it belongs to."""

    pack_id: PackId
    generation: int
    scope: int
    size: int
    study_uid: str | None
    share: ShareId | None


@dataclass(frozen=True, slots=True)
class FiledObject:
    """An object whose chunks are, or will be, in packs. Key and hash are None while a keyring is withheld."""

    object_id: ObjectId
    commitment: bytes
    key: bytes | None = field(repr=False)
    size: int
    sha256: bytes | None
    kind: ObjectKind


@dataclass(frozen=True, slots=True)
class FiledChunk:
    """Where a stored chunk lies."""

    object_id: ObjectId
    number: int
    pack_id: PackId
    offset: int
    length: int
    digest: ChunkDigest


@dataclass(frozen=True, slots=True)
class FileMark:
    """What identifies an unchanged file: see `dicom.media`."""

    file_system: str
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class FiledInstance:
    """One instance (or kept file) of a stored object, as it came in."""

    object_id: ObjectId
    sha256: bytes
    record: DicomRecord
    file_name: str
    mark: FileMark | None
    share: ShareId | None = None  # what brought it


async def enter_packs(tx: Transaction, packs: Sequence[FiledPack]) -> None:
    """Enter packs that are durable on disk."""
    await tx.many(
        "INSERT INTO pack (pack_id, generation, scope, size, study_uid, share) VALUES (?, ?, ?, ?, ?, ?)",
        [(p.pack_id, p.generation, p.scope, p.size, p.study_uid, p.share) for p in packs],
    )


async def enter_objects(tx: Transaction, objects: Sequence[FiledObject]) -> None:
    """Enter objects; one that is known already keeps its row and gains the key and hash it lacked."""
    await tx.many(
        "INSERT INTO object (object_id, commitment, key, size, sha256, kind) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (object_id) DO UPDATE SET key = coalesce(key, excluded.key),"
        " sha256 = coalesce(sha256, excluded.sha256)",
        [(o.object_id, o.commitment, o.key, o.size, o.sha256, o.kind.value) for o in objects],
    )


async def enter_opened(tx: Transaction, opened: Iterable[tuple[ObjectId, bytes, bytes, ObjectKind]]) -> None:
    """Enter key, SHA-256 and kind of objects that were received, and were opened and verified with these very ones."""
    await tx.many(
        "UPDATE object SET key = ?, sha256 = ?, kind = ? WHERE object_id = ?",
        [(key, sha256, kind.value, object_id) for object_id, key, sha256, kind in opened],
    )


async def enter_chunks(tx: Transaction, chunks: Sequence[FiledChunk]) -> None:
    """Enter where chunks lie; of a chunk that came twice, the later copy is the one that is read."""
    await tx.many(
        "INSERT INTO chunk (object, number, pack, offset, length, digest)"
        " SELECT o.object, ?, p.pack, ?, ?, ? FROM object o JOIN pack p WHERE o.object_id = ? AND p.pack_id = ?"
        " ON CONFLICT (object, number) DO UPDATE SET pack = excluded.pack, offset = excluded.offset",
        [(c.number, c.offset, c.length, c.digest, c.object_id, c.pack_id) for c in chunks],
    )


async def enter_instances(tx: Transaction, arrivals: Sequence[FiledInstance], now: int) -> list[FileOutcome]:
    """Enter instances and return, for each in order, STORED, DUPLICATE or CONFLICT.

    A duplicate has the same SOP Instance UID and the same SHA-256 as an instance that is here. A conflict has the
    same UID and other bytes: both are kept, and both are flagged.
    """
    known = await _known_instances(tx, [a.record.sop_uid for a in arrivals if a.record.sop_uid])
    outcomes: list[FileOutcome] = []
    fresh: list[tuple[FiledInstance, bool]] = []
    clashing: set[str] = set()
    for arrival in arrivals:
        outcome = _outcome(arrival, known)
        outcomes.append(outcome)
        if outcome is FileOutcome.DUPLICATE:
            continue
        uid = str(arrival.record.sop_uid)
        known.setdefault(uid, set()).add(arrival.sha256)
        fresh.append((arrival, outcome is FileOutcome.CONFLICT))
        if outcome is FileOutcome.CONFLICT:
            clashing.add(uid)
    await _insert(tx, fresh, now)
    await tx.many("UPDATE instance SET conflict = 1 WHERE sop_uid = ?", [(uid,) for uid in sorted(clashing)])
    if clashing:
        await tx.many(
            "UPDATE study SET conflicts = (SELECT count(*) FROM instance i WHERE i.study = study.study"
            " AND i.conflict = 1) WHERE study IN (SELECT study FROM instance WHERE sop_uid = ?)",
            [(uid,) for uid in sorted(clashing)],
        )
    await remember_files(tx, [(a.mark, a.object_id) for a, _ in fresh if a.mark])
    return outcomes


def _outcome(arrival: FiledInstance, known: dict[str, set[bytes]]) -> FileOutcome:
    hashes = known.get(str(arrival.record.sop_uid)) if arrival.record.sop_uid else None
    if not hashes:
        return FileOutcome.STORED
    return FileOutcome.DUPLICATE if arrival.sha256 in hashes else FileOutcome.CONFLICT


async def remember_files(tx: Transaction, files: Iterable[tuple[FileMark | None, ObjectId]]) -> None:
    """Remember that these files hold these objects, so that they need not be read again while unchanged."""
    await tx.many(
        "INSERT OR REPLACE INTO seen_file (file_system, inode, size, mtime_ns, ctime_ns, object)"
        " SELECT ?, ?, ?, ?, ?, object FROM object WHERE object_id = ?",
        [(m.file_system, m.inode, m.size, m.mtime_ns, m.ctime_ns, object_id) for m, object_id in files if m],
    )


async def _known_instances(tx: Transaction, uids: Sequence[str]) -> dict[str, set[bytes]]:
    known: dict[str, set[bytes]] = {}
    rows = await tx.rows(
        "SELECT i.sop_uid, o.sha256 FROM instance i JOIN object o ON o.object = i.object"
        " WHERE i.sop_uid IN (SELECT value FROM json_each(?))",
        (texts(uids),),
    )
    for uid, sha256 in rows:
        known.setdefault(uid, set()).add(sha256)
    return known


async def _insert(tx: Transaction, fresh: Sequence[tuple[FiledInstance, bool]], now: int) -> None:
    book = StudyBook(tx, now)
    rows = []
    for arrival, conflict in fresh:
        record = arrival.record
        study, series = await book.place(record)
        rows.append(
            (
                study, series, arrival.object_id, str(record.sop_uid), record.sop_class, record.transfer_syntax,
                record.instance_number, record.frames, record.rows, record.columns, book.patient_of(record),
                int(conflict), "\n".join(record.warnings), arrival.file_name, arrival.share,
            )
        )  # fmt: skip
    await tx.many(
        "INSERT INTO instance (study, series, object, sop_uid, sop_class, transfer_syntax, number, frames, rows,"
        " columns, patient, conflict, warnings, file_name, share)"
        " VALUES (?, ?, (SELECT object FROM object WHERE object_id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    await book.close()


async def unfile(tx: Transaction, share: ShareId) -> None:
    """Take back every instance that `share` brought: it turned out not to be what its sender promised.

    Their keys go too; their chunks stay where they are, unopened, until the share is offered anew or erased.
    """
    studies = [int(row[0]) for row in await tx.rows("SELECT DISTINCT study FROM instance WHERE share = ?", (share,))]
    await tx.execute(
        "UPDATE object SET key = NULL, sha256 = NULL WHERE object IN (SELECT object FROM instance WHERE share = ?)",
        (share,),
    )
    await tx.execute("DELETE FROM instance WHERE share = ?", (share,))
    await tx.execute("UPDATE pack SET study_uid = NULL WHERE share = ?", (share,))
    await drop_empty(tx, studies)
    await recount(tx, studies)

"""What the vault has seen before: unchanged files by their marks, instances by UID and hash."""

import json
from collections.abc import Sequence

from p2pshare.model.ids import ObjectId
from p2pshare.store.db import Database
from p2pshare.store.filing import FileMark
from p2pshare.store.params import texts

Known = dict[str, dict[bytes, ObjectId]]  # SOP Instance UID -> SHA-256 -> object


async def unchanged(db: Database, marks: Sequence[FileMark | None]) -> list[str | None]:
    """For each mark, the Study Instance UID that the file is filed under if every mark is as it was; else None."""
    wanted = json.dumps(sorted({(m.file_system, m.inode) for m in marks if m}))
    rows = await db.rows(
        "SELECT f.file_system, f.inode, f.size, f.mtime_ns, f.ctime_ns, s.study_uid FROM json_each(?) j"
        " CROSS JOIN seen_file f ON f.file_system = j.value ->> 0 AND f.inode = j.value ->> 1"
        " JOIN instance i ON i.object = f.object JOIN study s ON s.study = i.study",
        (wanted,),
    )
    seen = {FileMark(*row[:5]): str(row[5]) for row in rows}
    return [seen.get(m) if m else None for m in marks]


async def known_instances(db: Database, uids: Sequence[str]) -> Known:
    """The instances filed under these SOP Instance UIDs."""
    known: Known = {}
    rows = await db.rows(
        "SELECT i.sop_uid, o.sha256, o.object_id FROM instance i JOIN object o ON o.object = i.object"
        " WHERE i.sop_uid IN (SELECT value FROM json_each(?)) AND i.sop_uid <> ''",
        (texts(uids),),
    )
    for uid, sha256, object_id in rows:
        known.setdefault(uid, {})[sha256] = ObjectId(object_id)
    return known


async def kept_file(db: Database, sha256: bytes) -> ObjectId | None:
    """The kept file with these very bytes, if there is one."""
    row = await db.row(
        "SELECT o.object_id FROM object o JOIN instance i ON i.object = o.object WHERE o.sha256 = ? AND i.sop_uid = ''",
        (sha256,),
    )
    return ObjectId(row[0]) if row else None

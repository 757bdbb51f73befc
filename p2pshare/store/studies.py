"""Studies and series as rows: opened while instances are filed, with totals and search text kept true."""

import hashlib
from collections.abc import Iterable
from typing import Final

from p2pshare.crypto.labels import label
from p2pshare.model.dicom import DicomRecord
from p2pshare.model.ids import ScanId
from p2pshare.store.db import Transaction

KEPT_FILES: Final = "files"  # stands for a Study Instance UID; cannot be one


def scan_id(study_uid: str) -> ScanId:
    """The id of a scan: the same in every vault that holds the study."""
    return ScanId(hashlib.sha256(label("scan/id") + study_uid.encode()).digest()[:16])


class StudyBook:
    """Finds or opens the study and series rows of records within one transaction; `close` brings totals up to date."""

    def __init__(self, tx: Transaction, now: int) -> None:
        self._tx = tx
        self._now = now
        self._studies: dict[str, int] = {}
        self._series: dict[tuple[int, str], int] = {}

    async def place(self, record: DicomRecord) -> tuple[int, int]:
        """Return the row numbers of the record's study and series."""
        study = self._studies.get(record.study_uid)
        if study is None:
            study = self._studies[record.study_uid] = await self._open_study(record)
        series = self._series.get((study, record.series_uid))
        if series is None:
            series = self._series[study, record.series_uid] = await self._open_series(study, record)
        return study, series

    @staticmethod
    def patient_of(record: DicomRecord) -> str:
        """What tells one patient from another within a study: Patient ID and name."""
        return f"{record.patient_id}\n{record.patient_name}"

    async def close(self) -> None:
        """Count what the touched studies now hold, and refresh what find-as-you-type looks in."""
        await recount(self._tx, self._studies.values())

    async def _open_study(self, record: DicomRecord) -> int:
        row = await self._tx.row("SELECT study FROM study WHERE study_uid = ?", (record.study_uid,))
        if row:
            return int(row[0])
        return await self._tx.insert(
            "INSERT INTO study (study_uid, scan, patient_name, patient_id, birth_date, sex, study_date, study_time,"
            " description, accession, institution, modalities, body_parts, series, instances, bytes, conflicts,"
            " patients, added) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', 0, 0, 0, 0, 0, ?)",
            (
                record.study_uid, scan_id(record.study_uid), record.patient_name, record.patient_id,
                record.birth_date, record.sex, record.study_date, record.study_time, record.study_description,
                record.accession, record.institution, self._now,
            ),
        )  # fmt: skip

    async def _open_series(self, study: int, record: DicomRecord) -> int:
        row = await self._tx.row(
            "SELECT series FROM series WHERE study = ? AND series_uid = ?", (study, record.series_uid)
        )
        if row:
            return int(row[0])
        return await self._tx.insert(
            "INSERT INTO series (study, series_uid, modality, description, number, body_part)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                study, record.series_uid, record.modality, record.series_description, record.series_number,
                record.body_part,
            ),
        )  # fmt: skip


async def recount(tx: Transaction, studies: Iterable[int]) -> None:
    """Count what studies hold, and refresh what find-as-you-type looks in."""
    touched = [(study,) for study in studies]
    await tx.many(
        "UPDATE study SET"
        " series = (SELECT count(*) FROM series s WHERE s.study = study.study),"
        " conflicts = (SELECT count(*) FROM instance i WHERE i.study = study.study AND i.conflict = 1),"
        " patients = (SELECT count(DISTINCT i.patient) FROM instance i WHERE i.study = study.study),"
        " modalities = (SELECT coalesce(group_concat(m, '\\'), '') FROM"
        "  (SELECT DISTINCT modality m FROM series s WHERE s.study = study.study AND modality <> '' ORDER BY m)),"
        " body_parts = (SELECT coalesce(group_concat(b, ' '), '') FROM"
        "  (SELECT DISTINCT body_part b FROM series s WHERE s.study = study.study AND body_part <> '' ORDER BY b)),"
        " (instances, bytes) = (SELECT count(*), coalesce(sum(o.size), 0) FROM instance i"
        "  JOIN object o ON o.object = i.object WHERE i.study = study.study)"
        " WHERE study = ?",
        touched,
    )
    for (study,) in touched:
        await _index(tx, study)


async def drop_empty(tx: Transaction, studies: Iterable[int]) -> None:
    """Delete those of `studies` that hold no instance any more, and their empty series."""
    for study in studies:
        await tx.execute(
            "DELETE FROM series WHERE study = ? AND series NOT IN (SELECT series FROM instance WHERE study = ?)",
            (study, study),
        )
        if not await tx.rows("SELECT 1 FROM instance WHERE study = ? LIMIT 1", (study,)):
            await tx.execute("DELETE FROM study_text WHERE rowid = ?", (study,))
            await tx.execute("DELETE FROM study WHERE study = ?", (study,))


async def _index(tx: Transaction, study: int) -> None:
    row = await tx.row(
        "SELECT patient_name, patient_id, study_date, description, accession, institution, modalities, body_parts"
        " FROM study WHERE study = ?",
        (study,),
    )
    if row is None:
        return
    series = await tx.rows("SELECT DISTINCT description FROM series WHERE study = ?", (study,))
    words = [*row, *(s[0] for s in series)]
    text = " ".join(str(w) for w in words).replace("^", " ").replace("=", " ").replace("\\", " ")
    old = await tx.row("SELECT text FROM study_text WHERE rowid = ?", (study,))
    if old and old[0] == text:
        return
    await tx.execute("DELETE FROM study_text WHERE rowid = ?", (study,))
    await tx.execute("INSERT INTO study_text (rowid, text) VALUES (?, ?)", (study, text))

"""What was seen before: files by their marks, instances by UID and hash."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from p2pshare.store import scans, seen
from p2pshare.store.filing import FileMark, remember_files
from tests.studies import make_study
from tests.world import Person, one_person

MARK = FileMark("uuid-1", 12, 34, 56, 78)


async def with_marked_file(ana: Person, folder: Path) -> str:
    make_study(folder, 1)
    await ana.imports(folder)
    (scan,) = await scans.listed(ana.vault.db)
    (instance,) = await scans.instances_of(ana.vault.db, scan)
    async with ana.vault.db.transaction() as tx:
        await remember_files(tx, [(MARK, instance.object_id), (None, instance.object_id)])
    return scan.study_uid


async def test_a_file_with_all_marks_as_they_were_is_known_by_its_study(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        study = await with_marked_file(ana, tmp_path / "in")
        assert await seen.unchanged(ana.vault.db, [None, MARK, MARK]) == [None, study, study]


@pytest.mark.parametrize("field", ["file_system", "inode", "size", "mtime_ns", "ctime_ns"])
async def test_a_file_with_one_other_mark_is_not_known(tmp_path: Path, field: str) -> None:
    async with one_person(tmp_path) as ana:
        await with_marked_file(ana, tmp_path / "in")
        other = replace(MARK, **{field: "uuid-2" if field == "file_system" else 99})
        assert await seen.unchanged(ana.vault.db, [other]) == [None]


async def test_instances_are_known_by_uid_and_hash(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        files = make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        (scan,) = await scans.listed(ana.vault.db)
        stored = await scans.instances_of(ana.vault.db, scan)
        known = await seen.known_instances(ana.vault.db, [stored[0].sop_uid, "1.2.3", ""])
        assert known == {stored[0].sop_uid: {hashlib.sha256(files[0].read_bytes()).digest(): stored[0].object_id}}


async def test_only_a_kept_file_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        image = make_study(tmp_path / "in", 1)[0]
        note = tmp_path / "note.txt"
        note.write_text("not DICOM")
        await ana.imports(image, note, keep_unreadable=True)
        assert await seen.kept_file(ana.vault.db, hashlib.sha256(b"not DICOM").digest()) is not None
        assert await seen.kept_file(ana.vault.db, hashlib.sha256(image.read_bytes()).digest()) is None

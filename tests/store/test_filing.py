"""Filing: what becomes of an instance is decided in the transaction that enters it."""

import hashlib
from pathlib import Path

from p2pshare.model.dicom import FileOutcome
from p2pshare.model.ids import ChunkDigest, ObjectId, PackId
from p2pshare.model.objects import ObjectKind
from p2pshare.service.kept import kept_record
from p2pshare.store import filing, scans
from p2pshare.store.filing import FiledChunk, FiledInstance, FiledObject, FiledPack
from tests.studies import fresh_uid, make_ct
from tests.world import Person, one_person

PACK = PackId(b"p" * 16)
STORED, DUPLICATE, CONFLICT = FileOutcome.STORED, FileOutcome.DUPLICATE, FileOutcome.CONFLICT


def an_object(name: bytes) -> FiledObject:
    digest = hashlib.sha256(name).digest()
    return FiledObject(ObjectId(digest), digest, digest, 10, digest, ObjectKind.DICOM)


async def filed(ana: Person, *instances: tuple[bytes, str]) -> list[FileOutcome]:
    """File instances given as content and SOP Instance UID."""
    record = kept_record("")
    entering = [
        FiledInstance(
            an_object(content).object_id, hashlib.sha256(content).digest(),
            type(record)(**{f: getattr(record, f) for f in record.__struct_fields__} | {"sop_uid": sop}), "", None,
        )
        for content, sop in instances
    ]  # fmt: skip
    async with ana.vault.db.transaction() as tx:
        await filing.enter_objects(tx, [an_object(content) for content, _ in instances])
        return await filing.enter_instances(tx, entering, 0)


async def flags(ana: Person) -> list[int]:
    return [row[0] for row in await ana.vault.db.rows("SELECT conflict FROM instance ORDER BY instance")]


async def test_the_same_bytes_under_one_uid_are_a_duplicate_and_other_bytes_a_conflict(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        assert await filed(ana, (b"a", "1.2"), (b"b", "1.3")) == [STORED, STORED]
        assert await filed(ana, (b"a", "1.2"), (b"c", "1.2"), (b"d", "1.4")) == [DUPLICATE, CONFLICT, STORED]
        assert await flags(ana) == [1, 0, 1, 0]
        (scan,) = await scans.listed(ana.vault.db)
        assert (scan.instances, scan.conflicts) == (4, 2)


async def test_what_one_transaction_brings_is_compared_within_itself(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        instances = [(b"a", "1.2"), (b"b", "1.2"), (b"a", "1.2"), (b"b", "1.2")]
        assert await filed(ana, *instances) == [STORED, CONFLICT, DUPLICATE, DUPLICATE]
        assert await flags(ana) == [1, 1]


async def test_kept_files_have_no_uid_to_be_in_conflict_over(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        assert await filed(ana, (b"a", ""), (b"b", "")) == [STORED, STORED]
        assert await flags(ana) == [0, 0]


async def test_a_conflict_with_another_study_is_flagged_in_both(tmp_path: Path) -> None:
    sop = fresh_uid()
    one, two = (make_ct(tmp_path / name, SOPInstanceUID=sop) for name in "12")
    async with one_person(tmp_path) as ana:
        await ana.imports(one)
        report = await ana.imports(two)
        assert report.counts[CONFLICT] == 1
        assert [scan.conflicts for scan in await scans.listed(ana.vault.db)] == [1, 1]


async def test_an_object_that_is_known_gains_only_the_key_and_hash_that_it_lacked(tmp_path: Path) -> None:
    full = an_object(b"x")
    bare = FiledObject(full.object_id, full.commitment, None, full.size, None, full.kind)
    other = FiledObject(full.object_id, full.commitment, bytes(32), 99, bytes(32), ObjectKind.FILE)
    async with one_person(tmp_path) as ana:
        async with ana.vault.db.transaction() as tx:
            for each in (bare, full, other):
                await filing.enter_objects(tx, [each])
        rows = await ana.vault.db.rows("SELECT key, size, sha256, kind FROM object")
        assert rows == [(full.key, full.size, full.sha256, "dicom")]


async def test_of_a_chunk_that_came_twice_the_later_copy_is_read(tmp_path: Path) -> None:
    stored = an_object(b"x")
    digest = ChunkDigest(bytes(32))
    async with one_person(tmp_path) as ana:
        async with ana.vault.db.transaction() as tx:
            await filing.enter_objects(tx, [stored])
            for pack_id, offset in ((PACK, 44), (PackId(b"q" * 16), 573)):
                await filing.enter_packs(tx, [FiledPack(pack_id, 1, 1, 9999, "1.2", None)])
                await filing.enter_chunks(tx, [FiledChunk(stored.object_id, 0, pack_id, offset, 529, digest)])
        places = await scans.places_of(ana.vault.db, [stored.object_id])
        assert [(p.pack_id, p.offset) for p in places[stored.object_id]] == [(b"q" * 16, 573)]

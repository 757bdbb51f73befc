"""Erasing: nothing of a scan is left in the vault, everything else is, and what was interrupted is finished."""

import secrets
from pathlib import Path

import pytest

from p2pshare.model.ids import PackId
from p2pshare.model.pack import PackScope
from p2pshare.store import erasing, scans, snapshots
from p2pshare.store.locks import maintenance
from p2pshare.store.packs import PackBuilder
from tests import traces
from tests.meetings import imported
from tests.studies import fresh_uid, make_ct, make_study
from tests.world import Person, one_person, two_people

NAME = "Quetzalcoatlus^Norma"
PLANTED = ("Quetzalcoatlus", "Zwetschgenmus", "Xylophonkonzert")


def a_planted_study(folder: Path, instances: int = 3) -> list[Path]:
    return make_study(
        folder, instances, PatientName=NAME, StudyDescription="CT Zwetschgenmus", SeriesDescription="Xylophonkonzert",
        PatientID="Quetzalcoatlus-1",
    )  # fmt: skip


async def planted_scan(ana: Person) -> scans.Scan:
    (scan,) = await scans.found(ana.vault.db, "Zwetschgenmus")
    return scan


async def assert_nothing_is_left(ana: Person) -> None:
    for needle in PLANTED:
        assert await traces.in_database(ana.vault, needle) == []
        assert not traces.in_snapshot(ana.vault, needle)
    assert await traces.in_objects(ana.vault, b"Quetzalcoatlus") == 0


async def test_the_search_for_traces_finds_what_is_there(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        a_planted_study(tmp_path / "in")
        await ana.imports(tmp_path / "in")
        assert "study.patient_name" in await traces.in_database(ana.vault, PLANTED[0])
        assert "study_text_content.c0" in await traces.in_database(ana.vault, PLANTED[2])
        assert await traces.in_objects(ana.vault, b"Quetzalcoatlus") == 3


async def test_rows_keys_packs_and_earlier_snapshots_of_an_erased_scan_are_gone(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        a_planted_study(tmp_path / "in")
        await ana.imports(tmp_path / "in")
        await snapshots.write_if_needed(ana.vault, ana.clock())
        before = set(ana.vault.snapshots.ids())
        scan = await planted_scan(ana)
        keys = [i.key for i in await scans.instances_of(ana.vault.db, scan)]
        await ana.library.erase(scan.scan.hex())
        await assert_nothing_is_left(ana)
        for key in keys:
            assert await traces.in_database(ana.vault, key) == []
        assert traces.pack_ids(ana.vault) == set()
        assert not before & set(ana.vault.snapshots.ids())
        assert await ana.vault.db.rows("SELECT * FROM object") == []
        assert await ana.check() == []


async def test_other_scans_are_untouched(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        a_planted_study(tmp_path / "in")
        others = make_study(tmp_path / "others" / "a", 3) + make_study(tmp_path / "others" / "b", 2)
        await ana.imports(tmp_path / "in", tmp_path / "others")
        await ana.library.erase((await planted_scan(ana)).scan.hex())
        await assert_nothing_is_left(ana)
        assert await ana.exported(tmp_path / "out") == sorted(path.read_bytes() for path in others)
        assert await ana.check() == []


async def test_a_scan_that_was_erased_can_be_imported_again(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        files = a_planted_study(tmp_path / "in")
        await ana.imports(tmp_path / "in")
        await ana.library.erase((await planted_scan(ana)).scan.hex())
        report = await ana.imports(tmp_path / "in")
        assert report.counts["stored"] == 3
        assert await ana.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)


async def test_copies_that_turned_out_to_be_duplicates_are_gone_too(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        a_planted_study(tmp_path / "in")
        await ana.imports(tmp_path / "in")
        await rao.imports(tmp_path / "in")
        await imported(ana, rao)  # each object comes a second time, under another key, and is filed as a duplicate
        assert await traces.in_objects(rao.vault, b"Quetzalcoatlus") == 6
        await rao.library.erase((await planted_scan(rao)).scan.hex())
        await assert_nothing_is_left(rao)
        assert traces.pack_ids(rao.vault) == set()
        assert await rao.vault.db.rows("SELECT * FROM object") == []
        assert await rao.check() == []


async def test_objects_that_were_sealed_twice_and_filed_once_are_gone_too(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        a_planted_study(tmp_path / "in")
        await ana.imports(tmp_path / "in")
        async with ana.vault.db.transaction() as tx:  # as when two imports sealed an image before one had filed it
            await tx.execute("DELETE FROM instance WHERE number = 1")
        await ana.library.erase((await planted_scan(ana)).scan.hex())
        assert await ana.vault.db.rows("SELECT * FROM object") == []
        assert traces.pack_ids(ana.vault) == set()


async def test_what_shares_a_pack_with_an_erased_scan_is_kept(tmp_path: Path) -> None:
    # Two studies whose images lie in one pack: so it is when a sender says that they are of one study.
    async with one_person(tmp_path) as ana:
        a_planted_study(tmp_path / "in", 2)
        other = make_ct(tmp_path / "other", 1024, 1100)
        await ana.imports(tmp_path / "in", other)
        await put_into_one_pack(ana)
        await ana.library.erase((await planted_scan(ana)).scan.hex())
        await assert_nothing_is_left(ana)
        assert await ana.exported(tmp_path / "out") == [other.read_bytes()]
        assert len(traces.pack_ids(ana.vault)) == 1
        assert await ana.check() == []
        (index,) = [ana.vault.packs.read_index(pack_id) for pack_id in ana.vault.packs.ids()]
        (part,) = index.parts
        assert part.end is not None
        assert part.end.identity is not None
        assert index.owner.decode() == part.end.identity.study_uid


async def put_into_one_pack(ana: Person) -> None:
    rows = await ana.vault.db.rows(
        "SELECT c.object, c.number, p.pack_id, c.offset, c.length, c.digest, o.commitment, o.key FROM chunk c"
        " JOIN pack p ON p.pack = c.pack JOIN object o ON o.object = c.object ORDER BY c.object, c.number"
    )
    builder = PackBuilder(PackScope.STUDY, b"1.2.3", 0)
    for _, number, pack_id, offset, length, digest, commitment, key in rows:
        builder.add(commitment, key, number, ana.vault.packs.read(pack_id, offset, length), digest)
    closed = ana.vault.packs.write(builder)
    old = traces.pack_ids(ana.vault) - {closed.pack_id}
    async with ana.vault.db.transaction() as tx:
        pack = await tx.insert(
            "INSERT INTO pack (pack_id, generation, scope, size, study_uid) VALUES (?, 1, 1, ?, '1.2.3')",
            (closed.pack_id, closed.size),
        )
        for row, place in zip(rows, closed.placements, strict=True):
            await tx.execute(
                "UPDATE chunk SET pack = ?, offset = ? WHERE object = ? AND number = ?",
                (pack, place.offset, row[0], row[1]),
            )
        await tx.execute("DELETE FROM pack WHERE pack <> ?", (pack,))
    ana.vault.packs.delete(old)


async def test_packs_that_a_killed_import_left_unfiled_are_gone_too(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        a_planted_study(tmp_path / "in")
        await ana.imports(tmp_path / "in")
        scan = await planted_scan(ana)
        stray, others = stray_pack(ana, scan.study_uid), stray_pack(ana, fresh_uid())
        temporary = ana.vault.folder.pack_path(stray).with_suffix(".p2pk.12345678.tmp")
        temporary.write_bytes(b"half a pack")
        await ana.library.erase(scan.scan.hex())
        assert traces.pack_ids(ana.vault) == {others}
        assert not temporary.exists()


def stray_pack(ana: Person, study_uid: str) -> PackId:
    builder = PackBuilder(PackScope.STUDY, study_uid.encode(), 0)
    builder.add(secrets.token_bytes(32), secrets.token_bytes(32), 0, bytes(529), bytes(32))
    return ana.vault.packs.write(builder).pack_id


async def test_an_erasure_that_was_cut_off_after_its_transaction_is_finished_later(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        a_planted_study(tmp_path / "in")
        await ana.imports(tmp_path / "in")
        await snapshots.write_if_needed(ana.vault, ana.clock())
        packs = traces.pack_ids(ana.vault)
        async with ana.vault.db.transaction() as tx:
            assert await erasing.erase_rows(tx, ana.vault, await planted_scan(ana), ana.clock()) == []
        assert traces.pack_ids(ana.vault) == packs  # here the power went
        assert await erasing.finish_left_over(ana.vault, ana.clock())
        assert traces.pack_ids(ana.vault) == set()
        await assert_nothing_is_left(ana)
        assert await ana.vault.db.rows("SELECT * FROM doomed_pack") == []


async def test_an_erasure_is_not_finished_while_somebody_writes_packs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "_LEFT_OVER_PATIENCE", 0.05)
    async with one_person(tmp_path) as ana:
        a_planted_study(tmp_path / "in")
        await ana.imports(tmp_path / "in")
        async with ana.vault.db.transaction() as tx:
            await erasing.erase_rows(tx, ana.vault, await planted_scan(ana), ana.clock())
        async with maintenance(ana.vault.folder, exclusive=False):
            assert not await erasing.finish_left_over(ana.vault, ana.clock())
        assert await erasing.finish_left_over(ana.vault, ana.clock())
        assert await erasing.finish_left_over(ana.vault, ana.clock())  # nothing is left to do


async def test_nothing_of_an_erased_scan_stays_in_the_wal(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        a_planted_study(tmp_path / "in")
        await ana.imports(tmp_path / "in")
        await ana.library.erase((await planted_scan(ana)).scan.hex())
        wal = ana.vault.folder.database.with_name("vault.db-wal")
        assert wal.stat().st_size == 0

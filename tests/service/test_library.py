"""The library: scans listed, shown, exported byte for byte, and erased for good."""

from pathlib import Path

import pytest

from p2pshare.errors import AlreadyExists, DamagedPack, NotFound, UsageError, VaultBusy
from p2pshare.model.ids import PackId
from p2pshare.model.views import ShareState
from p2pshare.service import library
from p2pshare.store.locks import maintenance
from p2pshare.store.shares import Direction
from tests import traces
from tests.meetings import imported, meeting, offered, reaches, until
from tests.studies import fresh_uid, make_ct, make_study
from tests.world import Person, one_person, three_people, two_people


async def a_scan(ana: Person, folder: Path, instances: int = 3, **elements: object) -> str:
    make_study(folder, instances, **elements)
    report = await ana.imports(folder)
    (scan,) = await ana.library.with_uids(list(report.studies))
    return scan.scan.hex()


async def export(ana: Person, scan: str, folder: Path) -> list[library.ExportedFile]:
    return await ana.library.export(scan, folder, lambda *_: None)


async def test_scans_are_found_by_what_is_written_in_them(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        one = await a_scan(ana, tmp_path / "a", StudyDescription="CT Abdomen")
        await a_scan(ana, tmp_path / "b")
        assert [scan.scan.hex() for scan in await ana.library.found("abdo")] == [one]
        assert (await ana.library.find(one[:8])).scan.hex() == one
        with pytest.raises(NotFound):
            await ana.library.find("nothing")


async def test_the_details_say_what_there_is_to_know(tmp_path: Path) -> None:
    study, sop = fresh_uid(), fresh_uid()
    files = [
        make_ct(tmp_path / "1", StudyInstanceUID=study, SOPInstanceUID=sop, PatientName="Doe^Jane"),
        make_ct(tmp_path / "2", StudyInstanceUID=study, SOPInstanceUID=sop, PatientName="Doe^John"),
    ]
    async with one_person(tmp_path) as ana:
        await ana.imports(*files)
        details = await ana.library.details(study)
        assert len(details.series) == 2
        notes = "\n".join(details.notes)
        assert "2 images share a SOP Instance UID but differ" in notes
        assert "2 different patients" in notes


async def test_an_export_says_where_each_image_went_and_what_its_hash_is(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        scan = await a_scan(ana, tmp_path / "in")
        told: list[tuple[int, int]] = []
        files = await ana.library.export(scan, tmp_path / "deep" / "out", lambda *done: told.append(done))
        assert told == [(1, 3), (2, 3), (3, 3)]
        assert sorted(f.path.read_bytes() for f in files) == sorted(p.read_bytes() for p in (tmp_path / "in").iterdir())
        assert len({f.sha256 for f in files}) == 3
        assert (await ana.log())[-1] == "scan-exported"


async def test_an_export_again_is_no_error_and_never_overwrites_another_file(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        scan = await a_scan(ana, tmp_path / "in")
        files = await export(ana, scan, tmp_path / "out")
        await export(ana, scan, tmp_path / "out")
        files[1].path.write_bytes(b"my own notes")
        with pytest.raises(AlreadyExists):
            await export(ana, scan, tmp_path / "out")
        assert files[1].path.read_bytes() == b"my own notes"


async def test_an_export_to_where_no_folder_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with one_person(tmp_path) as ana:
        scan = await a_scan(ana, tmp_path / "in")
        with pytest.raises(UsageError):
            await export(ana, scan, tmp_path / "file" / "out")


async def test_a_damaged_image_is_named_and_no_part_of_it_is_left_in_the_export(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        scan = await a_scan(ana, tmp_path / "in")
        (row,) = await ana.vault.db.rows("SELECT p.pack_id, c.offset FROM chunk c JOIN pack p USING (pack) LIMIT 1")
        path = ana.vault.folder.pack_path(PackId(row[0]))
        data = bytearray(path.read_bytes())
        data[row[1] + 100] ^= 1
        path.write_bytes(data)
        with pytest.raises(DamagedPack, match=r"image 2\.25"):
            await export(ana, scan, tmp_path / "out")
        images = [p.read_bytes() for p in (tmp_path / "in").iterdir()]
        assert all(p.read_bytes() in images for p in (tmp_path / "out").rglob("*") if p.is_file())


# --- erasing, and what it means for shares ---


async def test_erasing_ends_my_shares_of_the_scan_and_tells_the_other_side(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        scan = await a_scan(ana, tmp_path / "in", PatientName="Quetzalcoatlus^Norma")
        share = await offered(ana, rao, question="Quetzalcoatlus?")
        await rao.inbox.accept(share.hex())
        await ana.library.erase(scan)
        assert await ana.state(share) is ShareState.REVOKED
        assert await traces.in_database(ana.vault, "Quetzalcoatlus") == []
        async with meeting(ana, rao) as met:
            await until(reaches(rao, share, ShareState.REVOKED))
        assert met.chunks_sent() == []


async def test_an_offer_that_was_not_sent_yet_is_never_sent_and_later_letters_are(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        scan = await a_scan(ana, tmp_path / "in", PatientName="Quetzalcoatlus^Norma")
        gone = await ana.offers.create("rao", [scan], "Quetzalcoatlus?")
        await ana.library.erase(scan)
        assert await traces.in_database(ana.vault, "Quetzalcoatlus") == []
        await a_scan(ana, tmp_path / "other")
        share = await offered(ana, rao)
        assert [offer.share.share for offer in await rao.inbox.listed()] == [share]
        assert gone != share
        assert await traces.in_database(rao.vault, "Quetzalcoatlus") == []


async def test_erasing_what_was_received_leaves_the_senders_proof_as_it_is(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await a_scan(ana, tmp_path / "in", PatientName="Quetzalcoatlus^Norma")
        share = await imported(ana, rao)
        await rao.library.erase((await rao.library.listed())[0].scan.hex())
        assert await traces.in_database(rao.vault, "Quetzalcoatlus") == []
        assert (await rao.share(share, Direction.IN)).why == "the scan was erased here"
        async with meeting(ana, rao):

            async def told() -> bool:
                ((counter,),) = await ana.vault.db.rows("SELECT counter FROM receipt_in")
                return (await rao.vault.db.rows("SELECT counter FROM receipt_out")) == [(counter,)]

            await until(told)
        assert await ana.state(share) is ShareState.IMPORTED
        proof = await ana.offers.receipt(await ana.share(share, Direction.OUT))
        assert proof is not None
        assert proof.state == "imported"


async def test_an_offer_of_the_erased_scan_that_is_not_answered_stays_in_the_inbox(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        await a_scan(ana, tmp_path / "in")
        await eve.imports(tmp_path / "in")
        await imported(ana, rao)
        waiting = await offered(eve, rao)
        await rao.library.erase((await rao.library.listed())[0].scan.hex())
        assert await rao.state(waiting) is ShareState.OFFERED
        await rao.inbox.accept(waiting.hex())
        async with meeting(eve, rao):
            await until(reaches(eve, waiting, ShareState.DELIVERED))
        await rao.open_delivered()
        assert len(await rao.exported(tmp_path / "out")) == 3


async def test_a_share_that_is_still_coming_in_ends_when_its_scan_is_erased(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await a_scan(ana, tmp_path / "in")
        await rao.imports(tmp_path / "in")
        share = await offered(ana, rao)
        await rao.inbox.accept(share.hex())
        async with meeting(ana, rao):
            await until(reaches(rao, share, ShareState.DELIVERED))
        await rao.library.erase((await rao.library.listed())[0].scan.hex())
        assert await rao.state(share) is ShareState.REFUSED
        assert traces.pack_ids(rao.vault) == set()
        assert await rao.vault.db.rows("SELECT * FROM object") == []
        assert await rao.check() == []


async def test_nothing_is_erased_while_somebody_writes_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with one_person(tmp_path) as ana:
        scan = await a_scan(ana, tmp_path / "in")
        monkeypatch.setattr(library, "maintenance", lambda f, exclusive: maintenance(f, exclusive, patience=0.05))
        async with maintenance(ana.vault.folder, exclusive=False):
            with pytest.raises(VaultBusy):
                await ana.library.erase(scan)
        assert len(await ana.exported(tmp_path / "out")) == 3
